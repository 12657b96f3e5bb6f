"""Powers: x^p by a table where one of the two is a host constant, else by logarithm, product and exponential."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.registry import defined
from slipstick.errors import NonFiniteError
from slipstick.kernels.elementwise import Chain, Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims


@defined(aten.pow.Tensor_Scalar, aten.pow_.Scalar)
def pow_by_scalar(run: "use", x: Tensor, exponent: float, out: Tensor | None = None) -> Tensor:
    """x^p: the log times p. sqrt and rsqrt for p = +-1/2, as hardware shares them."""
    if exponent in (0.5, -0.5):
        return run.chain(_ROOTS[exponent], x, out=out)
    return run.chain(power(float(exponent)), x, out=out)


_ROOTS = {0.5: chain(lambda x: x.sqrt()), -0.5: chain(lambda x: x.rsqrt())}
_POWERS: dict[float, Chain] = {}


def power(exponent: float) -> Chain:
    """The chain x^p of a host constant p."""
    if exponent not in _POWERS:
        _POWERS[exponent] = chain(lambda x: x.function("pow", exponent))
    return _POWERS[exponent]


_TO_BASE: dict[float, Chain] = {}


@defined(aten.pow.Scalar)
def pow_of_scalar(run: "use", base: float, exponent: Tensor) -> Tensor:
    """base^x, a table; 0^x and 1^x by what the operand is. Of a negative base only whole powers exist."""
    base = float(base)
    if base <= 0:
        return pow_of_tensors(run, torch.full_like(exponent, base), exponent)
    if base not in _TO_BASE:
        _TO_BASE[base] = chain(lambda x: x.function("exp2") if base == 2 else x.function("exp_base", base))
    return run.chain(_TO_BASE[base], exponent)


@chain
def _magnitude(x: Value, p: Value) -> Value:
    return (p * abs(x).function("log2")).function("exp2")


@chain
def _select(mask: Value, x: Value, y: Value) -> Value:
    return mask.select(x, y)


@defined(aten.pow.Tensor_Tensor, aten.pow_.Tensor, prims.pow.default)
def pow_of_tensors(run: "use", x: Tensor, exponent: Tensor, out: Tensor | None = None) -> Tensor:
    """exp2(p log2|x|), with the sign of x where p is odd; x^0 = 1, 0^p = 0, 0^-p saturates.

    A number p of the grid counts as whole if the whole number nearest to it has the same code. A negative number to any
    other power has no code.
    """
    base, power = torch.broadcast_tensors(run.snap(x), run.snap(exponent))
    whole = power.double().round()
    is_whole = run.snap(whole) == power
    if bool(((base < 0) & ~is_whole).any()):
        raise NonFiniteError(
            f"{run.operator} in {run.arithmetic.format}: a negative number to a power that is not whole"
        )
    is_odd = is_whole & (whole.fmod(2).abs() == 1)
    result = run.chain(_magnitude, torch.where(base == 0, 1.0, base), power)
    result = torch.where((base < 0) & is_odd, -result, result)
    at_zero = torch.where(power < 0, run.chain(_reciprocal, base), base)
    result = torch.where(base == 0, at_zero.abs(), result)
    result = torch.where(power == 0, torch.ones_like(result), result)
    return result if out is None else out.copy_(result)


@chain
def _reciprocal(x: Value) -> Value:
    return x.reciprocal()
