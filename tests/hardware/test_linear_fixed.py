"""Linear fixed point: models against the integers they stand for, cores against the models."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from mac_vectors import Codes, Together, assert_equal, corners, every, mixed, run

from slipstick import SpecificationError
from slipstick.hardware.models.fixed import FixedMac, FixedOutput, fixed_output, fixed_step, pattern, signed
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit, fixed_output_unit
from slipstick.hardware.simulation import Simulator

LARGE = [FixedMac(12, 12, 28), FixedMac(16, 16, 36, "wrap"), FixedMac(20, 9, 33), FixedMac(13, 16, 24)]
SMALL = [
    (FixedMac(4, 4, 9), "operator"),
    (FixedMac(5, 3, 4), "booth"),
    (FixedMac(3, 4, 7, "wrap"), "booth"),
    (FixedMac(2, 2, 2, "wrap"), "booth"),
    (FixedMac(4, 5, 8, "wrap"), "operator"),
    (FixedMac(4, 5, 8), "booth"),
]
CORES = [*SMALL, (FixedMac(8, 8, 18), "booth"), (LARGE[1], "operator"), (LARGE[3], "booth")]
OUTPUTS = [FixedOutput(8, 3, 5), FixedOutput(9, 1, 9, "half-even")]


@pytest.fixture(scope="module")
def units() -> Together:
    return Together([*(fixed_mac_unit(*core) for core in CORES), *(fixed_output_unit(output) for output in OUTPUTS)])


@pytest.mark.parametrize("mac", [FixedMac(3, 4, 5), FixedMac(4, 2, 9), FixedMac(4, 3, 4, "wrap")], ids=str)
def test_a_step_is_the_sum_stopped_or_wrapped(mac: FixedMac) -> None:
    codes = every(mac.a_bits, mac.b_bits, mac.accumulator_bits)
    low, span = -(1 << (mac.accumulator_bits - 1)), 1 << mac.accumulator_bits
    for a, b, acc, got in zip(*codes, fixed_step(mac, *codes), strict=True):
        a, b, acc = (int(signed(x, n)) for x, n in ((a, mac.a_bits), (b, mac.b_bits), (acc, mac.accumulator_bits)))
        exact = acc + a * b
        stopped = min(max(exact, low), low + span - 1) if mac.overflow == "saturate" else exact
        assert got == stopped % span


@pytest.mark.parametrize("ties", ["half-away", "half-even"])
@pytest.mark.parametrize(("shift", "bits"), [(0, 8), (0, 5), (1, 6), (3, 3), (7, 2), (2, 7)])
def test_an_output_is_the_nearest_operand(ties: str, shift: int, bits: int) -> None:
    output = FixedOutput(8, shift, bits, ties)
    acc = np.arange(256)
    for code, got in zip(acc, fixed_output(output, acc), strict=True):
        exact = Fraction(int(signed(code, 8)), 1 << shift)
        nearest = round(exact) if ties == "half-even" else int(abs(exact) + Fraction(1, 2)) * (1 if exact > 0 else -1)
        assert got == min(max(nearest, -(1 << (bits - 1))), (1 << (bits - 1)) - 1) % (1 << bits)


@pytest.mark.parametrize("number", range(len(SMALL)), ids=lambda i: "{}, {}".format(*CORES[i]))
def test_a_core_equals_its_model_for_all_codes(units: Together, number: int) -> None:
    mac = CORES[number][0]
    a, b, acc = every(mac.a_bits, mac.b_bits, mac.accumulator_bits)
    assert_equal(units.run(number, a=a, b=b, acc=acc)["sum"], fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


def test_a_core_of_eight_bits_equals_its_model_for_all_operands(units: Together) -> None:
    mac = CORES[len(SMALL)][0]
    a, b, acc = every(8, 8, corners(18)[::3])
    assert_equal(units.run(len(SMALL), a=a, b=b, acc=acc)["sum"], fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.long
@pytest.mark.parametrize("multiplier", ["operator", "booth"])
@pytest.mark.parametrize("mac", [FixedMac(8, 8, 8), FixedMac(8, 8, 8, "wrap"), FixedMac(8, 8, 20)], ids=str)
def test_a_core_of_eight_bits_equals_its_model_for_all_codes(mac: FixedMac, multiplier: str) -> None:
    """Of a wide accumulator 256 codes, with its corners."""
    simulator, sums = Simulator(fixed_mac_unit(mac, multiplier)), np.arange(1 << mac.accumulator_bits)
    if mac.accumulator_bits > 8:
        around = corners(mac.accumulator_bits)
        sums = np.concatenate([around, np.random.default_rng(8).choice(sums, 256 - len(around))])
    for part in np.array_split(sums, 8):
        a, b, acc = every(8, 8, part)
        got = simulator.run(a=a, b=b, acc=acc)["sum"].astype(np.int64)
        assert_equal(got, fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


def mixed_vectors(mac: FixedMac, count: int) -> tuple[Codes, Codes, Codes]:
    """Of every kind; a quarter of the sums where they saturate."""
    rng = np.random.default_rng(count)
    a, b = (mixed(rng, bits, count) for bits in (mac.a_bits, mac.b_bits))
    acc = mixed(rng, mac.accumulator_bits, count)
    edges = rng.integers(-(1 << 20), 1 << 20, count // 4) + (1 << (mac.accumulator_bits - 1))
    acc[: count // 4] = pattern(edges, mac.accumulator_bits)
    return a, b, acc


@pytest.mark.parametrize("number", range(len(SMALL) + 1, len(CORES)), ids=lambda i: "{}, {}".format(*CORES[i]))
def test_a_large_core_equals_its_model(units: Together, number: int) -> None:
    mac = CORES[number][0]
    a, b, acc = mixed_vectors(mac, 1 << 19)
    assert_equal(units.run(number, a=a, b=b, acc=acc)["sum"], fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize("multiplier", ["operator", "booth"])
@pytest.mark.parametrize("mac", [LARGE[0], *(pytest.param(mac, marks=pytest.mark.long) for mac in LARGE[1:])], ids=str)
def test_a_large_core_equals_its_model_in_four_million_vectors(mac: FixedMac, multiplier: str) -> None:
    a, b, acc = mixed_vectors(mac, 1 << 22)
    got = run(fixed_mac_unit(mac, multiplier), a=a, b=b, acc=acc)
    assert_equal(got, fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize("number", range(len(OUTPUTS)), ids=lambda i: str(OUTPUTS[i]))
def test_an_output_unit_equals_its_model(units: Together, number: int) -> None:
    output = OUTPUTS[number]
    acc = np.arange(1 << output.accumulator_bits)
    got = units.run(len(CORES) + number, acc=acc)["operand"]
    assert_equal(got, fixed_output(output, acc), acc=acc)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FixedMac(1, 8, 20), "FixedMac(a_bits=1): must be an integer from 2 to 24"),
        (lambda: FixedMac(8, 25, 20), "FixedMac(b_bits=25): must be an integer from 2 to 24"),
        (lambda: FixedMac(8, 8, 63), "FixedMac(accumulator_bits=63): must be an integer from 2 to 62"),
        (lambda: FixedMac(8, 8, 20, "stop"), "FixedMac(overflow='stop'): choose 'saturate' or 'wrap'"),
        (lambda: FixedOutput(16, 16, 8), "FixedOutput(shift=16): must be an integer from 0 to 15"),
        (lambda: FixedOutput(16, 4, 17), "FixedOutput(bits=17): must be an integer from 2 to 16"),
        (lambda: fixed_mac_unit(FixedMac(8, 8, 20), "array"), "choose 'operator' or 'booth'"),
    ],
)
def test_widths_that_cannot_be_are_refused_in_one_line(make: object, words: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        make()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
