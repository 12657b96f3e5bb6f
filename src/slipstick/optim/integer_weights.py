"""A weight as two integers, and the step of Sakr & Shanbhag 2019 (arXiv 1812.11732) on them.

The weight is W D_W. The code W of B_W bits is what layers see, as the float32 number W D_W; beside it the code A of
B_Acc bits, in units of D_Acc = D_W 2^-B_Acc, holds what is left of past updates: less than half a step of the weight.
One step with the gradient g and the learning rate lr:

    G = g / D_G(W) rounded, saturating in B_G(W) bits
    U = lr G D_G(W) / D_Acc rounded             the only rounding of the product
    S = W 2^B_Acc + A - U                       exact
    W = S 2^-B_Acc rounded, saturating in B_W bits
    A = S - W 2^B_Acc, saturating in B_Acc bits

"Rounded" is to the nearest integer, ties away from zero. A tie below zero leaves the residue +D_W / 2, which two's
complement lacks: it saturates, and one D_Acc is lost, as in the paper. Beyond the range of W the residue saturates too,
so that a weight leaves the end of its range as soon as updates turn.

lr is the nearest float32 number m 2^e, m < 2^24, as in PyTorch's own steps on float32 parameters. With |G| <= 2^23,
B_W <= 24 and B_Acc <= 24 all integers stay below 2^51 in magnitude; no float is involved.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch

from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint

_LR_BITS = 24  # of a float32 significand
_BEYOND = 50  # an update of 2^50 D_Acc saturates every weight and its residue
_PIECE = 1 << 15  # elements; the int64 temporaries of a piece stay in cache
_SIGN = 63  # x >> 63 is -1 for negative int64 and 0 for others


@dataclass(frozen=True)
class WeightFormats:
    """How one weight is kept and moved. Two's complement, ties away from zero.

    weight: of W. gradient: of G, what the gradient is rounded to. accumulator: of A; its range is half a step of the
    weight, so that its codes go on where those of the weight end.
    """

    weight: FixedPoint
    gradient: FixedPoint
    accumulator: FixedPoint

    def __post_init__(self) -> None:
        for field in fields(self):
            format = getattr(self, field.name)
            if not isinstance(format, FixedPoint) or not _is_plain(format):
                raise SpecificationError(
                    f"WeightFormats({field.name}={format}): must be a FixedPoint with signs and rounding 'half-away'"
                )
        if self.accumulator.int_bits != -self.weight.frac_bits - 1:
            raise SpecificationError(
                f"WeightFormats(accumulator={self.accumulator}): its range must be half a step of the weight, "
                f"{self.weight}: int_bits = {-self.weight.frac_bits - 1}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {field.name: getattr(self, field.name).to_dict() for field in fields(self)}


def integers_of(x: torch.Tensor, format: FixedPoint) -> torch.Tensor:
    """``x`` in steps of ``format`` (int32), to nearest and saturating. Raises NonFiniteError for NaN."""
    unused = 32 - format.width
    return (format.encode(x) << unused) >> unused


def numbers_of(integers: torch.Tensor, format: FixedPoint) -> torch.Tensor:
    """The inverse: float32, exact."""
    return integers.to(torch.float32).mul_(format.step)


def moved(
    weight: torch.Tensor, accumulator: torch.Tensor, gradient: torch.Tensor, lr: float, formats: WeightFormats
) -> tuple[torch.Tensor, torch.Tensor]:
    """W and A after one step: int32 tensors in, new int32 tensors out, all of one shape. gradient: G. lr: from 0."""
    new_weight, new_accumulator = (torch.empty(weight.shape, dtype=torch.int32, device=weight.device) for _ in range(2))
    tensors = (weight, accumulator, gradient, new_weight, new_accumulator)
    for w, a, g, new_w, new_a in zip(*(x.reshape(-1).split(_PIECE) for x in tensors), strict=True):
        total, codes = _total_and_codes(w, a, g, lr, formats)
        residue = total.sub_(codes, alpha=1 << formats.accumulator.width)
        new_w.copy_(codes)
        new_a.copy_(residue.clamp_(formats.accumulator.min_integer, formats.accumulator.max_integer))
    return new_weight, new_accumulator


def _total_and_codes(
    weight: torch.Tensor, accumulator: torch.Tensor, gradient: torch.Tensor, lr: float, formats: WeightFormats
) -> tuple[torch.Tensor, torch.Tensor]:
    """S and the new W, int64."""
    below = formats.accumulator.width
    total = weight.to(torch.int64).mul_(1 << below).add_(accumulator).sub_(_updates(gradient, lr, formats))
    codes = _rounded_shift(total.clone(), below)
    return total, codes.clamp_(formats.weight.min_integer, formats.weight.max_integer)


def _updates(gradient: torch.Tensor, lr: float, formats: WeightFormats) -> torch.Tensor:
    """U of G, int64."""
    factor, exponent = _integer_times_power(lr)
    shift = exponent + formats.accumulator.frac_bits - formats.gradient.frac_bits
    products = gradient.to(torch.int64).mul_(factor)  # below 2^47
    if shift < 0:
        return _rounded_shift(products, min(-shift, _BEYOND))
    shift = min(shift, _BEYOND)
    limit = 1 << (_BEYOND - shift)
    return products.clamp_(-limit, limit).mul_(1 << shift)


def _integer_times_power(lr: float) -> tuple[int, int]:
    """m and e of the float32 number m 2^e nearest to ``lr``."""
    mantissa, exponent = math.frexp(torch.tensor(lr, dtype=torch.float32).item())
    return int(mantissa * (1 << _LR_BITS)), exponent - _LR_BITS


def _rounded_shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """x 2^-bits to the nearest integer, ties away from zero, in place; int64, bits from 1."""
    below_zero = x >> _SIGN
    return x.add_(below_zero).add_(1 << (bits - 1)).bitwise_right_shift_(bits)


def _is_plain(format: FixedPoint) -> bool:
    return format.signed and not format.symmetric and format.rounding == "half-away"
