"""Matrix products equal the reference: in every order, accumulator, ISA and thread count."""

import numpy as np
import pytest
import torch
from arithmetics import PLAIN, each_arithmetic, each_default, wild
from operands import MODES, assert_bits, everywhere, operand, seed, tensor

from grid import around_thresholds
from slipstick import (
    LNS,
    Blocked,
    LogArithmetic,
    NonFiniteError,
    Sequential,
    SpecificationError,
    Tree,
    UnsupportedOperation,
)
from slipstick.kernels import products, reference
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec


@each_arithmetic
@pytest.mark.parametrize("mode", MODES)
def test_matmul_equals_the_reference(arithmetic, mode):
    rng = seed("matmul", str(arithmetic), mode)
    spec = kernel_spec(arithmetic)
    for rows, terms, columns in ((3, 17, 5), (7, 100, 33), (1, 300, 2)):
        a = operand(arithmetic.format, (rows, terms), mode, rng)
        b = operand(arithmetic.format, (columns, terms), "any" if mode == "sparse" else mode, rng).transpose(1, 0)
        if mode == "cancelling":  # equal factors, so that the products cancel as their first factors do
            b = LogArray(b.format, np.zeros_like(b.sign), b.log)
        expected = reference.matmul(a, b, arithmetic)
        for where in everywhere():
            assert_bits(products.matmul(tensor(a), tensor(b), spec), expected, where)


SIZES = [
    (1, 1, 1), (1, 0, 3), (0, 4, 3), (3, 4, 0), (2, 2, 64), (2, 15, 63), (5, 16, 65), (4, 31, 129), (6, 33, 16),
    (7, 255, 8), (13, 256, 31), (3, 257, 32), (66, 48, 3), (129, 5, 70), (2, 1025, 40), (1, 4097, 17), (1, 5, 1000),
    (40, 64, 1), (64, 128, 64),
]  # fmt: skip


@each_default
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul_of_any_size_equals_the_reference(arithmetic, size):
    rows, terms, columns = size
    rng = seed("size", size, str(arithmetic))
    a = operand(arithmetic.format, (rows, terms), "close", rng)
    b = operand(arithmetic.format, (terms, columns), "close", rng)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@pytest.mark.parametrize("order", [Sequential(), Tree(16), Blocked(64)], ids=str)
@pytest.mark.parametrize("mode", ["largest", "smallest", "cancelling", "any"])
def test_long_sums_keep_the_accumulator_in_range(order, mode):
    """Long sums of the largest, the smallest and nearly cancelling products."""
    for format, adder, accumulator in (
        (PLAIN, "hamad2025", "guard"),
        (PLAIN, "exact", "guard"),
        (LNS(3, 3), "exact", "operand"),
        (LNS(2, 5), wild(5), "guard"),
        (LNS(6, 8), "exact", "guard"),
        (LNS(5, 8), "designed", "guard"),
        (LNS(4, 7, "flush"), "exact", "guard"),
    ):
        arithmetic = LogArithmetic(format, adder, order, accumulator)
        rng = seed("long", str(arithmetic), mode)
        a, b = operand(format, (3, 2100), mode, rng), operand(format, (2100, 33), mode, rng)
        if mode == "cancelling":  # differences of neighbouring codes, which lose many octaves at every level
            a = LogArray(format, np.arange(2100) % 16 // 8 * np.ones((3, 1), np.int64), rng.integers(-1, 2, (3, 2100)))
            b = LogArray(format, np.zeros((2100, 33), np.int64), np.full((2100, 33), -format.max_log))
        expected = reference.matmul(a, b, arithmetic)
        for where in everywhere():
            assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


def sinking_terms(arithmetic: LogArithmetic, spread: int) -> LogArray:
    """Two runs of terms, each of which sinks by D-(1) at every level of a binary tree until it leaves the accumulator.

    Term i has log base - popcount(i) and the sign of its parity, so that every pair meets at d = 1 with opposite signs.
    The second run is negated and one step higher: once both have saturated they cancel; unsaturated they would not.
    ``spread`` - 1 zeros follow every term.
    """
    lost = -int(arithmetic.tables[1][1])
    room = arithmetic.accumulator_format.max_log - 2 * arithmetic.format.max_log
    levels = -(-(room + 40) // lost)
    popcount = np.array([i.bit_count() for i in range(1 << levels)])
    base = -arithmetic.format.max_log + levels
    format = arithmetic.format
    terms = reference.zeros((2, 1 << levels, spread), format)
    terms.log[:, :, 0] = base - popcount, base + 1 - popcount
    terms.sign[:, :, 0] = popcount % 2, 1 - popcount % 2
    return terms.reshape(1, -1)


@pytest.mark.parametrize("order", [Tree(16), Tree(2), Blocked(1), Blocked(4), Blocked(64)], ids=str)
@pytest.mark.parametrize(
    ("format", "adder"),
    [
        (PLAIN, "exact"),
        (PLAIN, "hamad2025"),
        (LNS(3, 3), "exact"),
        (LNS(3, 7), "exact"),
        (LNS(4, 7), "designed"),
        (LNS(4, 8), "exact"),
    ],
    ids=str,
)
def test_a_sum_that_sinks_below_the_guard_bits_saturates_in_the_accumulator(format, adder, order):
    """The only way out of two guard bits is cancellation, and it shows: a kernel must not skip that check."""
    arithmetic = LogArithmetic(format, adder, order)
    a = sinking_terms(arithmetic, order.length if isinstance(order, Blocked) else 1)
    terms = a.shape[1]
    b = LogArray(format, np.zeros((terms, 1), np.int64), np.full((terms, 1), -format.max_log))
    roomy = LNS(10, format.frac_bits)
    unbounded = reference.rounded(a.sign[0], a.log[0] - format.max_log, a.is_zero[0], roomy)
    assert not reference.ordered_sum(unbounded, order, arithmetic.accumulator_tables).is_zero
    expected = reference.matmul(a, b, arithmetic)
    assert expected.is_zero.all()
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)
        swapped = products.matmul(tensor(b).t(), tensor(a).t(), kernel_spec(arithmetic))
        assert_bits(swapped, expected, where)


@each_default
def test_a_large_matmul_equals_the_reference(arithmetic):
    rng = seed("large", str(arithmetic))
    a = operand(arithmetic.format, (70, 333), "any", rng)
    b = operand(arithmetic.format, (333, 131), "close", rng)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@each_default
def test_batches_multiply_one_by_one(arithmetic):
    rng = seed("batch", str(arithmetic))
    a, b = (operand(arithmetic.format, shape, "close", rng) for shape in ((5, 7, 33), (5, 33, 20)))
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@each_default
def test_strides_of_the_operands_do_not_matter(arithmetic):
    rng = seed("strides", str(arithmetic))
    a, b = (operand(arithmetic.format, shape, "close", rng) for shape in ((9, 40), (40, 21)))
    expected = reference.matmul(a, b, arithmetic)
    x, y = tensor(a), tensor(b)
    for left in (x.t().contiguous().t(), torch.stack([x, x + 1], 2)[..., 0], torch.cat([x, x], 1)[:, :40]):
        for right in (y, y.t().contiguous().t(), torch.cat([y, y], 1)[:, 21:]):
            for where in everywhere():
                assert_bits(products.matmul(left, right, kernel_spec(arithmetic)), expected, where)
    row = operand(arithmetic.format, (1, 40), "close", rng)
    expected = reference.matmul(LogArray(row.format, row.sign.repeat(9, 0), row.log.repeat(9, 0)), b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(row).expand(9, 40), y, kernel_spec(arithmetic)), expected, where)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("via", [None, LNS(5, 9), LNS(6, 6)], ids=str)
def test_floats_off_the_grid_are_rounded_at_first_use(dtype, via):
    arithmetic = LogArithmetic(PLAIN, "hamad2025")
    beside = around_thresholds(via or PLAIN, dtype, 32)[0]
    rng = seed("floats")
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-39, 3e38], dtype)
    pool = np.concatenate([beside, -beside, special])
    x, y = rng.choice(pool, (11, 60)), rng.standard_normal((60, 23)).astype(dtype)
    expected = reference.matmul(reference.encode(x, PLAIN, via), reference.encode(y, PLAIN, via), arithmetic)
    for where in everywhere():
        got = products.matmul(torch.from_numpy(x), torch.from_numpy(y), kernel_spec(arithmetic, via))
        assert got.numpy().dtype == dtype, where
        assert_bits(got.float(), expected, where)
        np.testing.assert_array_equal(got.numpy(), expected.numbers().astype(dtype))


def test_shapes_that_do_not_multiply_are_refused():
    spec = kernel_spec(LogArithmetic(PLAIN))
    for left, right in (((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 2, 3), (3, 3, 2)), ((2, 2, 3), (3, 2))):
        with pytest.raises(SpecificationError, match=r"aten\.mm: shapes .* do not multiply"):
            products.matmul(torch.ones(left), torch.ones(right), spec, "aten.mm")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("where", [(0, 0), (5, 7), (39, 39)])
def test_a_nan_in_a_product_raises_and_names_the_operator(side, where):
    spec = kernel_spec(LogArithmetic(PLAIN, "hamad2025"))
    for dtype in (torch.float32, torch.float64):
        operands = [torch.ones(40, 40, dtype=dtype), torch.zeros(40, 40, dtype=dtype)]
        operands[side][where] = float("nan")
        for _ in everywhere():
            with pytest.raises(NonFiniteError, match=r"aten\.mm in LNS\(5,5\): NaN"):
                products.matmul(*operands, spec, "aten.mm")


def test_half_precision_products_are_refused():
    spec = kernel_spec(LogArithmetic(PLAIN))
    with pytest.raises(UnsupportedOperation, match="use float32 or float64"):
        products.matmul(torch.ones(2, 2, dtype=torch.bfloat16), torch.ones(2, 2, dtype=torch.bfloat16), spec)
