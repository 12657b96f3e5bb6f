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

REAL = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "expm1": mpmath.expm1,
    "log": lambda x: mpmath.log(x) if x else mpmath.mpf("-inf"),
    "log2": lambda x: mpmath.log(x, 2) if x else mpmath.mpf("-inf"),
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
}
DOMAIN = {
    "log": lambda sign, log, format: sign == 0,
    "log2": lambda sign, log, format: sign == 0,
    "log1p": lambda sign, log, format: (sign == 0) | (log < 0),
}
"""Where the functions have a real value; log1p(-1) is not among them but minus infinity."""

FORMATS = [LNS(5, 5), LNS(6, 4, "flush"), LNS(3, 6), LNS(4, 0), LNS(1, 6, "flush")]


def looked_up(table, a):
    entries = table[2 * a.log + a.sign + 2 * (a.format.max_log + 1)].astype(np.int64)
    return entries >> 1, entries & 1, entries == UNDEFINED


def test_every_function_is_checked():
    assert set(function_names()) == set(REAL)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("format", FORMATS, ids=str)
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
    with pytest.raises(SpecificationError, match=r"^function 'cosh': no table; known are exp, .*, pow$"):
        function_table("cosh", LNS(3, 3))


def test_the_reference_refuses_what_has_no_real_value():
    a = reference.from_codes(every_code(LNS(2, 1)), LNS(2, 1))
    with pytest.raises(NonFiniteError, match="log1p"):
        reference.apply("log1p", mpmath.log1p, a)
