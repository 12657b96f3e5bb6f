"""Tables of functions: of the exact real value of every code, correctly rounded, checked with many digits."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid import every_code, random_codes
from slipstick import LNS, NonFiniteError, SpecificationError
from slipstick.arithmetic.functions import UNDEFINED, function_names, function_table
from slipstick.kernels import reference

HALF = mpmath.mpf(1) / 2
CUBE = mpmath.mpf(0.044715)


def _one_plus_tanh(u):
    """Without the cancellation that 60 digits do not outlast."""
    return 2 * mpmath.exp(u) / (mpmath.exp(u) + mpmath.exp(-u))


def _gelu_tanh(x):
    return HALF * x * _one_plus_tanh(mpmath.sqrt(2 / mpmath.pi) * (x + CUBE * x**3))


def _gelu_tanh_gradient(x):
    root = mpmath.sqrt(2 / mpmath.pi)
    t = _one_plus_tanh(root * (x + CUBE * x**3))
    rest = _one_plus_tanh(-root * (x + CUBE * x**3))
    return HALF * t + HALF * x * t * rest * root * (1 + 3 * CUBE * x**2)


def _gelu(x):
    return HALF * x * mpmath.erfc(-x / mpmath.sqrt(2))


def _gelu_gradient(x):
    return HALF * mpmath.erfc(-x / mpmath.sqrt(2)) + x * mpmath.exp(-(x**2) / 2) / mpmath.sqrt(2 * mpmath.pi)


REAL = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "expm1": mpmath.expm1,
    "log": lambda x: mpmath.log(x) if x else mpmath.mpf("-inf"),
    "log2": lambda x: mpmath.log(x, 2) if x else mpmath.mpf("-inf"),
    "log10": lambda x: mpmath.log(x) / mpmath.log(10) if x else mpmath.mpf("-inf"),
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": lambda x: mpmath.atanh(x) if abs(x) != 1 else x * mpmath.inf,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": lambda x: mpmath.sin(x) / mpmath.cos(x),
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "gelu": _gelu,
    "gelu_gradient": _gelu_gradient,
    "gelu_tanh": _gelu_tanh,
    "gelu_tanh_gradient": _gelu_tanh_gradient,
    "floor": mpmath.floor,
    "ceil": mpmath.ceil,
    "trunc": lambda x: mpmath.floor(x) if x > 0 else mpmath.ceil(x),
    "round": mpmath.nint,
}


def _positive(sign, log, format):
    return sign == 0


def _at_most_one(sign, log, format):
    return log <= 0


DOMAIN = {
    "log": _positive,
    "log2": _positive,
    "log10": _positive,
    "log1p": lambda sign, log, format: (sign == 0) | (log < 0),
    "acosh": lambda sign, log, format: (sign == 0) & (log >= 0) & (log != format.zero_log),
    "atanh": _at_most_one,
    "asin": _at_most_one,
    "acos": _at_most_one,
}
"""Where the functions have a real value; log1p(-1) is not among them but minus infinity."""

FORMATS = [LNS(5, 5), LNS(6, 4, "flush"), LNS(3, 6), LNS(4, 0), LNS(1, 6, "flush")]

SIXTEEN = [LNS(5, 9), LNS(6, 8, "flush")]
"""As wide as a table is promised to be correctly rounded in; tens of seconds a function."""


def looked_up(table, a):
    entries = table[2 * a.log + a.sign + 2 * (a.format.max_log + 1)].astype(np.int64)
    return entries >> 1, entries & 1, entries == UNDEFINED


def test_every_function_is_checked():
    assert set(function_names()) == set(REAL)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("format", [*FORMATS, *(pytest.param(f, marks=pytest.mark.long) for f in SIXTEEN)], ids=str)
def test_every_code_gets_the_correctly_rounded_value(name, format):
    a = reference.from_codes(every_code(format), format)
    log, sign, undefined = looked_up(function_table(name, format), a)
    inside = DOMAIN[name](a.sign, a.log, format) if name in DOMAIN else np.ones(a.shape, bool)
    at_the_pole = (name == "log1p") & (a.sign == 1) & (a.log == 0)
    np.testing.assert_array_equal(undefined, ~inside & ~at_the_pole)
    if name == "log1p":
        assert (log[at_the_pole] == format.max_log).all()
        assert (sign[at_the_pole] == 1).all()
    expected = reference.apply(name, REAL[name], a[inside])
    np.testing.assert_array_equal(log[inside], expected.log)
    np.testing.assert_array_equal(sign[inside], expected.sign)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("format", [LNS(6, 10), LNS(4, 14, "flush"), LNS(2, 16)], ids=str)
def test_sampled_codes_of_fine_formats_get_the_correctly_rounded_value(name, format):
    rng = np.random.default_rng(format.width)
    codes = np.unique(np.concatenate([random_codes(format, 150, rng), np.arange(8)]))
    a = reference.from_codes(codes, format)
    if name in DOMAIN:
        a = a[DOMAIN[name](a.sign, a.log, format)]
    log, sign, undefined = looked_up(function_table(name, format), a)
    expected = reference.apply(name, REAL[name], a)
    assert not undefined.any()
    np.testing.assert_array_equal(log, expected.log)
    np.testing.assert_array_equal(sign, expected.sign)


EXPONENTS = [2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 1.5, 0.0, 1.0, 0.1, 1 / 3, 1 / 6, -0.3, 2.5, 17.0, 1e6, -1e300, 1e-300]


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("format", [LNS(5, 5), LNS(6, 6, "flush"), LNS(2, 0)], ids=str)
def test_powers_are_correctly_rounded_for_every_code(exponent, format):
    a = reference.from_codes(every_code(format), format)
    log, sign, undefined = looked_up(function_table("pow", format, exponent), a)
    inside = (a.sign == 0) | float(exponent).is_integer()
    np.testing.assert_array_equal(undefined, ~inside)
    expected = reference.power(a[inside], exponent)
    np.testing.assert_array_equal(log[inside], expected.log)
    np.testing.assert_array_equal(sign[inside], expected.sign)


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 5), st.floats(-20, 20))
def test_any_power_is_correctly_rounded(int_bits, frac_bits, exponent):
    format = LNS(int_bits, frac_bits)
    a = reference.from_codes(every_code(format), format)
    a = a[a.sign == 0]
    log, sign, undefined = looked_up(function_table("pow", format, exponent), a)
    expected = reference.power(a, exponent)
    assert not undefined.any()
    np.testing.assert_array_equal(log, expected.log)
    np.testing.assert_array_equal(sign, expected.sign)


def test_tables_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        function_table("exp", LNS(3, 3))[0] = 1


def test_an_unknown_function_lists_the_known_ones():
    with pytest.raises(SpecificationError, match=r"^function 'zeta': no table; known are exp, .*, pow, "):
        function_table("zeta", LNS(3, 3))


def test_the_reference_refuses_what_has_no_real_value():
    a = reference.from_codes(every_code(LNS(2, 1)), LNS(2, 1))
    with pytest.raises(NonFiniteError, match="log1p"):
        reference.apply("log1p", mpmath.log1p, a)
