"""LogQuant(b, FSR): powers of two, or of its square root, below a full-scale range.

Miyashita, Lee & Murmann 2016 (arXiv 1603.01025):
    LogQuant(x, b, FSR) = 0 for x = 0, else 2^xt,   xt = Clip(Round(log2|x|), FSR - 2^b, FSR),
where Clip(x, min, max) is 0 (the number itself is zero) for x <= min, max - 1 for x >= max, else x. One of the 2^b
codes is therefore zero, and xt runs from FSR - 2^b + 1 to FSR - 1. Base sqrt(2) takes half steps: Round(2 log2|x|) / 2,
2^b - 1 magnitudes from FSR - 2^(b-1) + 1/2 to FSR - 1/2.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch

from slipstick.errors import SpecificationError
from slipstick.formats.log_quantiser import LogQuantiser
from slipstick.formats.quantiser import check_choice, check_integer, power_of_two_above

Base = Literal[2, "sqrt2"]


@dataclass(frozen=True)
class LogQuant(LogQuantiser):
    """Zero and 2^b - 1 magnitudes in a geometric row below 2^fsr.

    bits: b, 1 to 8, the sign not counted: a signed code has b + 1 bits.
    fsr: log2 of the full-scale range, an integer; FSR - 2^b (base 2) or FSR - 2^(b-1) (base sqrt 2) must not be below
        -126, where float32 ends.
    base: 2, or "sqrt2" for magnitudes half an octave apart. FSR counts octaves in both.
    signed: with a sign (weights, gradients); without it negative numbers become zero (activations after ReLU).

    A code is the sign, above the b-bit field xt's index: 0 for zero, then the magnitudes ascending. "nearest" is
    nearest in the logarithm: for base 2 the mantissa is compared with sqrt 2, for sqrt 2 with 2^(1/4) and 2^(3/4);
    no float ties. Magnitudes that round to 2^(FSR - 2^b) or less become zero, those that round to 2^FSR or more and
    infinities the largest. "stochastic" is unbiased in the linear domain, with zero a neighbour of the smallest
    magnitude. -0.0 gives 0.0; NaN raises.
    """

    bits: int
    fsr: int
    base: Base = 2
    signed: bool = True

    def __post_init__(self) -> None:
        check_integer("LogQuant", "bits", self.bits, 1, 8)
        check_choice("LogQuant", "base", self.base, (2, "sqrt2"))
        check_choice("LogQuant", "signed", self.signed, (True, False))
        if self._octaves > 126 + 127:
            raise SpecificationError(f"LogQuant(bits={self.bits}): 2^{self.bits} octaves exceed float32; use 7 bits")
        check_integer("LogQuant", "fsr", self.fsr, *self._fsr_range)

    def __str__(self) -> str:
        tail = ",base=sqrt2" if self.base == "sqrt2" else ""
        return f"LogQuant({self.bits},fsr={self.fsr}{tail}{'' if self.signed else ',unsigned'})"

    def fitted(self, x: torch.Tensor) -> Self:
        """The same format with the smallest FSR at or above log2 max|x|, within what float32 allows; exact."""
        peak = self._peak(self._accepted(x), None).to(torch.float64).clamp(2.0**-126, 2.0**127)
        low, high = self._fsr_range
        return replace(self, fsr=min(max(int(power_of_two_above(peak)), low), high))

    @property
    def _octaves(self) -> int:
        """Octaves from the full-scale range down to the code of zero."""
        return (1 << self.bits) >> self._frac_bits

    @property
    def _fsr_range(self) -> tuple[int, int]:
        return self._octaves - 126, 127

    @property
    def _frac_bits(self) -> int:
        return 1 if self.base == "sqrt2" else 0

    @property
    def _field_bits(self) -> int:
        return self.bits

    @property
    def _low(self) -> int:
        return (self.fsr << self._frac_bits) - (1 << self.bits)

    @property
    def _has_zero(self) -> bool:
        return True

    @property
    def _has_sign(self) -> bool:
        return self.signed
