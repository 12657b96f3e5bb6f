"""A unit, synthesised: RTLIL to a netlist of library cells by Yosys and abc.

What a unit costs depends on how it is mapped, so a comparison tries several ``Mapping``s for each unit and takes the
best of each; one point proves little. Results are kept by content: a second call takes milliseconds.
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.liberty import Library, load_library
from slipstick.hardware.netlist import Netlist
from slipstick.hardware.rtlil import Design
from slipstick.hardware.tools import Progress, run_yosys, silent, yosys_version
from slipstick.hardware.unit import Unit

Adder = Literal["brent-kung", "sklansky", "kogge-stone", "han-carlson"]
Multiplier = Literal["booth", "array"]
FullAdders = Literal["gates", "cells"]
Cover = Literal["speed", "area", "rewritten-area"]

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Mapping:
    """How a unit becomes cells.

    library: "nangate45", "osu018", or the path of a Liberty file.
    target_ps: delay that abc aims at, in picoseconds; it sizes gates up until it is met, and down where there is time.
    adder: carry network of additions and comparisons.
    multiplier: "booth", radix-4, summed before anything is added to it; "array", one sum of all partial products and
        of what is added to them.
    full_adders: "cells" makes the carry-save adders of multipliers from the library's full-adder cells, where no input
        is constant; "gates" leaves them to abc.
    cover: what abc covers the logic for; "rewritten-area" also restructures it first.
    """

    library: str = "nangate45"
    target_ps: int = 1500
    adder: Adder = "brent-kung"
    multiplier: Multiplier = "booth"
    full_adders: FullAdders = "gates"
    cover: Cover = "area"

    def __post_init__(self) -> None:
        if isinstance(self.target_ps, bool) or not 1 <= self.target_ps <= 10**6:
            raise SpecificationError(f"Mapping(target_ps={self.target_ps!r}): give 1 to 1000000 picoseconds")
        for name, kind in (("adder", Adder), ("multiplier", Multiplier), ("full_adders", FullAdders), ("cover", Cover)):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise SpecificationError(f"Mapping({name}={getattr(self, name)!r}): give one of {known}")

    def __str__(self) -> str:
        parts = [self.library, f"{self.target_ps} ps", self.adder, self.multiplier, f"full adders: {self.full_adders}"]
        return ", ".join([*parts, self.cover])

    def to_dict(self) -> dict[str, str | int]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Synthesis:
    """What came of it. seconds: wall time when it was made; folder: the cache's, with the log and the netlist."""

    mapping: Mapping
    netlist: Netlist
    seconds: float
    folder: Path

    @property
    def area_um2(self) -> float:
        return self.netlist.area_um2

    @property
    def log(self) -> str:
        return (self.folder / "yosys.log").read_text(encoding="utf-8", errors="replace")


def synthesise(
    source: Unit | Design | str,
    mapping: Mapping | None = None,
    *,
    cache: Cache | None = None,
    timeout_s: float = _TIMEOUT_S,
    progress: Progress = silent,
) -> Synthesis:
    """Map a unit (or RTLIL text) to the cells of a library.

    Raises:
        MissingTool: Yosys or the library is not installed.
        ToolFailure: Yosys or abc failed, or took longer than ``timeout_s`` seconds.
    """
    mapping, design = mapping or Mapping(), Design.of(source)
    library = load_library(mapping.library)
    files = {"abc.script": _abc(mapping), "full_adder.v": _full_adder(library)}
    script = _script(design, mapping, library)

    def make(folder: Path) -> None:
        progress(f"synthesising {design.name}", 0.0)
        for name, text in {**files, "design.il": design.text}.items():
            (folder / name).write_text(text, encoding="utf-8")
        began = time.perf_counter()
        run_yosys(script, what=f"synthesis of {design.name} ({mapping})", folder=folder, timeout_s=timeout_s)
        told = {
            "seconds": round(time.perf_counter() - began, 3),
            "mapping": mapping.to_dict(),
            "yosys": yosys_version(),
        }
        (folder / "synthesis.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        progress(f"synthesising {design.name}", 1.0)

    content = script.replace(str(library.path), library.digest)
    folder = (cache or Cache()).entry(
        "synthesis", content_key(design.text, content, *files.values(), yosys_version()), make
    )
    netlist = Netlist.from_yosys(
        json.loads((folder / "netlist.json").read_text(encoding="utf-8")), design.name, library
    )
    seconds = float(json.loads((folder / "synthesis.json").read_text(encoding="utf-8"))["seconds"])
    return Synthesis(mapping, netlist, seconds, folder)


def _script(design: Design, mapping: Mapping, library: Library) -> str:
    options = f"-noabc -flatten -top {design.name}"
    options += " -booth" if mapping.multiplier == "booth" else " -arith_tree"
    if mapping.adder != "brent-kung":  # which is what techmap builds by itself
        options += f" -extra-map +/choices/{mapping.adder}.v"
    cells = f'-liberty "{library.path}" ' + " ".join(f"-dont_use {pattern}" for pattern in library.dont_use)
    lines = ["read_rtlil design.il", f"synth {options} -run :fine"]
    if mapping.full_adders == "cells" and library.full_adder:
        lines += ["opt -full", "techmap -map full_adder.v t:$fa", "opt -full"]
    lines += [
        f"synth {options} -run fine:check",
        f"dfflibmap {cells}",
        "opt -fast",
        f"abc {cells} -D {mapping.target_ps} -script abc.script",
        "opt_clean -purge",
    ]
    if library.tie_cells:
        (low, low_pin), (high, high_pin) = library.tie_cells
        lines.append(f"hilomap -singleton -locell {low} {low_pin} -hicell {high} {high_pin}")
    return "\n".join([*lines, "opt_clean -purge", "write_json -noscopeinfo netlist.json"]) + "\n"


def _abc(mapping: Mapping) -> str:
    """abc's script: cleaned up, covered with cells, then buffered and sized for the target."""
    target = f"-D {mapping.target_ps}"
    rewrite = "ifraig; scorr; dc2; dc2; resub -K 6; rewrite; resub -K 6 -N 2; refactor; resub -K 8; rewrite -z; " \
        "resub -K 10 -N 2; refactor -z; dc2; strash; "  # fmt: skip
    cover = {
        "speed": f"&get -n; &dch -f; &nf {target}; &put; ",
        "area": "dch -f; map -a; ",
        "rewritten-area": rewrite + "dch -f; map -a; ",
    }
    return (
        "strash; &get -n; &fraig -x; &put; scorr; dc2; strash; "
        + cover[mapping.cover]
        + f"buffer; upsize {target}; dnsize {target}; stime -p\n"
    )


def _full_adder(library: Library) -> str:
    """Yosys's map of carry-save adders to the library's full adder; one with a constant input becomes gates."""
    if library.full_adder is None:
        return ""
    cell, pins = library.full_adder
    instance = ", ".join(
        f".{pins[own]}({signal}[i])" for own, signal in zip(("A", "B", "C", "carry", "sum"), "ABCXY", strict=True)
    )
    return f"""\
(* techmap_celltype = "$fa" *)
module full_adder (A, B, C, X, Y);
  parameter WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTMSK_C_ = 0;
  localparam [WIDTH-1:0] CONSTANT = _TECHMAP_CONSTMSK_A_ | _TECHMAP_CONSTMSK_B_ | _TECHMAP_CONSTMSK_C_;
  input [WIDTH-1:0] A, B, C;
  output [WIDTH-1:0] X, Y;
  genvar i;
  generate
    for (i = 0; i < WIDTH; i = i + 1) begin: bits
      if (CONSTANT[i]) begin
        assign X[i] = A[i] & B[i] | A[i] & C[i] | B[i] & C[i];
        assign Y[i] = A[i] ^ B[i] ^ C[i];
      end else
        {cell} adder ({instance});
    end
  endgenerate
endmodule
"""
