"""Energy of a netlist per clock cycle, from what it did (``activity``) and the library's power tables.

    energy = edges x (1/2 C V^2 of the net + internal energy of the cell by table) + clock pins + leakage x period

Nets are charged to the unit that has them, the wires of its inputs included. Internal energy by table depends on the
input's slew, the load, the input that changed and the state of the others: an arc's share is how often its input has
edges times how often its state holds. A library that gives energies for several outputs of a cell splits what they take
together, so all outputs count, used or not.

Not modelled: placement and routing beyond the library's wire load, the clock's tree, what drives the inputs.
"""

from dataclasses import dataclass

from slipstick.hardware.activity import Activity
from slipstick.hardware.boolean import Expression
from slipstick.hardware.liberty import Pin, PowerArc
from slipstick.hardware.netlist import Gate, Register
from slipstick.hardware.timing import FALL, RISE, Timing


@dataclass(frozen=True)
class Energy:
    """Parts in fJ per clock cycle of ``period_ns``.

    switching: loads of gates and registers, 1/2 C V^2 per edge; inputs: the same of the unit's inputs; internal: within
    gates; registers: within flip-flops, from edges of data and outputs; clock: clock pins, both edges; leakage: of
    all cells over a period. glitches: the model of ``activity`` that counted the edges.
    """

    glitches: str
    period_ns: float
    switching_fj: float
    inputs_fj: float
    internal_fj: float
    registers_fj: float
    clock_fj: float
    leakage_fj: float

    @property
    def total_fj(self) -> float:
        return self.dynamic_fj + self.leakage_fj

    @property
    def dynamic_fj(self) -> float:
        """All but leakage: what does not depend on the clock's period."""
        return self.switching_fj + self.inputs_fj + self.internal_fj + self.registers_fj + self.clock_fj

    @property
    def power_uw(self) -> float:
        """Mean power at the period."""
        return self.total_fj / self.period_ns

    def parts(self) -> dict[str, float]:
        """Every part by name, fJ per cycle."""
        return {name.removesuffix("_fj"): value for name, value in vars(self).items() if name.endswith("_fj")}


def energy(activity: Activity, timing: Timing, period_ns: float | None = None) -> Energy:
    """Energy per cycle. period_ns: of the clock, for leakage; the shortest possible one by default."""
    netlist = activity.settled.netlist
    inputs = {net for bits in netlist.inputs.values() for net in bits if net != netlist.clock}
    period_ns = period_ns or timing.period_ns
    driven = {net for cell in netlist.cells for _, net in cell.outputs()}
    return Energy(
        glitches=activity.model,
        period_ns=period_ns,
        switching_fj=sum(_net(net, activity, timing) for net in sorted(driven)),
        inputs_fj=sum(_net(net, activity, timing) for net in sorted(inputs)),
        internal_fj=sum(_outputs(gate, activity, timing) for gate in netlist.gates),
        registers_fj=sum(
            _outputs(register, activity, timing) + _data(register, activity, timing) for register in netlist.registers
        ),
        clock_fj=sum(_clock(register, activity, timing) for register in netlist.registers),
        leakage_fj=sum(leakage_uw(cell, activity) for cell in netlist.cells) * period_ns,
    )


def leakage_uw(gate: Gate, activity: Activity) -> float:
    """Mean leakage of a cell over the states that it was in, uW."""
    states = gate.cell.leakage_uw
    total = left = 0.0
    for when, power in states:
        share = _share(when, gate, activity) if when else max(0.0, 1.0 - left)
        total, left = total + share * power, left + share
    return total


def _net(net: int, activity: Activity, timing: Timing) -> float:
    """1/2 C V^2 of a net's edges."""
    charged = activity.rises[net] * timing.load_ff(net, RISE) + activity.falls[net] * timing.load_ff(net, FALL)
    return 0.5 * charged * activity.settled.netlist.library.voltage**2 / activity.cycles


def _outputs(gate: Gate, activity: Activity, timing: Timing) -> float:
    """Energy within a cell from the edges of its outputs."""
    total = 0.0
    for pin, net in gate.outputs():
        for edge, count in ((RISE, activity.rises[net]), (FALL, activity.falls[net])):
            if count:
                total += count * _mean(gate, pin, net, edge, activity, timing)
    return total / activity.cycles


def _mean(gate: Gate, pin: Pin, net: int, edge: int, activity: Activity, timing: Timing) -> float:
    """Energy of one edge of an output: the mean over its arcs, each as often as its input changes in its state."""
    weighed = total = plain = 0.0
    arcs = [(arc, name) for arc in pin.power for name in arc.related_pins]
    load = timing.load_ff(net, edge)
    for arc, name in arcs:
        source = gate.pins[name]
        changes = 1 if source == activity.settled.netlist.clock else activity.rises[source] + activity.falls[source]
        weight = changes * _share(arc.when, gate, activity)
        value = _table(arc, edge, timing.input_slew_ns(gate, pin, name, edge), load)
        weighed, total, plain = weighed + weight, total + weight * value, plain + value
    if weighed:
        return total / weighed
    return plain / len(arcs) if arcs else 0.0


def _data(register: Register, activity: Activity, timing: Timing) -> float:
    """Energy within a register from the edges of its data, by the clock's level at the time."""
    total = 0.0
    for name in register.data:
        net = register.pins[name]
        for edge, edges, late in (
            (RISE, activity.rises[net], activity.late_rises[net]),
            (FALL, activity.falls[net], activity.late_falls[net]),
        ):
            for high, count in ((True, edges - late), (False, late)):
                total += count * _hidden(register, name, edge, timing.slew_ns[net][edge], activity, high, settled=True)
    return total / activity.cycles


def _clock(register: Register, activity: Activity, timing: Timing) -> float:
    """Energy of a clock pin in a cycle: its capacitance, and within the register, in the state at either edge."""
    pin = register.cell.pins[register.clock]
    charged = 0.5 * (pin.rise_ff + pin.fall_ff) * activity.settled.netlist.library.voltage**2
    slew = timing.boundary.clock_slew_ns
    rise = _hidden(register, pin.name, RISE, slew, activity, high=False, settled=True)
    return charged + rise + _hidden(register, pin.name, FALL, slew, activity, high=True, settled=False)


def _hidden(
    register: Register, name: str, edge: int, slew: float, activity: Activity, high: bool, settled: bool
) -> float:
    """Energy of one edge of an input, the mean over the register's states; settled, or when the clock falls."""
    total = 0.0
    for arc in register.cell.pins[name].power:
        if not arc.related_pins:
            total += _share(arc.when, register, activity, high, settled) * _table(arc, edge, slew, 0.0)
    return total


def _table(arc: PowerArc, edge: int, slew_ns: float, load_ff: float) -> float:
    return (arc.rise if edge == RISE else arc.fall).at(slew_ns, load_ff)


def _share(
    when: Expression | None, gate: Gate, activity: Activity, clock_high: bool = False, settled: bool = True
) -> float:
    """Share of the cycles in which a cell is in a state. The clock counts as low, as it is once all has settled."""
    if when is None:
        return 1.0
    cycles = activity.settled
    values, ones = (cycles.values, cycles.ones) if settled else (activity.at_half, cycles.ones >> 1)
    state = {name: values[gate.pins[name]] & ones for name in when.names}
    if isinstance(gate, Register) and gate.clock in state:
        state[gate.clock] = ones if clock_high else 0
    return when.evaluate(state, ones).bit_count() / max(1, ones.bit_count())
