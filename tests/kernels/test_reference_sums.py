"""The oracle's sums and products: hand-worked, against plain loops, and against real convolutions."""

from itertools import product

import numpy as np
import pytest
import torch

from grid import random_codes
from slipstick import LNS, BitShift, Blocked, LogArithmetic, Sequential, Tree
from slipstick.kernels import reference
from slipstick.kernels.reference import LogArray


def assert_same(a, b):
    assert a.format == b.format
    np.testing.assert_array_equal(a.codes(), b.codes())


def one(format, sign, log):
    return LogArray(format, np.array([sign]), np.array([log]))


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
