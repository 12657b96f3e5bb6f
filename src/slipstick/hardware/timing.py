"""Static timing of a netlist by the library's tables (NLDM): arrival times, slews, the shortest clock period.

The slowest way wins at every pin and edge; the worst slew goes on, wherever it comes from. A net's load is its pins and
the library's wire load for its number of sinks; wires add the delay of a balanced tree. The clock is ideal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from slipstick.hardware.liberty import Pin, Table, TimingArc
from slipstick.hardware.netlist import Gate, Netlist, Register

FALL, RISE = 0, 1
EDGES = ("falls", "rises")


@dataclass(frozen=True)
class Boundary:
    """What is around the unit: slews of its inputs and of the clock, ns; load of every bit of an output, fF."""

    input_slew_ns: float = 0.0
    clock_slew_ns: float = 0.0
    output_ff: float = 0.0


@dataclass(frozen=True)
class Step:
    """A net of a path. cell: the cell that drives it, "" for an input. edge: "rises" or "falls"."""

    cell: str
    net: int
    edge: str
    arrival_ns: float


class Timing:
    """arrival_ns, slew_ns: of every net, [fall, rise]; minus infinity is a net that never changes.

    period_ns: the shortest clock period: the latest of inputs and registers to a register, its setup time included, and
    of inputs and registers to an output. Of a combinational unit it is the delay. Inputs arrive with the clock's edge.
    """

    def __init__(self, netlist: Netlist, boundary: Boundary | None = None) -> None:
        self.netlist, self.boundary = netlist, boundary or Boundary()
        self.arrival_ns = [[float("-inf")] * 2 for _ in range(netlist.nets)]
        self.slew_ns = [[0.0] * 2 for _ in range(netlist.nets)]
        self._before: dict[tuple[int, int], tuple[Gate, int, int] | None] = {}
        self._driven = {net for bits in netlist.outputs.values() for net in bits}
        for net in (net for bits in netlist.inputs.values() for net in bits):
            clock = net == netlist.clock
            self.arrival_ns[net] = [float("-inf") if clock else 0.0] * 2
            self.slew_ns[net] = [self.boundary.clock_slew_ns if clock else self.boundary.input_slew_ns] * 2
        for register in netlist.registers:
            self._launch(register)
        for gate in netlist.gates:
            self._through(gate)
        self.period_ns, self._end = max(self._ends(), default=(0.0, None), key=lambda end: end[0])

    def load_ff(self, net: int, edge: int) -> float:
        """What drives the net sees this, fF."""
        outside = self.boundary.output_ff if net in self._driven else 0.0
        return (self.netlist.rise_ff if edge == RISE else self.netlist.fall_ff)[net] + outside

    def input_slew_ns(self, gate: Gate, pin: Pin, related: str, edge: int) -> float:
        """Mean slew of the edges of input ``related`` that may lead to this edge of an output."""
        senses = [arc for arc in pin.timing if arc.related_pin == related]
        before = sorted({start for arc in senses for start, end in edges(arc) if end == edge}) or [FALL, RISE]
        return sum(self.slew_ns[gate.pins[related]][start] for start in before) / len(before)

    def wire_ns(self, net: int, pin_ff: float) -> float:
        """From the net's driver to one of its pins."""
        wire = self.netlist.library.wire_load
        return wire.branch_ns(self.netlist.fanout[net], pin_ff) if wire else 0.0

    @cached_property
    def path(self) -> list[Step]:
        """The slowest path, from where it starts."""
        steps, at = [], self._end
        while at is not None:
            net, edge = at
            before = self._before.get(at)
            steps.append(Step(before[0].cell.name if before else "", net, EDGES[edge], self.arrival_ns[net][edge]))
            at = before[1:] if before and before[1] != self.netlist.clock else None
        return steps[::-1]

    @cached_property
    def overloaded(self) -> list[int]:
        """Nets with more load than their driver is characterised for."""
        return [
            net
            for gate in self.netlist.cells
            for pin, net in gate.outputs()
            if max(self.load_ff(net, RISE), self.load_ff(net, FALL)) > pin.max_ff
        ]

    def _launch(self, register: Register) -> None:
        """From the clock's edge to a register's outputs."""
        for pin, net in register.outputs():
            for arc in pin.timing:
                if arc.related_pin == register.clock and arc.kind == "rising_edge":
                    for edge in (FALL, RISE):
                        self._arrive(register, self.netlist.clock or 0, RISE, 0.0, net, edge, arc)

    def _through(self, gate: Gate) -> None:
        for pin, net in gate.outputs():
            for arc in pin.timing:
                source, sink = gate.pins[arc.related_pin], gate.cell.pins[arc.related_pin]
                delays = self.wire_ns(source, sink.fall_ff), self.wire_ns(source, sink.rise_ff)
                for before, edge in edges(arc):
                    start = self.arrival_ns[source][before] + delays[before]
                    self._arrive(gate, source, before, start, net, edge, arc)

    def _arrive(self, gate: Gate, source: int, before: int, start: float, net: int, edge: int, arc: TimingArc) -> None:
        delay, slew = (arc.rise, arc.rise_slew) if edge == RISE else (arc.fall, arc.fall_slew)
        if start == float("-inf") or delay is None or slew is None:
            return
        at = self.slew_ns[source][before], self.load_ff(net, edge)
        arrival = start + delay.at(*at)
        if arrival > self.arrival_ns[net][edge]:
            self.arrival_ns[net][edge] = arrival
            self._before[net, edge] = gate, source, before
        self.slew_ns[net][edge] = max(self.slew_ns[net][edge], slew.at(*at))

    def _ends(self) -> Iterator[tuple[float, tuple[int, int] | None]]:
        """Where paths end: time, and net and edge."""
        for net in sorted(self._driven):
            for edge in (FALL, RISE):
                yield max(self.arrival_ns[net][edge], 0.0), (net, edge)
        for register in self.netlist.registers:
            for name in register.data:
                pin, net = register.cell.pins[name], register.pins[name]
                for arc in pin.timing:
                    if arc.kind == "setup_rising":
                        for edge, table in ((FALL, arc.fall), (RISE, arc.rise)):
                            yield self._setup(table, net, edge, pin.rise_ff if edge else pin.fall_ff), (net, edge)

    def _setup(self, table: Table | None, net: int, edge: int, pin_ff: float) -> float:
        arrival = self.arrival_ns[net][edge]
        if table is None or arrival == float("-inf"):
            return 0.0
        setup = table.at(self.boundary.clock_slew_ns, self.slew_ns[net][edge])
        return arrival + self.wire_ns(net, pin_ff) + setup


def edges(arc: TimingArc) -> tuple[tuple[int, int], ...]:
    """Pairs of an edge of the arc's input and the edge of the output that it may lead to."""
    same, opposite = ((FALL, FALL), (RISE, RISE)), ((FALL, RISE), (RISE, FALL))
    return {"positive_unate": same, "negative_unate": opposite}.get(arc.sense, same + opposite)
