"""Adders: the two integer functions D+(d) and D-(d) by which logarithms add.

For d = |La - Lb|, operands of the same sign add to max(La, Lb) + D+(d), of opposite signs to max(La, Lb) + D-(d);
d = 0 with opposite signs gives zero. Whatever its form, an adder *is* its two tables.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.gaussian_logarithm import CANCEL, exact_tables, gaussian_logarithm, trim_tables
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

Tables = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class Adder:
    """Base of all adders."""

    kind: ClassVar[str]

    def tables(self, format: LNS) -> Tables:
        """D+[0..n] and D-[0..n] in LSBs of ``format``; n is the first d from which both are 0.

        D-[0] is unused; an entry equal to ``CANCEL`` means that the sum is zero.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}


def check_frac_bits(adder: Adder, frac_bits: int, format: LNS) -> None:
    """Raises SpecificationError unless ``format`` has the F whose LSBs the adder's integers count."""
    if format.frac_bits != frac_bits:
        raise SpecificationError(
            f"{adder}: designed for frac_bits={frac_bits}, used with {format}; "
            f"choose LNS({format.int_bits},{frac_bits}) or another adder"
        )


@dataclass(frozen=True)
class Exact(Adder):
    """Correctly rounded: the nearest integer to 2^F log2(1 +- 2^(-d/2^F))."""

    kind: ClassVar[str] = "exact"

    def __str__(self) -> str:
        return "exact"

    def tables(self, format: LNS) -> Tables:
        return exact_tables(format.frac_bits)


@dataclass(frozen=True)
class Table(Adder):
    """A uniform look-up table: D sampled at multiples of ``step`` up to ``d_max`` (both in octaves), nearest index.

    Sanyal et al. 2019 (arXiv 1910.09876): step 1/2, d_max 10, 20 entries. Index 0 of D- gives zero; 0 from d_max on.
    step: a power of two, at least one LSB of the format it is used with.
    """

    step: float = 0.5
    d_max: float = 10.0
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        if not self.step > 0 or np.frexp(self.step)[0] != 0.5:
            raise SpecificationError(f"Table(step={self.step!r}): must be a positive power of two")
        if not self.d_max >= self.step or self.d_max % self.step:
            raise SpecificationError(f"Table(d_max={self.d_max!r}): must be a positive multiple of step={self.step}")

    def __str__(self) -> str:
        return f"Table(step={self.step:g}, d_max={self.d_max:g})"

    def tables(self, format: LNS) -> Tables:
        h = int(np.frexp(self.step)[1]) - 1 + format.frac_bits
        if h < 0:
            raise SpecificationError(
                f"{self}: finer than the step 2^-{format.frac_bits} of {format}; use step={2.0**-format.frac_bits:g}"
            )
        entries = int(self.d_max / self.step)
        d = np.arange(((entries + 1) << h) + 1, dtype=np.int64)
        index = (d + ((1 << h) >> 1)) >> h
        samples = np.arange(entries, dtype=np.int64) << h
        plus = np.append(gaussian_logarithm(1, samples, format.frac_bits), np.zeros(2, np.int32))
        minus = np.append(gaussian_logarithm(-1, samples[1:], format.frac_bits), np.zeros(2, np.int32))
        minus = np.concatenate([[CANCEL], minus]).astype(np.int32)
        index = np.minimum(index, entries)
        return trim_tables(plus[index], minus[index])

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "step": self.step, "d_max": self.d_max}


@dataclass(frozen=True)
class BitShift(Adder):
    """Mitchell's D+-(d) = +-2^-d with d rounded to an integer: +-(2^F >> ((d + 2^(F-1)) >> F)). Sanyal et al. 2019."""

    kind: ClassVar[str] = "bitshift"

    def __str__(self) -> str:
        return "bitshift"

    def tables(self, format: LNS) -> Tables:
        one = 1 << format.frac_bits
        d = np.arange((format.frac_bits + 3) << format.frac_bits, dtype=np.int64)
        plus = (one >> ((d + (one >> 1)) >> format.frac_bits)).astype(np.int32)
        minus = -plus
        minus[0] = CANCEL
        return trim_tables(plus, minus)


@dataclass(frozen=True)
class Segments:
    """Piece-wise linear function of d with power-of-two slopes, in LSBs.

    Segment k holds up to and including ``bound[k]`` (ascending); its slope is 2^exponent[k], its intercept offset[k].
    """

    bound: tuple[int, ...]
    exponent: tuple[int, ...]
    offset: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.bound or not len(self.bound) == len(self.exponent) == len(self.offset):
            sizes = (len(self.bound), len(self.exponent), len(self.offset))
            raise SpecificationError(f"Segments: bound, exponent and offset need one equal length, not {sizes}")
        if any(a > b for a, b in zip(self.bound, self.bound[1:], strict=False)) or self.bound[0] < 0:
            raise SpecificationError(f"Segments(bound={list(self.bound)}): bounds must ascend from 0 or more")
        if any(not -31 <= e <= 24 for e in self.exponent):
            raise SpecificationError(f"Segments(exponent={list(self.exponent)}): exponents must lie in -31 to 24")

    def values(self, d: NDArray[np.int64], slope_sign: int) -> NDArray[np.int32]:
        """offset_k + slope_sign * shift(d, exponent_k); 0 beyond the last bound."""
        k = np.searchsorted(np.asarray(self.bound), d, side="left")
        inside = k < len(self.bound)
        k = np.minimum(k, len(self.bound) - 1)
        exponent = np.asarray(self.exponent)[k]
        shifted = np.where(exponent >= 0, d << np.maximum(exponent, 0), d >> np.maximum(-exponent, 0))
        return np.where(inside, np.asarray(self.offset)[k] + slope_sign * shifted, 0).astype(np.int32)

    def to_dict(self) -> dict[str, Any]:
        return {"bound": list(self.bound), "exponent": list(self.exponent), "offset": list(self.offset)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Segments":
        return cls(*(tuple(int(v) for v in data[key]) for key in ("bound", "exponent", "offset")))


@dataclass(frozen=True)
class PiecewiseLinear(Adder):
    """D+ = offset - shift(d), D- = offset + shift(d) by segments: Hamad et al. 2025 (arXiv 2510.17058).

    frac_bits: the F whose LSBs the integers count; a table of one F means nothing in another.
    """

    frac_bits: int
    plus: Segments
    minus: Segments
    kind: ClassVar[str] = "piecewise-linear"

    def __str__(self) -> str:
        return f"piecewise-linear({len(self.plus.bound)}+{len(self.minus.bound)} segments, F={self.frac_bits})"

    def tables(self, format: LNS) -> Tables:
        check_frac_bits(self, self.frac_bits, format)
        d = np.arange(max(self.plus.bound[-1], self.minus.bound[-1]) + 2, dtype=np.int64)
        plus = self.plus.values(d, -1)
        minus = self.minus.values(d, 1)
        minus[0] = CANCEL
        return trim_tables(plus, minus)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "frac_bits": self.frac_bits,
            "plus": self.plus.to_dict(),
            "minus": self.minus.to_dict(),
        }
