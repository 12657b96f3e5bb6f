"""One row a run with all its figures in full precision, for other programs to read.

Columns, always these, in this order: ``COLUMNS``; then ``param.<name>`` and ``value.<name>`` of the sweep's trials,
each in alphabetical order, where there are trials. Empty: not known. Accuracies from 0 to 1, losses in nats, times in
seconds; arithmetics that are tables as JSON.
"""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from slipstick.report.commands import command_of
from slipstick.report.contents import Contents
from slipstick.report.runs import RunRecord

_FIGURES: dict[str, Callable[[RunRecord], Any]] = {
    "folder": lambda run: run.folder.as_posix(),
    "experiment": lambda run: run.experiment.name,
    "arithmetic": lambda run: run.experiment.arithmetic,
    "update": lambda run: run.experiment.update,
    "override": lambda run: run.experiment.override,
    "quantize": lambda run: run.experiment.quantize,
    "bits": lambda run: run.width,
    "seed": lambda run: run.experiment.seed,
    "data": lambda run: run.experiment.data,
    "model": lambda run: run.experiment.model.name,
    "optimizer": lambda run: run.experiment.optimizer.name,
    "lr": lambda run: run.experiment.optimizer.lr,
    "batch": lambda run: run.experiment.batch,
    "epochs_planned": lambda run: run.experiment.epochs,
    "status": lambda run: run.status,
    "message": lambda run: run.result.message if run.result else None,
    "epochs": lambda run: run.epochs[-1].epoch if run.epochs else None,
    "steps": lambda run: run.rows[-1].step if run.rows else None,
    "accuracy": lambda run: run.accuracy,
    "best_accuracy": lambda run: run.result.best_accuracy if run.result else None,
    "median_last_accuracy": lambda run: run.result.median_last_accuracy if run.result else None,
    "test_loss": lambda run: run.test_loss,
    "train_accuracy": lambda run: run.epochs[-1].train_accuracy if run.epochs else None,
    "train_loss": lambda run: run.epochs[-1].train_loss if run.epochs else None,
    "step_seconds": lambda run: run.step_seconds,
    "elapsed_seconds": lambda run: run.rows[-1].elapsed_seconds if run.rows else None,
    "training_images": lambda run: run.result.training_images if run.result else None,
    "test_images": lambda run: run.result.test_images if run.result else None,
    "parameters": lambda run: run.result.parameters if run.result else None,
    "isa": lambda run: run.environment.get("isa"),
    "threads": lambda run: run.environment.get("threads"),
    "slipstick": lambda run: run.environment.get("slipstick"),
    "torch": lambda run: run.environment.get("torch"),
    "command": command_of,
}

COLUMNS = ("group", *_FIGURES, "warnings", "trial", "trial_state")


def render_csv(contents: Contents) -> str:
    """group: the label of the runs that differ in their seed only. warnings: how many kinds the watch gave."""
    trials = [trial for trial in contents.trial_of if trial is not None]
    parameters = sorted({name for trial in trials for name in trial.parameters})
    values = sorted({name for trial in trials for name in trial.values})
    warned = {id(summary.run): len(summary.warnings) for summary in contents.watched}
    groups = {id(run): group.label for group in contents.groups for run in group.runs}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"param.{name}" for name in parameters), *(f"value.{name}" for name in values)])
    for run, trial in zip(contents.runs, contents.trial_of, strict=True):
        row = [groups[id(run)], *(figure(run) for figure in _FIGURES.values()), warned.get(id(run))]
        row += [trial.trial, trial.state] if trial else [None, None]
        row += [trial.parameters.get(name) if trial else None for name in parameters]
        row += [trial.values.get(name) if trial else None for name in values]
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else str(value)
