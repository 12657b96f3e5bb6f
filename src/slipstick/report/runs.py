"""What the run folders say: the only source of every table, plot and report."""

import json
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.train.config import Experiment, resolve_arithmetic
from slipstick.train.metrics import Row, read_metrics
from slipstick.train.naming import run_label
from slipstick.train.run_folder import Result, read_experiment, read_result

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of it that is."""


@dataclass(frozen=True)
class RunRecord:
    """One run folder. audit: counts of the operators of the first training step; None for fp32.

    environment: of the first start; empty where it was not recorded.
    """

    folder: Path
    experiment: Experiment
    result: Result | None
    rows: tuple[Row, ...]
    environment: dict[str, Any]
    audit: dict[str, dict[str, int]] | None

    @property
    def label(self) -> str:
        return run_label(self.experiment)

    @property
    def status(self) -> str:
        return self.result.status if self.result else "not finished"

    @property
    def width(self) -> int:
        """Bits of an operand; with a recipe or an assignment, of the wider of weights and activations."""
        if (assignment := self.experiment.assignment) is not None:
            return max(max(layer.weight.bits, layer.activation.bits) for layer in assignment.layers)
        if (recipe := self.experiment.recipe) is not None:
            formats = [None if role is None else role.format for role in (recipe.weight, recipe.activation)]
            return max(32 if format is None else format.width for format in formats)
        arithmetic = resolve_arithmetic(self.experiment.arithmetic)
        return 32 if arithmetic is None else arithmetic.format.width

    @property
    def epochs(self) -> list[Row]:
        return [row for row in self.rows if row.kind == "epoch"]

    @property
    def steps(self) -> list[Row]:
        return [row for row in self.rows if row.kind == "step"]

    @property
    def accuracy(self) -> float | None:
        return self.epochs[-1].test_accuracy if self.epochs else None

    @property
    def test_loss(self) -> float | None:
        return self.epochs[-1].test_loss if self.epochs else None

    @property
    def step_seconds(self) -> float | None:
        """The median over the logged intervals of their mean time per training step."""
        times = [row.step_seconds for row in self.steps or self.epochs if row.step_seconds is not None]
        return statistics.median(times) if times else None

    @property
    def audit_totals(self) -> dict[str, int] | None:
        if self.audit is None:
            return None
        kinds = ("defined", "decomposed", "exact", "outside")
        return {kind: sum(counts.get(kind, 0) for counts in self.audit.values()) for kind in kinds}


def read_run(folder: Path) -> RunRecord:
    """The run in ``folder``. Raises SpecificationError where there is none."""
    audit = folder / "audit.json"
    try:
        starts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        return RunRecord(
            folder=folder,
            experiment=read_experiment(folder),
            result=read_result(folder),
            rows=tuple(read_metrics(folder)) if (folder / "metrics.csv").is_file() else (),
            environment=starts[0],
            audit=json.loads(audit.read_text(encoding="utf-8"))["counts"] if audit.is_file() else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(f"{folder}: not a readable run folder ({str(error).splitlines()[0]})") from None


@dataclass(frozen=True)
class FoundRuns:
    """runs: in the order in which they were started. left_out: a line for every run folder that cannot be read."""

    runs: tuple[RunRecord, ...]
    left_out: tuple[str, ...]


def find_runs(folders: Sequence[Path], progress: Progress | None = None) -> FoundRuns:
    """Every run in ``folders`` and in their folders, at any depth: of comparisons, of sweeps, or single ones.

    Raises SpecificationError where a folder is not there, or none holds a run that can be read.
    """
    places = list({place.resolve(): place for folder in folders for place in _run_folders(folder)}.values())
    if not places:
        shown = ", ".join(map(str, folders))
        raise SpecificationError(f"{shown}: holds no runs; start one with 'slipstick train' or 'slipstick compare'")
    runs, left_out = [], []
    for done, place in enumerate(places):
        if progress is not None:
            progress("reading runs", done / len(places))
        try:
            runs.append(read_run(place))
        except SpecificationError as error:
            left_out.append(str(error))
    if not runs:
        raise SpecificationError(left_out[0])
    return FoundRuns(tuple(sorted(runs, key=lambda run: str(run.environment.get("time")))), tuple(left_out))


def read_runs(*folders: Path) -> list[RunRecord]:
    """As ``find_runs``, where every run is to be readable. Raises SpecificationError where one is not."""
    found = find_runs(folders)
    if found.left_out:
        raise SpecificationError(found.left_out[0])
    return list(found.runs)


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy measured on ``images`` test images (binomial)."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def _run_folders(folder: Path) -> Iterator[Path]:
    """``folder`` itself or what it holds; a run's own folders hold no run."""
    if not folder.is_dir():
        raise SpecificationError(f"{folder}: no such folder of runs")
    for place, names, files in os.walk(folder):
        if "experiment.toml" in files and "environment.json" in files:
            names.clear()
            yield Path(place)
        names[:] = sorted(name for name in names if not name.startswith("."))
