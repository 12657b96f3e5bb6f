"""The oracle itself: algebraic laws for every pair of codes, and functions against real ones."""

import numpy as np
import pytest
from operands import all_pairs

from grid import every_code
from slipstick import LNS, BitShift, LogArithmetic, NonFiniteError, SpecificationError, Table
from slipstick.kernels import reference
from slipstick.kernels.reference import LogArray

FORMATS = [LNS(3, 3), LNS(3, 3, "flush"), LNS(2, 2), LNS(4, 1, "flush"), LNS(5, 0)]
ADDERS = ["exact", BitShift(), Table(1.0, 6.0)]
PAIRS = [(format, adder) for format in FORMATS for adder in ADDERS]
each_format = pytest.mark.parametrize("format", FORMATS, ids=str)
each_arithmetic = pytest.mark.parametrize(
    "arithmetic", [LogArithmetic(format, adder) for format, adder in PAIRS], ids=str
)


def assert_same(a, b):
    assert a.format == b.format
    np.testing.assert_array_equal(a.codes(), b.codes())


def assert_valid(a):
    """Every number has a code: logs in range, and zero without a sign."""
    assert ((a.log >= a.format.zero_log) & (a.log <= a.format.max_log)).all()
    assert (a.sign[a.is_zero] == 0).all()
    assert np.isin(a.sign, (0, 1)).all()


def one(format, sign, log):
    return LogArray(format, np.array([sign]), np.array([log]))


@each_arithmetic
def test_add_is_commutative_for_every_pair_of_codes(arithmetic):
    a, b = all_pairs(arithmetic.format)
    total = reference.add(a, b, arithmetic)
    assert_valid(total)
    assert_same(total, reference.add(b, a, arithmetic))


@each_arithmetic
def test_add_commutes_with_negation_for_every_pair_of_codes(arithmetic):
    a, b = all_pairs(arithmetic.format)
    negated = reference.add(reference.negate(a), reference.negate(b), arithmetic)
    assert_same(negated, reference.negate(reference.add(a, b, arithmetic)))
    assert_same(reference.subtract(a, b, arithmetic), reference.negate(reference.subtract(b, a, arithmetic)))


@each_arithmetic
def test_zero_is_the_identity_and_a_minus_a_is_zero(arithmetic):
    a = reference.from_codes(every_code(arithmetic.format), arithmetic.format)
    zero = reference.zeros(a.shape, arithmetic.format)
    assert_same(reference.add(a, zero, arithmetic), a)
    assert_same(reference.add(zero, a, arithmetic), a)
    assert_same(reference.subtract(a, a, arithmetic), zero)


@each_format
def test_exact_addition_is_the_correctly_rounded_sum_for_every_pair_of_codes(format):
    """max + nearest(D) is the nearest integer to the log of the real sum, because max is an integer."""
    a, b = all_pairs(format)
    total = reference.add(a, b, LogArithmetic(format, "exact"))
    x, y = (np.where(v.is_zero, 0, (1 - 2 * v.sign) * np.exp2(v.log / 2.0**format.frac_bits)) for v in (a, b))
    with np.errstate(divide="ignore"):
        real = np.log2(np.abs(x + y)) * 2.0**format.frac_bits
    cancelled = (a.log == b.log) & (a.sign != b.sign)
    real[cancelled] = -np.inf
    lowest = -format.max_log if format.underflow == "saturate" else format.zero_log
    nearest = np.clip(np.floor(np.clip(real, -1e6, 1e6) + 0.5), -1e6, format.max_log)
    expected = np.where(nearest < -format.max_log, lowest, nearest)
    expected[cancelled | (a.is_zero & b.is_zero)] = format.zero_log
    live = np.isfinite(real)
    assert (np.abs(real[live] - np.floor(real[live]) - 0.5) > 1e-9).all(), "float64 cannot decide"
    np.testing.assert_array_equal(total.log, expected)
    live = ~total.is_zero
    np.testing.assert_array_equal(total.sign[live] == 1, (x + y)[live] < 0)


@each_format
def test_products_and_quotients_add_and_subtract_logs_for_every_pair_of_codes(format):
    a, b = all_pairs(format)
    product_ = reference.multiply(a, b)
    assert_valid(product_)
    assert_same(product_, reference.multiply(b, a))
    assert_same(reference.multiply(reference.negate(a), b), reference.negate(product_))
    both = ~(a.is_zero & b.is_zero)
    quotient = reference.divide(a[both], b[both])
    assert_valid(quotient)
    live = ~(a.is_zero | b.is_zero)
    exact = live & (np.abs(a.log + b.log) <= format.max_log)
    assert_same(reference.divide(product_[exact], b[exact]), a[exact])
    assert product_.is_zero[a.is_zero | b.is_zero].all()


def test_division_by_zero_saturates_with_the_sign_of_the_dividend():
    format = LNS(3, 2)
    for sign in (0, 1):
        assert_same(reference.divide(one(format, sign, -31), one(format, 0, -32)), one(format, sign, 31))
    with pytest.raises(NonFiniteError, match="0/0"):
        reference.divide(one(format, 0, -32), one(format, 0, -32))
    assert_same(reference.reciprocal(one(format, 0, -32)), one(format, 0, 31))
    assert_same(reference.reciprocal(one(format, 1, -31)), one(format, 1, 31))
    assert_same(reference.divide(one(format, 0, -32), one(format, 1, 5)), one(format, 0, -32))


def test_roots_halve_the_log_downwards():
    format = LNS(3, 2)
    logs = np.array([-32, -31, -4, -3, -1, 0, 1, 2, 3, 31])
    a = LogArray(format, np.zeros_like(logs), logs)
    np.testing.assert_array_equal(reference.sqrt(a).log, [-32, -16, -2, -2, -1, 0, 0, 1, 1, 15])
    np.testing.assert_array_equal(reference.rsqrt(a).log, [31, 16, 2, 2, 1, 0, 0, -1, -1, -15])
    for root in (reference.sqrt, reference.rsqrt):
        with pytest.raises(NonFiniteError, match="negative"):
            root(one(format, 1, 0))


@each_format
def test_comparison_agrees_with_the_real_numbers_for_every_pair_of_codes(format):
    a, b = all_pairs(format)
    x, y = a.numbers(), b.numbers()
    np.testing.assert_array_equal(reference.less(a, b), x < y)
    np.testing.assert_array_equal(reference.equal(a, b), x == y)
    np.testing.assert_array_equal(reference.maximum(a, b).numbers(), np.maximum(x, y))
    np.testing.assert_array_equal(reference.minimum(a, b).numbers(), np.minimum(x, y))
    np.testing.assert_array_equal(reference.absolute(a).numbers(), np.abs(x))
    np.testing.assert_array_equal(reference.negate(a).numbers(), -x + 0.0)


def test_operands_of_two_formats_are_refused():
    with pytest.raises(SpecificationError, match="convert them first"):
        reference.add(one(LNS(3, 2), 0, 0), one(LNS(3, 3), 0, 0), LogArithmetic(LNS(3, 2)))


# --- functions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [LNS(4, 4), LNS(3, 6, "flush")], ids=str)
def test_functions_are_the_nearest_logs_of_the_real_values(format):
    a = reference.from_codes(every_code(format), format)
    x = np.where(a.is_zero, 0.0, (1 - 2 * a.sign) * np.exp2(a.log / 2.0**format.frac_bits))
    with np.errstate(over="ignore", divide="ignore"):
        real = {
            reference.exp: np.exp(x),
            reference.tanh: np.tanh(x),
            reference.sigmoid: np.where(x < 0, np.exp(np.minimum(x, 0)), 1.0) / (1 + np.exp(-np.abs(x))),
        }
        for function, value in real.items():
            got = function(a)
            assert_valid(got)
            log2 = np.log2(np.abs(value)) * 2.0**format.frac_bits
            inside = np.abs(log2) < format.max_log
            np.testing.assert_allclose(got.log[inside], log2[inside], atol=0.5 + 1e-6)
            assert inside.sum() > 50
            np.testing.assert_array_equal(got.sign[inside] == 1, value[inside] < 0)
    positive = a[(a.sign == 0) & ~a.is_zero]
    logs = reference.log(positive)
    real_log = positive.log / 2.0**format.frac_bits * np.log(2.0)
    assert logs.is_zero[positive.log == 0].all()
    live = positive.log != 0
    np.testing.assert_allclose(logs.log[live], np.log2(np.abs(real_log[live])) * 2.0**format.frac_bits, atol=0.5 + 1e-6)
    np.testing.assert_array_equal(logs.sign[live] == 1, real_log[live] < 0)


def test_functions_at_their_special_points():
    format = LNS(4, 4)
    zero, minus_one = one(format, 0, format.zero_log), one(format, 1, 0)
    assert_same(reference.exp(zero), one(format, 0, 0))
    assert_same(reference.log(zero), one(format, 1, format.max_log))
    assert_same(reference.tanh(zero), zero)
    assert_same(reference.sigmoid(zero), one(format, 0, -16))
    with pytest.raises(NonFiniteError, match="log"):
        reference.log(minus_one)


def test_power_multiplies_the_log_with_ties_to_even():
    format = LNS(4, 2)
    logs = np.array([1, 3, 5, 7, -1, -3, 2, 63, format.zero_log])
    a = LogArray(format, np.zeros_like(logs), logs)
    np.testing.assert_array_equal(reference.power(a, 0.5).log, [0, 2, 2, 4, 0, -2, 1, 32, format.zero_log])
    np.testing.assert_array_equal(reference.power(a, -1.0).log, [-1, -3, -5, -7, 1, 3, -2, -63, 63])
    np.testing.assert_array_equal(reference.power(a, 0.0).log, np.zeros(9))
    negative = LogArray(format, np.ones(2, np.int64), np.array([3, -3]))
    np.testing.assert_array_equal(reference.power(negative, 3.0).sign, [1, 1])
    np.testing.assert_array_equal(reference.power(negative, 2.0).sign, [0, 0])
    with pytest.raises(NonFiniteError, match="integer exponent"):
        reference.power(negative, 0.5)
