"""MiniFloat(E, M): floating point of a few bits, with subnormals.

A code is sign, exponent field e of E bits, mantissa field m of M bits:
    e > 0:  (-1)^s * 2^(e - bias) * (1 + m 2^-M)        e = 0:  (-1)^s * 2^(1 - bias) * m 2^-M
E4M3 and E5M2 are the FP8 formats of Micikevicius et al. 2022 (arXiv 2209.05433), bit for bit; E3M0 is the radix-2
FP4 of LUQ (Chmiel et al. 2021, arXiv 2112.10769): powers of two and zero.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch

from slipstick.errors import SpecificationError
from slipstick.formats import integer_rounding
from slipstick.formats.quantiser import Quantiser, Rounding, check_choice, check_integer

Specials = Literal["ieee", "fn", "none"]
Overflow = Literal["saturate", "inf"]


@dataclass(frozen=True)
class MiniFloat(Quantiser):
    """A small floating-point format.

    exponent_bits: E, 1 to 7. mantissa_bits: M, 0 to 10; with the sign a code has at most 16 bits.
    bias: 2^(E-1) - 1 if None. Numbers must lie from 2^-126 (the smallest subnormal) to below 2^127.
    specials: "ieee": the top exponent field holds infinity (m = 0) and NaN (m > 0); "fn" (finite): the one code with
        all ones is NaN, there is no infinity; "none": every code is a number.
    overflow: numbers that round beyond the largest become the largest ("saturate", the default, infinities too) or
        infinity ("inf", where specials="ieee").

    "nearest" is to nearest, ties to the even multiple of the step (for M = 0: to the larger magnitude, as IEEE 754
    says of one-digit formats); subnormals are rounded as such. "stochastic" below the smallest magnitude a gives
    +-a with probability |x| / a and else 0: LUQ's stochastic underflow. Zero keeps its sign. NaN raises, though
    decode returns NaN for the codes of NaN. With a scale s the number rounded is the float x / s, correctly rounded
    in the dtype of x (exact for powers of two).
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int | None = None
    specials: Specials = "ieee"
    overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        check_integer("MiniFloat", "exponent_bits", self.exponent_bits, 1, 7)
        check_integer("MiniFloat", "mantissa_bits", self.mantissa_bits, 0, 10)
        check_choice("MiniFloat", "specials", self.specials, ("ieee", "fn", "none"))
        check_choice("MiniFloat", "overflow", self.overflow, ("saturate", "inf"))
        if self.bias is None:
            object.__setattr__(self, "bias", (1 << (self.exponent_bits - 1)) - 1)
        check_integer("MiniFloat", "bias", self.bias, -125, 250)
        if self.width > 16:
            raise SpecificationError(f"{self}: {self.width} bits; a code has at most 16")
        if self.overflow == "inf" and self.specials != "ieee":
            raise SpecificationError(f"{self}: overflow='inf' needs a code of infinity; use specials='ieee'")
        if self._top_code < 1 or (self.specials == "ieee" and self.exponent_bits == 1):
            raise SpecificationError(f"{self}: the special values leave no normal number; use specials='none'")
        if self.smallest < 2.0**-126 or self.largest >= 2.0**127:
            raise SpecificationError(
                f"{self}: reaches from {self.smallest:g} to {self.largest:g}; must stay from 2^-126 to 2^127: "
                "choose another bias"
            )

    def __str__(self) -> str:
        usual = self.bias == (1 << (self.exponent_bits - 1)) - 1
        tail = ("" if usual else f",bias={self.bias}") + f",{self.specials}"
        tail += "" if self.overflow == "saturate" else f",overflow={self.overflow}"
        return f"MiniFloat({self.exponent_bits},{self.mantissa_bits}{tail})"

    @property
    def width(self) -> int:
        """Bits of a code: sign, exponent, mantissa."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def largest(self) -> float:
        return self._magnitude(self._top_code)

    @property
    def smallest(self) -> float:
        """The smallest positive number: the smallest subnormal, or 2^(1 - bias) for M = 0."""
        return self._magnitude(1)

    @property
    def smallest_normal(self) -> float:
        """2^(1 - bias); multiples of ``smallest`` up to twice this are numbers."""
        return float(2.0 ** (1 - self._bias))

    @property
    def values(self) -> torch.Tensor:
        magnitudes = _numbers(self)[: self._top_code + 1]
        return torch.cat([-magnitudes[1:].flip(0), magnitudes])

    @property
    def _bias(self) -> int:
        assert self.bias is not None
        return self.bias

    @property
    def _top_code(self) -> int:
        """The code of the largest number."""
        codes = 1 << (self.exponent_bits + self.mantissa_bits)
        return codes - {"ieee": 1 << self.mantissa_bits, "fn": 1, "none": 0}[self.specials] - 1

    def _magnitude(self, code: int) -> float:
        exponent, mantissa = code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1)
        mantissa += (1 << self.mantissa_bits) if exponent else 0
        return float(mantissa * 2.0 ** (max(exponent, 1) - self._bias - self.mantissa_bits))

    def _encode(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor:
        number = self._rounded(x if place is None else x / place, rounding, draws).to(torch.float32)
        magnitude = number.abs()
        normal = (magnitude.view(torch.int32) >> (23 - self.mantissa_bits)) - ((127 - self._bias) << self.mantissa_bits)
        subnormal = (magnitude * (1.0 / self.smallest)).to(torch.int32)
        code = torch.where(magnitude < self.smallest_normal, subnormal, normal)
        if self.overflow == "inf":
            code.masked_fill_(magnitude.isinf(), self._top_code + 1)
        return code | (number.signbit().to(torch.int32) << (self.width - 1))

    def _decode(self, codes: torch.Tensor, place: Any) -> torch.Tensor:
        numbers = _numbers(self).to(codes.device).index_select(0, codes.flatten()).reshape(codes.shape)
        return numbers if place is None else numbers.mul_(place)

    def _quantize(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor:
        if place is None:
            return self._rounded(x, rounding, draws)
        return self._rounded(x / place, rounding, draws).to(torch.float32).mul_(place).to(x.dtype)

    def _no_codes(self, codes: torch.Tensor) -> torch.Tensor:
        return (codes < 0) | (codes >= 1 << self.width)

    def _rounded(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None) -> torch.Tensor:
        """Multiples of the step of x's binade. Division by a power of two is exact, so each rounds once."""
        bound = self.largest if self.overflow == "saturate" else 2.0 ** (_exponent(self.largest) + 1)
        x = x.clamp(-bound, bound)
        step = _binade(x).clamp_(min=self.smallest_normal).mul_(2.0**-self.mantissa_bits)
        multiples = torch.div(x, step, out=x) if draws is None else x / step
        if draws is None:
            rounded = integer_rounding.half_even(multiples).mul_(step)
        else:
            rounded = integer_rounding.stochastic(multiples, draws).mul_(step).copysign_(x)
        if self.overflow == "inf":
            rounded.masked_fill_(rounded > self.largest, torch.inf).masked_fill_(rounded < -self.largest, -torch.inf)
        return rounded


def _binade(x: torch.Tensor) -> torch.Tensor:
    """2^floor(log2|x|) of normal numbers; 0 of smaller ones."""
    if x.dtype == torch.float32:
        return (x.view(torch.int32) & 0x7F800000).view(torch.float32)
    return (x.view(torch.int64) & 0x7FF0000000000000).view(torch.float64)


def _exponent(number: float) -> int:
    return int(torch.frexp(torch.tensor(number, dtype=torch.float64))[1]) - 1


@lru_cache(maxsize=64)
def _numbers(format: MiniFloat) -> torch.Tensor:
    """The number of every code, float32; infinities and NaN where the format has them."""
    half = 1 << (format.width - 1)
    positive = torch.full((half,), torch.nan)
    top = format._top_code
    positive[: top + 1] = torch.tensor([format._magnitude(code) for code in range(top + 1)])
    if format.specials == "ieee":
        positive[top + 1] = torch.inf
    return torch.cat([positive, -positive])


E4M3 = MiniFloat(4, 3, specials="fn")
"""FP8 for weights and activations: largest 448, no infinity, one NaN."""

E5M2 = MiniFloat(5, 2, specials="ieee")
"""FP8 for gradients: largest 57344, infinity and NaN as in IEEE 754."""

E3M0 = MiniFloat(3, 0, specials="none")
"""LUQ's FP4 for gradients: zero and the powers of two from 2^-2 to 2^4, each with a sign; use with a scale."""
