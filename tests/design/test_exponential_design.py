"""The shipped exponentials are the best tables of their kind, and what their file says of them is true."""

import itertools
import json
from importlib.resources import files

import numpy as np
import pytest

from slipstick import LNS, LogArithmetic, SpecificationError
from slipstick.arithmetic import ExpSegments
from slipstick.arithmetic.functions import function_table
from slipstick.design.exponential import (
    designed_exponential,
    exponential_errors,
    exponential_origin,
    exponential_target,
    rounding_errors,
    softmax_weights,
)
from slipstick.design.shipped_exponentials import FRAC_BITS, SEGMENTS, main

SHIPPED = json.loads(files("slipstick.arithmetic").joinpath("exponentials.json").read_text())

widths = pytest.mark.parametrize("frac_bits", FRAC_BITS)


def test_every_width_is_shipped():
    assert [name for name in SHIPPED if name != "_source"] == [f"exp-F{f}" for f in FRAC_BITS]


def test_narrow_designs_come_out_the_same_again(tmp_path):
    main(["--frac-bits", "3", "5", "--output", str(tmp_path / "exponentials.json")])
    again = json.loads((tmp_path / "exponentials.json").read_text())
    assert again == {name: SHIPPED[name] for name in ("_source", "exp-F3", "exp-F5")}


@widths
def test_exp_designed_means_the_shipped_table(frac_bits):
    table = LogArithmetic(LNS(5, frac_bits), exp="designed").exponential
    assert table == ExpSegments.from_dict(SHIPPED[f"exp-F{frac_bits}"]["exp"])
    assert len(table.segments.bound) <= SEGMENTS
    assert table.origin == exponential_origin(frac_bits)


@widths
def test_stated_errors_are_those_of_the_tables(frac_bits):
    record = SHIPPED[f"exp-F{frac_bits}"]
    errors = exponential_errors(ExpSegments.from_dict(record["exp"])).to_dict()
    assert errors == pytest.approx(record["errors"], abs=2e-6)
    assert rounding_errors(frac_bits).to_dict() == pytest.approx(record["errors_of_correct_rounding"], abs=2e-6)


@widths
def test_stated_errors_by_another_way(frac_bits):
    """From the table of all codes, with numpy's exp."""
    format = LNS(6, frac_bits)
    record = SHIPPED[f"exp-F{frac_bits}"]
    table = ExpSegments.from_dict(record["exp"])
    log = table.origin - np.arange(len(exponential_target(frac_bits).distance))
    x = np.exp2(log / 2**frac_bits)
    got = table.logs(format)[log - format.zero_log]
    error = got + x / np.log(2) * 2**frac_bits
    stated = record["errors"]
    assert np.sqrt((error**2).mean()) == pytest.approx(stated["rms"], abs=1e-5)
    assert error.mean() == pytest.approx(stated["bias"], abs=1e-5)
    assert np.sqrt((np.exp(-x) * error**2).sum() / np.exp(-x).sum()) == pytest.approx(stated["softmax_rms"], abs=1e-5)
    relative = np.exp2(got / 2**frac_bits) / np.exp(-x) - 1
    assert np.abs(relative).max() == pytest.approx(stated["relative_max"], abs=1e-5)
    assert np.abs(np.exp2(got / 2**frac_bits) - np.exp(-x)).max() == pytest.approx(stated["absolute_max"], abs=1e-5)
    assert (np.diff(got) < 0).sum() == stated["inversions"]


@pytest.mark.parametrize(("frac_bits", "factor"), [(3, 1.0), (4, 1.02), (5, 1.2), (6, 1.6), (7, 2.5), (8, 4.3)])
def test_the_error_in_softmax_is_a_small_multiple_of_that_of_rounding(frac_bits, factor):
    record = SHIPPED[f"exp-F{frac_bits}"]
    assert record["errors"]["softmax_rms"] <= factor * record["errors_of_correct_rounding"]["softmax_rms"]
    assert record["errors"]["softmax_rms"] <= record["errors_of_16_segments"]["softmax_rms"]
    assert record["errors"]["inversions"] == 0 or frac_bits > 4


@pytest.mark.parametrize(("int_bits", "frac_bits"), [(1, 1), (3, 3), (5, 3), (5, 5), (5, 8), (6, 4)])
def test_the_target_is_the_correctly_rounded_exp_over_all_of_its_range(int_bits, frac_bits):
    format = LNS(int_bits, frac_bits, "flush")
    target = exponential_target(frac_bits, int_bits)
    log = exponential_origin(frac_bits, int_bits) - target.distance
    table = function_table("exp", format)
    below_zero = table[1::2].astype(np.int64) >> 1  # results for x < 0, by log from zero_log up
    here = (log > format.zero_log) & (log <= format.max_log)
    np.testing.assert_array_equal(below_zero[log[here] - format.zero_log], target.nearest[here])
    if log[0] < format.max_log:
        assert below_zero[log[0] + 1 - format.zero_log] == format.zero_log
    if log[-1] > -format.max_log:
        assert below_zero[log[-1] - 1 - format.zero_log] == 0


def test_the_target_has_the_shape_of_a_rising_distance_function():
    target = exponential_target(5)
    assert target.sign == -1
    assert target.first == 0
    assert (np.diff(target.real) > 0).all()
    assert (target.nearest < 0).all()
    np.testing.assert_allclose(softmax_weights(target).mean(), 1, atol=1e-5)


def test_no_table_of_three_segments_does_better_than_the_designed_one():
    """All bounds, slopes and intercepts of a small target, one by one."""
    target = exponential_target(2, 2)
    weights = softmax_weights(target)
    n = len(target.distance)
    lines = np.stack([np.floor(target.distance * 2.0**e) for e in range(-5, 4)])
    squares = np.stack([weights * (lines + a - target.real) ** 2 for a in range(-40, 1)])

    def cost(start, stop):
        return squares[:, :, start:stop].sum(axis=-1).min()

    beyond = [float((weights * target.real**2)[stop:].sum()) for stop in range(n + 1)]
    lowest = min(
        cost(0, i) + cost(i, j) + cost(j, k) + beyond[k] for i, j, k in itertools.combinations(range(1, n + 1), 3)
    )
    errors = designed_exponential(2, 3, int_bits=2).segments.values(target.distance, 1) - target.real
    assert float((weights * errors**2).sum()) == pytest.approx(lowest, abs=1e-6)


def test_more_segments_reach_correct_rounding():
    exact = rounding_errors(3)
    errors = exponential_errors(designed_exponential(3, 40))
    assert errors.softmax_rms == pytest.approx(exact.softmax_rms)
    assert errors.rms == pytest.approx(exact.rms)


@pytest.mark.parametrize("segments", [0, 73, -1])
def test_an_impossible_number_of_segments_is_refused(segments):
    with pytest.raises(
        SpecificationError, match=r"designed_exponential\(segments=.*\): must be from 1 to 72"
    ) as raised:
        designed_exponential(3, segments)
    assert "\n" not in str(raised.value)


def test_widths_that_cannot_be_designed_are_refused():
    with pytest.raises(SpecificationError, match=r"exponential_target\(frac_bits=0\): must be from 1 to 12"):
        exponential_target(0)


def test_a_table_that_ends_too_low_has_no_errors_to_state():
    table = designed_exponential(3, 8, int_bits=4)
    with pytest.raises(SpecificationError, match=r"its origin .* is below the domain of int_bits=5"):
        exponential_errors(table)
