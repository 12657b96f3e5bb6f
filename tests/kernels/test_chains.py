"""Chains of operations equal their operations one after another, whatever the shapes, strides and constants."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operands import assert_bits, seed, tensor

from grid import every_code, random_codes
from slipstick import LNS, LogArithmetic, NonFiniteError
from slipstick.arithmetic.functions import UNDEFINED, function_names, function_table
from slipstick.kernels import contraction, elementwise, native, products, reference
from slipstick.kernels.elementwise import chain
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

adding = chain(lambda x, y: x + y)
subtracting = chain(lambda x, y: x - y)
multiplying = chain(lambda x, y: x * y)
both = chain(lambda x, y: (x + y, x * y))

ARITHMETIC = LogArithmetic(LNS(5, 5), "hamad2025")


def numbers(shape: tuple[int, ...], *key: object, format: LNS = ARITHMETIC.format) -> LogArray:
    return reference.from_codes(random_codes(format, shape, seed(key, shape)), format)


def broadcast(a: LogArray, shape: tuple[int, ...]) -> LogArray:
    return LogArray(a.format, np.broadcast_to(a.sign, shape).copy(), np.broadcast_to(a.log, shape).copy())


SHAPES = [
    ((), ()), ((1,), ()), ((0,), ()), ((3, 0, 2), (2,)), ((7,), (7,)), ((33,), (1,)), ((5, 1), (1, 9)),
    ((4, 3, 5), (3, 1)), ((2, 1, 4, 1), (3, 1, 6)), ((1, 1), (40, 50)), ((300, 70), (70,)), ((70,), (300, 70)),
    ((300, 1), (300, 70)), ((2, 3, 4, 5, 6), (5, 1)), ((90, 60), ()), ((512, 8, 4), (8, 1)), ((3, 40, 1000), (40, 1)),
    ((50, 20, 30), (50, 1, 30)), ((40, 5, 7, 6), (5, 1, 6)), ((9000, 2), (1, 2)), ((3, 5, 4000), (3, 1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_operands_broadcast(left, right, isa, threads):
    a, b = numbers(left, "left"), numbers(right, "right")
    shape = np.broadcast_shapes(left, right)
    expected = reference.add(broadcast(a, shape), broadcast(b, shape), ARITHMETIC)
    assert_bits(adding(kernel_spec(ARITHMETIC), "add", tensor(a), tensor(b)), expected)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 1023, 1025, 4097, 70001])
def test_every_length_and_alignment_gives_the_same_bits(count, isa, threads):
    spec = kernel_spec(ARITHMETIC)
    for offset in (0, 1, 3):
        a, b = numbers((count + offset,), "a", offset), numbers((count + offset,), "b", offset)
        expected = reference.add(a[offset:], b[offset:], ARITHMETIC)
        assert_bits(adding(spec, "add", tensor(a)[offset:], tensor(b)[offset:]), expected)


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
            assert_bits(subtracting(spec, "sub", x, y), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_strided_operand_is_broadcast(dtype, isa, threads):
    a, b = numbers((60, 12, 30), "a"), numbers((12,), "b")
    wide = torch.full((12, 2), 3.0, dtype=dtype)
    wide[:, 0] = tensor(b)
    expected = reference.subtract(a, LogArray(a.format, b.sign[:, None], b.log[:, None]), ARITHMETIC)
    got = subtracting(kernel_spec(ARITHMETIC), "sub", tensor(a).to(dtype), wide[:, :1])
    assert got.dtype == dtype
    assert_bits(got.float(), expected)


@pytest.mark.parametrize("shape", [(7,), (9000,), (100, 80)])
def test_a_nan_is_found_where_it_is_broadcast(shape, isa):
    x, y = torch.ones(shape), torch.tensor([float("nan")])
    with pytest.raises(NonFiniteError, match="mul in"):
        multiplying(kernel_spec(ARITHMETIC), "mul", x, y)


def test_results_may_be_written_in_place(isa, threads):
    spec = kernel_spec(ARITHMETIC)
    a, b = numbers((50, 40), "a"), numbers((40,), "b")
    x = tensor(a)
    got = adding(spec, "add", x, tensor(b), out=x)
    assert got is x
    assert_bits(x, reference.add(a, broadcast(b, (50, 40)), ARITHMETIC))
    y = torch.full((50, 80), 3.0)
    adding(spec, "add", tensor(a), tensor(b), out=y[:, ::2])
    assert_bits(y[:, ::2].contiguous(), reference.add(a, broadcast(b, (50, 40)), ARITHMETIC))
    assert (y[:, 1::2] == 3.0).all()


def test_arguments_that_overlap_a_result_are_read_before_it_is_written(isa, threads):
    spec = kernel_spec(ARITHMETIC)
    a = numbers((3000,), "overlap")
    left, right = LogArray(a.format, a.sign[:-1], a.log[:-1]), LogArray(a.format, a.sign[1:], a.log[1:])
    total, product = reference.add(left, right, ARITHMETIC), reference.multiply(left, right)
    for target in (slice(1, None), slice(None, -1)):
        x = tensor(a)
        assert adding(spec, "add", x[:-1], x[1:], out=x[target]) is not x
        assert_bits(x[target], total)
        y, z = tensor(a), tensor(a)
        both(spec, "both", y[:-1], y[1:], out=[z[1:], y[target]])
        assert_bits(z[1:], total)
        assert_bits(y[target], product)


def test_memory_that_tensors_share_until_one_is_written_is_theirs_alone_then(isa):
    x = torch.ones(40)
    y = torch._lazy_clone(x)
    adding(kernel_spec(ARITHMETIC), "add", y, 1.0, out=y)
    assert (x == 1).all()
    assert (y == 2).all()


LARGE = (1 << 22) + 1234
"""Elements from which results are written past the caches."""


@pytest.mark.parametrize("offset", [0, 1, 3, 16])
def test_large_results_at_any_address_leave_their_surroundings_alone(offset, isa, threads):
    spec, period = kernel_spec(ARITHMETIC), 70001
    a, b = numbers((period,), "a"), numbers((period,), "b")
    expected = reference.add(a, b, ARITHMETIC)
    repeats = -(-LARGE // period)
    x, y = (tensor(operand).repeat(repeats)[:LARGE] for operand in (a, b))
    memory = torch.full((LARGE + 64,), 3.0)
    out = memory[offset : offset + LARGE]
    adding(spec, "add", x, y, out=out)
    wanted = tensor(expected).repeat(repeats)[:LARGE]
    assert torch.equal(out, wanted)
    assert not torch.signbit(out[wanted == 0]).any()
    assert (memory[:offset] == 3.0).all()
    assert (memory[offset + LARGE :] == 3.0).all()
    adding(spec, "add", x, y, out=x)
    assert torch.equal(x, wanted)


def test_large_chains_give_several_results_and_masks(isa):
    spec, period = kernel_spec(ARITHMETIC), 70001
    a, b = numbers((period,), "a"), numbers((period,), "b")
    repeats = -(-LARGE // period)
    both = chain(lambda x, y: (x + y, x > y, x - y))
    total, larger, difference = both(spec, "both", *(tensor(v).repeat(repeats)[:LARGE] for v in (a, b)))
    assert torch.equal(total, tensor(reference.add(a, b, ARITHMETIC)).repeat(repeats)[:LARGE])
    assert torch.equal(larger, torch.from_numpy(reference.less(b, a)).repeat(repeats)[:LARGE])
    assert torch.equal(difference, tensor(reference.subtract(a, b, ARITHMETIC)).repeat(repeats)[:LARGE])


@pytest.mark.parametrize("value", [0.9, -1 / 3, 0.0, -0.0, 1, True, 1e30, -1e30, float("inf"), 1e-300, 0.1])
def test_numbers_are_encoded_from_float64(value, isa):
    a = numbers((100,), "a")
    constant = broadcast(reference.encode(np.array(float(value)), ARITHMETIC.format), (100,))
    spec = kernel_spec(ARITHMETIC)
    assert_bits(multiplying(spec, "mul", tensor(a), value), reference.multiply(a, constant))
    assert_bits(subtracting(spec, "sub", value, tensor(a)), reference.subtract(constant, a, ARITHMETIC))


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


def test_a_pytorch_without_dlpacks_table_gives_the_same_bits(monkeypatch, isa):
    spec = kernel_spec(ARITHMETIC)
    x, y = tensor(numbers((30, 40), "x")), tensor(numbers((40,), "y"))
    z = tensor(numbers((40, 20), "z"))

    def results() -> list[torch.Tensor]:
        chained = both(spec, "both", x, y)
        sums = products.matmul(x, z, spec), products.sum_over(x, [0], True, spec)
        return [*chained, adding(spec, "add", x, 0.3), *sums]

    quick = results()
    without = native.Torch(
        torch.Tensor, torch.float32, torch.float64, torch.bool, torch.empty_like, torch.empty_strided, None
    )
    assert without.dense(x) is None
    for module in (elementwise, products, contraction):
        monkeypatch.setattr(module, "TORCH", without)
    for expected, got in zip(quick, results(), strict=True):
        assert torch.equal(got, expected)
