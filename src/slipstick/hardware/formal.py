"""Proofs for all inputs at once: a netlist equals its RTL, an adder equals its table.

Combinational designs go to the SAT solver in Yosys, which did not make the netlist. Of clocked ones abc finds the
registers that hold the same in both and proves the rest (``dsec``). A proof may take longer than anyone waits,
multipliers above all: then it is undecided, and simulation has to do.
"""

import dataclasses
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.rtlil import Design
from slipstick.hardware.synthesis import Synthesis
from slipstick.hardware.tools import ToolFailure, ToolTimeout, abc_command, run, run_yosys, yosys_version
from slipstick.hardware.unit import Unit

Outcome = Literal["proved", "refuted", "undecided"]

_YOSYS_ALLOWANCE_S = 60.0  # on top of the solver's time, for what comes before it

_SAT = """\
{gold}
rename {name} gold
design -stash gold
{gate}
rename {name} gate
design -stash gate
design -copy-from gold -as gold gold
design -copy-from gate -as gate gate
miter -equiv -make_assert -make_outputs -flatten gold gate miter
hierarchy -top miter
opt -fast
sat -prove-asserts -show-ports -timeout {seconds} miter
"""

# Reset values are dropped on both sides: a flip-flop of a library has none. What is proved is that the two stay equal
# once they are.
_AIGER = """\
{design}
techmap
setattr -unset init
opt -fast
dffunmap
aigmap
setundef -zero -undriven
write_aiger -map {file}.map {file}.aig
design -reset
"""


@dataclass(frozen=True)
class Proof:
    """outcome: "refuted" comes with what the solver tells of a counterexample, "undecided" with what it was about.
    seconds: wall time when it was made."""

    method: str
    outcome: Outcome
    seconds: float
    told: str = ""


def prove_netlist(
    source: Unit | Design | str, synthesis: Synthesis, *, timeout_s: float = 60.0, cache: Cache | None = None
) -> Proof:
    """Whether a synthesised netlist does what its RTL does, for all inputs; of a clocked one, for all time.

    Raises:
        MissingTool, ToolFailure: Yosys or abc is missing, or failed.
    """
    design, library = Design.of(source), synthesis.netlist.library
    gold = f"read_rtlil design.il\nhierarchy -check -top {design.name}\nproc\nflatten\nopt_clean"
    gate = (
        f'read_liberty -ignore_miss_func "{library.path}"\nread_json netlist.json\n'
        f"hierarchy -check -top {design.name}\nflatten\nopt_clean"
    )
    files = {
        "design.il": design.text,
        "netlist.json": (synthesis.folder / "netlist.json").read_text(encoding="utf-8"),
    }
    prove = _dsec if design.clocked else _sat
    return _proof(prove, design.name, (gold, gate), files, timeout_s, cache, library.digest)


def prove_table(
    source: Unit | Design | str,
    tables: Mapping[str, ArrayLike],
    *,
    timeout_s: float = 60.0,
    cache: Cache | None = None,
) -> Proof:
    """Whether a combinational unit is its tables: one for each output, over all values of the inputs.

    Entry i of a table belongs to the inputs that make i when they are put together, the first one lowest.

    Raises:
        SpecificationError: the unit is clocked, or tables and ports do not match.
    """
    design = Design.of(source)
    bits = sum(design.inputs.values())
    checked = {name: np.asarray(table) for name, table in tables.items()}
    if design.clocked or set(checked) != set(design.outputs):
        raise SpecificationError(f"{design.name}: needs no clock, and a table for each of {', '.join(design.outputs)}")
    for name, table in checked.items():
        if table.shape != (1 << bits,) or table.min() < 0 or int(table.max()) >> design.outputs[name]:
            raise SpecificationError(
                f"{design.name}, table of {name}: needs {1 << bits} entries of {design.outputs[name]} bits"
            )
    files = {"design.il": design.text, "table.il": _table_rtlil(design, checked)}
    gold = f"read_rtlil table.il\nhierarchy -check -top {design.name}\nbmuxmap\nopt -fast"
    gate = f"read_rtlil design.il\nhierarchy -check -top {design.name}\nproc\nflatten\nopt_clean"
    return _proof(_sat, design.name, (gold, gate), files, timeout_s, cache)


def _proof(
    prove: Callable[[Path, str, str, str, float], tuple[str, Outcome, str]],
    name: str,
    scripts: tuple[str, str],
    files: dict[str, str],
    timeout_s: float,
    cache: Cache | None,
    digest: str = "",
) -> Proof:
    """scripts: for Yosys, that read what is right, and what is to be proved. digest: of what they read elsewhere."""

    def make(folder: Path) -> None:
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        began = time.perf_counter()
        method, outcome, told = prove(folder, name, *scripts, timeout_s)
        proof = Proof(method, outcome, round(time.perf_counter() - began, 3), told)
        if outcome == "undecided":
            raise _Undecided(proof)
        (folder / "proof.json").write_text(json.dumps(dataclasses.asdict(proof)), encoding="utf-8")

    key = content_key(prove.__name__, *scripts, *files.values(), digest, yosys_version())
    try:
        folder = (cache or Cache()).entry("proofs", key, make)
    except _Undecided as undecided:
        return undecided.proof
    return Proof(**json.loads((folder / "proof.json").read_text(encoding="utf-8")))


class _Undecided(Exception):
    """Keeps a proof that came to no end out of the cache: with more time, or on another day, it may."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof


def _sat(folder: Path, name: str, gold: str, gate: str, timeout_s: float) -> tuple[str, Outcome, str]:
    script = _SAT.format(gold=gold, gate=gate, name=name, seconds=max(1, round(timeout_s)))
    try:
        log = run_yosys(script, what=f"proof of {name}", folder=folder, timeout_s=timeout_s + _YOSYS_ALLOWANCE_S)
    except ToolTimeout as error:
        return "sat", "undecided", str(error).partition("\n")[0]
    if "no model found: SUCCESS!" in log:
        return "sat", "proved", ""
    if "model found: FAIL!" in log:
        return "sat", "refuted", log[log.find("  Signal Name") :].partition("\n\n")[0]
    if "TIMEOUT" in log or "Interrupted SAT solver" in log:
        return "sat", "undecided", f"no answer within {timeout_s:g} s"
    raise ToolFailure(f"yosys, proof of {name}: no answer that is known; see {folder / 'yosys.log'}")


def _dsec(folder: Path, name: str, gold: str, gate: str, timeout_s: float) -> tuple[str, Outcome, str]:
    script = "".join(_AIGER.format(design=design, file=file) for design, file in ((gold, "gold"), (gate, "gate")))
    run_yosys(script, what=f"proof of {name}", folder=folder, timeout_s=timeout_s + _YOSYS_ALLOWANCE_S)
    if _interface(folder / "gold.map") != _interface(folder / "gate.map"):
        raise ToolFailure(f"yosys, proof of {name}: RTL and netlist have other ports")
    command = [abc_command(), "-c", "dsec gold.aig gate.aig"]
    try:
        log = run(command, what=f"abc, proof of {name}", folder=folder, timeout_s=timeout_s, log="abc.log")
    except ToolTimeout:
        return "dsec", "undecided", f"no answer within {timeout_s:g} s"
    if "Networks are equivalent" in log:
        return "dsec", "proved", ""
    if "NOT EQUIVALENT" in log:
        return "dsec", "refuted", log.strip()
    return "dsec", "undecided", log.strip()


def _interface(path: Path) -> list[str]:
    """Order and names of inputs and outputs of an AIGER file."""
    return re.findall(r"^(?:input|output) .*$", path.read_text(encoding="utf-8"), re.MULTILINE)


def _table_rtlil(design: Design, tables: Mapping[str, NDArray[Any]]) -> str:
    """A module like the design that looks its outputs up."""
    lines = ["attribute \\top 1", f"module \\{design.name}"]
    number = 0
    for direction, ports in (("input", design.inputs), ("output", design.outputs)):
        for name, width in ports.items():
            lines.append(f"  wire width {width} {direction} {number} \\{name}")
            number += 1
    bits = sum(design.inputs.values())
    for name, table in tables.items():
        width = design.outputs[name]
        entries = "".join(f"{entry:0{width}b}" for entry in reversed(table.tolist()))
        lines += [
            f"  cell $bmux $lookup_{name}",
            f"    parameter \\WIDTH {width}",
            f"    parameter \\S_WIDTH {bits}",
            f"    connect \\A {width << bits}'{entries}",
            f"    connect \\S {{ {' '.join(chr(92) + port for port in reversed(design.inputs))} }}",
            f"    connect \\Y \\{name}",
            "  end",
        ]
    return "\n".join([*lines, "end", ""])
