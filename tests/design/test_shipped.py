"""The shipped designs are what the code designs, and what their file says of them is true."""

import json
from importlib.resources import files

import numpy as np
import pytest

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import piecewise_linear
from slipstick.design import adder_errors, gaussian_target
from slipstick.design.__main__ import main
from slipstick.design.shipped import EXACT_THROUGH, FRAC_BITS, INDEX_CLASSES
from slipstick.formats import LNS

SHIPPED = json.loads(files("slipstick.arithmetic").joinpath("designed.json").read_text())

widths = pytest.mark.parametrize("frac_bits", FRAC_BITS)


def test_every_width_is_shipped():
    assert [name for name in SHIPPED if name != "_source"] == [f"designed-F{f}" for f in FRAC_BITS]


def test_narrow_designs_come_out_the_same_again(tmp_path):
    main(["--frac-bits", "3", "4", "--output", str(tmp_path / "designed.json")])
    again = json.loads((tmp_path / "designed.json").read_text())
    assert again == {name: SHIPPED[name] for name in ("_source", "designed-F3", "designed-F4")}


@widths
def test_stated_errors_are_those_of_the_tables(frac_bits):
    record = SHIPPED[f"designed-F{frac_bits}"]
    plus, minus = adder_errors(piecewise_linear(record), frac_bits)
    assert record["errors"] == {"plus": plus.to_dict(), "minus": minus.to_dict()}


@widths
def test_add_designed_means_the_shipped_table(frac_bits):
    arithmetic = LogArithmetic(LNS(5, frac_bits), add="designed")
    expected = piecewise_linear(SHIPPED[f"designed-F{frac_bits}"]).tables(arithmetic.format)
    for table, shipped in zip(arithmetic.tables, expected, strict=True):
        np.testing.assert_array_equal(table, shipped)


@widths
def test_designs_satisfy_their_conditions(frac_bits):
    record = SHIPPED[f"designed-F{frac_bits}"]
    plus, minus = piecewise_linear(record).tables(LNS(5, frac_bits))
    assert minus[0] == CANCEL
    for sign, table in ((1, plus), (-1, minus)):
        target = gaussian_target(sign, frac_bits)
        pinned = target.distance <= EXACT_THROUGH[sign]
        np.testing.assert_array_equal(table[target.distance[pinned]], target.nearest[pinned])
        assert (sign * table[1:] >= 0).all()
        assert np.flatnonzero(table)[-1] == record["last_nonzero"]
    assert plus[0] == 1 << frac_bits
    assert len(record["plus"]["bound"]) <= 16
    assert len(record["minus"]["bound"]) <= 16


@pytest.mark.parametrize("frac_bits", INDEX_CLASSES)
def test_fast_kernels_can_index_the_design_by_class(frac_bits):
    classes = np.array(INDEX_CLASSES[frac_bits].of(12 << frac_bits))
    for table in piecewise_linear(SHIPPED[f"designed-F{frac_bits}"]).tables(LNS(5, frac_bits)):
        padded = np.zeros(len(classes), dtype=np.int32)
        padded[: len(table)] = table
        for number in range(INDEX_CLASSES[frac_bits].top + 1):
            assert len(set(padded[classes == number])) == 1
        assert (padded[classes == INDEX_CLASSES[frac_bits].top] == 0).all()


@pytest.mark.parametrize("frac_bits", [3, 4])
def test_narrow_designs_fit_a_table_indexed_by_distance(frac_bits):
    assert SHIPPED[f"designed-F{frac_bits}"]["last_nonzero"] < 127
