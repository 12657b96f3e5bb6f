"""Logarithmic cores: what they compute, by the NumPy reference, and the range that their logs provably keep to.

All codes are the public codes of the formats. A range speaks of numbers that are not zero; zero may always occur.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.adders import Tables
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.formats import LNS
from slipstick.kernels.reference.addition import add_by
from slipstick.kernels.reference.logs import LogArray, convert, encode, from_codes
from slipstick.kernels.reference.products import term
from slipstick.kernels.reference.sums import ordered_sum

Codes = NDArray[np.int64]


def log_step(arithmetic: LogArithmetic, a: Codes, b: Codes, acc: Codes) -> Codes:
    """acc + a b: the product formed in the accumulator's format, then one addition by its tables."""
    before = from_codes(acc, arithmetic.accumulator_format)
    return _codes(add_by(arithmetic.accumulator_tables, before, _product(arithmetic, a, b)))


def log_dot(arithmetic: LogArithmetic, a: Codes, b: Codes) -> Codes:
    """Sum over axis 0 of the products a b, in the order of the arithmetic; a code of the accumulator."""
    return _codes(ordered_sum(_product(arithmetic, a, b), arithmetic.order, arithmetic.accumulator_tables))


def log_sum(arithmetic: LogArithmetic, terms: Codes) -> Codes:
    """Sum over axis 0 of codes of the accumulator, in the order of the arithmetic."""
    numbers = from_codes(terms, arithmetic.accumulator_format)
    return _codes(ordered_sum(numbers, arithmetic.order, arithmetic.accumulator_tables))


def log_convert(codes: Codes, source: LNS, target: LNS) -> Codes:
    """The same numbers in another format: an accumulator leaving, or an operand entering a wider one."""
    return _codes(convert(from_codes(codes, source), target))


def log_encode(bits: Codes, format: LNS) -> Codes:
    """Codes of float32 bit patterns that are no NaN."""
    return _codes(encode(np.asarray(bits).astype(np.uint32).view(np.float32), format))


def log_decode(codes: Codes, format: LNS) -> Codes:
    """float32 bit patterns of codes."""
    return from_codes(codes, format).numbers().view(np.uint32).astype(np.int64)


def _product(arithmetic: LogArithmetic, a: Codes, b: Codes) -> LogArray:
    return term(from_codes(a, arithmetic.format), from_codes(b, arithmetic.format), arithmetic)


def _codes(numbers: LogArray) -> Codes:
    return numbers.codes().astype(np.int64)


@dataclass(frozen=True)
class LogRange:
    """The logs, both included, that a number can have where it is not zero."""

    lowest: int
    highest: int

    @property
    def bits(self) -> int:
        """Width of the logs in two's complement."""
        return bits_of(self.lowest, self.highest)

    def __or__(self, other: "LogRange") -> "LogRange":
        return LogRange(min(self.lowest, other.lowest), max(self.highest, other.highest))

    def fits(self, format: LNS) -> bool:
        """Whether no rounding to ``format`` changes a log."""
        return -format.max_log <= self.lowest and self.highest <= format.max_log

    def rounded(self, format: LNS) -> "LogRange":
        """What is left of it in ``format``."""
        return LogRange(*(max(-format.max_log, min(format.max_log, log)) for log in (self.lowest, self.highest)))


def bits_of(lowest: int, highest: int) -> int:
    """Width of a two's complement number from ``lowest`` to ``highest``."""
    return 1 + max((~number if number < 0 else number).bit_length() for number in (lowest, highest))


def product_range(arithmetic: LogArithmetic) -> LogRange:
    """Of products as they enter the accumulator, before they are rounded to it."""
    shift = arithmetic.accumulator_format.frac_bits - arithmetic.format.frac_bits
    highest = (2 * arithmetic.format.max_log) << shift
    return LogRange(-highest, highest)


def sum_range(tables: Tables, a: LogRange, b: LogRange) -> LogRange:
    """Of a + b before it is rounded: max(La, Lb) + D(d) for every pair of logs, and either number alone."""
    lowest, highest = _extremes(tables)
    reached = a | b
    for larger, smaller in ((a, b), (b, a)):
        log = np.arange(max(larger.lowest, smaller.lowest), larger.highest + 1)
        if log.size:
            nearest = np.clip(log - smaller.highest, 0, len(lowest) - 1)
            total = LogRange(int((log + lowest[nearest]).min()), int((log + highest[nearest]).max()))
            reached = reached | total
    return reached


def accumulator_range(arithmetic: LogArithmetic) -> LogRange:
    """What the accumulator of any sequence of products, started from zero, stays within.

    A product that is not zero pulls the sum up to its own log plus the lowest correction at least. A sum that lies so
    far above all products that their corrections are 0 grows no more.
    """
    lowest, highest = _extremes(arithmetic.accumulator_tables)
    products = product_range(arithmetic).rounded(arithmetic.accumulator_format)
    top = products.highest + int((np.arange(len(highest)) + highest).max())
    bottom = products.lowest + int(lowest[0])
    return (products | LogRange(bottom, top)).rounded(arithmetic.accumulator_format)


def _extremes(tables: Tables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lowest and the highest correction, and 0, at each distance or beyond it."""
    plus, minus = (table.astype(np.int64) for table in tables)
    minus = np.where(minus == CANCEL, 0, minus)
    minus[0] = 0
    lowest, highest = np.minimum(np.minimum(plus, minus), 0), np.maximum(np.maximum(plus, minus), 0)
    return np.minimum.accumulate(lowest[::-1])[::-1], np.maximum.accumulate(highest[::-1])[::-1]
