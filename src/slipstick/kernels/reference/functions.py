"""exp, log and other functions: "of the exact real value of the code, correctly rounded to the grid".

Every distinct operand is evaluated with 60 digits. A value that still looks like a tie then is one, and goes to the
even L. exp may be "a stated table design" instead, evaluated number by number as the design states it.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from slipstick.arithmetic import ExpSegments, LogArithmetic
from slipstick.errors import NonFiniteError
from slipstick.formats import LNS
from slipstick.kernels.reference.logs import LogArray, encode, rounded

_DIGITS = 60
_TIE = "1e-30"

Real = Any
"""An mpmath number."""


def apply(name: str, function: Callable[[Real], Real], a: LogArray) -> LogArray:
    """``function`` of every number. Infinite values saturate; NaN and complex ones raise NonFiniteError."""
    pairs, where = np.unique(np.stack([a.sign.ravel(), a.log.ravel()]), axis=1, return_inverse=True)
    with mpmath.workdps(_DIGITS):
        values = [function(_real(int(s), int(log), a.format)) for s, log in pairs.T]
        results = [_rounded_log(name, value, a.format.frac_bits) for value in values]
    sign, log, zero = (np.array(column)[where].reshape(a.shape) for column in zip(*results, strict=True))
    # Logs beyond any format are cut to 2^40 by _rounded_log, so int64 holds them all.
    return rounded(sign.astype(np.int64), log.astype(np.int64), zero.astype(bool), a.format)


def exp(a: LogArray, arithmetic: LogArithmetic | None = None) -> LogArray:
    """e^a; by the segments of ``arithmetic`` if it has some, else correctly rounded."""
    table = None if arithmetic is None else arithmetic.exponential
    if table is None:
        return apply("exp", mpmath.exp, a)
    pairs = zip(a.sign.ravel().tolist(), a.log.ravel().tolist(), strict=True)
    log = np.array([_log_of_exp(sign, log, a.format, table) for sign, log in pairs], np.int64).reshape(a.shape)
    return rounded(np.zeros_like(log), log, np.zeros(a.shape, bool), a.format)


def _log_of_exp(sign: int, log: int, format: LNS, table: ExpSegments) -> int:
    """ "d = origin - L and the first segment k whose bound is >= d"; "exp(|x|) has the negated log"."""
    if log == format.zero_log:
        return 0
    d = table.origin - log
    if d < 0:
        of_minus = -(1 << 40)
    else:
        of_minus = 0
        columns = (table.segments.bound, table.segments.exponent, table.segments.offset)
        for bound, exponent, offset in zip(*columns, strict=True):
            if bound >= d:
                of_minus = offset + math.floor(Fraction(d) * Fraction(2) ** exponent)
                break
    return of_minus if sign else -of_minus


def log(a: LogArray) -> LogArray:
    """Natural logarithm: "log 0 saturates as encode(-inf)"; of a negative number raises."""
    return apply("log", lambda x: mpmath.log(x) if x else mpmath.mpf("-inf"), a)


def tanh(a: LogArray) -> LogArray:
    """Hyperbolic tangent."""
    return apply("tanh", mpmath.tanh, a)


def sigmoid(a: LogArray) -> LogArray:
    """1 / (1 + e^-a)."""
    return apply("sigmoid", lambda x: 1 / (1 + mpmath.exp(-x)), a)


def power(a: LogArray, exponent: float) -> LogArray:
    """a^exponent: the log times the exponent, which is rational, so ties are real and go to the even L.

    0^0 = 1; zero to a negative power is 1/0; a negative number to a power that is no integer raises.
    """
    if exponent == 0:
        return encode(np.ones(a.shape), a.format)
    exact = Fraction(exponent)
    if bool((a.sign == 1).any()) and exact.denominator != 1:
        raise NonFiniteError(f"pow: a negative number to the power {exponent} has no code; use an integer exponent")
    logs, where = np.unique(a.log, return_inverse=True)
    limit = 4 * a.format.max_log
    scaled = [max(-limit, min(limit, round(int(log) * exact))) for log in logs]  # round() takes ties to even
    result = np.array(scaled, np.int64)[where].reshape(a.shape)
    sign = a.sign if exact % 2 == 1 else np.zeros_like(a.sign)
    if exponent < 0:
        return rounded(sign, np.where(a.is_zero, a.format.max_log, result), np.zeros(a.shape, bool), a.format)
    return rounded(sign, result, a.is_zero, a.format)


def _real(sign: int, log: int, format: LNS) -> Real:
    if log == format.zero_log:
        return mpmath.mpf(0)
    magnitude = mpmath.power(2, mpmath.mpf(log) / (1 << format.frac_bits))
    return -magnitude if sign else magnitude


def _rounded_log(name: str, value: Real, frac_bits: int) -> tuple[int, int, bool]:
    """Sign, log and whether the number is zero."""
    if isinstance(value, mpmath.mpc) or mpmath.isnan(value):
        raise NonFiniteError(f"{name}: {value} has no code; keep the operand where {name} is defined")
    sign = int(value < 0)
    if value == 0:
        return 0, 0, True
    if mpmath.isinf(value):
        return sign, 1 << 40, False
    scaled = mpmath.log(abs(value), 2) * (1 << frac_bits)
    scaled = max(min(scaled, mpmath.mpf(1 << 40)), mpmath.mpf(-(1 << 40)))
    floor = int(mpmath.floor(scaled))
    rest = scaled - floor - mpmath.mpf("0.5")
    up = floor % 2 == 1 if abs(rest) < mpmath.mpf(_TIE) else rest > 0
    return sign, floor + int(up), False
