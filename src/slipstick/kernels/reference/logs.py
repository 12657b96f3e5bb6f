"""Arrays of logarithmic numbers, their rounding to a format, and the way from one format to another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.formats import LNS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LogArray:
    """Numbers (-1)^sign 2^(log / 2^F) of ``format``; where log is ``format.zero_log`` the number is 0 and sign 0."""

    format: LNS
    sign: Ints
    log: Ints

    @property
    def shape(self) -> tuple[int, ...]:
        return self.log.shape

    @property
    def is_zero(self) -> Bools:
        return np.asarray(self.log == self.format.zero_log)

    def __getitem__(self, index: Any) -> "LogArray":
        return LogArray(self.format, self.sign[index], self.log[index])

    def reshape(self, *shape: int) -> "LogArray":
        return LogArray(self.format, self.sign.reshape(shape), self.log.reshape(shape))

    def transpose(self, *axes: int) -> "LogArray":
        return LogArray(self.format, self.sign.transpose(axes), self.log.transpose(axes))

    def codes(self) -> NDArray[np.int32]:
        """Public codes: s in the top bit of W, L in two's complement below it."""
        return self.format.pattern(self.sign, self.log)

    def numbers(self) -> NDArray[np.float32]:
        """float32 carriers."""
        return self.format.numbers(self.sign, self.log)


def encode(x: NDArray[Any], format: LNS, via: LNS | None = None) -> LogArray:
    """Numbers of float32 or float64 values: "every operand is first encoded in ``via``, then narrowed"."""
    if via is not None:
        return convert(encode(x, via), format)
    return LogArray(format, *format.logs(np.asarray(x)))


def from_codes(codes: NDArray[Any], format: LNS) -> LogArray:
    """Numbers of public codes."""
    return LogArray(format, *format.split(codes))


def zeros(shape: tuple[int, ...], format: LNS) -> LogArray:
    """Zeros."""
    return LogArray(format, np.zeros(shape, np.int64), np.full(shape, format.zero_log, np.int64))


def rounded(sign: Ints, log: Ints, zero: Bools, format: LNS) -> LogArray:
    """ "L above MAX gives MAX; L below -MAX gives -MAX ("saturate") or zero ("flush")"; zero where ``zero`` says so."""
    lowest = -format.max_log if format.underflow == "saturate" else format.zero_log
    log = np.where(log > format.max_log, format.max_log, np.where(log < -format.max_log, lowest, log))
    log = np.where(zero, format.zero_log, log)
    return LogArray(format, np.where(log == format.zero_log, 0, sign), log)


def convert(a: LogArray, format: LNS) -> LogArray:
    """The same numbers in another format.

    More fraction bits: "terms enter exactly, a left shift". Fewer: "narrowed by shift, nearest, ties to even L".
    Either way the result is then rounded to the range of ``format``.
    """
    shift = format.frac_bits - a.format.frac_bits
    log = a.log << shift if shift >= 0 else _halving(a.log, -shift)
    return rounded(a.sign, log, a.is_zero, format)


def _halving(log: Ints, shift: int) -> Ints:
    """log / 2^shift to the nearest integer, ties to the even one."""
    floor = log >> shift
    doubled_rest = 2 * (log - (floor << shift))
    up = (doubled_rest > 1 << shift) | ((doubled_rest == 1 << shift) & (floor % 2 == 1))
    return np.where(up, floor + 1, floor)
