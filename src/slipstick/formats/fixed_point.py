"""FixedPoint(I, F): two's-complement integers times 2^-F.

Sakr & Shanbhag 2019 (arXiv 1812.11732) with range r = 2^I and precision B = 1 + I + F, step r 2^(1-B):
    Q(x) = clip(round(x / step) * step, -r, r - step), ties away from zero.
WAGE (Wu et al. 2018, arXiv 1802.04680) with sigma(k) = 2^(1-k) is FixedPoint(0, k-1, symmetric=True,
rounding="half-even"):  Q(x, k) = clip(sigma * round(x / sigma), -1 + sigma, 1 - sigma).
LinearQuant(x, b, FSR) of Miyashita et al. 2016 (arXiv 1603.01025) is FixedPoint(FSR, b - FSR, signed=False).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from slipstick.errors import SpecificationError
from slipstick.formats import integer_rounding
from slipstick.formats.quantiser import Quantiser, Rounding, check_choice, check_integer

Ties = Literal["half-away", "half-even"]

_FLOAT_DIGITS = 24  # bits of a float32 significand: every code is one float32 number


@dataclass(frozen=True)
class FixedPoint(Quantiser):
    """Multiples of 2^-F: signed from -2^I to 2^I - 2^-F, unsigned from 0 to 2^I - 2^-F.

    int_bits: I, bits left of the binary point, the sign not counted; may be negative (all numbers below 1/2).
    frac_bits: F, bits right of it, up to 126; may be negative. 1 <= I + F; a code has at most 24 bits.
    signed: codes are two's complement; without it negative numbers become 0.
    rounding: what "nearest" does with ties: away from zero (Sakr & Shanbhag 2019) or to even (TensorFlow's round,
        which WAGE calls).
    symmetric: the most negative code does not exist; the range is [-(2^I - 2^-F), 2^I - 2^-F] (WAGE).

    Numbers beyond the range, infinities included, saturate. There is one zero; -0.0 becomes 0.0. NaN raises.
    With a scale s the number rounded is the float x / s, correctly rounded in the dtype of x (exact for powers of
    two).
    """

    int_bits: int
    frac_bits: int
    signed: bool = True
    rounding: Ties = "half-away"
    symmetric: bool = False

    def __post_init__(self) -> None:
        check_integer("FixedPoint", "int_bits", self.int_bits, -125, 127)
        check_integer("FixedPoint", "frac_bits", self.frac_bits, -126, 126)
        check_choice("FixedPoint", "signed", self.signed, (True, False))
        check_choice("FixedPoint", "rounding", self.rounding, ("half-away", "half-even"))
        check_choice("FixedPoint", "symmetric", self.symmetric, (True, False))
        if not self.int_bits + self.frac_bits >= 1 or self.width > _FLOAT_DIGITS:
            raise SpecificationError(
                f"{self}: int_bits + frac_bits = {self.int_bits + self.frac_bits}: must be from 1 to "
                f"{_FLOAT_DIGITS - self.signed}, what float32 holds"
            )
        if self.symmetric and not self.signed:
            raise SpecificationError(f"{self}: an unsigned format has no symmetric range; leave symmetric out")

    def __str__(self) -> str:
        tail = "" if self.signed else ",unsigned"
        tail += ",symmetric" if self.symmetric else ""
        tail += "" if self.rounding == "half-away" else f",{self.rounding}"
        return f"FixedPoint({self.int_bits},{self.frac_bits}{tail})"

    @property
    def width(self) -> int:
        """Bits of a code: sign, int_bits, frac_bits."""
        return int(self.signed) + self.int_bits + self.frac_bits

    @property
    def max_integer(self) -> int:
        """The integer of the largest number, 2^(I+F) - 1."""
        return (1 << (self.int_bits + self.frac_bits)) - 1

    @property
    def min_integer(self) -> int:
        """The integer of the most negative number."""
        return -(self.max_integer + (not self.symmetric)) if self.signed else 0

    @property
    def step(self) -> float:
        """The distance of neighbours, 2^-F."""
        return float(2.0**-self.frac_bits)

    @property
    def largest(self) -> float:
        return self.max_integer * self.step

    @property
    def smallest(self) -> float:
        return self.step

    @property
    def values(self) -> torch.Tensor:
        return torch.arange(self.min_integer, self.max_integer + 1, dtype=torch.float32) * self.step

    def _encode(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor:
        return self._integers(x, rounding, draws, place).to(torch.int32) & ((1 << self.width) - 1)

    def _decode(self, codes: torch.Tensor, place: Any) -> torch.Tensor:
        if self.signed:
            codes = (codes << (32 - self.width)) >> (32 - self.width)
        return self._numbers(codes.to(torch.float32), place)

    def _quantize(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor:
        integers = self._integers(x, rounding, draws, place).add_(0.0)  # -0.0 + 0.0 = 0.0
        return self._numbers(integers.to(torch.float32), place).to(x.dtype)

    def _no_codes(self, codes: torch.Tensor) -> torch.Tensor:
        bad = (codes < 0) | (codes >= 1 << self.width)
        return bad | (codes == 1 << (self.width - 1)) if self.symmetric else bad

    def _integers(
        self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, scale: torch.Tensor | None
    ) -> torch.Tensor:
        """The integers of the codes, as floats; clamping to integers first changes no rounding."""
        y = x * 2.0**self.frac_bits if scale is None else (x / scale).mul_(2.0**self.frac_bits)
        y.clamp_(self.min_integer, self.max_integer)
        if draws is not None:
            return integer_rounding.stochastic(y, draws)
        return integer_rounding.half_away(y) if self.rounding == "half-away" else integer_rounding.half_even(y)

    def _numbers(self, integers: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        numbers = integers.mul_(self.step)
        return numbers if scale is None else numbers.mul_(scale)
