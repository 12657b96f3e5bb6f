"""Real functions of one number as tables need them: sign and log2|f| in float64, and f with many digits.

float64 must give log2|f| to a few units in its last place, also where f is tiny: a table looks with more digits only
at values that lie close to a tie, and at codes that ``careful`` names.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.trigonometry import cosine, sine, tangent

Floats = NDArray[np.float64]
Digits = Any
"""An mpmath number."""

LOG2_E = 1.0 / np.log(2.0)
_LOG2_LOG2_E = np.log2(LOG2_E)


def _never(x: Floats) -> NDArray[np.bool_]:
    return np.zeros(x.shape, np.bool_)


@dataclass(frozen=True)
class RealFunction:
    """f by (x, log2|x|) -> (sign f, log2|f|) in float64, NaN where f has no real value; and f(x) with many digits."""

    evaluate: Callable[[Floats, Floats], tuple[Floats, Floats]]
    exact: Callable[[Digits], Digits]
    at_zero: float = 0.0
    careful: Callable[[Floats], NDArray[np.bool_]] = _never
    """Where float64 loses digits, because f has a root there."""


def _by_value(
    f: Callable[[Floats], Floats],
    exact: Callable[[Digits], Digits],
    at_zero: float = 0.0,
) -> RealFunction:
    """f in float64 is its value."""

    def evaluate(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
        value = f(x)
        return np.sign(value), np.log2(np.abs(value))

    return RealFunction(evaluate, exact, at_zero)


def _never_zero(
    sign: Callable[[Floats], Floats],
    f: Callable[[Floats], Floats],
    exact: Callable[[Digits], Digits],
    at_zero: float = 0.0,
) -> RealFunction:
    """f in float64 is its value, but underflows where f itself is not zero."""
    return RealFunction(lambda x, log2_x: (sign(x), np.log2(np.abs(f(x)))), exact, at_zero)


def _by_log(
    log2: Callable[[Floats, Floats], Floats], exact: Callable[[Digits], Digits], at_zero: float
) -> RealFunction:
    """f > 0, and its log is simple."""
    return RealFunction(lambda x, log2_x: (np.ones_like(x), log2(x, log2_x)), exact, at_zero)


def _logarithm(log2_of_unit: float, exact: Callable[[Digits], Digits]) -> RealFunction:
    """log2|x| times a unit; of a negative number there is none."""

    def evaluate(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
        defined = np.where(x > 0, log2_x, np.nan)
        return np.sign(defined), np.log2(np.abs(defined)) + log2_of_unit

    return RealFunction(evaluate, exact, -np.inf)


def _each(f: Callable[[float], float]) -> Callable[[Floats], Floats]:
    """A function of Python's math for every number of an array."""
    return lambda x: np.fromiter(map(f, x.tolist()), np.float64, x.size).reshape(x.shape)


_erf, _erfc = _each(math.erf), _each(math.erfc)


def _one_minus(x: Floats, log2_x: Floats) -> Floats:
    """1 - |x|, with all digits where |x| is near 1."""
    difference: Floats = 0.0 - np.expm1(log2_x / LOG2_E)
    return difference


def _acos(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    of_magnitude = 2 * np.arcsin(np.sqrt(_one_minus(x, log2_x) / 2))
    value = np.where(x < 0, np.pi - of_magnitude, of_magnitude)
    return np.sign(value), np.log2(value)


def _acosh(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    above = np.where(x > 0, -_one_minus(x, log2_x), np.nan)
    value = np.where(x < 1e8, np.log1p(above + np.sqrt(above * (2 + above))), np.log(np.abs(x)) + np.log(2.0))
    value = np.where(np.isnan(above), np.nan, value)
    return np.sign(value), np.log2(value)


def _atanh(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    value = np.log1p(2 * np.abs(x) / _one_minus(x, log2_x)) / 2
    return np.where(np.isnan(value), np.nan, np.sign(x)), np.log2(value)


def _half_erfc(x: Floats) -> Floats:
    """The normal distribution's integral up to x."""
    return 0.5 * _erfc(-x / np.sqrt(2.0))


_TANH_GELU, _CUBE = math.sqrt(2 / math.pi), 0.044715


def _twice_inner(x: Floats) -> Floats:
    """2u with gelu(x) = x (1 + tanh u) / 2 = x sigmoid(2u), the approximation by tanh."""
    return 2 * _TANH_GELU * x * (1 + _CUBE * x * x)


def _gelu_tanh(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    return np.sign(x), log2_x - np.logaddexp2(0.0, -_twice_inner(x) * LOG2_E)


def _gelu_tanh_gradient(x: Floats) -> Floats:
    s = np.exp2(-np.logaddexp2(0.0, -_twice_inner(x) * LOG2_E))
    rest = np.exp2(-np.logaddexp2(0.0, _twice_inner(x) * LOG2_E))
    gradient: Floats = s + s * rest * (2 * _TANH_GELU * (x + 3 * _CUBE * x**3))
    return gradient


def _exact_gelu_tanh_gradient(x: Digits) -> Digits:
    root = mpmath.sqrt(2 / mpmath.pi)
    cube = mpmath.mpf(_CUBE)
    s = 1 / (1 + mpmath.exp(-2 * root * (x + cube * x**3)))
    return s + x * s * (1 - s) * 2 * root * (1 + 3 * cube * x**2)


def _exact_gelu_tanh(x: Digits) -> Digits:
    return x / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(_CUBE) * x**3)))


def _normal_density(x: Floats) -> Floats:
    density: Floats = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return density


def _rising_from(root: float, f: Callable[[Floats], Floats], exact: Callable[[Digits], Digits]) -> RealFunction:
    """f < 0 below ``root``, where it underflows far out, and f > 0 above; f(0) = 1/2."""
    return RealFunction(
        lambda x, log2_x: (np.sign(x - root), np.log2(np.abs(f(x)))), exact, 0.5, lambda x: np.abs(x - root) < 1e-4
    )


FUNCTIONS: dict[str, RealFunction] = {
    "exp": _by_log(lambda x, log2_x: x * LOG2_E, mpmath.exp, 1.0),
    "exp2": _by_log(lambda x, log2_x: x, lambda x: mpmath.power(2, x), 1.0),
    "expm1": _by_value(np.expm1, mpmath.expm1),
    "log": _logarithm(-_LOG2_LOG2_E, mpmath.log),
    "log2": _logarithm(0.0, lambda x: mpmath.log(x, 2)),
    "log10": _logarithm(math.log2(math.log10(2)), lambda x: mpmath.log(x, 10)),
    "log1p": _by_value(np.log1p, mpmath.log1p),
    "tanh": _by_value(np.tanh, mpmath.tanh),
    "sigmoid": _by_log(lambda x, log2_x: -np.logaddexp2(0.0, -x * LOG2_E), lambda x: 1 / (1 + mpmath.exp(-x)), 0.5),
    "sinh": _by_value(np.sinh, mpmath.sinh),
    "cosh": _by_value(np.cosh, mpmath.cosh, 1.0),
    "asinh": _by_value(np.arcsinh, mpmath.asinh),
    "acosh": RealFunction(_acosh, mpmath.acosh, np.nan),
    "atanh": RealFunction(_atanh, mpmath.atanh),
    "sin": RealFunction(sine, mpmath.sin),
    "cos": RealFunction(cosine, mpmath.cos, 1.0),
    "tan": RealFunction(tangent, mpmath.tan),
    "asin": _by_value(np.arcsin, mpmath.asin),
    "acos": RealFunction(_acos, mpmath.acos, math.pi / 2),
    "atan": _by_value(np.arctan, mpmath.atan),
    "erf": _by_value(_erf, mpmath.erf),
    "erfc": _never_zero(np.ones_like, _erfc, mpmath.erfc, 1.0),
    "gelu": _never_zero(np.sign, lambda x: x * _half_erfc(x), lambda x: x * mpmath.ncdf(x)),
    "gelu_gradient": _rising_from(
        -0.7517915246935645,
        lambda x: _half_erfc(x) + x * _normal_density(x),
        lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x),
    ),
    "gelu_tanh": RealFunction(_gelu_tanh, _exact_gelu_tanh),
    "gelu_tanh_gradient": _rising_from(-0.7524614220710162, _gelu_tanh_gradient, _exact_gelu_tanh_gradient),
    "floor": _by_value(np.floor, mpmath.floor),
    "ceil": _by_value(np.ceil, mpmath.ceil),
    "trunc": _by_value(np.trunc, lambda x: mpmath.sign(x) * mpmath.floor(abs(x))),
    "round": _by_value(np.rint, mpmath.nint),
}


def exponential_to(base: float) -> RealFunction:
    """base^x for a positive base."""
    log2_base = math.log2(base)
    return _by_log(lambda x, log2_x: x * log2_base, lambda x: mpmath.power(mpmath.mpf(base), x), 1.0)


def rounded_to(decimals: float) -> RealFunction:
    """x rounded to a number of decimal places, half to even."""
    scale, digits = 10.0 ** abs(decimals), int(decimals)
    f = (lambda x: np.rint(x * scale) / scale) if decimals >= 0 else (lambda x: np.rint(x / scale) * scale)
    return _by_value(f, lambda x: mpmath.nint(x * mpmath.mpf(10) ** digits) / mpmath.mpf(10) ** digits)


PARAMETRIC: dict[str, Callable[[float], RealFunction]] = {"exp_base": exponential_to, "round_to": rounded_to}
