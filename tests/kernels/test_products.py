"""Matrix products, convolutions and sums equal the reference: in every order, accumulator, ISA and thread count."""

import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from arithmetics import wild

from grid import around_thresholds, random_codes
from slipstick import (
    LNS,
    BitShift,
    Blocked,
    LogArithmetic,
    NonFiniteError,
    Sequential,
    SpecificationError,
    Table,
    Tree,
    UnsupportedOperation,
)
from slipstick.kernels import native, products, reference
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec


def wide(format: LNS, adder: object = "exact") -> LogArithmetic:
    """An accumulator."""
    return LogArithmetic(format, adder)


ORDERS = [Sequential(), Tree(16), Blocked(64), Tree(2), Tree(4), Tree(128), Blocked(1), Blocked(7), Blocked(16)]
PLAIN, FLUSH = LNS(5, 5), LNS(4, 4, "flush")
KERNEL_ARITHMETICS = [
    # the paths that kernels are written for, in every order, with every accumulator
    *(LogArithmetic(PLAIN, "exact", order, acc) for order in ORDERS for acc in ("guard", "operand")),
    *(LogArithmetic(PLAIN, "hamad2025", order, acc) for order in ORDERS[:4] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(3, 3), "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(4, 4), "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(FLUSH, "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(5, f), "hamad2025", order) for f in (6, 7, 8) for order in ORDERS[:3]),
    *(LogArithmetic(LNS(5, f), "exact", order) for f in (6, 8) for order in ORDERS[:3]),
    # accumulators of another precision, range, policy and adder
    *(LogArithmetic(LNS(3, 2), "exact", order, wide(LNS(5, 6))) for order in ORDERS[:3]),
    LogArithmetic(LNS(5, 5), "hamad2025", Tree(16), wide(LNS(6, 8), "hamad2025")),
    LogArithmetic(LNS(5, 5), BitShift(), Tree(16), wide(LNS(5, 9), "exact")),
    LogArithmetic(LNS(5, 5), "exact", Sequential(), wide(LNS(3, 7), BitShift())),
    LogArithmetic(LNS(5, 5), "exact", Blocked(64), wide(LNS(6, 5, "flush"))),
    LogArithmetic(LNS(5, 5, "flush"), "exact", Tree(16), wide(LNS(4, 7))),
    LogArithmetic(LNS(6, 6), "exact", Tree(16), wide(LNS(10, 16))),
    LogArithmetic(LNS(5, 5), "exact", Sequential(), wide(LNS(8, 8))),
    # every other adder, and tables that no one would build
    *(LogArithmetic(PLAIN, adder, order) for adder in (BitShift(), Table(0.5, 10.0)) for order in ORDERS[:3]),
    *(LogArithmetic(PLAIN, wild(5), order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(3, 3, "flush"), wild(3), order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    # the ends of the formats
    *(LogArithmetic(LNS(6, 10), "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    LogArithmetic(LNS(6, 16), "exact"),
    LogArithmetic(LNS(6, 0), "exact"),
    LogArithmetic(LNS(1, 0, "flush"), "exact", Sequential(), "operand"),
    LogArithmetic(LNS(1, 8), "exact", Tree(16), "operand"),
    LogArithmetic(LNS(5, 5), "hamad2025-agnostic"),
]
each_arithmetic = pytest.mark.parametrize("arithmetic", KERNEL_ARITHMETICS, ids=str)

MODES = ["any", "close", "cancelling", "largest", "smallest", "sparse"]


def seed(*parts: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def operand(format: LNS, shape: tuple[int, ...], mode: str, rng: np.random.Generator) -> LogArray:
    """Numbers of one temper; axis -1 of "cancelling" ones holds pairs x, -x."""
    if mode == "any":
        return reference.from_codes(random_codes(format, shape, rng), format)
    octave = 1 << format.frac_bits
    top = format.max_log
    low, high = {
        "close": (-2 * octave, 2 * octave),
        "cancelling": (-octave, octave),
        "largest": (top - octave, top),
        "smallest": (-top, octave - top),
        "sparse": (-4 * octave, 4 * octave),
    }[mode]
    log = np.clip(rng.integers(low, high + 1, shape), -top, top)
    sign = rng.integers(0, 2, shape)
    if mode == "cancelling":
        paired = shape[-1] - shape[-1] % 2
        log[..., 1:paired:2] = log[..., 0:paired:2]
        sign[..., 1:paired:2] = 1 - sign[..., 0:paired:2]
    zero = rng.random(shape) < {"sparse": 0.8, "largest": 0.0}.get(mode, 0.1)
    return reference.rounded(sign, log, zero, format)


def tensor(a: LogArray) -> torch.Tensor:
    return torch.from_numpy(a.numbers())


def everywhere() -> Iterator[str]:
    """Runs the body of a loop on every instruction set, with one thread and with two."""
    isa, threads = native.current_isa(), torch.get_num_threads()
    try:
        for name in native.available_isas():
            native.set_isa(name)
            for count in (1, 2):
                torch.set_num_threads(count)
                yield f"{name}, {count} threads"
    finally:
        native.set_isa(isa)
        torch.set_num_threads(threads)


def assert_bits(got: torch.Tensor, expected: LogArray, where: str) -> None:
    """Equal float32 patterns: -0.0 is not 0.0."""
    assert got.dtype == torch.float32
    assert tuple(got.shape) == expected.shape
    np.testing.assert_array_equal(
        got.contiguous().view(torch.int32).numpy(), expected.numbers().view(np.int32), err_msg=where
    )


# --- matrix products --------------------------------------------------------------------------------------------


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


DEFAULTS = [
    LogArithmetic(PLAIN, "hamad2025", Tree(16)),
    LogArithmetic(PLAIN, "exact", Sequential(), "operand"),
    LogArithmetic(LNS(3, 3), "exact", Blocked(64)),
    LogArithmetic(LNS(4, 4, "flush"), wild(4), Blocked(5), "operand"),
    LogArithmetic(LNS(5, 8), "exact", Tree(16), wide(LNS(6, 10))),
]
each_default = pytest.mark.parametrize("arithmetic", DEFAULTS, ids=str)

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
    ("format", "adder"), [(PLAIN, "exact"), (PLAIN, "hamad2025"), (LNS(3, 3), "exact"), (LNS(3, 7), "exact")], ids=str
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


# --- convolutions -----------------------------------------------------------------------------------------------

CONVOLUTIONS = [
    # samples, channels, outputs, space, kernel, stride, padding, dilation, groups
    (2, 3, 4, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 5, 3, (7, 9), (3, 2), (2, 3), (1, 0), (1, 1), 1),
    (2, 4, 6, (8, 7), (3, 3), (2, 1), (2, 3), (2, 1), 2),
    (3, 6, 6, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 3, 6, (6, 6), (2, 2), (3, 3), (0, 0), (1, 1), 3),
    (2, 17, 9, (4, 4), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 2, 3, (5, 5), (1, 1), (2, 2), (1, 1), (1, 1), 1),
    (1, 2, 2, (4, 4), (4, 4), (1, 1), (3, 3), (1, 1), 1),
    (2, 3, 2, (11,), (4,), (3,), (2,), (2,), 1),
    (3, 4, 4, (20,), (5,), (1,), (2,), (1,), 4),
    (2, 2, 4, (5, 4, 6), (2, 3, 2), (2, 1, 1), (1, 1, 0), (1, 1, 2), 2),
    (1, 3, 2, (4, 5, 3), (3, 3, 3), (1, 2, 1), (1, 1, 1), (1, 1, 1), 1),
]
each_convolution = pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
CONVOLVED = [
    *DEFAULTS,
    LogArithmetic(PLAIN, "hamad2025", Sequential()),
    LogArithmetic(PLAIN, "hamad2025", Blocked(64)),
    LogArithmetic(LNS(5, 6), "hamad2025", Tree(4), "operand"),
]


def convolution_operands(case: tuple, format: LNS, *key: object) -> tuple[LogArray, LogArray, LogArray, tuple]:
    samples, channels, outputs, space, kernel, stride, padding, dilation, groups = case
    positions = reference.products.output_positions(space, kernel, stride, padding, dilation)
    rng = seed("convolution", case, key)
    shapes = (samples, channels, *space), (outputs, channels // groups, *kernel), (samples, outputs, *positions)
    x, w, g = (operand(format, shape, "close", rng) for shape in shapes)
    return x, w, g, (stride, padding, dilation, groups)


def channels_last(t: torch.Tensor) -> torch.Tensor:
    """The same tensor with its channels next to each other in memory."""
    order = (0, *range(2, t.dim()), 1)
    back = (0, t.dim() - 1, *range(1, t.dim() - 1))
    return t.permute(order).contiguous().permute(back)


@each_convolution
@pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)
def test_convolution_equals_the_reference(case, arithmetic):
    x, w, _, options = convolution_operands(case, arithmetic.format, str(arithmetic))
    expected = reference.convolution(x, w, arithmetic, *options)
    for where in everywhere():
        got = products.convolution(tensor(x), tensor(w), kernel_spec(arithmetic), *options)
        assert_bits(got, expected, where)
        got = products.convolution(
            channels_last(tensor(x)), channels_last(tensor(w)), kernel_spec(arithmetic), *options
        )
        assert_bits(got, expected, where)


@each_convolution
@pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)
def test_convolution_input_gradient_equals_the_reference(case, arithmetic):
    x, w, g, options = convolution_operands(case, arithmetic.format, str(arithmetic))
    expected = reference.convolution_input_gradient(g, w, arithmetic, x.shape, *options)
    for where in everywhere():
        spec = kernel_spec(arithmetic)
        got = products.convolution_input_gradient(tensor(g), tensor(w), x.shape, spec, *options)
        assert_bits(got, expected, where)
        got = products.convolution_input_gradient(channels_last(tensor(g)), tensor(w), x.shape, spec, *options)
        assert_bits(got, expected, where)


@each_convolution
@pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)
def test_convolution_weight_gradient_equals_the_reference(case, arithmetic):
    x, w, g, options = convolution_operands(case, arithmetic.format, str(arithmetic))
    expected = reference.convolution_weight_gradient(g, x, arithmetic, w.shape, *options)
    for where in everywhere():
        spec = kernel_spec(arithmetic)
        got = products.convolution_weight_gradient(tensor(g), tensor(x), w.shape, spec, *options)
        assert_bits(got, expected, where)
        got = products.convolution_weight_gradient(tensor(g), channels_last(tensor(x)), w.shape, spec, *options)
        assert_bits(got, expected, where)


def test_one_number_stands_for_every_axis():
    arithmetic = DEFAULTS[0]
    x, w, _, _ = convolution_operands(CONVOLUTIONS[0], arithmetic.format)
    spec = kernel_spec(arithmetic)
    long = products.convolution(tensor(x), tensor(w), spec, (2, 2), (1, 1), (1, 1))
    assert torch.equal(products.convolution(tensor(x), tensor(w), spec, [2], [1], [1]), long)


@pytest.mark.parametrize(
    ("x", "w", "groups", "message"),
    [
        ((1, 3, 5, 5), (2, 4, 3, 3), 1, "do not fit groups=1"),
        ((1, 4, 5, 5), (3, 2, 3, 3), 2, "do not fit groups=2"),
        ((1, 3, 5), (2, 3, 3, 3), 1, "do not fit"),
        ((1, 3, 5, 5), (2, 3, 6, 3), 1, "larger than the padded input"),
    ],
)
def test_convolutions_that_do_not_fit_are_refused(x, w, groups, message):
    spec = kernel_spec(DEFAULTS[0])
    ones = [1] * (len(x) - 2)
    with pytest.raises(SpecificationError, match=message):
        products.convolution(torch.ones(x), torch.ones(w), spec, ones, [0] * len(ones), ones, groups)


def test_a_nan_in_a_convolution_raises():
    x, w, g = torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3), torch.ones(1, 3, 3, 3)
    spec = kernel_spec(DEFAULTS[0])
    options = (1, 1), (0, 0), (1, 1)
    for t in (x, w, g):
        t[0, 1, 2, 2] = float("nan")
    for _ in everywhere():
        with pytest.raises(NonFiniteError, match="convolution in"):
            products.convolution(x, torch.ones_like(w), spec, *options)
        with pytest.raises(NonFiniteError, match="convolution_backward in"):
            products.convolution_input_gradient(g, torch.ones_like(w), x.shape, spec, *options)
        with pytest.raises(NonFiniteError, match="convolution_backward in"):
            products.convolution_weight_gradient(torch.ones_like(g), x, w.shape, spec, *options)


# --- sums -------------------------------------------------------------------------------------------------------

REDUCTIONS = [
    ((5,), [0]), ((300,), [0]), ((4097,), [-1]), ((3, 40), [1]), ((40, 3), [0]), ((6, 7), [0, 1]), ((6, 7), [1, 0]),
    ((5, 6, 7), [1]), ((5, 6, 7), [0, 2]), ((5, 6, 7), [-1, 0]), ((2, 9, 5, 4), [0, 2, 3]), ((2, 3, 4, 5), [1, 3]),
    ((1, 1, 1), [1]), ((3, 0, 4), [1]), ((0, 4), [1]), ((130, 20), [0]), ((20, 130), [1]),
]  # fmt: skip


@each_arithmetic
def test_sums_equal_the_reference_in_every_arithmetic(arithmetic):
    spec = kernel_spec(arithmetic)
    for mode in MODES:
        x = operand(arithmetic.format, (21, 70), mode, seed("sum", str(arithmetic), mode))
        for axis in (0, 1):
            expected = reference.sum_over(x, [axis], False, arithmetic)
            for where in everywhere():
                assert_bits(products.sum_over(tensor(x), [axis], False, spec), expected, f"{mode}, {where}")


@each_default
@pytest.mark.parametrize(("shape", "dims"), REDUCTIONS, ids=str)
@pytest.mark.parametrize("keepdim", [False, True])
def test_sums_over_any_axes_equal_the_reference(arithmetic, shape, dims, keepdim):
    x = operand(arithmetic.format, shape, "close", seed("axes", shape, str(arithmetic)))
    expected = reference.sum_over(x, dims, keepdim, arithmetic)
    for where in everywhere():
        assert_bits(products.sum_over(tensor(x), dims, keepdim, kernel_spec(arithmetic)), expected, where)


@each_default
def test_no_axes_mean_all_axes(arithmetic):
    x = operand(arithmetic.format, (4, 5, 6), "close", seed("all"))
    expected = reference.sum_over(x, [0, 1, 2], False, arithmetic)
    spec = kernel_spec(arithmetic)
    for where in everywhere():
        for dims in (None, []):
            assert_bits(products.sum_over(tensor(x), dims, False, spec), expected, where)
    scalar = operand(arithmetic.format, (), "close", seed("scalar"))
    assert_bits(products.sum_over(tensor(scalar), None, False, spec), scalar, "a sum of one term")


@each_default
def test_the_order_of_a_sum_is_logical_whatever_the_strides(arithmetic):
    x = operand(arithmetic.format, (6, 40, 9), "close", seed("logical", str(arithmetic)))
    spec = kernel_spec(arithmetic)
    for dims in ([0], [1], [0, 2], [0, 1, 2]):
        expected = reference.sum_over(x, dims, False, arithmetic)
        for t in (tensor(x), channels_last(tensor(x)), tensor(x).permute(2, 1, 0).contiguous().permute(2, 1, 0)):
            for where in everywhere():
                assert_bits(products.sum_over(t, dims, False, spec), expected, where)
    row = operand(arithmetic.format, (1, 40), "close", seed("row", str(arithmetic)))
    repeated = LogArray(row.format, row.sign.repeat(30, 0), row.log.repeat(30, 0))
    for dims in ([0], [1], [0, 1]):
        expected = reference.sum_over(repeated, dims, False, arithmetic)
        for where in everywhere():
            assert_bits(products.sum_over(tensor(row).expand(30, 40), dims, False, spec), expected, where)


def test_a_nan_in_a_sum_raises():
    x = torch.ones(100, 30)
    x[99, 29] = float("nan")
    for _ in everywhere():
        for dims in ([0], [1], None):
            with pytest.raises(NonFiniteError, match=r"aten\.sum in LNS\(5,5\): NaN"):
                products.sum_over(x, dims, False, kernel_spec(DEFAULTS[0]), "aten.sum")
