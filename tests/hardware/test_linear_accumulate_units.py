"""LinearAccumulate in hardware: models against software and fractions, units against the models."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from mac_vectors import Codes, Together, assert_equal, corners, every, mixed, packed, run

from slipstick import LinearAccumulate, MultiBaseLNS, SpecificationError
from slipstick.hardware.models.fixed import pattern, signed
from slipstick.hardware.models.linear_accumulate import (
    LinearOutput,
    LinearVector,
    linear_output,
    linear_step,
    linear_vector_step,
    signed_logs,
)
from slipstick.hardware.rtl.linear_accumulate import linear_mac_unit
from slipstick.hardware.rtl.linear_output import linear_output_unit
from slipstick.hardware.rtl.linear_vector import linear_vector_unit, signed_digits
from slipstick.hardware.simulation import Simulator
from slipstick.kernels import reference

PAPER = MultiBaseLNS(8, 8)
WITH_ZERO = MultiBaseLNS(8, 8, zero=True)
LNS8 = [LinearAccumulate(PAPER, entries) for entries in (8, 4, 2, 1)]
OTHERS = [
    LinearAccumulate(WITH_ZERO, bits=16, headroom=2, overflow="wrap"),
    LinearAccumulate(MultiBaseLNS(4, 2, zero=True), bits=31, headroom=0),
    LinearAccumulate(MultiBaseLNS(10, 64), entries=2, bits=12, headroom=0, constant_bits=6),
    LinearAccumulate(MultiBaseLNS(7, 1), bits=20, headroom=3),
    LinearAccumulate(MultiBaseLNS(2, 2), bits=8, headroom=5),
    LinearAccumulate(MultiBaseLNS(10, 512), entries=1, bits=9, headroom=1, overflow="wrap"),
]
CORES = [LNS8[0], LNS8[2], *OTHERS[:4]]
VECTORS = [
    LinearVector(LNS8[0], 4),
    LinearVector(LNS8[2], 5, "bins"),
    LinearVector(LinearAccumulate(MultiBaseLNS(5, 4, zero=True), 1, 6, 12, 2, "wrap"), 9, "bins"),
    LinearVector(LinearAccumulate(MultiBaseLNS(5, 4, zero=True), 4, 6, 12, 2, "wrap"), 8),
]
OUTPUTS = [
    LinearOutput(PAPER, 24),
    LinearOutput(MultiBaseLNS(4, 2, zero=True), 8, 6),
    LinearOutput(MultiBaseLNS(8, 1), 13),
    LinearOutput(MultiBaseLNS(6, 32, zero=True), 10, 5),
]


@pytest.fixture(scope="module")
def units() -> Together:
    made = [linear_mac_unit(arithmetic) for arithmetic in CORES] + [linear_vector_unit(vector) for vector in VECTORS]
    return Together([*made, *(linear_output_unit(output) for output in OUTPUTS)])


def operands(arithmetic: LinearAccumulate, rng: np.random.Generator, shape: tuple[int, ...]) -> Codes:
    """Codes, half of them near the largest, whose products count most."""
    width = arithmetic.format.bits
    codes = rng.integers(0, 1 << width, shape)
    top = (1 << (width - 1)) - 1
    return np.where(rng.random(shape) < 0.5, codes | (top & ~(top >> 2)), codes)


@pytest.mark.parametrize("arithmetic", [LNS8[1], OTHERS[0], OTHERS[2]], ids=str)
def test_steps_one_after_the_other_are_the_matrix_product(arithmetic: LinearAccumulate) -> None:
    a, b = operands(arithmetic, np.random.default_rng(1), (2, 40, 300))
    acc = np.zeros(300, np.int64)
    for k in range(40):
        acc = linear_step(arithmetic, a[k], b[k], acc)
    logs = [signed_logs(arithmetic.format, codes).T for codes in (a, b)]
    sums = reference.linear_matmul(logs[0][:, None, :], logs[1][:, :, None], arithmetic)[:, 0, 0]
    assert_equal(signed(acc, arithmetic.bits), sums)


@pytest.mark.parametrize("format", [PAPER, WITH_ZERO], ids=str)
def test_operands_are_the_numbers_that_the_format_decodes(format: MultiBaseLNS) -> None:
    codes = np.array([code for code in range(256) if not (format.zero and code == 128)])
    logs = signed_logs(format, codes)
    numbers = np.where(logs == 0, 0.0, np.sign(logs) * 2.0 ** ((np.abs(logs) - 1) / 8))
    assert np.allclose(format.decode(torch.from_numpy(codes)).numpy(), numbers, rtol=1e-6, atol=0)


def test_the_tree_wraps_as_the_matrix_product_does() -> None:
    arithmetic = LinearAccumulate(WITH_ZERO, bits=14, headroom=1, overflow="wrap")
    vector = LinearVector(arithmetic, 8)
    a, b = operands(arithmetic, np.random.default_rng(2), (2, 200, 10, 8))
    acc = np.zeros(200, np.int64)
    for k in range(10):
        acc = linear_vector_step(vector, a[:, k], b[:, k], acc)
    logs = [signed_logs(arithmetic.format, codes).reshape(200, 80) for codes in (a, b)]
    sums = reference.linear_matmul(logs[0][:, None, :], logs[1][:, :, None], arithmetic)[:, 0, 0]
    assert_equal(signed(acc, arithmetic.bits), sums)


@pytest.mark.parametrize("entries", [8, 4, 2, 1])
def test_bins_are_the_sum_of_weighted_octaves_rounded_once(entries: int) -> None:
    arithmetic = LinearAccumulate(PAPER, entries, constant_bits=9)
    vector = LinearVector(arithmetic, 6, "bins")
    a, b = operands(arithmetic, np.random.default_rng(3), (2, 300, 6))
    acc = mixed(np.random.default_rng(4), 24, 300)
    for x, y, before, got in zip(a, b, acc, linear_vector_step(vector, a, b, acc), strict=True):
        exact = Fraction(0)
        for p, negative in zip((x & 127) + (y & 127), (x ^ y) >> 7, strict=True):
            octave, remainder = divmod(int(p), 8)
            if octave >= arithmetic.lsb - 1:
                entry, steps = divmod(remainder, 8 // entries)
                constant = Fraction(int(arithmetic.constants[entry * 8 // entries]), 1 << 9) * (1 + Fraction(steps, 8))
                exact += constant * Fraction(2) ** (octave - arithmetic.lsb) * (1 - 2 * int(negative))
        total = int(signed(before, 24)) + (exact + Fraction(1, 2)).__floor__()
        assert got == min(max(total, -(1 << 23)), (1 << 23) - 1) % (1 << 24)


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_an_output_is_what_the_format_encodes(output: LinearOutput) -> None:
    format, bits = output.format, output.accumulator_bits
    values = np.arange(1 << bits) if bits < 16 else np.concatenate([near_thresholds(output), corners(bits)])
    numbers = torch.from_numpy(signed(values, bits).astype(np.float64))
    for octaves in (0, -3, 2):
        offset = octaves * format.base_factor
        if not -(1 << (output.offset_bits - 1)) <= offset < 1 << (output.offset_bits - 1):
            continue
        got = linear_output(output, values, pattern(np.full_like(values, offset), output.offset_bits))
        assert_equal(got, format.encode(numbers * 2.0**octaves).numpy().astype(np.int64), acc=values)


def near_thresholds(output: LinearOutput) -> Codes:
    """Both integers next to every threshold in every octave, with both signs."""
    below = np.array([t >> k for t in output.thresholds for k in range(1, output.accumulator_bits)])
    values = np.unique(np.concatenate([below, below + 1]))
    return pattern(np.concatenate([values, -values]), output.accumulator_bits)


def check_mac(run_core: Callable[..., Codes], arithmetic: LinearAccumulate, count: int) -> None:
    rng = np.random.default_rng(count)
    if arithmetic.format.bits <= 8:
        a, b, acc = every(arithmetic.format.bits, arithmetic.format.bits, rng.choice(corners(arithmetic.bits), 4))
        assert_equal(run_core(a=a, b=b, acc=acc), linear_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)
    a, b = operands(arithmetic, rng, (2, count))
    acc = mixed(rng, arithmetic.bits, count)
    assert_equal(run_core(a=a, b=b, acc=acc), linear_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize("number", range(len(CORES)), ids=lambda i: str(CORES[i]))
def test_a_core_equals_its_model(units: Together, number: int) -> None:
    check_mac(lambda **ports: units.run(number, **ports)["sum"], CORES[number], 1 << 17)


@pytest.mark.long
@pytest.mark.parametrize("arithmetic", LNS8 + OTHERS, ids=str)
def test_a_core_equals_its_model_in_four_million_vectors(arithmetic: LinearAccumulate) -> None:
    unit = linear_mac_unit(arithmetic)
    check_mac(lambda **ports: run(unit, **ports), arithmetic, 1 << 22)


@pytest.mark.long
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("arithmetic", LNS8, ids=str)
def test_a_core_equals_its_model_for_all_operands(arithmetic: LinearAccumulate, overflow: str) -> None:
    """With the corners of the accumulator."""
    arithmetic = replace(arithmetic, overflow=overflow)
    simulator = Simulator(linear_mac_unit(arithmetic))
    for part in np.array_split(corners(arithmetic.bits), 8):
        a, b, acc = every(8, 8, part)
        got = simulator.run(a=a, b=b, acc=acc)["sum"].astype(np.int64)
        assert_equal(got, linear_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)


def check_vector(run_unit: Callable[..., Codes], vector: LinearVector, count: int) -> None:
    arithmetic, rng = vector.arithmetic, np.random.default_rng(count)
    a, b = operands(arithmetic, rng, (2, count, vector.lanes))
    acc, width = mixed(rng, arithmetic.bits, count), arithmetic.format.bits
    got = run_unit(a=packed(a, width), b=packed(b, width), acc=acc)
    assert_equal(got, linear_vector_step(vector, a, b, acc), acc=acc)


@pytest.mark.parametrize("number", range(len(VECTORS)), ids=lambda i: str(VECTORS[i]))
def test_a_vector_unit_equals_its_model(units: Together, number: int) -> None:
    check_vector(lambda **ports: units.run(len(CORES) + number, **ports)["sum"], VECTORS[number], 1 << 15)


@pytest.mark.long
@pytest.mark.parametrize("reduction", ["tree", "bins"])
@pytest.mark.parametrize("arithmetic", LNS8, ids=str)
def test_a_vector_unit_of_sixteen_lanes_equals_its_model(arithmetic: LinearAccumulate, reduction: str) -> None:
    """Four million products."""
    vector = LinearVector(arithmetic, 16, reduction)
    unit = linear_vector_unit(vector)
    check_vector(lambda **ports: run(unit, **ports), vector, 1 << 18)


@pytest.mark.parametrize("number", range(len(OUTPUTS)), ids=lambda i: str(OUTPUTS[i]))
def test_an_output_unit_equals_its_model(units: Together, number: int) -> None:
    output, rng = OUTPUTS[number], np.random.default_rng(5)
    acc = np.concatenate([mixed(rng, output.accumulator_bits, 1 << 17), near_thresholds(output)])
    offset = mixed(rng, output.offset_bits, len(acc))
    offset[::2] = 0
    got = units.run(len(CORES) + len(VECTORS) + number, acc=acc, offset=offset)["operand"]
    assert_equal(got, linear_output(output, acc, offset), acc=acc, offset=offset)


def test_signed_digits_make_the_number_and_are_never_neighbours() -> None:
    for number in range(1, 3000):
        digits = signed_digits(number)
        assert sum(digit << place for place, digit in digits) == number
        assert all(after - before > 1 for (before, _), (after, _) in pairwise(digits))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearVector(LNS8[0], 0), "LinearVector(lanes=0): must be an integer from 1 to 64"),
        (lambda: LinearVector(LNS8[0], 8, "bin"), "LinearVector(reduction='bin'): choose 'tree' or 'bins'"),
        (lambda: LinearVector(OTHERS[1], 8, "bins"), "use reduction='tree'"),
        (lambda: LinearOutput(MultiBaseLNS(11, 16), 24), "must be a MultiBaseLNS of at most 10 bits"),
        (lambda: LinearOutput(PAPER, 63), "LinearOutput(accumulator_bits=63): must be an integer from 2 to 62"),
        (lambda: LinearOutput(PAPER, 24, 17), "LinearOutput(offset_bits=17): must be an integer from 2 to 16"),
    ],
)
def test_units_that_cannot_be_are_refused_in_one_line(make: object, words: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        make()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
