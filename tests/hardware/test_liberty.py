"""Libraries: what their text means, in ns, fF, fJ, uW and um^2, and tables between their points."""

import itertools
import re

import numpy as np
import pytest

pytest.importorskip("amaranth")

from tiny_library import LOADS_FF, SLEWS_PS, plane

from slipstick.errors import SpecificationError
from slipstick.hardware.boolean import Expression
from slipstick.hardware.liberty import Library, Table, WireLoad, find_library
from slipstick.hardware.liberty_text import parse_groups, without_comments
from slipstick.hardware.tools import MissingTool


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!A", lambda a, b, c: 1 - a),
        ("A'", lambda a, b, c: 1 - a),
        ("A B + C", lambda a, b, c: a & b | c),
        ("A+B*C", lambda a, b, c: a | b & c),
        ("A ^ B C", lambda a, b, c: a ^ b & c),
        ("A | B ^ C", lambda a, b, c: a | (b ^ c)),
        ("!(A B)'", lambda a, b, c: a & b),
        ("(!((A&B)|!C))", lambda a, b, c: 1 - (a & b | (1 - c))),
        ("!A & !B&C", lambda a, b, c: (1 - a) & (1 - b) & c),
        ("1", lambda a, b, c: 1),
        ("0 + A", lambda a, b, c: a),
    ],
)
def test_functions_bind_as_liberty_says(text, value):
    expected = tuple(value(*state) for state in itertools.product((0, 1), repeat=3))
    assert Expression.parse(text).truth_table("ABC") == expected


def test_a_function_works_on_many_cases_at_a_time():
    a, b = 0b0011, 0b0101
    assert Expression.parse("!(A B)").evaluate({"A": a, "B": b}, 0b1111) == 0b1110


@pytest.mark.parametrize("text", ["", "A +", "(A", "A)", "A ? B", "A & & B"])
def test_what_is_no_function_is_refused(text):
    with pytest.raises(SpecificationError, match="Boolean function"):
        Expression.parse(text)


def test_units_become_ns_ff_fj_and_uw(tiny):
    inverter = tiny.cell("INV")
    assert (inverter.area_um2, inverter.inputs, inverter.outputs) == (1, ("A",), ("Y",))
    assert inverter.pins["A"].rise_ff == pytest.approx(2)
    assert [power for _, power in inverter.leakage_uw] == [1, 3, 4]
    arc, energy = inverter.pins["Y"].timing[0], inverter.pins["Y"].power[0]
    assert arc.rise.at(0.040, 5.0) == pytest.approx(plane(10, 0.1, 1)(40, 5) / 1000)
    assert energy.rise.at(0.0, 0.0) == pytest.approx(3.0)  # 0.003 V^2 pF, not times the supply's square
    assert energy.fall.at(0.0, 10.0) == pytest.approx(1.0 + 1.0)


def test_axes_in_either_order_mean_the_same(tiny):
    first, second = tiny.cell("NAND2").pins["Y"].timing
    for slew, load in itertools.product(SLEWS_PS, LOADS_FF):
        assert first.rise.at(slew / 1000, load) == pytest.approx(plane(14, 0.1, 1)(slew, load) / 1000)
        assert second.rise.at(slew / 1000, load) == pytest.approx(plane(16, 0.1, 1)(slew, load) / 1000)


def test_a_table_is_itself_on_its_points_and_bilinear_between_and_beyond():
    x, y, values = (1.0, 2.0, 4.0), (10.0, 30.0), ((1.0, 3.0), (5.0, 2.0), (0.0, 8.0))
    table = Table(x, y, values)
    for i, j in itertools.product(range(3), range(2)):
        assert table.at(x[i], y[j]) == values[i][j]
    assert table.at(1.5, 10.0) == 3.0
    assert table.at(1.5, 20.0) == pytest.approx((1 + 3 + 5 + 2) / 4)
    assert table.at(0.0, 10.0) == -3.0
    assert table.at(6.0, 30.0) == 14.0
    assert table.at(4.0, 40.0) == 12.0


def test_a_table_of_one_axis_depends_on_that_alone():
    assert Table((1.0, 2.0), (0.0,), ((3.0,), (5.0,))).at(1.5, 99.0) == 4.0
    assert Table((0.0,), (0.0,), ((7.0,),)).at(1.5, 99.0) == 7.0


def test_wires_grow_with_their_sinks():
    wire = WireLoad("w", ff_per_length=2.0, kohm_per_length=0.5, slope=3.0, lengths=((1, 1.0), (3, 2.0)))
    assert [wire.length(n) for n in range(6)] == [0.0, 1.0, 1.5, 2.0, 5.0, 8.0]
    assert wire.capacitance_ff(3) == 4.0
    assert wire.branch_ns(2, 10.0) == pytest.approx(0.5 * 0.75 * (2.0 * 0.75 + 10.0) * 1e-3)


def test_a_cell_that_is_not_there_is_named(tiny):
    with pytest.raises(SpecificationError, match="cell NOPE: not in"):
        tiny.cell("NOPE")


def test_what_is_no_library_is_refused(tmp_path):
    path = tmp_path / "x.lib"
    path.write_text("hello ( world ) { }")
    with pytest.raises(SpecificationError, match="no Liberty file"):
        Library(path)
    with pytest.raises(SpecificationError, match="give nangate45, osu018 or the path"):
        find_library("tsmc5")
    with pytest.raises(MissingTool, match="is not there"):
        find_library(str(tmp_path / "none.lib"))


def test_nangates_tables_are_the_files(nangate):
    """Points read by other code than ours, and their middles."""
    text = without_comments(nangate.path.read_text("latin-1"))
    cell = next(g for g in parse_groups(text[text.index("cell (NAND2_X1)") : text.index("cell (NAND2_X2)")]))
    pin = next(g for g in cell.groups if g.kind == "pin" and g.arguments == ("ZN",))
    timing = next(g for g in pin.groups if g.kind == "timing" and g.attributes["related_pin"] == "A2")
    raw = next(g for g in timing.groups if g.kind == "cell_rise")
    x, y = (np.array([float(v) for v in raw.lists[f"index_{i}"][0][0].split(",")]) for i in (1, 2))
    values = np.array([[float(v) for v in row.split(",")] for row in raw.lists["values"][0]])
    table = next(arc for arc in nangate.cell("NAND2_X1").pins["ZN"].timing if arc.related_pin == "A2").rise
    made = np.array([[table.at(slew, load) for load in y] for slew in x])
    np.testing.assert_allclose(made, values, rtol=1e-12)
    middle = np.array([[table.at(s, c) for c in (y[1:] + y[:-1]) / 2] for s in (x[1:] + x[:-1]) / 2])
    np.testing.assert_allclose(middle, (values[1:, 1:] + values[:-1, 1:] + values[1:, :-1] + values[:-1, :-1]) / 4)


def test_nangates_cells_do_what_they_are_called(nangate):
    tables = {
        "NAND2_X1": (1, 1, 1, 0),
        "NOR2_X1": (1, 0, 0, 0),
        "XOR2_X1": (0, 1, 1, 0),
        "XNOR2_X1": (1, 0, 0, 1),
        "AOI21_X1": (1, 1, 1, 0, 0, 0, 0, 0),
    }
    for name, table in tables.items():
        cell = nangate.cell(name)
        assert cell.pins[cell.outputs[0]].function.truth_table(cell.inputs) == table
    assert nangate.cell("DFF_X1").flip_flop
    assert nangate.full_adder[0].startswith("FA")
    assert nangate.tie_cells


def test_nangate_is_left_alone_where_it_is_no_logic(nangate):
    assert not [name for name in nangate.usable if re.match("TBUF|SDFF|CLKGATE|FILL|ANTENNA|DLH", name)]
    assert nangate.voltage == pytest.approx(1.1)
    assert nangate.wire_load


def test_osu018_speaks_in_the_same_units(installed):
    """180 nm at 1.8 V: a NAND takes some ten fF and some tens of fJ."""
    library = installed("osu018")
    nand = library.cell("NAND2X1")
    assert 5 < nand.pins["A"].rise_ff < 50
    assert 5 < nand.pins["Y"].power[0].rise.at(0.06, 5.0) < 100
    assert 0.01 < nand.pins["Y"].timing[0].rise.at(0.06, 5.0) < 0.2
    assert library.wire_load.capacitance_ff(3) == 6.0
    assert library.tie_cells is None
