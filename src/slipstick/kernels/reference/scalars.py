"""Operations on one or two numbers that need no adder."""

import numpy as np

from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.formats import LNS
from slipstick.kernels.reference.logs import Bools, Ints, LogArray, rounded


def same_format(a: LogArray, b: LogArray, format: LNS) -> None:
    """Raises SpecificationError unless both operands are numbers of ``format``."""
    if not a.format == b.format == format:
        raise SpecificationError(f"operands of {a.format} and {b.format} where {format} is due; convert them first")


def multiply(a: LogArray, b: LogArray) -> LogArray:
    """ "La + Lb, s = sa xor sb; zero absorbs"."""
    same_format(a, b, a.format)
    return rounded(a.sign ^ b.sign, a.log + b.log, a.is_zero | b.is_zero, a.format)


def divide(a: LogArray, b: LogArray) -> LogArray:
    """ "La - Lb; x/0 saturates to MAX with x's sign; 0/0 raises"."""
    same_format(a, b, a.format)
    if bool((a.is_zero & b.is_zero).any()):
        raise NonFiniteError("divide: 0/0 has no code; keep the divisor away from zero")
    log = np.where(b.is_zero, a.format.max_log, a.log - b.log)
    sign = np.where(b.is_zero, a.sign, a.sign ^ b.sign)
    return rounded(sign, log, a.is_zero, a.format)


def reciprocal(a: LogArray) -> LogArray:
    """1 / a."""
    return divide(LogArray(a.format, np.zeros_like(a.sign), np.zeros_like(a.log)), a)


def sqrt(a: LogArray) -> LogArray:
    """ "L >> 1 (floor); of a negative raises"; of zero, zero."""
    _refuse_negative("sqrt", a)
    return rounded(a.sign, a.log >> 1, a.is_zero, a.format)


def rsqrt(a: LogArray) -> LogArray:
    """ "-(L >> 1)"; of zero, 1/0."""
    _refuse_negative("rsqrt", a)
    return rounded(a.sign, np.where(a.is_zero, a.format.max_log, -(a.log >> 1)), np.zeros(a.shape, bool), a.format)


def negate(a: LogArray) -> LogArray:
    """-a, exact."""
    return LogArray(a.format, np.where(a.is_zero, 0, 1 - a.sign), a.log)


def absolute(a: LogArray) -> LogArray:
    """|a|, exact."""
    return LogArray(a.format, np.zeros_like(a.sign), a.log)


def less(a: LogArray, b: LogArray) -> Bools:
    """a < b, exact."""
    same_format(a, b, a.format)
    return np.asarray(_rank(a) < _rank(b))


def equal(a: LogArray, b: LogArray) -> Bools:
    """a == b, exact."""
    same_format(a, b, a.format)
    return np.asarray(_rank(a) == _rank(b))


def maximum(a: LogArray, b: LogArray) -> LogArray:
    """The larger number, exact."""
    return _choose(less(a, b), b, a)


def minimum(a: LogArray, b: LogArray) -> LogArray:
    """The smaller number, exact."""
    return _choose(less(a, b), a, b)


def _choose(condition: Bools, a: LogArray, b: LogArray) -> LogArray:
    return LogArray(a.format, np.where(condition, a.sign, b.sign), np.where(condition, a.log, b.log))


def _rank(a: LogArray) -> Ints:
    """An integer that orders numbers by value: magnitudes count up from zero's 0, negative numbers down."""
    magnitude = a.log - a.format.zero_log
    return np.where(a.sign == 1, -magnitude, magnitude)


def _refuse_negative(name: str, a: LogArray) -> None:
    if bool((a.sign == 1).any()):
        raise NonFiniteError(f"{name}: a negative number has no {name}; keep the operand at zero or above")
