"""Gates under real operands: what they settle to, and their edges on the way, against simulations of single events."""

import random

import numpy as np
import pytest

pytest.importorskip("amaranth")

from tiny_library import netlist

from slipstick.errors import SpecificationError
from slipstick.hardware.activity import settle, zero_delay
from slipstick.hardware.inertial import delays, inertial
from slipstick.hardware.netlist import HIGH
from slipstick.hardware.timing import FALL, RISE, Timing

STEP_NS = 0.001


def random_netlist(library, seed, inputs=6, gates=40):
    """Gates of two inputs at random over what is there, the last ones for outputs."""
    choose = random.Random(seed)
    nets, cells = [f"a{i}" for i in range(inputs)], []
    for number in range(gates):
        kind = choose.choice(["INV", "NAND2", "NAND2", "XOR2"])
        pins = {pin: choose.choice(nets[-12:]) for pin in ("A", "B")[: 1 if kind == "INV" else 2]}
        cells.append((kind, pins | {"Y": f"g{number}"}))
        nets.append(f"g{number}")
    return netlist(library, {"a": nets[:inputs]}, {"y": nets[-4:]}, cells)


def one_cycle(made, timing, before, after):
    """Edges [fall, rise] of every net on the way between two values of the inputs; events in a plain list."""
    functions = [(gate, pin, net) for gate in made.gates for pin, net in gate.outputs()]
    steps = [delays(gate, pin, net, timing, STEP_NS) for gate, pin, net in functions]
    values = before.copy()
    target = {net: values[net] for _, _, net in functions}
    events = {0: {net: after[net] for net in made.inputs["a"] if after[net] != before[net]}}
    counts = [[0, 0] for _ in range(made.nets)]
    while events:
        time = min(events)
        changed = events.pop(time)
        for net, value in changed.items():
            values[net] = value
            counts[net][RISE if value else FALL] += 1
        for (gate, pin, net), pins in zip(functions, steps, strict=True):
            moved = [i for i, name in enumerate(gate.cell.inputs) if gate.pins[name] in changed]
            value = pin.function.evaluate({name: values[gate.pins[name]] for name in gate.cell.inputs})
            if not moved or value == target[net]:
                continue
            target[net] = value
            for due in events.values():
                due.pop(net, None)
            events = {when: due for when, due in events.items() if due}
            if value != values[net]:
                events.setdefault(time + pins[moved[0]][RISE if value else FALL], {})[net] = value
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_glitches_are_those_of_a_simulation_of_single_events(tiny, seed):
    made = random_netlist(tiny, seed)
    timing = Timing(made)
    a = np.random.default_rng(seed).integers(0, 64, 30)
    cycles = settle(made, {"a": a})
    found = inertial(cycles, timing, step_ns=STEP_NS)
    expected = np.zeros((made.nets, 2), int)
    for t in range(29):
        states = [[value >> when & 1 for value in cycles.values] for when in (t, t + 1)]
        expected += np.array(one_cycle(made, timing, *states))
    assert np.array_equal(np.stack([found.falls, found.rises], axis=1), expected)
    assert found.edges_per_cycle > zero_delay(cycles).edges_per_cycle


def test_edges_without_glitches_are_changes_of_the_final_values(tiny):
    made = random_netlist(tiny, 7)
    a = np.random.default_rng(7).integers(0, 64, 300)
    cycles = settle(made, {"a": a})
    for net, vector in enumerate(cycles.values):
        bits = np.array([vector >> t & 1 for t in range(300)])
        assert zero_delay(cycles).rises[net] == np.sum(np.diff(bits) == 1)
        assert zero_delay(cycles).falls[net] == np.sum(np.diff(bits) == -1)


def test_rises_and_falls_differ_by_what_a_net_gained(tiny):
    made = random_netlist(tiny, 3)
    cycles = settle(made, {"a": np.random.default_rng(3).integers(0, 64, 500)})
    found = inertial(cycles, Timing(made))
    for net, vector in enumerate(cycles.values):
        assert found.rises[net] - found.falls[net] == (vector >> 499 & 1) - (vector & 1)


def test_a_pulse_shorter_than_a_gate_is_swallowed_and_a_longer_one_is_not(tiny):
    """a ^ not a is a pulse as long as the inverter; loads make the inverter quicker or slower than the exclusive or."""
    for sinks, glitches in ((0, False), (60, True)):
        cells = [("INV", {"A": "a", "Y": "m"}), ("XOR2", {"A": "a", "B": "m", "Y": "y"})]
        cells += [("INV", {"A": "m", "Y": f"load{i}"}) for i in range(sinks)]
        made = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, cells)
        found = inertial(settle(made, {"a": [0, 1, 0, 1]}), Timing(made), step_ns=STEP_NS)
        assert (found.rises[made.outputs["y"][0]] > 0) == glitches


def test_no_cycle_depends_on_the_others(tiny):
    made = random_netlist(tiny, 11)
    timing = Timing(made)
    a = np.random.default_rng(11).integers(0, 64, 101)
    whole = inertial(settle(made, {"a": a}), timing)
    parts = [inertial(settle(made, {"a": a[i : i + 11]}), timing) for i in range(0, 100, 10)]
    assert whole.rises == [sum(rises) for rises in zip(*(part.rises for part in parts), strict=True)]
    assert whole.falls == [sum(falls) for falls in zip(*(part.falls for part in parts), strict=True)]


def counter(tiny):
    """Two bits that count the cycles in which ``up`` is 1, unless reset; no output shows the first one itself."""
    cells = [
        ("DFF", {"D": "d0", "CK": "clk", "Q": "q0", "QN": "n0"}),
        ("DFF", {"D": "d1", "CK": "clk", "QN": "n1"}),
        ("XOR2", {"A": "q0", "B": "up", "Y": "x0"}),
        ("INV", {"A": "n1", "Y": "q1"}),
        ("NAND2", {"A": "q0", "B": "up", "Y": "nc"}),
        ("XOR2", {"A": "n1", "B": "nc", "Y": "x1"}),
        ("INV", {"A": "rst", "Y": "on"}),
        *(("NAND2", {"A": f"x{i}", "B": "on", "Y": f"m{i}"}) for i in (0, 1)),
        *(("INV", {"A": f"m{i}", "Y": f"d{i}"}) for i in (0, 1)),
    ]
    return netlist(tiny, {"clk": ["clk"], "rst": ["rst"], "up": ["up"]}, {"count": ["q0", "q1"]}, cells)


def test_states_follow_from_the_registers_themselves(tiny, cache):
    made = counter(tiny)
    up = np.random.default_rng(0).integers(0, 2, 1000)
    cycles = settle(made, {"up": up}, cache=cache)
    assert np.array_equal(cycles.port("count"), np.concatenate([[0], np.cumsum(up)[:-1]]) % 4)
    rst = np.arange(1000) % 10 == 0
    count, expected = 0, []
    for reset, step in zip(rst, up, strict=True):
        expected.append(count)
        count = 0 if reset else (count + step) % 4
    assert np.array_equal(settle(made, {"up": up, "rst": rst}, cache=cache).port("count"), expected)


def test_registers_move_after_the_clock_and_edges_after_its_fall_are_late(tiny, cache):
    made = counter(tiny)
    timing = Timing(made)
    cycles = settle(made, {"up": np.ones(101, int)}, cache=cache)
    found = inertial(cycles, timing, period_ns=timing.period_ns)
    q0 = made.outputs["count"][0]
    assert found.rises[q0] == found.falls[q0] == 50
    assert found.late_rises[q0] == 0
    d0 = made.registers[0].pins["D"]
    assert found.late_rises[d0] == found.rises[d0] > 0
    slow = inertial(cycles, timing, period_ns=10 * timing.period_ns)
    assert slow.late_rises[d0] == 0
    assert slow.rises == found.rises


def test_wrong_inputs_are_named(tiny):
    with pytest.raises(SpecificationError, match="hand: no input b"):
        settle(random_netlist(tiny, 0), {"a": [1], "b": [1]})


def test_constants_stay(tiny):
    made = netlist(tiny, {"a": ["a"]}, {"y": ["y"]}, [("NAND2", {"A": "a", "B": "1", "Y": "y"})])
    found = zero_delay(settle(made, {"a": [0, 1, 1, 0]}))
    assert found.rises[HIGH] == found.falls[HIGH] == 0
    assert np.array_equal(found.settled.port("y"), [1, 0, 0, 1])
