"""Elementwise kernels equal the reference, bit for bit, on every instruction set."""

import numpy as np
import pytest
import torch
from arithmetics import adders, jagged, small_arithmetics, wild
from operands import MODES, all_pairs, assert_bits, operand, seed, tensor

from grid import around_thresholds, every_code, random_codes
from slipstick import (
    LNS,
    Exact,
    IndexForm,
    LogArithmetic,
    NonFiniteError,
    PiecewiseLinear,
    Segments,
    SpecificationError,
    UnsupportedOperation,
)
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


# Few and many classes of differences, with a coarse part or not, entries beyond a byte, no classes at all, and steps
# that 16 bits cannot hold.
EVERY_LOOKUP = [
    *(LogArithmetic(LNS(5, f), "exact") for f in (2, 3, 4, 5, 6, 7)),
    *(LogArithmetic(LNS(5, f), "hamad2025") for f in (5, 6, 7)),
    LogArithmetic(LNS(5, 5), "designed-simd"),
    LogArithmetic(LNS(5, 5, "flush"), wild(5)),
    *(
        LogArithmetic(LNS(5, 5), jagged(5, IndexForm(*index)))
        for index in (
            *((0, 17, 17), (0, 47, 47), (0, 127, 127), (0, 210, 210)),
            *((3, 42, 70), (3, 70, 102), (3, 140, 180), (4, 60, 76)),
        )
    ),
    LogArithmetic(LNS(6, 8), PiecewiseLinear(8, Segments((700,), (0,), (20000,)), Segments((700,), (0,), (-20000,)))),
]


@pytest.mark.parametrize("arithmetic", EVERY_LOOKUP, ids=str)
@pytest.mark.parametrize("count", [1, 31, 33, 1023, 1 << 16])
def test_sums_are_those_of_the_reference_whatever_the_adders_tables(arithmetic, count, isa):
    spec = kernel_spec(arithmetic)
    a, b = near_and_far_pairs(arithmetic.format, len(arithmetic.tables[0]) + 8, count, seed(str(arithmetic), count))
    for name in ("add", "sub"):
        kernel, oracle = BINARY[name]
        assert_bits(kernel(spec, name, tensor(a), tensor(b)), oracle(a, b, arithmetic))


@pytest.mark.parametrize("format", [LNS(5, 5), LNS(6, 8), LNS(6, 8, "flush"), LNS(4, 10), LNS(4, 11)], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_operations_at_the_ends_of_the_format_and_of_16_bits(format, mode, isa):
    arithmetic = LogArithmetic(format)
    spec = kernel_spec(arithmetic)
    a, b = (operand(format, (3001,), mode, seed(str(format), mode, side)) for side in "ab")
    for name, (kernel, oracle) in BINARY.items():
        u, v = (a, b) if name != "div" else (a[~b.is_zero], b[~b.is_zero])
        assert_bits(kernel(spec, name, tensor(u), tensor(v)), oracle(u, v, arithmetic))
    for name, (kernel, oracle) in COMPARISONS.items():
        np.testing.assert_array_equal(kernel(spec, name, tensor(a), tensor(b)).numpy(), oracle(a, b))


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
    "format",
    [
        *(LNS(5, 5), LNS(5, 5, "flush"), LNS(6, 0), LNS(1, 0, "flush"), LNS(6, 8), LNS(3, 10), LNS(4, 16)),
        *(LNS(6, 5), LNS(4, 4), LNS(5, 3, "flush"), LNS(3, 2), LNS(2, 1, "flush")),
    ],
    ids=str,
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


@pytest.mark.parametrize("bits", [0x7F800001, 0xFF800001, 0x7F80FFFF, 0x7F810000, 0x7FFFFFFF])
@pytest.mark.parametrize("where", [0, 99, 127])
def test_every_nan_raises_and_infinities_beside_it_do_not(bits, where, isa):
    x = np.full(128, np.inf, np.float32)
    x[1::2] = -np.inf
    spec = kernel_spec(LogArithmetic(LNS(5, 5)))
    assert_bits(rounding(spec, "neg", torch.from_numpy(x)), reference.encode(x, LNS(5, 5)))
    x.view(np.uint32)[where] = bits
    with pytest.raises(NonFiniteError, match="NaN"):
        rounding(spec, "neg", torch.from_numpy(x))


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


def test_numbers_are_encoded_straight_into_the_format_and_tensors_through_the_update_format():
    """2^0.5001 is above the middle of 1 and 2, but in ten fraction bits it is the middle, and that goes to even."""
    value = 2**0.5001
    spec = kernel_spec(LogArithmetic(LNS(3, 0)), LNS(3, 10))
    one = torch.ones(1, dtype=torch.float64)
    assert BINARY["mul"][0](spec, "mul", one, value).item() == 2.0
    assert BINARY["mul"][0](spec, "mul", one, one * value).item() == 1.0
