"""Quotients rounded to whole numbers, and remainders.

The quotient of two numbers of the format is exact, save for its range. Only a - b n, with n = trunc or floor of the
quotient, rounds: a remainder may miss its interval by that rounding.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.registry import defined, existing
from slipstick.aten.signatures import Operand
from slipstick.aten.unary import define_binary
from slipstick.errors import UnsupportedOperation
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims


@chain
def _truncated_quotient(a: Value, b: Value) -> Value:
    return (a / b).function("trunc")


@chain
def _floored_quotient(a: Value, b: Value) -> Value:
    return (a / b).function("floor")


@chain
def _fmod(a: Value, b: Value) -> Value:
    return a - b * (a / b).function("trunc")


@chain
def _remainder(a: Value, b: Value) -> Value:
    return a - b * (a / b).function("floor")


_QUOTIENTS = {None: elementary.div, "trunc": _truncated_quotient, "floor": _floored_quotient}


@defined(aten.div.Tensor_mode, aten.div_.Tensor_mode, aten.div.Scalar_mode, aten.div_.Scalar_mode)
def div_mode(run: "use", a: Tensor, b: Operand, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    if rounding_mode not in _QUOTIENTS:
        raise UnsupportedOperation(f"{run.operator}: rounding_mode={rounding_mode!r}; use None, 'trunc' or 'floor'")
    return run.chain(_QUOTIENTS[rounding_mode], a, b, out=out)


define_binary(_floored_quotient, aten.floor_divide, aten.floor_divide_)
define_binary(_fmod, aten.fmod, aten.fmod_, *existing(prims, "fmod"))
define_binary(_remainder, aten.remainder.Tensor, aten.remainder.Scalar)
define_binary(_remainder, aten.remainder_, *existing(prims, "remainder"))


@defined(aten.remainder.Scalar_Tensor)
def remainder_of_scalar(run: "use", a: float, b: Tensor) -> Tensor:
    return run.chain(_remainder, a, b)
