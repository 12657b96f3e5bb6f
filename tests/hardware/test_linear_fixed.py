"""Linear fixed point: models against the integers they stand for, cores against the models."""

from fractions import Fraction

import numpy as np
import pytest
from mac_vectors import assert_equal, corners, every, mixed, run

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick import SpecificationError
from slipstick.hardware.models.fixed import FixedMac, FixedOutput, fixed_output, fixed_step, pattern, signed
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit, fixed_output_unit

LARGE = [FixedMac(12, 12, 28), FixedMac(16, 16, 36, "wrap"), FixedMac(20, 9, 33), FixedMac(13, 16, 24)]


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


@pytest.mark.parametrize(
    ("mac", "multiplier"),
    [
        (FixedMac(4, 4, 9), "operator"),
        (FixedMac(5, 3, 4), "booth"),
        (FixedMac(3, 4, 7, "wrap"), "booth"),
        (FixedMac(2, 2, 2, "wrap"), "booth"),
    ],
    ids=str,
)
def test_a_core_equals_its_model_for_all_codes(mac: FixedMac, multiplier: str) -> None:
    a, b, acc = every(mac.a_bits, mac.b_bits, mac.accumulator_bits)
    got = run(fixed_mac_unit(mac, multiplier), a=a, b=b, acc=acc)
    assert_equal(got, fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


def test_a_core_of_eight_bits_equals_its_model_for_all_operands() -> None:
    mac = FixedMac(8, 8, 18)
    a, b, acc = every(8, 8, corners(18)[::3])
    got = run(fixed_mac_unit(mac, "booth"), a=a, b=b, acc=acc)
    assert_equal(got, fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


def check_mixed(mac: FixedMac, multiplier: str, count: int) -> None:
    rng = np.random.default_rng(count)
    a, b = (mixed(rng, bits, count) for bits in (mac.a_bits, mac.b_bits))
    acc = mixed(rng, mac.accumulator_bits, count)
    edges = rng.integers(-(1 << 20), 1 << 20, count // 4) + (1 << (mac.accumulator_bits - 1))  # where sums saturate
    acc[: count // 4] = pattern(edges, mac.accumulator_bits)
    got = run(fixed_mac_unit(mac, multiplier), a=a, b=b, acc=acc)
    assert_equal(got, fixed_step(mac, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize(("mac", "multiplier"), [(LARGE[1], "operator"), (LARGE[3], "booth")], ids=str)
def test_a_large_core_equals_its_model(mac: FixedMac, multiplier: str) -> None:
    check_mixed(mac, multiplier, 1 << 19)


@pytest.mark.long
@pytest.mark.parametrize("multiplier", ["operator", "booth"])
@pytest.mark.parametrize("mac", LARGE, ids=str)
def test_a_large_core_equals_its_model_in_four_million_vectors(mac: FixedMac, multiplier: str) -> None:
    check_mixed(mac, multiplier, 1 << 22)


@pytest.mark.parametrize("output", [FixedOutput(8, 3, 5), FixedOutput(9, 1, 9, "half-even")], ids=str)
def test_an_output_unit_equals_its_model(output: FixedOutput) -> None:
    acc = np.arange(1 << output.accumulator_bits)
    assert_equal(run(fixed_output_unit(output), "operand", acc=acc), fixed_output(output, acc), acc=acc)


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
