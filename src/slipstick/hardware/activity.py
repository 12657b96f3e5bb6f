"""What a netlist does under real operands: every net in every cycle, and how often it rises and falls on the way.

    cycles = settle(netlist, {"a": ..., "b": ..., "clear": ...})
    zero_delay(cycles), inertial(cycles, timing)

All cycles are simulated at once, one bit of a long integer each. For that the registers' states must be known first:
a small program made from the netlist finds them cycle by cycle. In each cycle the clock's edge comes first; inputs
change with it.

Two models of what happens within a cycle bound the truth:

* zero delay: every net goes straight to its final value. No glitches, so too few edges.
* inertial: each gate has the delay that the tables give for its pin, edge, slew and load, and swallows what is shorter
  than that. (Without swallowing, the transport model, adders and multipliers show several times the real edges.)
"""

import ctypes
import heapq
from collections.abc import Callable, Mapping, Sequence
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
from slipstick.hardware.timing import FALL, RISE, Timing
from slipstick.hardware.tools import Progress, compiler, compiler_version, run, silent

STEP_NS = 0.002
"""Delays of the inertial model are multiples of this."""


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


def inertial(
    cycles: Cycles,
    timing: Timing,
    *,
    period_ns: float | None = None,
    step_ns: float = STEP_NS,
    progress: Progress = silent,
) -> Activity:
    """Edges with glitches. period_ns: of the clock, which falls at its half; by default the shortest possible."""
    return _Inertial(cycles, timing, period_ns or timing.period_ns, step_ns, progress).run()


class _Inertial:
    """All cycles at once: bit t of a vector is the way from cycle t to cycle t + 1; time starts at the clock's edge.

    A gate's output heads for ``_target``; where that differs from its value, an edge is due at a time in ``_due``. When
    the target changes again before that, the edge is taken back: the pulse was shorter than the delay.
    """

    def __init__(self, cycles: Cycles, timing: Timing, period_ns: float, step_ns: float, progress: Progress) -> None:
        netlist = cycles.netlist
        self._cycles, self._progress, self._step_ns = cycles, progress, step_ns
        self._half, self._last = round(period_ns / 2 / step_ns), round(timing.period_ns / step_ns)
        keep = cycles.ones >> 1
        self._value = [value & keep for value in cycles.values]
        self._rises, self._edges = [0] * netlist.nets, [0] * netlist.nets
        self._functions = _functions(netlist)
        self._target = [self._value[output] for _, _, output in self._functions]
        self._due: list[dict[int, int]] = [{} for _ in self._functions]
        self._times: list[int] = []
        self._at: dict[int, list[int]] = {}
        self._sources: dict[int, list[tuple[int, int]]] = {}
        self._ones = keep
        self._followers = _Followers(netlist, self._functions)
        self._delays = [
            _delays(gate, pin, net, timing, step_ns) for gate in netlist.gates for pin, net in gate.outputs()
        ]
        for net, value in enumerate(cycles.values):
            self._start(net, value, timing)

    def _start(self, net: int, value: int, timing: Timing) -> None:
        """Edges of inputs and registers: at once, or after the delay from the clock."""
        if net in self._followers.driven or net in (LOW, HIGH) or net == self._cycles.netlist.clock:
            return
        changed = (value >> 1 ^ value) & self._ones
        rising = changed & (value >> 1)
        for mask, edge in ((rising, RISE), (changed ^ rising, FALL)):
            if mask:
                time = max(0, round(timing.arrival_ns[net][edge] / self._step_ns))
                self._remember(time)
                self._sources.setdefault(time, []).append((net, mask))

    def run(self) -> Activity:
        half: tuple[list[int], list[int], list[int]] | None = None
        while self._times:
            time = heapq.heappop(self._times)
            if half is None and time >= self._half:
                half = self._value.copy(), self._rises.copy(), self._edges.copy()
            self._evaluate(time, self._apply(time))
            self._progress("glitches", min(1.0, time / max(1, self._last)))
        at_half, early_rises, early_edges = half or (self._value, self._rises, self._edges)
        falls = _less(self._edges, self._rises)
        late_rises = _less(self._rises, early_rises)
        late_falls = _less(_less(self._edges, early_edges), late_rises)
        cycles, count = self._cycles, max(1, self._cycles.count - 1)
        return Activity("inertial", cycles, count, at_half, self._rises, falls, late_rises, late_falls)

    def _remember(self, time: int) -> None:
        if time not in self._at:
            self._at[time] = []
            heapq.heappush(self._times, time)

    def _apply(self, time: int) -> dict[int, list[tuple[int, int]]]:
        """Make the edges that are due; functions to evaluate, each with its changed inputs: (position, mask)."""
        dirty: dict[int, list[tuple[int, int]]] = {}
        changes = self._sources.pop(time, [])
        changes += [(self._functions[f][2], self._due[f].pop(time)) for f in self._at.pop(time)]
        for net, mask in changes:
            if mask:
                value = self._value[net] = self._value[net] ^ mask
                self._edges[net] += mask.bit_count()
                self._rises[net] += (value & mask).bit_count()
                for function, position in self._followers.of[net]:
                    dirty.setdefault(function, []).append((position, mask))
        return dirty

    def _evaluate(self, time: int, dirty: dict[int, list[tuple[int, int]]]) -> None:
        values = self._value
        for function, changed in dirty.items():
            changed.sort()  # by position, so that no cycle depends on what happens in the others
            evaluate, inputs, output = self._functions[function]
            target = evaluate(*[values[net] for net in inputs], self._ones)
            diff = target ^ self._target[function]
            if not diff:
                continue
            self._target[function] = target
            due = self._due[function]
            for when, mask in due.items():
                if both := mask & diff:
                    due[when] = mask ^ both
            wanted = diff & (target ^ values[output])
            rising = wanted & target
            self._schedule(time, function, changed, rising, wanted ^ rising)

    def _schedule(self, time: int, function: int, changed: list[tuple[int, int]], rising: int, falling: int) -> None:
        """Edges after the delay from the input that changed; where several did at once, from the first pin of them."""
        last = changed[-1][0]
        for position, mask in changed:
            for edge, left in ((RISE, rising), (FALL, falling)):
                if left:
                    wanted = left if position == last else left & mask
                    self._later(time + self._delays[function][position][edge], function, wanted)
            if position != last:
                rising ^= rising & mask
                falling ^= falling & mask

    def _later(self, when: int, function: int, edges: int) -> None:
        due = self._due[function]
        if when in due:
            due[when] |= edges
        elif edges:
            due[when] = edges
            self._remember(when)
            self._at[when].append(function)


def _less(numbers: list[int], others: list[int]) -> list[int]:
    return [number - other for number, other in zip(numbers, others, strict=True)]


class _Followers:
    """of[net]: functions that read the net, with the place among their inputs. driven: nets that gates drive."""

    def __init__(self, netlist: Netlist, functions: "Sequence[_Function]") -> None:
        self.of: list[list[tuple[int, int]]] = [[] for _ in range(netlist.nets)]
        self.driven = {output for _, _, output in functions}
        for number, (_, inputs, _) in enumerate(functions):
            for position, net in enumerate(inputs):
                self.of[net].append((number, position))


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


def _delays(gate: Gate, pin: Pin, net: int, timing: Timing, step_ns: float) -> list[tuple[int, int]]:
    """Delay from each input to an output's edges, [fall, rise], in steps; the mean over the states of other inputs."""
    delays = []
    for name in gate.cell.inputs:
        means = []
        for edge in (FALL, RISE):
            tables = [arc.rise if edge == RISE else arc.fall for arc in pin.timing if arc.related_pin == name]
            at = timing.input_slew_ns(gate, pin, name, edge), timing.load_ff(net, edge)
            found = [table.at(*at) for table in tables if table]
            means.append(max(1, round(sum(found) / len(found) / step_ns)) if found else 1)
        delays.append((means[FALL], means[RISE]))
    return delays


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
