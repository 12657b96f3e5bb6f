"""What a netlist does under real operands: every net in every cycle, and how often it rises and falls on the way.

    cycles = settle(netlist, {"a": ..., "b": ..., "clear": ...})
    zero_delay(cycles), inertial(cycles, timing)  # the second one of ``hardware.inertial``

All cycles are simulated at once, one bit of a long integer each. For that the registers' states must be known first:
a small program made from the netlist finds them cycle by cycle. In each cycle the clock's edge comes first; inputs
change with it.

Two models of what happens within a cycle bound the truth:

* zero delay: every net goes straight to its final value. No glitches, so too few edges.
* inertial: each gate has the delay that the tables give for its pin, edge, slew and load, and swallows what is shorter
  than that. (Without swallowing, the transport model, adders and multipliers show several times the real edges.)
"""

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.liberty import Pin
from slipstick.hardware.netlist import HIGH, LOW, Gate, Netlist
from slipstick.hardware.rtlil import CLOCK, RESET
from slipstick.hardware.simulation import Words, port_words, words
from slipstick.hardware.tools import compiler, compiler_version, run


@dataclass(frozen=True)
class Cycles:
    """Final values of every net in every cycle: bit t of ``values[net]`` is cycle t, of ``count``."""

    netlist: Netlist
    count: int
    values: list[int]

    @property
    def ones(self) -> int:
        return (1 << self.count) - 1

    def port(self, name: str) -> Words:
        """Values of an output in every cycle, in the form of ``Simulator.run``, which reads them after the cycle's end:
        what it gives for row t of a registered output stands here in cycle t + 1."""
        return _port(self.values, self.netlist.outputs[name], self.count)


@dataclass(frozen=True)
class Activity:
    """Edges of every net over ``cycles`` clock cycles.

    model: "zero delay" or "inertial". late_*: the edges in the second half of the period, when the clock is low.
    at_half: values of every net when the clock falls; bit t is cycle t + 1 of ``settled``.
    """

    model: str
    settled: Cycles
    cycles: int
    at_half: list[int]
    rises: list[int]
    falls: list[int]
    late_rises: list[int]
    late_falls: list[int]

    @property
    def edges_per_cycle(self) -> float:
        """Of all nets that something reads, the clock left out."""
        read = self.settled.netlist.fanout
        return sum(r + f for r, f, n in zip(self.rises, self.falls, read, strict=True) if n) / self.cycles


def settle(netlist: Netlist, inputs: Mapping[str, ArrayLike], *, cache: Cache | None = None) -> Cycles:
    """Simulate gates: one cycle for each row of the inputs. Before the first, registers are 0, then reset for a cycle.

    Raises:
        MissingTool, ToolFailure: the netlist has registers, and there is no C++ compiler, or it failed.
    """
    given = _checked(netlist, inputs)
    count = max((len(values) for values in given.values()), default=1)
    given = {name: np.ascontiguousarray(np.broadcast_to(v, (count, v.shape[1]))) for name, v in given.items()}
    values = [0] * netlist.nets
    values[HIGH] = (1 << count) - 1
    for name, array in given.items():
        for net, vector in zip(netlist.inputs[name], _vectors(array, len(netlist.inputs[name])), strict=True):
            values[net] = vector
    if netlist.registers:
        states = _states(netlist, given, count, cache or Cache())
        vectors = _vectors(states, len(netlist.registers))
        for register, vector in zip(netlist.registers, vectors, strict=True):
            _set_state(register, values, vector, values[HIGH])
    for evaluate, gate_inputs, output in _functions(netlist):
        values[output] = evaluate(*(values[net] for net in gate_inputs), values[HIGH])
    return Cycles(netlist, count, values)


def zero_delay(cycles: Cycles) -> Activity:
    """Edges between the final values of one cycle and the next."""
    keep = cycles.ones >> 1
    rises = [((value >> 1) & ~value & keep).bit_count() for value in cycles.values]
    falls = [(value & ~(value >> 1) & keep).bit_count() for value in cycles.values]
    none, final = [0] * len(rises), [value >> 1 for value in cycles.values]
    return Activity("zero delay", cycles, max(1, cycles.count - 1), final, rises, falls, none, none)


_Function = tuple[Callable[..., int], tuple[int, ...], int]


def _functions(netlist: Netlist) -> list[_Function]:
    """Of every driven net in topological order: its function of vectors (and, last, of ones), inputs and the net."""
    made: dict[tuple[str, str], Callable[..., int]] = {}
    functions = []
    for gate in netlist.gates:
        names = gate.cell.inputs
        for pin, net in gate.outputs():
            key = gate.cell.name, pin.name
            if key not in made:
                made[key] = _compiled(pin, names)
            functions.append((made[key], tuple(gate.pins[name] for name in names), net))
    return functions


def _compiled(pin: Pin, names: tuple[str, ...]) -> Callable[..., int]:
    if pin.function is None:
        raise SpecificationError(f"output {pin.name} of a cell without a function: it cannot be simulated")
    code = pin.function.on({name: f"i{number}" for number, name in enumerate(names)})
    arguments = ", ".join([*(f"i{number}" for number in range(len(names))), "ones"])
    function: Callable[..., int] = eval(f"lambda {arguments}: {code}")
    return function


def _checked(netlist: Netlist, inputs: Mapping[str, ArrayLike]) -> dict[str, Words]:
    widths = {name: len(bits) for name, bits in netlist.inputs.items() if name != CLOCK}
    return port_words(netlist.name, widths, {RESET: 0} | dict(inputs) if RESET in widths else inputs)


def _set_state(register: Gate, values: list[int], state: int, ones: int) -> None:
    flip_flop = register.cell.flip_flop
    assert flip_flop
    for pin, net in register.outputs():
        assert pin.function
        values[net] = pin.function.evaluate({flip_flop.state: state, flip_flop.inverse: ones ^ state}, ones)


def _vectors(array: NDArray[Any], bits: int) -> list[int]:
    """Bits of words, [rows, words]: one long integer for each bit, row t in bit t."""
    octets = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    columns = np.unpackbits(octets, axis=1, bitorder="little", count=bits)
    packed = np.packbits(columns, axis=0, bitorder="little").T
    return [int.from_bytes(column.tobytes(), "little") for column in packed]


def _port(values: list[int], nets: tuple[int, ...], count: int) -> Words:
    size = -(-count // 8)
    columns = [np.frombuffer(values[net].to_bytes(size, "little"), np.uint8) for net in nets]
    bits = np.unpackbits(np.stack(columns), axis=1, bitorder="little", count=count).T
    octets = np.zeros((count, words(len(nets)) * 8), np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    octets[:, : packed.shape[1]] = packed
    found = octets.view(np.uint64)
    return found[:, 0] if found.shape[1] == 1 else found


# The netlist as a C++ program that finds the registers' states: row t of ``states`` is their state in cycle t. Before
# cycle 0 there is one with the reset at 1 and all else at 0.
_PROGRAM = """\
#include <cstddef>
#include <cstdint>
using bits = uint64_t;

extern "C" void slipstick_states(size_t rows, const bits* const* in, bits* states) {{
  const bits ones = 1, n{low} = 0, n{high} = 1;
  bits s[{state_words}] = {{}}, next[{state_words}];
  for (size_t cycle = 0; cycle < rows; cycle++) {{
    const bits reset = cycle == 0;
    const size_t row = cycle - !reset;
    for (size_t i = 0; i < {state_words}; i++) next[i] = 0;
{body}
    for (size_t i = 0; i < {state_words}; i++) states[cycle * {state_words} + i] = s[i] = next[i];
  }}
}}
"""


def _states(netlist: Netlist, inputs: dict[str, Words], count: int, cache: Cache) -> Words:
    program = _program(netlist, list(inputs))

    def make(folder: Path) -> None:
        (folder / "states.cc").write_text(program, encoding="utf-8")
        command = [compiler(), "-O1", "-std=c++17", "-shared", "-fPIC", "states.cc", "-o", "states.so"]
        run(command, what=f"g++, gates of {netlist.name}", folder=folder, timeout_s=600.0)

    library = ctypes.CDLL(str(cache.entry("gates", content_key(program, compiler_version()), make) / "states.so"))
    library.slipstick_states.restype = None
    library.slipstick_states.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]
    states = np.empty((count, words(len(netlist.registers))), np.uint64)
    pointers = (ctypes.c_void_p * max(1, len(inputs)))(*(array.ctypes.data for array in inputs.values()))
    library.slipstick_states(count, pointers, states.ctypes.data)
    return states


def _program(netlist: Netlist, ports: list[str]) -> str:
    lines = []
    for number, name in enumerate(ports):
        stride, reset = words(len(netlist.inputs[name])), "1" if name == RESET else "0"
        for bit, net in enumerate(netlist.inputs[name]):
            value = f"in[{number}][row * {stride} + {bit // 64}] >> {bit % 64} & 1"
            lines.append(f"bits n{net} = reset ? {reset} : {value};")
    for number, register in enumerate(netlist.registers):
        flip_flop = register.cell.flip_flop
        assert flip_flop
        lines.append(f"bits q{number} = s[{number // 64}] >> {number % 64} & 1;")
        for pin, net in register.outputs():
            assert pin.function
            code = pin.function.on({flip_flop.state: f"q{number}", flip_flop.inverse: f"(ones ^ q{number})"})
            lines.append(f"bits n{net} = {code};")
    for gate in netlist.gates:
        for pin, net in gate.outputs():
            assert pin.function
            lines.append(
                f"bits n{net} = {pin.function.on({name: f'n{gate.pins[name]}' for name in gate.cell.inputs})};"
            )
    for number, register in enumerate(netlist.registers):
        assert register.cell.flip_flop
        code = register.cell.flip_flop.next_state.on({name: f"n{register.pins[name]}" for name in register.data})
        lines.append(f"next[{number // 64}] |= {code} << {number % 64};")
    body = "\n".join(f"    {line}" for line in lines)
    return _PROGRAM.format(state_words=words(len(netlist.registers)), low=LOW, high=HIGH, body=body)
