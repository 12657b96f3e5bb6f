"""A netlist of library cells: gates in topological order, registers, and what loads every net.

Nets are numbers; 0 and 1 are the constants. Names of cells and nets play no part: registers are known by what their
pins connect, so that nothing depends on how synthesis calls things.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.hardware.liberty import Cell, Library, Pin
from slipstick.hardware.rtlil import CLOCK

LOW, HIGH = 0, 1


@dataclass(frozen=True)
class Gate:
    """A cell without memory. pins: net of every pin; an output that nothing reads has a net of its own."""

    cell: Cell
    pins: dict[str, int]

    def outputs(self) -> Iterator[tuple[Pin, int]]:
        return ((self.cell.pins[name], self.pins[name]) for name in self.cell.outputs)

    def inputs(self) -> Iterator[tuple[Pin, int]]:
        return ((self.cell.pins[name], self.pins[name]) for name in self.cell.inputs)


@dataclass(frozen=True)
class Register(Gate):
    """A flip-flop, clocked by the rising edge of the design's clock."""

    @property
    def clock(self) -> str:
        """Name of its clock pin."""
        assert self.cell.flip_flop
        return self.cell.flip_flop.clocked_on.names[0]

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the pins that its next state depends on."""
        assert self.cell.flip_flop
        return self.cell.flip_flop.next_state.names


@dataclass(frozen=True)
class Netlist:
    """inputs, outputs: nets of the ports' bits, the lowest first; the clock is among the inputs. nets: how many."""

    name: str
    library: Library
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    gates: tuple[Gate, ...]
    registers: tuple[Register, ...]
    nets: int

    @classmethod
    def from_yosys(cls, written: dict[str, Any], name: str, library: Library) -> "Netlist":
        """Of what Yosys's ``write_json`` wrote.

        Raises:
            SpecificationError: a cell is not of the library, a register is not clocked by ``clk`` alone, or gates form
                a loop.
        """
        module = written["modules"][name]
        numbers: dict[int | str, int] = {"0": LOW, "1": HIGH, "x": LOW, "z": LOW}

        def net(bit: int | str) -> int:
            return numbers.setdefault(bit, len(numbers) - 2)  # four constants in two nets

        ports: dict[str, dict[str, tuple[int, ...]]] = {"input": {}, "output": {}}
        for port, told in module["ports"].items():
            ports[told["direction"]][port] = tuple(net(bit) for bit in told["bits"])
        gates: list[Gate] = []
        registers: list[Register] = []
        for number, told in enumerate(module["cells"].values()):
            cell = library.cell(told["type"])
            pins = {pin: net(bits[0]) for pin, bits in told["connections"].items() if bits}
            pins |= {pin: net(f"{number}.{pin}") for pin in cell.outputs if pin not in pins}
            if cell.flip_flop:
                registers.append(Register(cell, pins))
            else:
                gates.append(Gate(cell, pins))
        clock = ports["input"].get(CLOCK, (None,))[0]
        for register in registers:
            _check_clocking(register, clock, name)
        nets = len(numbers) - 2
        return cls(name, library, ports["input"], ports["output"], _ordered(gates, nets, name), tuple(registers), nets)

    @property
    def cells(self) -> tuple[Gate, ...]:
        return (*self.gates, *self.registers)

    @property
    def clock(self) -> int | None:
        """Net of the clock."""
        return self.inputs[CLOCK][0] if CLOCK in self.inputs else None

    @property
    def area_um2(self) -> float:
        return sum(gate.cell.area_um2 for gate in self.cells)

    @property
    def register_area_um2(self) -> float:
        """The part of it that is flip-flops."""
        return sum(register.cell.area_um2 for register in self.registers)

    @property
    def counts(self) -> dict[str, int]:
        """Cells by type."""
        return dict(sorted(Counter(gate.cell.name for gate in self.cells).items()))

    @cached_property
    def sinks(self) -> tuple[tuple[tuple[Gate, Pin], ...], ...]:
        """Input pins on every net."""
        found: list[list[tuple[Gate, Pin]]] = [[] for _ in range(self.nets)]
        for gate in self.cells:
            for pin, net in gate.inputs():
                found[net].append((gate, pin))
        return tuple(tuple(pins) for pins in found)

    @cached_property
    def fanout(self) -> tuple[int, ...]:
        """Sinks of every net; each port that it drives is one."""
        ports = Counter(net for bits in self.outputs.values() for net in bits)
        return tuple(len(pins) + ports[net] for net, pins in enumerate(self.sinks))

    @cached_property
    def wire_ff(self) -> tuple[float, ...]:
        """Capacitance of every net's wire by the library's wire load, fF."""
        wire = self.library.wire_load
        return tuple(wire.capacitance_ff(n) if wire else 0.0 for n in self.fanout)

    @cached_property
    def rise_ff(self) -> tuple[float, ...]:
        """Load of every net when it rises: its wire and the pins on it, fF."""
        return tuple(w + sum(pin.rise_ff for _, pin in on) for w, on in zip(self.wire_ff, self.sinks, strict=True))

    @cached_property
    def fall_ff(self) -> tuple[float, ...]:
        """Load of every net when it falls, fF."""
        return tuple(w + sum(pin.fall_ff for _, pin in on) for w, on in zip(self.wire_ff, self.sinks, strict=True))


def _check_clocking(register: Register, clock: int | None, name: str) -> None:
    flip_flop = register.cell.flip_flop
    assert flip_flop
    rising = flip_flop.clocked_on.code == f"{{{register.clock}}}"
    if not rising or flip_flop.asynchronous or clock is None or register.pins.get(register.clock) != clock:
        raise SpecificationError(
            f"{name}: register {register.cell.name} is not clocked by the rising edge of {CLOCK} alone; "
            "a unit has one clock and a synchronous reset"
        )


def _ordered(gates: Iterable[Gate], nets: int, name: str) -> tuple[Gate, ...]:
    """Gates so that each follows those that drive it; otherwise in their given order."""
    pending = list(gates)
    driver: list[int | None] = [None] * nets
    for number, gate in enumerate(pending):
        for _, net in gate.outputs():
            driver[net] = number
    waits = [len({driver[net] for _, net in gate.inputs() if driver[net] is not None}) for gate in pending]
    followers: list[list[int]] = [[] for _ in pending]
    for number, gate in enumerate(pending):
        for before in {driver[net] for _, net in gate.inputs()} - {None}:
            followers[before].append(number)  # type: ignore[index]
    ready = [number for number, count in enumerate(waits) if count == 0]
    ordered = []
    for number in ready:  # grows while it is read
        ordered.append(pending[number])
        for after in followers[number]:
            waits[after] -= 1
            if waits[after] == 0:
                ready.append(after)
    if len(ordered) != len(pending):
        raise SpecificationError(f"{name}: its gates form a loop; a unit is combinational between registers")
    return tuple(ordered)
