"""Static timing of small netlists, worked out by hand from the tables' planes."""

import numpy as np
import pytest

pytest.importorskip("amaranth")

from tiny_library import netlist

from slipstick.errors import SpecificationError
from slipstick.hardware.netlist import Netlist
from slipstick.hardware.timing import FALL, RISE, Boundary, Timing

PIN, WIRE = 2.0, {1: 1.0, 2: 1.5, 3: 2.0}  # fF; of the library's pins and wires


def test_an_inverter_takes_what_its_table_says(tiny):
    one = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, [("INV", {"A": "a", "Y": "y"})])
    timing = Timing(one, Boundary(input_slew_ns=0.050, output_ff=7.0))
    load = 7.0 + WIRE[1]
    net = one.outputs["y"][0]
    assert timing.load_ff(net, RISE) == load
    assert timing.arrival_ns[net] == pytest.approx([(8 + 5 + load) / 1000, (10 + 5 + load) / 1000])
    assert timing.slew_ns[net] == pytest.approx([(4 + 2 * load) / 1000, (5 + 2 * load) / 1000])
    assert timing.period_ns == pytest.approx((15 + load) / 1000)


def test_slews_go_on_and_edges_turn_with_the_gates(tiny):
    """Two inverters: the second one's rise follows the first one's fall."""
    two = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, [("INV", {"A": "m", "Y": "y"}), ("INV", {"A": "a", "Y": "m"})])
    timing = Timing(two)
    load = PIN + WIRE[1]
    fall = 8 + load
    fall_slew = 4 + 2 * load
    assert timing.arrival_ns[two.outputs["y"][0]][RISE] == pytest.approx((fall + 10 + fall_slew / 10 + WIRE[1]) / 1000)


def test_the_slowest_input_wins_and_both_edges_of_an_exclusive_or_count(tiny):
    cells = [
        ("INV", {"A": "a", "Y": "m"}),
        ("XOR2", {"A": "a", "B": "m", "Y": "y"}),
    ]
    made = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, cells)
    timing = Timing(made)
    load = PIN + WIRE[1]
    ways = {
        "m rises": 10 + load + 24 + (5 + 2 * load) / 10,
        "m falls": 8 + load + 24 + (4 + 2 * load) / 10,
        "a": 20,
    }
    assert timing.arrival_ns[made.outputs["y"][0]][RISE] == pytest.approx((max(ways.values()) + WIRE[1]) / 1000)
    assert [(step.cell, step.edge) for step in timing.path] == [("", "falls"), ("INV", "rises"), ("XOR2", "falls")]


def register_loop(tiny):
    """q' = not (q and a), and an output that shows q."""
    cells = [
        ("DFF", {"D": "d", "CK": "clk", "Q": "q"}),
        ("NAND2", {"A": "q", "B": "a", "Y": "d"}),
    ]
    return netlist(tiny, {"clk": ["clk"], "a": ["a"]}, {"q": ["q"]}, cells)


def test_the_period_is_clock_to_output_logic_and_setup(tiny):
    loop = register_loop(tiny)
    timing = Timing(loop)
    q_load = PIN + WIRE[2]  # the gate and the port
    d_load = PIN + WIRE[1]
    fall, rise = 44 + q_load, 40 + q_load
    to_rise = fall + 14 + (22 + 2 * q_load) / 10 + d_load
    to_fall = rise + 12 + (20 + 2 * q_load) / 10 + d_load
    assert timing.period_ns == pytest.approx(max(to_rise + 30, to_fall + 20) / 1000)
    assert [step.cell for step in timing.path] == ["DFF", "NAND2"]


def test_an_output_that_nothing_reads_is_driven_all_the_same(tiny):
    loop = register_loop(tiny)
    unused = loop.registers[0].pins["QN"]
    assert loop.fanout[unused] == 0
    assert Timing(loop).arrival_ns[unused][RISE] == pytest.approx(0.046)


def test_wires_have_resistance(tiny, monkeypatch):
    loop = register_loop(tiny)
    before = Timing(loop).period_ns
    monkeypatch.setattr(tiny, "wire_load", type(tiny.wire_load)("r", 1.0, 3.0, 2.0, ((1, 1.0), (3, 2.0))))
    d, q = 3.0 * 1.0 * (1.0 + PIN) / 1000, 3.0 * 0.75 * (0.75 + PIN) / 1000
    assert Timing(register_loop(tiny)).period_ns == pytest.approx(before + d + q, abs=1e-9)


def test_a_load_beyond_what_a_cell_is_made_for_is_told(tiny):
    inverter = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, [("INV", {"A": "a", "Y": "y"})])
    assert Timing(inverter, Boundary(output_ff=40.0)).overloaded == []
    assert Timing(inverter, Boundary(output_ff=60.0)).overloaded == [inverter.outputs["y"][0]]


def test_gates_in_a_loop_are_refused(tiny):
    with pytest.raises(SpecificationError, match="its gates form a loop"):
        netlist(tiny, {}, {"y": ["y"]}, [("INV", {"A": "x", "Y": "y"}), ("INV", {"A": "y", "Y": "x"})])


def test_a_register_on_another_clock_is_refused(tiny):
    with pytest.raises(SpecificationError, match="register DFF is not clocked by the rising edge of clk alone"):
        netlist(tiny, {"clk": ["clk"], "g": ["g"]}, {"q": ["q"]}, [("DFF", {"D": "g", "CK": "g", "Q": "q"})])


def test_nangates_chain_is_looked_up_step_by_step(nangate):
    """NAND2, XOR2, INV between a flip-flop and itself, by NumPy's interpolation instead of ours."""
    cells = [
        ("DFF_X1", {"D": "d", "CK": "clk", "Q": "q"}),
        ("NAND2_X1", {"A1": "q", "A2": "1", "ZN": "n"}),
        ("INV_X1", {"A": "n", "ZN": "d"}),
    ]
    made = netlist(nangate, {"clk": ["clk"]}, {"q": ["q"]}, cells)
    timing = Timing(made, Boundary(clock_slew_ns=0.01))
    wire = nangate.wire_load

    def looked_up(table, slew, load):
        rows = [np.interp(load, table.y, row) for row in table.values]
        return float(np.interp(slew, table.x, rows))

    def arc(cell, output, source):
        return next(a for a in nangate.cell(cell).pins[output].timing if a.related_pin == source)

    def setup(edge):
        arcs = [a for a in nangate.cell("DFF_X1").pins["D"].timing if a.kind == "setup_rising"]
        return getattr(arcs[0], edge)

    periods = []
    for q_edge, n_edge in (("rise", "fall"), ("fall", "rise")):
        slew, time = 0.01, 0.0
        stages = [
            ("DFF_X1", "Q", "CK", q_edge, 2, [("NAND2_X1", "A1")]),
            ("NAND2_X1", "ZN", "A1", n_edge, 1, [("INV_X1", "A")]),
            ("INV_X1", "ZN", "A", q_edge, 1, [("DFF_X1", "D")]),
        ]
        for cell, output, source, edge, sinks, pins in stages:
            caps = [getattr(nangate.cell(c).pins[p], f"{edge}_ff") for c, p in pins]
            load = wire.capacitance_ff(sinks) + sum(caps)
            found = arc(cell, output, source)
            delay = looked_up(getattr(found, edge), slew, load)
            slew = looked_up(getattr(found, f"{edge}_slew"), slew, load)
            time += delay + wire.branch_ns(sinks, caps[0])
        periods.append(time + looked_up(setup(q_edge), 0.01, slew))
    assert timing.period_ns == pytest.approx(max(periods), rel=1e-9)
    assert isinstance(made, Netlist)
    assert timing.slew_ns[made.inputs["clk"][0]][FALL] == 0.01
