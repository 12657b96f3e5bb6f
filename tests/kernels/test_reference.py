"""The oracle itself: algebraic laws for every pair of codes, real arithmetic, and hand-worked sums."""

from itertools import product

import numpy as np
import pytest
import torch

from grid import every_code, random_codes
from slipstick import LNS, BitShift, Blocked, LogArithmetic, NonFiniteError, Sequential, SpecificationError, Table, Tree
from slipstick.kernels import reference
from slipstick.kernels.reference import LogArray

FORMATS = [LNS(3, 3), LNS(3, 3, "flush"), LNS(2, 2), LNS(4, 1, "flush"), LNS(5, 0)]
ADDERS = ["exact", BitShift(), Table(1.0, 6.0)]
PAIRS = [(format, adder) for format in FORMATS for adder in ADDERS]
each_format = pytest.mark.parametrize("format", FORMATS, ids=str)
each_arithmetic = pytest.mark.parametrize(
    "arithmetic", [LogArithmetic(format, adder) for format, adder in PAIRS], ids=str
)


def all_pairs(format):
    codes = reference.from_codes(every_code(format), format)
    n = codes.shape[0]
    left, right = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    return codes[left], codes[right]


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


# --- sums -------------------------------------------------------------------------------------------------------


def plain_sum(terms, order, add, zero):
    """The three orders on a list, in plain Python."""
    if isinstance(order, Sequential):
        total = zero
        for t in terms:
            total = add(total, t)
        return total
    if isinstance(order, Blocked):
        blocks = [terms[i : i + order.length] for i in range(0, len(terms), order.length)]
        return plain_sum([plain_sum(b, Sequential(), add, zero) for b in blocks], Tree(16), add, zero)
    sums = []
    for start in range(0, max(len(terms), 1), order.radix):
        block = list(terms[start : start + order.radix])
        block += [zero] * (order.radix - len(block))
        while len(block) > 1:
            half = len(block) // 2
            block = [add(block[i], block[i + half]) for i in range(half)]
        sums.append(block[0])
    return sums[0] if len(sums) == 1 else plain_sum(sums, order, add, zero)


ORDERS = [Sequential(), Tree(2), Tree(4), Tree(16), Blocked(1), Blocked(3), Blocked(64)]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17, 31, 33, 257, 300])
def test_ordered_sum_adds_in_the_stated_order(order, count):
    format = LNS(3, 3)
    arithmetic = LogArithmetic(format, BitShift(), order, "operand")
    rng = np.random.default_rng(count)
    terms = reference.from_codes(random_codes(format, (count, 5), rng), format)
    total = reference.ordered_sum(terms, order, arithmetic.tables)
    expected = plain_sum(
        [terms[k] for k in range(count)],
        order,
        lambda a, b: reference.add(a, b, arithmetic),
        reference.zeros((5,), format),
    )
    assert_same(total, expected)


def test_orders_differ():
    """Otherwise the tests of the orders could not fail."""
    format = LNS(3, 3)
    terms = reference.from_codes(random_codes(format, (300, 50), np.random.default_rng(0)), format)
    tables = LogArithmetic(format).tables
    sums = {reference.ordered_sum(terms, order, tables).codes().tobytes() for order in ORDERS}
    assert len(sums) == len(ORDERS) - 1  # Blocked(1) is Tree(16)


def test_hand_worked_sums():
    """LNS(2, 1), exact: one LSB is half an octave."""
    format = LNS(2, 1)
    tables = LogArithmetic(format).tables
    assert tables[0].tolist() == [2, 2, 1, 1, 1, 0, 0]
    assert tables[1].tolist()[1:] == [-4, -2, -1, -1, -1, 0]
    ones = LogArray(format, np.zeros(5, np.int64), np.zeros(5, np.int64))
    # 1 + 1 = L 2; + 1 (d = 2) = L 3; + 1 (d = 3) = L 4; + 1 (d = 4) = L 5
    assert int(reference.ordered_sum(ones, Sequential(), tables).log) == 5
    # (1 + 1) + (1 + 1) = L 4, and the fifth term alone in the next block: d = 4 gives L 5
    assert int(reference.ordered_sum(ones, Tree(4), tables).log) == 5
    assert int(reference.ordered_sum(ones[:4], Tree(4), tables).log) == 4
    # blocks 1 + 1 + 1 = L 3 and 1 + 1 = L 2; d = 1 gives L 5
    assert int(reference.ordered_sum(ones, Blocked(3), tables).log) == 5
    assert int(reference.ordered_sum(ones[:3], Sequential(), tables).log) == 3


def test_an_operand_accumulator_saturates_at_every_step_and_a_guarded_one_does_not():
    format = LNS(3, 3)
    logs = np.array([[63, 63, 63]])
    x = LogArray(format, np.array([[0, 0, 1]]), logs)
    for accumulator, expected in (("operand", None), ("guard", 63)):
        arithmetic = LogArithmetic(format, "exact", Sequential(), accumulator)
        total = reference.sum_over(x, [1], False, arithmetic)
        if expected is None:  # 63 + 63 saturates at 63, and 63 - 63 is zero
            assert total.is_zero.all()
        else:  # 63 + 63 = 71, 71 - 63 is d = 8: 2 - 1 = 1
            assert int(total.log[0]) == expected


def test_a_finer_accumulator_rounds_once_on_leaving():
    """Three ones sum to log2(3) = 1.585: at F = 1 step by step 1 -> 1.5 or 2; in F = 6 first, then to 1.5."""
    format, wide = LNS(3, 1), LNS(4, 6)
    x = LogArray(format, np.zeros((1, 3), np.int64), np.zeros((1, 3), np.int64))
    arithmetic = LogArithmetic(format, "exact", Sequential(), LogArithmetic(wide))
    assert int(reference.sum_over(x, [1], False, arithmetic).log[0]) == 3


def test_sum_over_takes_the_reduced_axes_in_row_major_order():
    format = LNS(3, 3)
    arithmetic = LogArithmetic(format, BitShift(), Sequential(), "operand")
    x = reference.from_codes(random_codes(format, (3, 4, 5, 2), np.random.default_rng(1)), format)
    for axes in ([0, 2], [2, 0], [-2, 0]):
        got = reference.sum_over(x, axes, False, arithmetic)
        assert got.shape == (4, 2)
        for j, m in product(range(4), range(2)):
            terms = [x[i, j, k, m] for i in range(3) for k in range(5)]
            total = plain_sum(
                terms, Sequential(), lambda a, b: reference.add(a, b, arithmetic), reference.zeros((), format)
            )
            assert_same(got[j, m], total)
    assert reference.sum_over(x, [0, 2], True, arithmetic).shape == (1, 4, 1, 2)


def test_mean_is_the_sum_times_the_encoded_reciprocal_of_the_count():
    format = LNS(4, 4)
    arithmetic = LogArithmetic(format)
    x = reference.from_codes(random_codes(format, (3, 7), np.random.default_rng(2)), format)
    factor = reference.encode(np.full(3, 1 / 7), format)
    expected = reference.multiply(reference.sum_over(x, [1], False, arithmetic), factor)
    assert_same(reference.mean_over(x, [1], False, arithmetic), expected)
    assert int(factor.log[0]) == -45  # 16 log2(1/7) = -44.9


def test_scatter_sum_adds_contributions_in_source_order():
    format = LNS(3, 3)
    arithmetic = LogArithmetic(format, BitShift(), Tree(16), "operand")
    values = reference.from_codes(random_codes(format, (40, 3), np.random.default_rng(3)), format)
    index = np.random.default_rng(4).integers(0, 5, 40)
    got = reference.scatter_sum(values, index, 6, arithmetic)
    for row in range(6):
        total = reference.zeros((3,), format)
        for i in range(40):
            if index[i] == row:
                total = reference.add(total, values[i], arithmetic)
        assert_same(got[row], total)
    assert got.is_zero[5].all()


# --- products ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_matmul_sums_products_formed_in_the_accumulator(order):
    format, wide = LNS(3, 2), LNS(2, 4)
    arithmetic = LogArithmetic(format, "exact", order, LogArithmetic(wide, BitShift()))
    rng = np.random.default_rng(5)
    a = reference.from_codes(random_codes(format, (2, 3, 20), rng), format)
    b = reference.from_codes(random_codes(format, (20, 4), rng), format)
    got = reference.matmul(a, b, arithmetic)
    assert got.shape == (2, 3, 4)
    inner = LogArithmetic(wide, BitShift(), order, "operand")
    for batch, m, n in product(range(2), range(3), range(4)):
        terms = []
        for k in range(20):
            x, y = a[batch, m, k], b[k, n]
            zero = x.is_zero | y.is_zero
            terms.append(reference.rounded(x.sign ^ y.sign, (x.log + y.log) * 4, zero, wide))
        total = plain_sum(terms, order, lambda p, q: reference.add(p, q, inner), reference.zeros((), wide))
        assert_same(got[batch, m, n], reference.convert(total, format))


def test_addmm_scales_after_rounding_and_adds_in_the_operand_arithmetic():
    format = LNS(4, 3)
    arithmetic = LogArithmetic(format)
    rng = np.random.default_rng(6)
    a, b, c = (reference.from_codes(random_codes(format, s, rng), format) for s in ((3, 9), (9, 4), (4,)))
    product_ = reference.matmul(a, b, arithmetic)
    assert_same(reference.addmm(c, a, b, arithmetic), reference.add(c, product_, arithmetic))
    half, three = one(format, 0, -8), reference.encode(np.array([3.0]), format)
    scaled = reference.add(reference.multiply(three, c), reference.multiply(half, product_), arithmetic)
    assert_same(reference.addmm(c, a, b, arithmetic, beta=3.0, alpha=0.5), scaled)


CONVOLUTIONS = [
    # channels, outputs, space, kernel, stride, padding, dilation, groups
    (3, 2, (7,), (3,), (2,), (1,), (2,), 1),
    (3, 4, (4, 3), (3, 2), (1, 1), (1, 1), (1, 1), 1),
    (4, 4, (5, 6), (3, 3), (2, 3), (2, 1), (2, 1), 2),
    (4, 4, (5, 5), (1, 3), (1, 2), (0, 2), (1, 1), 4),
    (2, 2, (3, 3, 4), (2, 3, 2), (2, 1, 1), (1, 1, 0), (1, 1, 2), 1),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_approach_the_real_ones(case):
    """In an arithmetic of 12 fraction bits, summed with 16, the results are the real ones to about 2^-12."""
    channels, outputs, space, kernel, stride, padding, dilation, groups = case
    format = LNS(6, 12)
    arithmetic = LogArithmetic(format, "exact", accumulator=LogArithmetic(LNS(6, 16)))
    rng = np.random.default_rng(7)
    x = torch.from_numpy(rng.standard_normal((2, channels, *space)))
    w = torch.from_numpy(rng.standard_normal((outputs, channels // groups, *kernel)))
    x, w = (torch.from_numpy(reference.encode(t.numpy(), format).numbers()).double() for t in (x, w))
    x.requires_grad_(), w.requires_grad_()
    convolve = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[len(space) - 1]
    y = convolve(x, w, None, stride, padding, dilation, groups)
    g = torch.from_numpy(reference.encode(rng.standard_normal(tuple(y.shape)), format).numbers()).double()
    y.backward(g)
    xs, ws, gs = (reference.encode(t.detach().numpy(), format) for t in (x, w, g))
    options = (stride, padding, dilation, groups)
    forward = reference.convolution(xs, ws, arithmetic, *options)
    to_input = reference.convolution_input_gradient(gs, ws, arithmetic, x.shape, *options)
    to_weight = reference.convolution_weight_gradient(gs, xs, arithmetic, w.shape, *options)
    for got, real in ((forward, y.detach()), (to_input, x.grad), (to_weight, w.grad)):
        np.testing.assert_allclose(got.numbers(), real.numpy(), rtol=3e-4, atol=3e-3)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_take_their_terms_in_the_stated_order(case):
    """Against loops over single terms, in an arithmetic in which every exchange of terms shows."""
    channels, outputs, space, kernel, stride, padding, dilation, groups = case
    format = LNS(3, 3)
    arithmetic = LogArithmetic(format, BitShift(), Tree(4), "operand")
    rng = np.random.default_rng(8)
    positions = tuple(
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, k, t, p, d in zip(space, kernel, stride, padding, dilation, strict=True)
    )
    x = reference.from_codes(random_codes(format, (2, channels, *space), rng), format)
    w = reference.from_codes(random_codes(format, (outputs, channels // groups, *kernel), rng), format)
    g = reference.from_codes(random_codes(format, (2, outputs, *positions), rng), format)
    zero = reference.zeros((), format)
    per_group, in_group = outputs // groups, channels // groups

    def total(terms):
        return plain_sum(terms, arithmetic.order, lambda a, b: reference.add(a, b, arithmetic), zero)

    def under(position, tap):
        where = [q * t + k * d - p for q, t, k, d, p in zip(position, stride, tap, dilation, padding, strict=True)]
        return tuple(where) if all(0 <= i < s for i, s in zip(where, space, strict=True)) else None

    taps, places = list(np.ndindex(*kernel)), list(np.ndindex(*positions))
    forward = reference.convolution(x, w, arithmetic, stride, padding, dilation, groups)
    for n, o, q in product(range(2), range(outputs), places):
        terms = []
        for c, tap in product(range(in_group), taps):
            where = under(q, tap)
            source = (n, o // per_group * in_group + c, *where) if where else None
            terms.append(reference.multiply(x[source], w[(o, c, *tap)]) if source else zero)
        assert_same(forward[(n, o, *q)], total(terms))

    to_input = reference.convolution_input_gradient(g, w, arithmetic, x.shape, stride, padding, dilation, groups)
    for n, c, i in product(range(2), range(channels), np.ndindex(*space)):
        terms = []
        for o, tap in product(range(per_group), taps):
            met = [q for q in places if under(q, tap) == i]
            channel = c // in_group * per_group + o
            factor = w[(channel, c % in_group, *tap)]
            terms.append(reference.multiply(g[(n, channel, *met[0])], factor) if met else zero)
        assert_same(to_input[(n, c, *i)], total(terms))

    to_weight = reference.convolution_weight_gradient(g, x, arithmetic, w.shape, stride, padding, dilation, groups)
    for o, c, tap in product(range(outputs), range(in_group), taps):
        terms = []
        for n, q in product(range(2), places):
            where = under(q, tap)
            source = (n, o // per_group * in_group + c, *where) if where else None
            terms.append(reference.multiply(g[(n, o, *q)], x[source]) if source else zero)
        assert_same(to_weight[(o, c, *tap)], total(terms))


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
