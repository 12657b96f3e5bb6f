"""Functions of one number: each is its table, correctly rounded for every code; see arithmetic.functions."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slipstick.aten.registry import defined, existing
from slipstick.aten.signatures import Operand
from slipstick.errors import UnsupportedOperation
from slipstick.kernels.elementwise import Chain, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims


def define_unary(chained: Chain, *operators: Any) -> None:
    """Register a chain of one operand."""

    @defined(*operators)
    def unary(run: "use", x: Tensor, out: Tensor | None = None) -> Tensor:
        return run.chain(chained, x, out=out)


def define_binary(chained: Chain, *operators: Any) -> None:
    """Register a chain of two operands."""

    @defined(*operators)
    def binary(run: "use", a: Tensor, b: Operand, out: Tensor | None = None) -> Tensor:
        return run.chain(chained, a, b, out=out)


def named(name: str) -> list[Any]:
    """A unary operator, in place too, and its prim."""
    packets = [*existing(aten, f"{name} {name}_ special_{name}"), *existing(prims, name)]
    return [p.default for p in packets if "default" in p.overloads()]


_TABLES = """
    exp exp2 expm1 log log2 log10 log1p tanh sigmoid sinh cosh asinh acosh atanh sin cos tan asin acos atan erf erfc
    floor ceil trunc round
"""
for _name in _TABLES.split():
    define_unary(chain(lambda x, name=_name: x.function(name)), *named(_name))

_TO_DECIMALS: dict[int, Chain] = {}


@defined(aten.round.decimals, aten.round_.decimals, *existing(aten, "special_round"))
def round_to_decimals(run: "use", x: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
    """The exact real value, half to even at a decimal place."""
    if decimals not in _TO_DECIMALS:
        _TO_DECIMALS[decimals] = chain(lambda x: x.function("round_to", decimals))
    return run.chain(_TO_DECIMALS[decimals], x, out=out)


_GELU = {
    "none": (chain(lambda x: x.function("gelu")), chain(lambda g, x: g * x.function("gelu_gradient"))),
    "tanh": (chain(lambda x: x.function("gelu_tanh")), chain(lambda g, x: g * x.function("gelu_tanh_gradient"))),
}


@defined(aten.gelu.default, aten.gelu_.default)
def gelu(run: "use", x: Tensor, *, approximate: str = "none", out: Tensor | None = None) -> Tensor:
    return run.chain(_gelu(run, approximate)[0], x, out=out)


@defined(aten.gelu_backward.default)
def gelu_backward(run: "use", gradient: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    """The gradient times the derivative, which is one table too."""
    return run.chain(_gelu(run, approximate)[1], gradient, x)


def _gelu(run: "use", approximate: str) -> tuple[Chain, Chain]:
    if approximate not in _GELU:
        raise UnsupportedOperation(f"{run.operator}: approximate={approximate!r}; use 'none' or 'tanh'")
    return _GELU[approximate]
