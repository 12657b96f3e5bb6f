"""Elementwise kernels equal the reference, bit for bit, on every instruction set."""

import zlib

import numpy as np
import pytest
import torch
from arithmetics import adders, small_arithmetics
from hypothesis import given, settings
from hypothesis import strategies as st

from grid import around_thresholds, every_code, random_codes
from slipstick import LNS, Exact, LogArithmetic, NonFiniteError, SpecificationError, UnsupportedOperation
from slipstick.arithmetic.functions import UNDEFINED, function_names, function_table
from slipstick.kernels import native, reference
from slipstick.kernels.elementwise import chain
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

BINARY = {
    "add": (chain(lambda x, y: x + y), reference.add),
    "sub": (chain(lambda x, y: x - y), reference.subtract),
    "mul": (chain(lambda x, y: x * y), lambda a, b, _: reference.multiply(a, b)),
    "div": (chain(lambda x, y: x / y), lambda a, b, _: reference.divide(a, b)),
    "max": (chain(lambda x, y: x.maximum(y)), lambda a, b, _: reference.maximum(a, b)),
    "min": (chain(lambda x, y: x.minimum(y)), lambda a, b, _: reference.minimum(a, b)),
}
UNARY = {
    "neg": (chain(lambda x: -x), reference.negate),
    "abs": (chain(lambda x: abs(x)), reference.absolute),
    "reciprocal": (chain(lambda x: x.reciprocal()), reference.reciprocal),
}
ROOTS = {
    "sqrt": (chain(lambda x: x.sqrt()), reference.sqrt),
    "rsqrt": (chain(lambda x: x.rsqrt()), reference.rsqrt),
}
COMPARISONS = {
    "gt": (chain(lambda x, y: x > y), lambda a, b: reference.less(b, a)),
    "ge": (chain(lambda x, y: x >= y), lambda a, b: ~reference.less(a, b)),
    "lt": (chain(lambda x, y: x < y), reference.less),
    "le": (chain(lambda x, y: x <= y), lambda a, b: ~reference.less(b, a)),
    "eq": (chain(lambda x, y: x.equals(y)), reference.equal),
    "ne": (chain(lambda x, y: x.differs(y)), lambda a, b: ~reference.equal(a, b)),
}
rounding = chain(lambda x: x.maximum(x))
"""The shortest chain that returns its operand's rounded value."""

each_small_arithmetic = pytest.mark.parametrize("arithmetic", small_arithmetics(), ids=str)


def tensor(a: LogArray) -> torch.Tensor:
    return torch.from_numpy(a.numbers())


def assert_bits(got: torch.Tensor, expected: LogArray) -> None:
    """Equal float32 patterns: -0.0 is not 0.0."""
    assert got.dtype == torch.float32
    assert tuple(got.shape) == expected.shape
    np.testing.assert_array_equal(got.contiguous().view(torch.int32).numpy(), expected.numbers().view(np.int32))


def seed(*parts: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def all_pairs(format: LNS) -> tuple[LogArray, LogArray]:
    codes = reference.from_codes(every_code(format), format)
    n = codes.shape[0]
    return codes[np.repeat(np.arange(n), n)], codes[np.tile(np.arange(n), n)]


@each_small_arithmetic
def test_every_pair_of_codes_adds_as_in_the_reference(arithmetic, isa):
    a, b = all_pairs(arithmetic.format)
    spec = kernel_spec(arithmetic)
    for name in ("add", "sub"):
        kernel, oracle = BINARY[name]
        assert_bits(kernel(spec, name, tensor(a), tensor(b)), oracle(a, b, arithmetic))


EXACT_OPERATIONS = [a for a in small_arithmetics() if a.add == small_arithmetics()[0].add]


@pytest.mark.parametrize("arithmetic", EXACT_OPERATIONS, ids=str)
def test_every_pair_of_codes_multiplies_divides_and_compares_as_in_the_reference(arithmetic, isa):
    a, b = all_pairs(arithmetic.format)
    spec = kernel_spec(arithmetic)
    for name in ("mul", "max", "min"):
        kernel, oracle = BINARY[name]
        assert_bits(kernel(spec, name, tensor(a), tensor(b)), oracle(a, b, arithmetic))
    for name, (kernel, oracle) in COMPARISONS.items():
        got = kernel(spec, name, tensor(a), tensor(b))
        assert got.dtype == torch.bool
        np.testing.assert_array_equal(got.numpy(), oracle(a, b))
    defined = ~(a.is_zero & b.is_zero)
    kernel, oracle = BINARY["div"]
    a, b = a[defined], b[defined]
    assert_bits(kernel(spec, "div", tensor(a), tensor(b)), oracle(a, b, arithmetic))


@pytest.mark.parametrize("format", [LNS(3, 3), LNS(5, 5, "flush"), LNS(6, 0), LNS(1, 8), LNS(6, 10)], ids=str)
def test_every_code_goes_through_unary_operations_as_in_the_reference(format, isa):
    spec = kernel_spec(LogArithmetic(format))
    a = reference.from_codes(every_code(format), format)
    for name, (kernel, oracle) in UNARY.items():
        assert_bits(kernel(spec, name, tensor(a)), oracle(a))
    positive = a[a.sign == 0]
    for name, (kernel, oracle) in ROOTS.items():
        assert_bits(kernel(spec, name, tensor(positive)), oracle(positive))
    is_zero = chain(lambda x: x.is_zero())
    np.testing.assert_array_equal(is_zero(spec, "is_zero", tensor(a)).numpy(), a.is_zero)


WIDE = [LogArithmetic(f, adder) for f in (LNS(5, 5), LNS(5, 8), LNS(4, 10)) for adder in adders(f.frac_bits)]
CHUNK = 1 << 20
MILLIONS = 10


def near_and_far_pairs(format: LNS, reach: int, count: int, rng: np.random.Generator) -> tuple[LogArray, LogArray]:
    """Uniform codes, of which half have a partner within ``reach``, where the adder has something to say."""
    a = reference.from_codes(random_codes(format, count, rng), format)
    b = reference.from_codes(random_codes(format, count, rng), format)
    beside = np.clip(a.log + rng.integers(-reach, reach + 1, count), -format.max_log, format.max_log)
    log = np.where((rng.integers(0, 2, count) == 0) & ~b.is_zero & ~a.is_zero, beside, b.log)
    return a, LogArray(format, b.sign, log)


@pytest.mark.parametrize("arithmetic", WIDE, ids=str)
def test_millions_of_random_pairs_add_as_in_the_reference(arithmetic):
    """Ten million pairs of each format with exact addition, two million with every other adder."""
    spec = kernel_spec(arithmetic)
    reach = len(arithmetic.tables[0]) + 8
    rng = seed("pairs", str(arithmetic))
    before = native.current_isa()
    try:
        for _ in range(MILLIONS if arithmetic.adder == Exact() else 2):
            a, b = near_and_far_pairs(arithmetic.format, reach, CHUNK, rng)
            expected = reference.add(a, b, arithmetic)
            x, y = tensor(a), tensor(b)
            for isa in native.available_isas():
                native.set_isa(isa)
                assert_bits(BINARY["add"][0](spec, "add", x, y), expected)
    finally:
        native.set_isa(before)


@pytest.mark.parametrize("format", [LNS(5, 5), LNS(5, 8, "flush"), LNS(4, 10)], ids=str)
def test_ten_million_random_pairs_multiply_and_divide_as_in_the_reference(format):
    arithmetic = LogArithmetic(format)
    spec = kernel_spec(arithmetic)
    rng = seed("products", str(format))
    before = native.current_isa()
    try:
        for _ in range(MILLIONS):
            a, b = near_and_far_pairs(format, 64, CHUNK, rng)
            b = LogArray(format, b.sign, np.where(a.is_zero & b.is_zero, 0, b.log))
            x, y = tensor(a), tensor(b)
            product, quotient = reference.multiply(a, b), reference.divide(a, b)
            for isa in native.available_isas():
                native.set_isa(isa)
                assert_bits(BINARY["mul"][0](spec, "mul", x, y), product)
                assert_bits(BINARY["div"][0](spec, "div", x, y), quotient)
    finally:
        native.set_isa(before)


# --- the rim: floats in, floats out -----------------------------------------------------------------------------

SPECIAL = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 1e-39, -1e-39, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "format", [LNS(5, 5), LNS(5, 5, "flush"), LNS(6, 0), LNS(1, 0, "flush"), LNS(6, 8), LNS(3, 10), LNS(4, 16)], ids=str
)
def test_floats_off_the_grid_are_rounded_at_first_use(format, dtype, isa):
    spec = kernel_spec(LogArithmetic(format))
    beside = around_thresholds(format, dtype, 64)[0]
    bits = seed(str(format)).integers(0, 255 << 23, 20000)
    anything = bits.astype(np.int32).view(np.float32).astype(dtype)
    x = np.concatenate([beside, -beside, anything, -anything, np.array(SPECIAL).astype(dtype)])
    got = rounding(spec, "neg", torch.from_numpy(x))
    expected = reference.encode(x, format).numbers()
    assert got.numpy().dtype == dtype
    np.testing.assert_array_equal(np.signbit(got.numpy()), np.signbit(expected))
    np.testing.assert_array_equal(got.numpy(), expected.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("underflow", ["saturate", "flush"])
@pytest.mark.parametrize(
    ("compute", "update"), [((5, 5), (5, 9)), ((5, 0), (6, 4)), ((3, 3), (5, 3)), ((4, 4), (4, 5)), ((2, 0), (2, 10))]
)
def test_operands_are_narrowed_from_the_update_format(compute, update, underflow, dtype, isa):
    compute, update = LNS(*compute, underflow), LNS(*update, underflow)
    spec = kernel_spec(LogArithmetic(compute), update)
    beside = around_thresholds(update, dtype, 128)[0]
    x = np.concatenate([beside, -beside, np.array(SPECIAL).astype(dtype)])
    expected = reference.encode(x, compute, via=update).numbers()
    np.testing.assert_array_equal(rounding(spec, "neg", torch.from_numpy(x)).numpy(), expected.astype(dtype))


@pytest.mark.parametrize(
    ("update", "message"),
    [(LNS(5, 4), "update=LNS"), (LNS(4, 8), "update=LNS"), (LNS(5, 8, "flush"), "underflow")],
    ids=str,
)
def test_an_update_format_that_cannot_be_narrowed_is_refused(update, message):
    with pytest.raises(SpecificationError, match=message):
        kernel_spec(LogArithmetic(LNS(5, 5)), update)


@pytest.mark.parametrize("int_bits", [7, 10])
def test_operands_wider_than_float32_are_refused(int_bits):
    with pytest.raises(SpecificationError, match=rf"LNS\({int_bits},5\).*int_bits"):
        kernel_spec(LogArithmetic(LNS(int_bits, 5), accumulator="operand"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("where", [0, 7, 1000, 4096])
def test_a_nan_raises_and_names_the_operator(dtype, where, isa, threads):
    x = torch.ones(4097, dtype=dtype)
    x[where] = float("nan")
    spec = kernel_spec(LogArithmetic(LNS(5, 5)))
    for arguments in ((x, torch.ones_like(x)), (torch.ones_like(x), -x)):
        with pytest.raises(NonFiniteError, match=r"some\.operator in LNS\(5,5\): NaN"):
            BINARY["add"][0](spec, "some.operator", *arguments)


@pytest.mark.parametrize("where", [0, 5, 4096])
def test_zero_by_zero_and_roots_of_negatives_raise(where, isa, threads):
    spec = kernel_spec(LogArithmetic(LNS(5, 5)))
    zeros, x = torch.zeros(4097), torch.ones(4097)
    x[where] = 0
    with pytest.raises(NonFiniteError, match=r"aten\.div.*0/0"):
        BINARY["div"][0](spec, "aten.div", zeros, x)
    x[where] = -1e-30
    for name, (kernel, _) in ROOTS.items():
        with pytest.raises(NonFiniteError, match=f"{name}.*negative"):
            kernel(spec, name, x)


def test_half_precision_and_complex_tensors_are_refused():
    spec = kernel_spec(LogArithmetic(LNS(5, 5)))
    for dtype in (torch.float16, torch.bfloat16, torch.complex64):
        with pytest.raises(UnsupportedOperation, match="use float32 or float64"):
            rounding(spec, "neg", torch.ones(3, dtype=dtype))


# --- shapes, constants, chains ----------------------------------------------------------------------------------

ARITHMETIC = LogArithmetic(LNS(5, 5), "hamad2025")


def numbers(shape: tuple[int, ...], *key: object, format: LNS = ARITHMETIC.format) -> LogArray:
    return reference.from_codes(random_codes(format, shape, seed(key, shape)), format)


def broadcast(a: LogArray, shape: tuple[int, ...]) -> LogArray:
    return LogArray(a.format, np.broadcast_to(a.sign, shape).copy(), np.broadcast_to(a.log, shape).copy())


SHAPES = [
    ((), ()), ((1,), ()), ((0,), ()), ((3, 0, 2), (2,)), ((7,), (7,)), ((33,), (1,)), ((5, 1), (1, 9)),
    ((4, 3, 5), (3, 1)), ((2, 1, 4, 1), (3, 1, 6)), ((1, 1), (40, 50)), ((300, 70), (70,)), ((70,), (300, 70)),
    ((300, 1), (300, 70)), ((2, 3, 4, 5, 6), (5, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_operands_broadcast(left, right, isa, threads):
    a, b = numbers(left, "left"), numbers(right, "right")
    shape = np.broadcast_shapes(left, right)
    expected = reference.add(broadcast(a, shape), broadcast(b, shape), ARITHMETIC)
    assert_bits(BINARY["add"][0](kernel_spec(ARITHMETIC), "add", tensor(a), tensor(b)), expected)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 1023, 1025, 4097, 70001])
def test_every_length_and_alignment_gives_the_same_bits(count, isa, threads):
    spec = kernel_spec(ARITHMETIC)
    for offset in (0, 1, 3):
        a, b = numbers((count + offset,), "a", offset), numbers((count + offset,), "b", offset)
        expected = reference.add(a[offset:], b[offset:], ARITHMETIC)
        assert_bits(BINARY["add"][0](spec, "add", tensor(a)[offset:], tensor(b)[offset:]), expected)


def test_strides_do_not_matter(isa, threads):
    spec = kernel_spec(ARITHMETIC)
    a, b = numbers((6, 8, 10), "a"), numbers((6, 8, 10), "b")
    expected = reference.subtract(a, b, ARITHMETIC)
    views = {
        "transposed": lambda t: t.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "channels": lambda t: t[None].contiguous(memory_format=torch.channels_last)[0],
        "strided": lambda t: torch.stack([t, t * 0 + 3], -1)[..., 0],
    }
    for left in views.values():
        for right in views.values():
            x, y = left(tensor(a)), right(tensor(b))
            assert_bits(BINARY["sub"][0](spec, "sub", x, y), expected)


def test_results_may_be_written_in_place(isa, threads):
    spec = kernel_spec(ARITHMETIC)
    a, b = numbers((50, 40), "a"), numbers((40,), "b")
    x = tensor(a)
    got = BINARY["add"][0](spec, "add", x, tensor(b), out=x)
    assert got is x
    assert_bits(x, reference.add(a, broadcast(b, (50, 40)), ARITHMETIC))
    y = torch.full((50, 80), 3.0)
    BINARY["add"][0](spec, "add", tensor(a), tensor(b), out=y[:, ::2])
    assert_bits(y[:, ::2].contiguous(), reference.add(a, broadcast(b, (50, 40)), ARITHMETIC))
    assert (y[:, 1::2] == 3.0).all()


@pytest.mark.parametrize("value", [0.9, -1 / 3, 0.0, -0.0, 1, True, 1e30, -1e30, float("inf"), 1e-300, 0.1])
def test_numbers_are_encoded_from_float64(value, isa):
    a = numbers((100,), "a")
    constant = broadcast(reference.encode(np.array(float(value)), ARITHMETIC.format), (100,))
    spec = kernel_spec(ARITHMETIC)
    assert_bits(BINARY["mul"][0](spec, "mul", tensor(a), value), reference.multiply(a, constant))
    assert_bits(BINARY["sub"][0](spec, "sub", value, tensor(a)), reference.subtract(constant, a, ARITHMETIC))


@chain
def everything(x, y, z, scale):
    """Reuses operands, results and constants, and returns three values, one of them a mask."""
    total = x * scale + y
    small = abs(total) < 0.5
    kept = small.select(z, total - 2.0 * z)
    return (kept * kept).sqrt() / (1 + abs(y)), total, small


def test_a_chain_equals_its_operations_one_after_another(isa, threads):
    format = ARITHMETIC.format
    x, y, z = (numbers((120, 33), name) for name in "xyz")
    scale, half, two, one = (broadcast(reference.encode(np.array(v), format), (120, 33)) for v in (0.7, 0.5, 2.0, 1.0))
    total = reference.add(reference.multiply(x, scale), y, ARITHMETIC)
    small = reference.less(reference.absolute(total), half)
    rest = reference.subtract(total, reference.multiply(two, z), ARITHMETIC)
    kept = LogArray(format, np.where(small, z.sign, rest.sign), np.where(small, z.log, rest.log))
    root = reference.sqrt(reference.multiply(kept, kept))
    first = reference.divide(root, reference.add(one, reference.absolute(y), ARITHMETIC))
    got = everything(kernel_spec(ARITHMETIC), "everything", tensor(x), tensor(y), tensor(z), 0.7)
    assert_bits(got[0], first)
    assert_bits(got[1], total)
    np.testing.assert_array_equal(got[2].numpy(), small)


@st.composite
def programs(draw):
    """A list of steps (operation, operand, operand) on a growing stack that starts with three operands."""
    names = ["add", "sub", "mul", "max", "min", "neg", "abs", "root", "choose", "constant"]
    steps = []
    for height in range(3, 3 + draw(st.integers(1, 14))):
        operand = st.integers(0, height - 1)
        steps.append((draw(st.sampled_from(names)), draw(operand), draw(operand), draw(operand)))
    return steps, draw(st.integers(0, 2)), draw(st.sampled_from([0.3, -5.0, 0.0]))


def run_program(steps, stack, operations):
    for name, i, j, k in steps:
        stack.append(operations[name](stack[i], stack[j], stack[k]))
    return stack


@settings(max_examples=150)
@given(programs(), st.sampled_from(native.available_isas()))
def test_random_chains_equal_their_operations_one_after_another(program, isa):
    steps, returned, number = program
    format, spec = ARITHMETIC.format, kernel_spec(ARITHMETIC)
    operands = [numbers((9, 7), name) for name in "xyz"]
    constant = broadcast(reference.encode(np.array(number), format), (9, 7))
    symbolic = {
        "add": lambda a, b, c: a + b, "sub": lambda a, b, c: a - b, "mul": lambda a, b, c: a * b,
        "max": lambda a, b, c: a.maximum(b), "min": lambda a, b, c: a.minimum(b), "neg": lambda a, b, c: -a,
        "abs": lambda a, b, c: abs(a), "root": lambda a, b, c: abs(a).sqrt(),
        "choose": lambda a, b, c: (a > b).select(c, a), "constant": lambda a, b, c: number - a,
    }  # fmt: skip

    def choose(a, b, c):
        above = reference.less(b, a)
        return LogArray(format, np.where(above, c.sign, a.sign), np.where(above, c.log, a.log))

    plain = {
        "add": lambda a, b, c: reference.add(a, b, ARITHMETIC),
        "sub": lambda a, b, c: reference.subtract(a, b, ARITHMETIC),
        "mul": lambda a, b, c: reference.multiply(a, b), "max": lambda a, b, c: reference.maximum(a, b),
        "min": lambda a, b, c: reference.minimum(a, b), "neg": lambda a, b, c: reference.negate(a),
        "abs": lambda a, b, c: reference.absolute(a),
        "root": lambda a, b, c: reference.sqrt(reference.absolute(a)), "choose": choose,
        "constant": lambda a, b, c: reference.subtract(constant, a, ARITHMETIC),
    }  # fmt: skip
    recorded = chain(lambda x, y, z: tuple(run_program(steps, [x, y, z], symbolic)[-1 - returned :]))
    expected = run_program(steps, list(operands), plain)[-1 - returned :]
    before = native.current_isa()
    native.set_isa(isa)
    try:
        got = recorded(spec, "program", *map(tensor, operands))
    finally:
        native.set_isa(before)
    for result, wanted in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
        assert_bits(result, wanted)


@pytest.mark.parametrize("name", function_names())
@pytest.mark.parametrize("format", [LNS(5, 5), LNS(3, 3, "flush")], ids=str)
def test_functions_look_up_their_table_for_every_code(name, format, isa):
    """The table itself is checked in tests/arithmetic; here every code must find its own entry."""
    spec = kernel_spec(LogArithmetic(format))
    a = reference.from_codes(every_code(format), format)
    entries = function_table(name, format)[2 * a.log + a.sign + 2 * (format.max_log + 1)]
    defined = entries != UNDEFINED
    a, entries = a[defined], entries[defined].astype(np.int64)
    look_up = chain(lambda x: x.function(name))
    assert_bits(look_up(spec, name, tensor(a)), LogArray(format, entries & 1, entries >> 1))


@pytest.mark.parametrize("name", ["log", "log2"])
def test_functions_of_numbers_without_a_value_raise(name, isa):
    look_up = chain(lambda x: x.function(name))
    with pytest.raises(NonFiniteError, match=rf"aten\.{name} in LNS\(5,5\)"):
        look_up(kernel_spec(LogArithmetic(LNS(5, 5))), f"aten.{name}", torch.tensor([1.0, -1.0]))


def test_the_instruction_set_can_be_chosen_among_those_of_the_machine(isa):
    assert native.current_isa() == isa
    with pytest.raises(ValueError, match="choose portable, avx2 or avx512"):
        native.set_isa("sse")
    assert native.current_isa() == isa
