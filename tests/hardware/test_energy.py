"""Energy of small netlists, worked out by hand from the tables' planes; NanGate's cells from their tables."""

import numpy as np
import pytest

pytest.importorskip("amaranth")

from tiny_library import netlist

from slipstick.hardware.activity import settle, zero_delay
from slipstick.hardware.energy import energy
from slipstick.hardware.inertial import inertial
from slipstick.hardware.timing import Boundary, Timing

VOLTAGE = 2.0
HALF_CV2 = 0.5 * VOLTAGE**2  # fJ per fF


def test_an_inverter_is_its_load_its_table_and_its_leakage(tiny):
    made = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, [("INV", {"A": "a", "Y": "y"})])
    timing = Timing(made, Boundary(output_ff=9.0))
    found = energy(zero_delay(settle(made, {"a": [0, 1, 0, 1, 1]})), timing, period_ns=2.0)
    load = 9.0 + 1.0  # and the wire
    assert found.switching_fj == pytest.approx(3 * HALF_CV2 * load / 4)
    assert found.inputs_fj == pytest.approx(3 * HALF_CV2 * (2.0 + 1.0) / 4)
    assert found.internal_fj == pytest.approx(((3 + 0.1 * load) + 2 * (1 + 0.1 * load)) / 4)
    assert found.leakage_fj == pytest.approx((3 * 1 + 2 * 3) / 5 * 2.0)
    assert found.registers_fj == found.clock_fj == 0
    assert found.total_fj == pytest.approx(sum(found.parts().values()))
    assert found.power_uw == pytest.approx(found.total_fj / 2.0)
    assert found.dynamic_fj == pytest.approx(found.total_fj - found.leakage_fj)


def test_states_weigh_the_arcs_of_an_input_and_edges_weigh_inputs(tiny):
    """A rises and falls, B is 1 in three of four cycles and keeps still in the counted ones."""
    made = netlist(tiny, {"a": ["a"], "b": ["b"]}, {"y": ["y"]}, [("XOR2", {"A": "a", "B": "b", "Y": "y"})])
    timing = Timing(made)
    a, b = [0, 1, 0, 1], [1, 1, 1, 0]
    found = energy(zero_delay(settle(made, {"a": a, "b": b})), timing)
    load = 0.1 * 1.0
    # Output: 1 0 1 1, a fall and a rise. a has three edges, in state b for 3/4 of the time; b has one.
    rise = (3 * (0.75 * 2 + 0.25 * 8) + 1 * 5) / 4 + load
    fall = (3 * (0.75 * 1 + 0.25 * 9) + 1 * 5) / 4 + load
    assert found.internal_fj == pytest.approx((rise + fall) / 3)


def test_a_flip_flop_takes_clock_data_and_both_outputs(tiny, cache):
    made = netlist(tiny, {"clk": ["clk"], "d": ["d"]}, {"q": ["q"]}, [("DFF", {"D": "d", "CK": "clk", "Q": "q"})])
    timing = Timing(made)
    found = energy(zero_delay(settle(made, {"d": [0, 1, 1, 0, 0]}, cache=cache)), timing, period_ns=1.0)
    # d has a rise and a fall in four cycles, and so has q, a cycle later: one rise, one fall; QN the other way.
    q_load, clock_pin = 0.1 * 1.0, 1.0
    data = 1 + 3
    outputs = (10 + q_load) + (12 + q_load) + 1 + 2
    assert found.registers_fj == pytest.approx((data + outputs) / 4)
    # The clock rises with d at 0 in 3 of 5 cycles and at 1 in 2, and falls with d at 0 in 2 of 4 and at 1 in 2.
    clock = (3 * 6 + 2 * 2) / 5 + (2 * 8 + 2 * 4) / 4
    assert found.clock_fj == pytest.approx(clock + 2 * HALF_CV2 * clock_pin)
    assert found.leakage_fj == pytest.approx(4 * 1.0)


def test_glitches_cost_energy_and_leakage_does_not_change(tiny):
    cells = [("INV", {"A": "a", "Y": "m"}), ("XOR2", {"A": "a", "B": "m", "Y": "y"})]
    cells += [("INV", {"A": "m", "Y": f"load{i}"}) for i in range(60)]
    made = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, cells)
    timing, cycles = Timing(made), settle(made, {"a": [0, 1, 0, 1]})
    smooth, real = energy(zero_delay(cycles), timing), energy(inertial(cycles, timing), timing)
    assert (smooth.glitches, real.glitches) == ("zero delay", "inertial")
    assert real.switching_fj > smooth.switching_fj
    assert real.internal_fj > smooth.internal_fj
    assert real.leakage_fj == smooth.leakage_fj


def test_nangates_nand_is_looked_up(nangate):
    made = netlist(nangate, {"a": ["a"]}, {"y": ["y"]}, [("NAND2_X1", {"A1": "a", "A2": "1", "ZN": "y"})])
    timing = Timing(made, Boundary(input_slew_ns=0.02, output_ff=3.0))
    found = energy(zero_delay(settle(made, {"a": [0, 1, 0]})), timing, period_ns=1.0)
    load = 3.0 + nangate.wire_load.capacitance_ff(1)
    arc = next(a for a in nangate.cell("NAND2_X1").pins["ZN"].power if a.related_pins == ("A1",))

    def looked_up(table):
        return np.interp(0.02, table.x, [np.interp(load, table.y, row) for row in table.values])

    assert found.internal_fj == pytest.approx((looked_up(arc.rise) + looked_up(arc.fall)) / 2)
    assert found.switching_fj == pytest.approx(0.5 * load * nangate.voltage**2)
    states = {
        when.truth_table(("A1", "A2")).index(1): power
        for when, power in nangate.cell("NAND2_X1").leakage_uw
        if when is not None
    }
    assert found.leakage_fj == pytest.approx((2 * states[0b01] + states[0b11]) / 3)
