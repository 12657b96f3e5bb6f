"""A study: every unit built, proved, explored and measured, then the networks priced. Results stay in its folder.

A unit's result is kept with the key of all that made it, so that an interrupted or extended study goes on with what is
missing. Synthesis is kept by content besides, in the platform's cache.
"""

import json
import re
import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np

import slipstick
from slipstick.design import pair_errors
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.candidates import Candidate, LogCandidate, clocked_units, dot_products
from slipstick.hardware.exploration import Exploration, Measured, explore
from slipstick.hardware.measurement import Energies, Point, Ports, energies
from slipstick.hardware.operands import codes
from slipstick.hardware.rtl.verilog import verilog
from slipstick.hardware.rtl.verilog_bench import verilog_bench
from slipstick.hardware.timing import Timing
from slipstick.hardware.tools import Progress, silent, yosys_version
from slipstick.hardware_study.checks import netlist_dots, netlist_proof, random_vectors, recorded_dots, write_vectors
from slipstick.hardware_study.config import HardwareStudy
from slipstick.hardware_study.networks import network_costs, workloads_of
from slipstick.hardware_study.recording import Recorded, of_training, recorded_operands
from slipstick.hardware_study.results import INERTIAL, ZERO_DELAY, Check, PointResult, StudyResult, UnitResult
from slipstick.train.atomic_files import write_json, write_text


def run_study(study: HardwareStudy, *, cache: Cache | None = None, progress: Progress = silent) -> StudyResult:
    """Everything, into ``study.folder``; units whose results are there and still hold are read.

    Raises:
        MissingTool, ToolFailure: see ``hardware.tools``.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    write_json(study.folder / "study.json", study.model_dump(mode="json"))
    workloads = workloads_of(study.networks)
    operands = recorded_operands(study, progress)
    units = []
    for label, choice in zip(study.labels, study.units, strict=True):
        run = _UnitRun(study, label, choice.kind, choice.candidate(), operands, cache, progress)
        units.append(run.kept() or run.measure())
    result = StudyResult(
        study.name,
        study.library,
        study.clock_ns,
        study.baseline or units[0].label,
        tuple(operands),
        tuple(units),
        tuple(network_costs(workloads, units)),
    )
    write_json(study.folder / "results.json", result.to_dict())
    return result


class _UnitRun:
    def __init__(
        self,
        study: HardwareStudy,
        label: str,
        kind: str,
        candidate: Candidate,
        operands: Recorded,
        cache: Cache | None,
        progress: Progress,
    ) -> None:
        self._study, self._label, self._kind, self._candidate = study, label, kind, candidate
        self._cache, self._progress = cache, progress
        self._ports: dict[str, Ports] = {name: codes(pieces, candidate) for name, pieces in operands.items()}
        self._all: Ports = codes(of_training(operands), candidate)
        self._folder = study.folder / "units" / _slug(label)

    def kept(self) -> UnitResult | None:
        """The result on disk, if it is of the same study, circuits and tools."""
        try:
            data = json.loads((self._folder / "result.json").read_text(encoding="utf-8"))
            return UnitResult.from_dict(data["result"]) if data["key"] == self._key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def measure(self) -> UnitResult:
        self._folder.mkdir(parents=True, exist_ok=True)
        sums = dot_products(self._candidate, **self._all)
        checks = self._compared(sums)
        exploration = explore(
            self._label,
            self._candidate,
            self._all,
            self._study.clock_ns,
            library=self._study.library,
            sweep=self._study.sweep.sweep(),
            cache=self._cache,
            progress=self._progress,
        )
        chosen = exploration.chosen
        checks.append(netlist_dots(chosen.point, self._all, sums, self._cache))
        if self._study.proof_seconds:
            self._tell("proof", 0.5)
            checks.append(netlist_proof(chosen.point, self._study.proof_seconds, self._cache))
        result = self._result(exploration, checks, self._write(chosen.point, sums))
        write_json(self._folder / "result.json", {"key": self._key, "result": result.to_dict()})
        return result

    def _compared(self, sums: np.ndarray) -> list[Check]:
        """RTL against software, every circuit of the candidate."""
        checks: list[Check] = []
        for core, clocked in zip(self._candidate.cores(), clocked_units(self._candidate), strict=True):
            self._tell("simulation", len(checks) / 4)
            checks.append(random_vectors(core, self._candidate, self._study.vectors, self._study.seed, self._cache))
            checks.append(recorded_dots(clocked, self._candidate, self._all, sums, self._cache))
        return checks

    def _write(self, point: Point, sums: np.ndarray) -> dict[str, str]:
        """Verilog, test bench, vectors, log and netlist of the chosen circuit; paths below the study's folder."""
        texts = {
            f"{point.unit.name}.v": verilog(point.unit, cache=self._cache),
            "synthesis.log": point.synthesis.log,
            "netlist.json": (point.synthesis.folder / "netlist.json").read_text(encoding="utf-8"),
        }
        for name, text in texts.items():
            write_text(self._folder / name, text)
        rows = write_vectors(self._folder / "vectors.txt", self._all, sums)
        write_text(self._folder / "testbench.v", verilog_bench(point.unit, rows, "vectors.txt"))
        names = ("verilog", "log", "netlist", "vectors", "test bench")
        return {
            name: str((self._folder / file).relative_to(self._study.folder))
            for name, file in zip(names, (*texts, "vectors.txt", "testbench.v"), strict=True)
        }

    def _result(self, exploration: Exploration, checks: Sequence[Check], files: dict[str, str]) -> UnitResult:
        chosen = exploration.chosen
        began = time.perf_counter()
        by_operands: dict[str, Energies] = {}
        for name, ports in self._ports.items():
            self._tell("energy by role", len(by_operands) / len(self._ports))
            by_operands[name] = energies(chosen.point, ports, self._study.clock_ns, cache=self._cache)
        one_energy_s = (time.perf_counter() - began) / len(self._ports)
        place = {point: i for i, point in enumerate(exploration.points)}
        measured = {each.point: each for each in exploration.measured}
        return UnitResult(
            label=self._label,
            title=self._candidate.title,
            kind=self._kind,
            operand_bits=self._candidate.operand_bits,
            accumulator_bits=self._candidate.accumulator_bits,
            clock_ns=self._study.clock_ns,
            in_time=exploration.meets_clock,
            points=tuple(_point(point, measured.get(point)) for point in exploration.points),
            chosen=place[chosen.point],
            smallest=place[exploration.smallest.point],
            thriftiest=place[exploration.thriftiest().point],
            cells=chosen.point.cells,
            register_area_um2=chosen.point.synthesis.netlist.register_area_um2,
            energy_fj={name: _by_glitches(found) for name, found in by_operands.items()},
            parts_fj={name: found.inertial.parts() for name, found in by_operands.items()},
            checks=tuple(checks),
            files=files,
            flow_s=_seconds(chosen.point) + one_energy_s,
            errors_lsb=_errors(self._candidate),
        )

    @cached_property
    def _key(self) -> str:
        """Of all that a result depends on."""
        fields = {"clock_ns", "library", "sweep", "vectors", "seed", "proof_seconds"}
        chosen = self._study.model_dump(include=fields, mode="json")
        ports = [values.tobytes() for ports in (*self._ports.values(), self._all) for values in ports.values()]
        units = [unit.rtlil() for unit in clocked_units(self._candidate)]
        versions = json.dumps(chosen, sort_keys=True), slipstick.__version__, yosys_version()
        return content_key(self._label, *versions, *units, *ports)

    def _tell(self, what: str, share: float) -> None:
        self._progress(f"{self._label}: {what}", share)


def _seconds(point: Point) -> float:
    """Of synthesis, when it was made, and of timing, now."""
    began = time.perf_counter()
    Timing(point.synthesis.netlist)
    return point.synthesis.seconds + time.perf_counter() - began


def _errors(candidate: Candidate) -> dict[str, float]:
    if not isinstance(candidate, LogCandidate):
        return {}
    arithmetic = candidate.arithmetic
    plus, minus = pair_errors(arithmetic.accumulator_tables, arithmetic.accumulator_format.frac_bits)
    return {"D+ rms": plus.rms, "D+ largest": plus.max, "D- rms": minus.rms, "D- largest": minus.max}


def _point(point: Point, measured: Measured | None) -> PointResult:
    found = _by_glitches(measured.energies) if measured else None
    return PointResult(point.unit.name, str(point.mapping), point.area_um2, point.period_ns, found)


def _by_glitches(found: Energies) -> dict[str, float]:
    return {ZERO_DELAY: found.zero_delay.total_fj, INERTIAL: found.inertial.total_fj}


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
