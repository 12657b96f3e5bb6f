"""Functions of one number: of the exact real value of a code, correctly rounded to the grid; or exp by a table design.

A function becomes a table over all codes of a format. float64 decides the nearest log; the few codes within 1e-6 LSB
of a tie are settled with 60 digits, or exactly; a true tie goes to the even log.

Tables are built at first use and kept by value. All thirty functions of a 16-bit format, LNS(5, 9), take 0.25 s to
build on one core of a Zen 3, 0.04 s the slowest (tan); of the 22-bit LNS(6, 14) 35 s, 5 s the slowest (exp).
"""

from fractions import Fraction
from functools import lru_cache

import mpmath
import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.exponential import ExpSegments
from slipstick.arithmetic.log_arithmetic import LogArithmetic
from slipstick.arithmetic.real_functions import FUNCTIONS, PARAMETRIC, Floats, RealFunction
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

UNDEFINED = int(np.iinfo(np.int32).min)
"""Table entry where the function has no real value."""

_TIE_GUARD = 1e-6
_DIGITS = 60
_DOUBLE_PRECISION = 53


def function_names() -> tuple[str, ...]:
    """The functions that have tables, besides "pow" and those of ``PARAMETRIC``."""
    return tuple(FUNCTIONS)


def table_in(arithmetic: LogArithmetic, name: str, parameter: float = 0.0) -> NDArray[np.int32]:
    """``function_table`` as ``arithmetic`` has it: its own exponential, if it has one."""
    exponential = arithmetic.exponential if name == "exp" else None
    if exponential is not None:
        return _exponential_table(exponential, arithmetic.format)
    return function_table(name, arithmetic.format, parameter)


@lru_cache(maxsize=64)
def function_table(name: str, format: LNS, parameter: float = 0.0) -> NDArray[np.int32]:
    """Codes 2L + s of f(x) for every code of ``format``, indexed by 2L + s + 2(MAX + 1); entry 1 is unused.

    name: one of ``function_names()``, or, with a ``parameter``, "pow" (the exponent), "exp_base" (the base) or
        "round_to" (decimal places).
    An entry is ``UNDEFINED`` where f has no real value. Infinite values saturate.
    """
    log = np.repeat(np.arange(format.zero_log, format.max_log + 1, dtype=np.int64), 2)
    negative = np.tile(np.array([False, True]), len(log) // 2)
    if name == "pow":
        table = _power(log, negative, parameter, format)
    elif name in FUNCTIONS:
        table = _sampled(FUNCTIONS[name], log, negative, format)
    elif name in PARAMETRIC:
        table = _sampled(PARAMETRIC[name](parameter), log, negative, format)
    else:
        known = ", ".join((*function_names(), "pow", *PARAMETRIC))
        raise SpecificationError(f"function {name!r}: no table; known are {known}")
    table.setflags(write=False)
    return table


@lru_cache(maxsize=16)
def _exponential_table(exponential: ExpSegments, format: LNS) -> NDArray[np.int32]:
    """exp by segments, in the layout of ``function_table``; exp(x) for x > 0 has the negated log of exp(-x)."""
    log = exponential.logs(format)
    both_signs = np.stack([-log, log], axis=1).ravel()
    table = _codes(both_signs, np.zeros(len(both_signs), np.bool_), format).astype(np.int32)
    table.setflags(write=False)
    return table


def _sampled(f: RealFunction, log: NDArray[np.int64], negative: NDArray[np.bool_], format: LNS) -> NDArray[np.int32]:
    scale = float(1 << format.frac_bits)
    log2_x = log / scale
    x = np.where(negative, -np.exp2(log2_x), np.exp2(log2_x))
    with np.errstate(all="ignore"):
        sign, log2_f = f.evaluate(x, log2_x)
        real = log2_f * scale
    undefined = np.isnan(sign) | np.isnan(real)
    real = np.where(undefined, 0.0, np.clip(real, -(2.0**30), 2.0**30))
    nearest = np.floor(real + 0.5).astype(np.int64)
    in_range = np.abs(real) <= format.max_log + 1
    for i in np.flatnonzero((_close_to_tie(real) | f.careful(x)) & in_range & ~undefined):
        nearest[i] = _nearest_log(f, int(log[i]), bool(negative[i]), format.frac_bits)
    # A value that float64 cannot tell from zero is still not zero: its log is far below the range.
    codes = _codes(nearest, sign < 0, format)
    codes = np.where(sign == 0, _zero(format), codes)
    table = np.where(undefined, UNDEFINED, codes).astype(np.int32)
    table[:2] = UNDEFINED if np.isnan(f.at_zero) else _code_of(f.at_zero, format)
    return table


def _close_to_tie(real: Floats) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(real - np.floor(real) - 0.5) < _TIE_GUARD
    return close


def _nearest_log(f: RealFunction, log: int, negative: bool, frac_bits: int) -> int:
    with mpmath.workdps(_DIGITS):
        magnitude = mpmath.power(2, mpmath.mpf(log) / (1 << frac_bits))
        value = mpmath.log(abs(f.exact(-magnitude if negative else magnitude)), 2) * (1 << frac_bits)
        twice = mpmath.nint(2 * value)
        if abs(2 * value - twice) < mpmath.mpf(10) ** (-_DIGITS // 2):
            value = twice / 2  # a true tie, which only a power of two can make; nint takes it to even
        return int(mpmath.nint(value))


def _power(log: NDArray[np.int64], negative: NDArray[np.bool_], exponent: float, format: LNS) -> NDArray[np.int32]:
    """x^p: the log times p, nearest, ties to even; exact for integer p."""
    whole = float(exponent).is_integer()
    scaled = np.clip(log * float(exponent), -(2.0**30), 2.0**30)
    nearest = np.rint(scaled).astype(np.int64)
    numerator, denominator = float(exponent).as_integer_ratio()
    inexact = numerator.bit_length() + format.width > _DOUBLE_PRECISION
    for i in np.flatnonzero(_close_to_tie(scaled)) if inexact else ():
        nearest[i] = round(Fraction(int(log[i]) * numerator, denominator))  # ties to even
    codes = _codes(nearest, negative & (whole and int(exponent) % 2 == 1), format)
    if not whole:
        codes = np.where(negative, UNDEFINED, codes)
    at_zero = 1.0 if exponent == 0 else np.inf if exponent < 0 else 0.0
    codes[:2] = _code_of(at_zero, format)
    return codes.astype(np.int32)


def _zero(format: LNS) -> int:
    return 2 * format.zero_log


def _codes(log: NDArray[np.int64], negative: NDArray[np.bool_], format: LNS) -> NDArray[np.int64]:
    rounded = format.round_log(log)
    return np.where(rounded == format.zero_log, _zero(format), 2 * rounded + negative)


def _code_of(value: float, format: LNS) -> int:
    sign, log = format.logs(np.array([value]))
    return int(2 * log[0] + sign[0])
