"""Edges of every net with the glitches that gates pass on: each gate has its delays, and swallows what is shorter.

``inertial.cc`` simulates all cycles at once; here are the gates' functions, made C++ once for a library, and delays.
"""

import ctypes
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.ctypeslib import ndpointer
from numpy.typing import NDArray

from slipstick.errors import SpecificationError
from slipstick.hardware.activity import Activity, Cycles
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.liberty import Cell, Library, Pin
from slipstick.hardware.netlist import HIGH, LOW, Gate, Netlist
from slipstick.hardware.timing import FALL, RISE, Timing
from slipstick.hardware.tools import compiler, compiler_version, run

STEP_NS = 0.002
"""Delays are multiples of this."""

_FUNCTIONS = """\
#include <cstddef>
#include <cstdint>
using bits = uint64_t;

namespace {{
{functions}
using Function = void (*)(const bits* const*, const bits*, bits*, size_t);
const Function FUNCTIONS[] = {{{names}}};
}}  // namespace
"""
_FUNCTION = """\
void f{number}(const bits* const* i, const bits* one, bits* out, size_t words) {{
  for (size_t w = 0; w < words; w++) {{
    [[maybe_unused]] const bits ones = one[w];
    out[w] = {code};
  }}
}}"""


def inertial(
    cycles: Cycles,
    timing: Timing,
    *,
    period_ns: float | None = None,
    step_ns: float = STEP_NS,
    cache: Cache | None = None,
) -> Activity:
    """Edges with glitches. period_ns: of the clock, which falls at its half; by default the shortest possible.

    Raises:
        MissingTool, ToolFailure: there is no C++ compiler, or it failed.
    """
    netlist = cycles.netlist
    gates = _Gates(netlist, timing, step_ns)
    sources = sorted(_sources(cycles, timing, gates.driven, step_ns), key=lambda source: source[0])
    keep = cycles.ones >> 1
    words = max(1, -(-cycles.count // 64))
    values = _words((value & keep for value in cycles.values), words)
    at_half = np.empty_like(values)
    rises, edges, early_rises, early_edges = (np.zeros(netlist.nets, np.int64) for _ in range(4))
    _library(netlist.library, cache or Cache())(
        *(words, netlist.nets, len(gates.kinds), gates.kinds, gates.first, gates.inputs, gates.outputs, gates.delays),
        *(len(sources), _numbers(time for time, _, _ in sources), _numbers(net for _, net, _ in sources)),
        _words((changed for _, _, changed in sources), words),
        round((period_ns or timing.period_ns) / 2 / step_ns),
        *(_words([keep], words), values, at_half, rises, edges, early_rises, early_edges),
    )
    late_rises, falls = rises - early_rises, edges - rises
    counts = (count.tolist() for count in (rises, falls, late_rises, edges - early_edges - late_rises))
    return Activity("inertial", cycles, max(1, cycles.count - 1), _integers(at_half), *counts)


class _Gates:
    """Every function of a gate in topological order: its kind, the nets that it reads and drives, its delays."""

    def __init__(self, netlist: Netlist, timing: Timing, step_ns: float) -> None:
        kinds = {code: number for number, code in enumerate(_codes(netlist.library))}
        of = [(gate, pin, net) for gate in netlist.gates for pin, net in gate.outputs()]
        self.kinds = _numbers(kinds[_code(gate.cell, pin)] for gate, pin, _ in of)
        self.first = _numbers(np.cumsum([0, *(len(gate.cell.inputs) for gate, _, _ in of)]).tolist())
        self.inputs = _numbers(gate.pins[name] for gate, _, _ in of for name in gate.cell.inputs)
        self.outputs = _numbers(net for _, _, net in of)
        steps = [both for gate, pin, net in of for both in delays(gate, pin, net, timing, step_ns)]
        self.delays = _numbers(each for both in steps for each in both)
        self.driven = {net for _, _, net in of}


def delays(gate: Gate, pin: Pin, net: int, timing: Timing, step_ns: float) -> list[tuple[int, int]]:
    """Delay from each input to an output's edges, [fall, rise], in steps; the mean over the states of other inputs."""
    found = []
    for name in gate.cell.inputs:
        means = []
        for edge in (FALL, RISE):
            tables = [arc.rise if edge == RISE else arc.fall for arc in pin.timing if arc.related_pin == name]
            at = timing.input_slew_ns(gate, pin, name, edge), timing.load_ff(net, edge)
            times = [table.at(*at) for table in tables if table]
            means.append(max(1, round(sum(times) / len(times) / step_ns)) if times else 1)
        found.append((means[FALL], means[RISE]))
    return found


def _sources(cycles: Cycles, timing: Timing, driven: set[int], step_ns: float) -> Iterable[tuple[int, int, int]]:
    """Edges of inputs and registers, (time, net, cycles): at once, or after the delay from the clock."""
    keep = cycles.ones >> 1
    for net, value in enumerate(cycles.values):
        if net in driven or net in (LOW, HIGH) or net == cycles.netlist.clock:
            continue
        changed = (value >> 1 ^ value) & keep
        rising = changed & (value >> 1)
        for which, edge in ((rising, RISE), (changed ^ rising, FALL)):
            if which:
                yield max(0, round(timing.arrival_ns[net][edge] / step_ns)), net, which


def _code(cell: Cell, pin: Pin) -> str:
    if pin.function is None:
        raise SpecificationError(f"output {pin.name} of cell {cell.name} has no function: it cannot be simulated")
    return pin.function.on({name: f"i[{number}][w]" for number, name in enumerate(cell.inputs)})


@lru_cache(maxsize=8)
def _codes(library: Library) -> tuple[str, ...]:
    """The functions of all gates of a library, each once."""
    pins = [(cell, cell.pins[name]) for cell in map(library.cell, library.usable) for name in cell.outputs]
    return tuple(sorted({_code(cell, pin) for cell, pin in pins if pin.function and not cell.flip_flop}))


@lru_cache(maxsize=8)
def _program(library: Library) -> str:
    functions = [_FUNCTION.format(number=number, code=code) for number, code in enumerate(_codes(library))]
    names = ", ".join(f"f{number}" for number in range(len(functions)))
    engine = files("slipstick.hardware").joinpath("inertial.cc").read_text(encoding="utf-8")
    return _FUNCTIONS.format(functions="\n".join(functions), names=names) + engine


def _library(library: Library, cache: Cache) -> Callable[..., None]:
    program = _program(library)

    def make(folder: Path) -> None:
        (folder / "glitches.cc").write_text(program, encoding="utf-8")
        command = [compiler(), "-O3", "-std=c++17", "-shared", "-fPIC", "glitches.cc", "-o", "glitches.so"]
        run(command, what=f"g++, gates of {library.name}", folder=folder, timeout_s=600.0)

    entry = cache.entry("glitches", content_key(program, compiler_version()), make)
    function = ctypes.CDLL(str(entry / "glitches.so")).slipstick_glitches
    size, step = ctypes.c_size_t, ctypes.c_int32
    numbers, vectors, counts = (ndpointer(kind, flags="C") for kind in (np.int32, np.uint64, np.int64))
    function.restype = None
    function.argtypes = [
        *(size, size, size, numbers, numbers, numbers, numbers, numbers, size, numbers, numbers, vectors, step),
        *(vectors, vectors, vectors, counts, counts, counts, counts),
    ]
    return function


def _numbers(values: Iterable[int]) -> NDArray[np.int32]:
    return np.fromiter(values, np.int32)


def _words(vectors: Iterable[int], words: int) -> NDArray[np.uint64]:
    """Long integers as rows of words."""
    octets = bytearray().join(vector.to_bytes(8 * words, "little") for vector in vectors)
    return np.frombuffer(octets, np.uint64).reshape(-1, words)


def _integers(rows: NDArray[np.uint64]) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in rows]
