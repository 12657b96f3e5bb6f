"""The quantiser formats again, one number at a time, in exact fractions and 200-bit logarithms: the oracle."""

from fractions import Fraction
from math import floor, inf

import mpmath
import numpy as np

HIGH = mpmath.mp.clone()
HIGH.prec = 200


def float_neighbours(value, dtype=np.float32, reach=2):
    """The floats nearest to a real number, ``reach`` on either side."""
    with np.errstate(over="ignore", under="ignore"):
        near = dtype(float(value))
        found = [near]
        for direction in (-np.inf, np.inf):
            at = near
            for _ in range(reach):
                at = np.nextafter(at, dtype(direction))
                found.append(at)
    return [float(x) for x in found]


def round_half(value: Fraction, ties: str) -> int:
    if ties == "half-even":
        return round(value)
    return floor(abs(value) + Fraction(1, 2)) * (-1 if value < 0 else 1)


def fixed_point(format, x: float) -> Fraction:
    step = Fraction(2) ** -format.frac_bits
    top = Fraction(2) ** format.int_bits - step
    bottom = (-top if format.symmetric else -top - step) if format.signed else Fraction(0)
    if x in (inf, -inf):
        return top if x > 0 else bottom
    return min(max(round_half(Fraction(x) / step, format.rounding) * step, bottom), top)


def mini_float_magnitude(format, code: int) -> Fraction:
    """The number of a code without sign, as though no code were special."""
    exponent, mantissa = divmod(code, 2**format.mantissa_bits)
    fraction = Fraction(mantissa, 2**format.mantissa_bits)
    if exponent == 0:
        return Fraction(2) ** (1 - format.bias) * fraction
    return Fraction(2) ** (exponent - format.bias) * (1 + fraction)


def mini_float_count(format) -> int:
    """How many codes without sign are finite numbers."""
    codes = 2 ** (format.exponent_bits + format.mantissa_bits)
    return codes - {"ieee": 2**format.mantissa_bits, "fn": 1, "none": 0}[format.specials]


def mini_float(format, x: float) -> Fraction | float:
    """The rounded magnitude of x; ties to the even multiple of the step, which the integers below tell."""
    count = mini_float_count(format)
    largest = mini_float_magnitude(format, count - 1)
    over = inf if format.overflow == "inf" else largest
    if x in (inf, -inf):
        return over
    x = abs(Fraction(x))
    exponent = 1 - format.bias
    while Fraction(2) ** (exponent + 1) <= x:
        exponent += 1
    step = Fraction(2) ** (exponent - format.mantissa_bits)
    rounded = round(x / step) * step
    return over if rounded > largest else rounded


def log2_ratio(x: float, scale: float):
    return HIGH.log(HIGH.mpf(x) / HIGH.mpf(scale), 2)


def nearest_log(x: float, steps: int, scale: float = 1.0) -> int:
    """Nearest integer to steps * log2(x / scale)."""
    return int(HIGH.floor(steps * log2_ratio(x, scale) + HIGH.mpf(0.5)))


def log_number(k: int, steps: int, scale: float = 1.0):
    return HIGH.mpf(scale) * HIGH.power(2, HIGH.mpf(k) / steps)


def to_float32(value) -> np.float32:
    """Correctly rounded, from 200 bits."""
    mantissa, exponent = HIGH.frexp(value)
    return np.float32(float(HIGH.ldexp(HIGH.nint(HIGH.ldexp(mantissa, 24)), int(exponent) - 24)))


def log_quant(format, x: float) -> tuple[int, int]:
    """Sign and index of the magnitude: Clip(Round(log x), FSR - 2^b, FSR), index 0 for zero."""
    steps = 2 if format.base == "sqrt2" else 1
    low, high = steps * format.fsr - 2**format.bits, steps * format.fsr
    if x == 0 or (x < 0 and not format.signed):
        return 0, 0
    log = high if x in (inf, -inf) else nearest_log(abs(x), steps)
    if log <= low:
        return 0, 0
    return int(x < 0), min(log, high - 1) - low


def multi_base_lns(format, x: float, scale: float) -> tuple[int, int]:
    """Sign and xt = clamp(round(gamma log2(|x| / s)), 0, 2^(B-1) - 1)."""
    top = 2 ** (format.bits - 1) - 1
    xt = 0 if x == 0 else top if abs(x) == inf else min(max(nearest_log(abs(x), format.base_factor, scale), 0), top)
    return (0, 0) if format.zero and xt == 0 else (int(x < 0), xt)
