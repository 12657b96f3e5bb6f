"""A unit, run: RTLIL to C++ (Yosys's cxxrtl) to a shared library, and many vectors through it at once.

    simulator = Simulator(unit)
    simulator.run(a=codes, b=codes, acc=0)["sum"]

Compiling takes two to four seconds, once: the library is kept by content. Then 10 to 50 million vectors a second.
"""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.rtlil import CLOCK, RESET, Design
from slipstick.hardware.tools import (
    Progress,
    compiler,
    compiler_version,
    cxxrtl_headers,
    run,
    run_yosys,
    silent,
    yosys_version,
)
from slipstick.hardware.unit import Unit

Words = NDArray[np.uint64]

_CHUNK_ROWS = 1 << 20
_YOSYS_TIMEOUT_S, _COMPILER_TIMEOUT_S = 120.0, 600.0

_SCRIPT = """\
read_rtlil design.il
hierarchy -check -top {top}
proc
flatten
opt_clean
write_cxxrtl -g0 design.cc
"""

# Ports are read and written in words of 64 bits, the lowest first; cxxrtl holds them in chunks of 32.
_DRIVER = """\
#include <cstddef>
#include <cstdint>
#include "design.cc"

namespace {{

template<size_t N> void put(cxxrtl::value<N>& port, const uint64_t* from) {{
  for (size_t i = 0; i < (N + 31) / 32; i++) port.data[i] = uint32_t(from[i / 2] >> (i % 2 * 32));
}}

template<size_t N> void get(const cxxrtl::value<N>& port, uint64_t* to) {{
  for (size_t i = 0; i < (N + 63) / 64; i++) to[i] = 0;
  for (size_t i = 0; i < (N + 31) / 32; i++) to[i / 2] |= uint64_t(port.data[i]) << (i % 2 * 32);
}}

template<size_t N> void get(const cxxrtl::wire<N>& port, uint64_t* to) {{ get(port.curr, to); }}

using Top = cxxrtl_design::p_{top};

}}

extern "C" __attribute__((visibility("default"))) void* slipstick_create() {{ return new Top; }}

extern "C" __attribute__((visibility("default"))) void slipstick_destroy(void* top) {{ delete static_cast<Top*>(top); }}

extern "C" __attribute__((visibility("default")))
void slipstick_run(void* handle, size_t rows, const uint64_t* const* in, uint64_t* const* out) {{
  Top& top = *static_cast<Top*>(handle);
  for (size_t row = 0; row < rows; row++) {{
{body}
  }}
}}
"""


class Simulator:
    """A unit (or RTLIL text) compiled; ``run`` may be called any number of times.

    inputs, outputs: widths of the ports in bits, clock left out. A reset is an input that may be left out, then 0.
    clocked: whether there is a clock.

    Raises:
        MissingTool, ToolFailure: Yosys or the compiler is missing, or failed.
    """

    def __init__(self, source: Unit | Design | str, *, cache: Cache | None = None, progress: Progress = silent) -> None:
        design = Design.of(source)
        self.name, self.clocked = design.name, design.clocked
        self.inputs, self.outputs = design.inputs, design.outputs
        if design.has_reset:
            self.inputs[RESET] = 1
        self._library = _load(_compiled(design, self.inputs, cache or Cache(), progress))

    def run(self, progress: Progress = silent, **ports: ArrayLike) -> dict[str, Words]:
        """Values of the outputs, row for row, for values of the inputs: unsigned integers, of one length or scalars.

        A port of up to 64 bits is a vector; a wider one is an array [rows, words] of 64-bit words, the lowest first.
        A combinational unit gives one result for each row. A clocked one starts in its initial state and is clocked
        once for each row; outputs are read after the edge that takes the row in, so what the inputs of row t lead to
        after n clock cycles stands in row t + n - 1.
        """
        given = port_words(self.name, self.inputs, {RESET: 0} | ports if RESET in self.inputs else ports)
        rows = max((len(values) for values in given.values()), default=1)
        inputs = {name: np.ascontiguousarray(np.broadcast_to(v, (rows, v.shape[1]))) for name, v in given.items()}
        outputs = {name: np.empty((rows, words(width)), np.uint64) for name, width in self.outputs.items()}
        top = self._library.slipstick_create()
        try:
            for start in range(0, rows, _CHUNK_ROWS):
                part = slice(start, min(start + _CHUNK_ROWS, rows))
                self._library.slipstick_run(top, part.stop - start, _addresses(inputs, part), _addresses(outputs, part))
                progress(f"simulating {self.name}", part.stop / rows)
        finally:
            self._library.slipstick_destroy(top)
        return {name: values[:, 0] if values.shape[1] == 1 else values for name, values in outputs.items()}


def port_words(unit: str, widths: Mapping[str, int], values: Mapping[str, ArrayLike]) -> dict[str, Words]:
    """Values of all ports as words of 64 bits, [rows or 1, words], in the order of ``widths``, which is in bits.

    Raises:
        SpecificationError: a port is missing, unknown, too wide for its values, or of another length than others.
    """
    unknown, missing = set(values) - set(widths), set(widths) - set(values)
    if unknown or missing:
        wrong = f"no input {min(unknown)}" if unknown else f"input {min(missing)} is not given"
        raise SpecificationError(f"{unit}: {wrong}; its inputs are {', '.join(widths)}")
    made = {name: _words(values[name], width, f"{unit}, input {name}") for name, width in widths.items()}
    lengths = {len(rows) for rows in made.values()} - {1}
    if len(lengths) > 1:
        raise SpecificationError(f"{unit}: inputs of {' and '.join(map(str, sorted(lengths)))} rows; give one length")
    return made


def words(width: int) -> int:
    """64-bit words of a port of ``width`` bits."""
    return -(-width // 64)


def _words(values: ArrayLike, width: int, name: str) -> Words:
    array = np.asarray(values)
    if array.dtype.kind not in "iub":
        raise SpecificationError(f"{name}: values of type {array.dtype}; ports take unsigned integers")
    count = words(width)
    array = array.reshape(-1, 1) if count == 1 else np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != count:
        raise SpecificationError(f"{name}: shape {array.shape}; {width} bits need [rows, {count}] words of 64 bits")
    unsigned = array.view(np.uint64) if array.dtype == np.int64 else array.astype(np.uint64)  # negative ones are huge
    top_bits = width - 64 * (count - 1)
    if top_bits < 64 and unsigned.size and int(unsigned[:, -1].max()) >> top_bits:
        wrong = array[:, -1].min() if array.min() < 0 else array[:, -1].max()
        raise SpecificationError(f"{name}: value {wrong}; the port is unsigned, of {width} bits")
    return unsigned


def _addresses(arrays: dict[str, Words], rows: slice) -> Any:
    pointers = [array[rows].ctypes.data for array in arrays.values()]
    return (ctypes.c_void_p * max(1, len(pointers)))(*pointers)


def _compiled(design: Design, inputs: dict[str, int], cache: Cache, progress: Progress) -> Path:
    script, driver = _SCRIPT.format(top=design.name), _driver(design, inputs)
    flags = ["-O2", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden"]
    if "clang" not in compiler_version():
        flags.append("-fno-gnu-unique")  # or the statics of two units would be one

    def make(folder: Path) -> None:
        progress(f"compiling {design.name}", 0.0)
        (folder / "design.il").write_text(design.text, encoding="utf-8")
        (folder / "driver.cc").write_text(driver, encoding="utf-8")
        run_yosys(script, what=f"simulation of {design.name}", folder=folder, timeout_s=_YOSYS_TIMEOUT_S)
        progress(f"compiling {design.name}", 0.2)
        run(
            [compiler(), *flags, f"-I{cxxrtl_headers()}", "driver.cc", "-o", "design.so"],
            what=f"g++, simulation of {design.name}",
            folder=folder,
            timeout_s=_COMPILER_TIMEOUT_S,
        )
        progress(f"compiling {design.name}", 1.0)

    key = content_key(design.text, script, driver, " ".join(flags), yosys_version(), compiler_version())
    return cache.entry("simulation", key, make) / "design.so"


def _driver(design: Design, inputs: dict[str, int]) -> str:
    body = [
        f"put(top.{_mangled(name)}, in[{i}] + row * {words(width)});" for i, (name, width) in enumerate(inputs.items())
    ]
    if design.clocked:
        clock = _mangled(CLOCK)
        body += [f"top.{clock}.set(false);", "top.step();", f"top.{clock}.set(true);"]
    body += ["top.step();"] * (2 if design.clocked else 1)  # once for registers, once for what depends on them
    body += [
        f"get(top.{_mangled(name)}, out[{i}] + row * {words(width)});"
        for i, (name, width) in enumerate(design.outputs.items())
    ]
    return _DRIVER.format(top=design.name.replace("_", "__"), body="\n".join(f"    {line}" for line in body))


def _mangled(port: str) -> str:
    """A port's name in cxxrtl's C++."""
    return "p_" + port.replace("_", "__")


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.slipstick_create.restype = ctypes.c_void_p
    library.slipstick_create.argtypes = []
    library.slipstick_destroy.restype = None
    library.slipstick_destroy.argtypes = [ctypes.c_void_p]
    library.slipstick_run.restype = None
    library.slipstick_run.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]
    return library
