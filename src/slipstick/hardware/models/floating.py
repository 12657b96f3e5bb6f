"""Fused floating-point multiply-add: a b + c, the exact real number rounded once.

Rules, those of IEEE 754 where a format has infinities:
    rounding  to the nearest number, ties to the even code; subnormals as operands, accumulators and results.
    overflow  a sum that rounds beyond the largest number, and an infinite one, is infinity or the largest number of its
              sign, as the accumulator's format says.
    zero      a sum of exactly zero is +0, unless product and c are both -0. One that rounds to zero keeps its sign.
    NaN       any NaN operand, 0 times infinity, infinity minus infinity: the one NaN of the format, its sign 0.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstick.errors import SpecificationError
from slipstick.formats import MiniFloat
from slipstick.hardware.float_format import FloatFormat

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

_TOP = 60
"""Sums are formed with the leading bit of the larger term here: room for any two significands, and for the carry."""

_NOTHING = -4096
"""An exponent below that of every number."""


@dataclass(frozen=True)
class FloatMac:
    """sum = acc + a b, fused.

    a, b: formats of the operands, MiniFloat or FloatFormat; what they do at overflow does not matter. accumulator: of
        acc and sum, with at least 2 exponent bits and 1 mantissa bit, and with a NaN where a or b has one or infinity.
    """

    a: FloatFormat
    b: FloatFormat
    accumulator: FloatFormat

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", _operand(self.a))
        object.__setattr__(self, "b", _operand(self.b))
        object.__setattr__(self, "accumulator", FloatFormat.of(self.accumulator))
        if self.accumulator.exponent_bits < 2 or self.accumulator.mantissa_bits < 1:
            raise SpecificationError(
                f"{self.accumulator}: an accumulator needs 2 exponent bits and 1 mantissa bit; use a wider format"
            )
        special = [format for format in (self.a, self.b) if format.specials != "none"]
        if special and not self.accumulator.has_nan:
            raise SpecificationError(
                f"{self.accumulator}: has no NaN for those of {special[0]}; use operands with specials='none'"
            )

    def __str__(self) -> str:
        return f"{self.a.name} x {self.b.name} + {self.accumulator.name}"


class Numbers(NamedTuple):
    """Decoded codes: (-1)^sign * significand * 2^exponent where finite; significand and exponent are of no use else."""

    sign: Codes
    significand: Codes
    exponent: Codes
    infinite: Flags
    nan: Flags


def float_step(mac: FloatMac, a: Codes, b: Codes, acc: Codes) -> Codes:
    """Codes of the sum."""
    x, y, c = decode(mac.a, a), decode(mac.b, b), decode(mac.accumulator, acc)
    sign = x.sign ^ y.sign
    infinite = x.infinite | y.infinite
    zero_times_infinity = (x.infinite & (y.significand == 0)) | (y.infinite & (x.significand == 0))
    nan = x.nan | y.nan | c.nan | zero_times_infinity | (infinite & c.infinite & (sign != c.sign))
    finite = _sum(mac.accumulator, sign, x.significand * y.significand, x.exponent + y.exponent, c)
    of_infinity = np.where(infinite, sign, c.sign) << (mac.accumulator.width - 1) | mac.accumulator.beyond_code
    codes = np.where(infinite | c.infinite, of_infinity, finite)
    return np.where(nan, mac.accumulator.nan_code, codes) if mac.accumulator.has_nan else codes


def decode(format: FloatFormat, codes: Codes) -> Numbers:
    """What codes stand for."""
    codes = np.asarray(codes, np.int64)
    magnitude = codes & ((1 << (format.width - 1)) - 1)
    field, mantissa = magnitude >> format.mantissa_bits, magnitude & ((1 << format.mantissa_bits) - 1)
    significand = mantissa | ((field > 0).astype(np.int64) << format.mantissa_bits)
    exponent = np.maximum(field, 1) - format.zero_exponent - format.mantissa_bits
    special = magnitude > format.top_code
    infinite = special & (magnitude == format.top_code + 1) & format.has_infinity
    return Numbers(codes >> (format.width - 1), significand, exponent, infinite, special & ~infinite)


def _operand(format: MiniFloat | FloatFormat) -> FloatFormat:
    made = FloatFormat.of(format)
    return replace(made, overflow="inf" if made.has_infinity else "saturate")


def _sum(format: FloatFormat, sign: Codes, product: Codes, exponent: Codes, c: Numbers) -> Codes:
    """Codes of (-1)^sign product 2^exponent + c, all finite.

    Both terms are written in units of 2^(top - 60), top the larger exponent of a leading bit, and what is below is
    one more bit, set if any is. That bit is exact enough: it is there only if the terms are 12 octaves apart, so that
    the sum has its leading bit at 2^(top - 1) or above, 30 bits above where its rounding ends.
    """
    product_top = np.where(product > 0, exponent + _length(product), _NOTHING)
    c_top = np.where(c.significand > 0, c.exponent + _length(c.significand), _NOTHING)
    unit = np.maximum(product_top, c_top) - _TOP
    term = _shifted(product, exponent - unit)
    other = _shifted(c.significand, c.exponent - unit)
    total = np.where(sign == 1, -term, term) + np.where(c.sign == 1, -other, other)
    negative = np.where(total == 0, (sign & c.sign) == 1, total < 0)
    magnitude = _rounded(format, np.abs(total), unit)
    magnitude = np.where(magnitude > format.top_code, format.beyond_code, magnitude)
    return magnitude | (negative.astype(np.int64) << (format.width - 1))


def _rounded(format: FloatFormat, magnitude: Codes, unit: Codes) -> Codes:
    """Positive codes of magnitude 2^unit, as if the exponent field had no end."""
    lowest = format.smallest_exponent - format.mantissa_bits
    last = np.maximum(unit + _length(magnitude) - format.precision, lowest)  # exponent of the result's last bit
    shift = last - unit
    down = np.clip(shift, 0, 62)
    kept, rest = magnitude >> down, magnitude & ((np.int64(1) << down) - 1)
    half = (np.int64(1) << down) >> 1
    up = (down > 0) & ((rest > half) | ((rest == half) & ((kept & 1) == 1)))
    kept = np.where(shift >= 0, kept + up, magnitude << np.clip(-shift, 0, 62))
    return np.where(magnitude == 0, 0, kept + ((last - lowest) << format.mantissa_bits))


def _length(integers: Codes) -> Codes:
    """Bits of non-negative integers below 2^62."""
    high = integers >> 31  # each half is exact in float64
    low = np.frexp((integers & 0x7FFFFFFF).astype(np.float64))[1]
    return np.where(high > 0, np.frexp(high.astype(np.float64))[1] + 31, low).astype(np.int64)


def _shifted(integers: Codes, left: Codes) -> Codes:
    """integers * 2^left; bits that fall off the right set the last one."""
    right = np.clip(-left, 0, 62)
    fallen = (integers & ((np.int64(1) << right) - 1)) != 0
    return np.where(left >= 0, integers << np.clip(left, 0, 62), (integers >> right) | fallen)
