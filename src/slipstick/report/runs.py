"""What the run folders say: the only source of every table, plot and report."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.train.config import Experiment, resolve_arithmetic
from slipstick.train.metrics import Row, read_metrics
from slipstick.train.naming import run_label
from slipstick.train.run_folder import Result, folder_state, read_experiment, read_result


@dataclass(frozen=True)
class RunRecord:
    """One run folder. ``audit`` counts the operators of the first training step; None for fp32."""

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
            rows=tuple(read_metrics(folder)),
            environment=starts[0],
            audit=json.loads(audit.read_text(encoding="utf-8"))["counts"] if audit.is_file() else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(f"{folder}: not a readable run folder ({str(error).splitlines()[0]})") from None


def read_runs(folder: Path) -> list[RunRecord]:
    """The run in ``folder``, or the runs in its folders in the order in which they were started."""
    if not folder.is_dir():
        raise SpecificationError(f"{folder}: no such folder of runs")
    if folder_state(folder) != "absent":
        return [read_run(folder)]
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and folder_state(child) != "absent"]
    if not children:
        raise SpecificationError(f"{folder}: holds no runs; start one with 'slipstick train' or 'slipstick compare'")
    return sorted((read_run(child) for child in children), key=lambda run: str(run.environment.get("time")))


@dataclass(frozen=True)
class Comparison:
    """A run beside the first fp32 run of its group. Differences in accuracy are in points (1/100)."""

    run: RunRecord
    points: float | None
    slowdown: float | None


def compare_runs(runs: Sequence[RunRecord]) -> list[Comparison]:
    reference = next((run for run in runs if run.experiment.is_fp32), None)
    return [_beside(run, reference) for run in runs]


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy measured on ``images`` test images (binomial)."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def _beside(run: RunRecord, reference: RunRecord | None) -> Comparison:
    if reference is None or reference is run:
        return Comparison(run, None, 1.0 if reference is run else None)
    points = None
    if run.accuracy is not None and reference.accuracy is not None:
        points = 100 * (run.accuracy - reference.accuracy)
    slowdown = None
    if run.step_seconds and reference.step_seconds:
        slowdown = run.step_seconds / reference.step_seconds
    return Comparison(run, points, slowdown)
