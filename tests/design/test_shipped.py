"""The shipped designs are what the code designs, and what their file says of them is true."""

import json
from importlib.resources import files

import numpy as np
import pytest

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import piecewise_linear
from slipstick.design import adder_errors, evaluate, gaussian_target
from slipstick.design.__main__ import main
from slipstick.design.shipped import (
    INDEX,
    PLATEAU,
    SEGMENTS,
    SIMD,
    SIMD_NAME,
    SWAMPING,
    WIDTHS,
    plateau_request,
    shipped_request,
    simd_request,
    table_record,
)
from slipstick.formats import LNS

SHIPPED = json.loads(files("slipstick.arithmetic").joinpath("designed.json").read_text())

MEASURED = ("drift", "noise")
"""Figures of sums of random numbers, whose last digits depend on the machine's exp2 and log2."""

widths = pytest.mark.parametrize("frac_bits", WIDTHS)
sizes = pytest.mark.parametrize("segments", SEGMENTS)


def shipped(frac_bits, segments=16):
    return SHIPPED[f"{SEGMENTS[segments]}-F{frac_bits}"]


def test_every_width_is_shipped():
    expected = []
    for f in WIDTHS:
        expected += [f"{name}-F{f}" for name in SEGMENTS.values()] + [f"{PLATEAU}-F{f}"] * (f in SWAMPING)
        expected += [f"{SIMD_NAME}-F{f}"] * (f in SIMD)
    assert [name for name in SHIPPED if name != "_source"] == expected


def test_narrow_designs_come_out_the_same_again(tmp_path):
    main(["--frac-bits", "3", "4", "--output", str(tmp_path / "designed.json")])
    again = json.loads((tmp_path / "designed.json").read_text())
    for name, record in again.items():
        if name != "_source":
            record["evaluation"] |= {key: pytest.approx(record["evaluation"][key], rel=1e-3) for key in MEASURED}
    assert again == {name: value for name, value in SHIPPED.items() if name == "_source" or name[-2:] in ("F3", "F4")}


@widths
@sizes
def test_what_the_file_says_of_a_design_is_true(frac_bits, segments):
    record = shipped(frac_bits, segments)
    adder = piecewise_linear(record)
    evaluation = json.loads(json.dumps(evaluate(adder, frac_bits).to_dict()))
    assert record["evaluation"] == evaluation | {key: pytest.approx(evaluation[key], rel=1e-3) for key in MEASURED}
    assert record["request"] == json.loads(json.dumps(shipped_request(frac_bits, segments).to_dict()))
    assert record["command"].startswith(f"slipstick design --frac-bits {frac_bits}")


@widths
@sizes
def test_add_designed_means_the_shipped_table(frac_bits, segments):
    arithmetic = LogArithmetic(LNS(5, frac_bits), add=SEGMENTS[segments])
    expected = piecewise_linear(shipped(frac_bits, segments)).tables(arithmetic.format)
    for table, given in zip(arithmetic.tables, expected, strict=True):
        np.testing.assert_array_equal(table, given)


@widths
@sizes
def test_designs_satisfy_their_conditions(frac_bits, segments):
    record, request = shipped(frac_bits, segments), shipped_request(frac_bits, segments)
    tables = piecewise_linear(record).tables(LNS(5, frac_bits))
    assert tables[1][0] == CANCEL
    for sign, table in zip((1, -1), tables, strict=True):
        target = gaussian_target(sign, frac_bits)
        pinned = target.distance <= request.constraints(target).exact_through
        np.testing.assert_array_equal(table[target.distance[pinned]], target.nearest[pinned])
        assert (sign * table[1:] >= 0).all()
        assert np.flatnonzero(table)[-1] == len(tables[0]) - 2
    assert len(record["plus"]["bound"]) <= segments
    assert len(record["minus"]["bound"]) <= segments


@pytest.mark.parametrize("frac_bits", SWAMPING)
def test_a_plateau_reaches_as_far_as_asked_without_a_gap(frac_bits):
    record = SHIPPED[f"{PLATEAU}-F{frac_bits}"]
    assert record["request"] == json.loads(json.dumps(plateau_request(frac_bits).to_dict()))
    adder = LogArithmetic(LNS(5, frac_bits), add=PLATEAU).adder
    assert record["evaluation"] == json.loads(json.dumps(evaluate(adder, frac_bits).to_dict())) | {
        key: pytest.approx(record["evaluation"][key], rel=1e-3) for key in MEASURED
    }
    for sign, table in zip((1, -1), adder.tables(LNS(5, frac_bits)), strict=True):
        assert (sign * table[1:-1] > 0).all()
        assert 2.0 ** (-(len(table) - 2) / (1 << frac_bits)) <= SWAMPING[frac_bits]
    assert max(abs(record["evaluation"][part]["bias"]) for part in ("plus", "minus")) <= 0.02


@pytest.mark.parametrize("frac_bits", SIMD)
def test_the_table_for_vector_kernels_comes_out_the_same_again(frac_bits):
    name = f"{SIMD_NAME}-F{frac_bits}"
    again = json.loads(json.dumps(table_record(simd_request(frac_bits))))
    again["evaluation"] |= {key: pytest.approx(again["evaluation"][key], rel=1e-3) for key in MEASURED}
    assert SHIPPED[name] == again
    adder = LogArithmetic(LNS(5, frac_bits), add=SIMD_NAME).adder
    assert adder.to_dict() == again["adder"]
    assert adder.index == SIMD[frac_bits]


def test_the_table_for_vector_kernels_meets_its_errors():
    plus, minus = adder_errors(LogArithmetic(LNS(5, 5), add=SIMD_NAME).adder, 5)
    assert plus.rms <= 0.35
    assert minus.rms <= 0.47
    assert max(abs(plus.bias), abs(minus.bias)) <= 0.02


PUBLISHED_RMS = {5: (0.408, 0.426), 6: (0.409, 0.567), 7: (0.578, 1.17), 8: (0.676, 3.21)}
"""Of the tables of Hamad et al. 2025, over d = 1 .. 12 * 2^F."""


@pytest.mark.parametrize("frac_bits", PUBLISHED_RMS)
def test_sixteen_segments_are_no_worse_than_the_published_tables_and_have_no_bias(frac_bits):
    adder = piecewise_linear(shipped(frac_bits))
    for errors, published in zip(adder_errors(adder, frac_bits), PUBLISHED_RMS[frac_bits], strict=True):
        assert errors.rms <= published
        assert abs(errors.bias) <= 0.02
    assert max(map(abs, evaluate(adder, frac_bits).near)) <= 1


@pytest.mark.parametrize("frac_bits", INDEX)
@sizes
def test_fast_kernels_can_index_the_design_by_class(frac_bits, segments):
    classes = INDEX[frac_bits].of(np.arange(12 << frac_bits))
    for table in piecewise_linear(shipped(frac_bits, segments)).tables(LNS(5, frac_bits)):
        padded = np.zeros(len(classes), dtype=np.int32)
        padded[: len(table)] = table
        for number in range(INDEX[frac_bits].top + 1):
            assert len(set(padded[classes == number])) == 1
        assert (padded[classes == INDEX[frac_bits].top] == 0).all()


@pytest.mark.parametrize("frac_bits", [3, 4])
def test_narrow_designs_fit_a_table_indexed_by_distance(frac_bits):
    plus, _ = piecewise_linear(shipped(frac_bits)).tables(LNS(5, frac_bits))
    assert len(plus) <= 127
