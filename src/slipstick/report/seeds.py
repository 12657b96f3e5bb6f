"""Runs that differ in their seed only, as one: means, and how far those may be from what more seeds would give.

Two runs of one seed are no two seeds: their mean counts once.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slipstick.report.intervals import Interval, interval
from slipstick.report.runs import RunRecord
from slipstick.train.config import Experiment
from slipstick.train.naming import run_label

NO_RESULT_DEPENDS_ON = (
    *("name", "out", "label", "variant", "threads", "log_every", "watch_every"),
    *("checkpoint_minutes", "checkpoint_steps", "checkpoint_keep"),
)
"""Keys of an experiment that say where and how a run is kept, not what it is (threads: all but float32's last bits)."""


@dataclass(frozen=True)
class RunGroup:
    """Runs of one experiment from several seeds. label: tells the group from the others of its report."""

    label: str
    runs: tuple[RunRecord, ...]

    @property
    def experiment(self) -> Experiment:
        """Of the first run."""
        return self.runs[0].experiment

    @property
    def width(self) -> int:
        return self.runs[0].width

    @property
    def finished(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def counted(self) -> tuple[RunRecord, ...]:
        """The finished runs; all of them where none is."""
        return self.finished or self.runs

    def by_seed(self, figure: Callable[[RunRecord], float | None]) -> dict[int, float]:
        """A figure of the counted runs for every seed."""
        found: dict[int, list[float]] = {}
        for run in self.counted:
            if (value := figure(run)) is not None:
                found.setdefault(run.experiment.seed, []).append(value)
        return {seed: statistics.fmean(values) for seed, values in found.items()}

    @property
    def accuracies(self) -> dict[int, float]:
        """By seed, from 0 to 1."""
        return self.by_seed(lambda run: run.accuracy)

    @property
    def accuracy(self) -> Interval | None:
        return interval(self.accuracies.values())

    @property
    def loss(self) -> Interval | None:
        """Of the test set, in nats."""
        return interval(self.by_seed(lambda run: run.test_loss).values())

    @property
    def step_seconds(self) -> float | None:
        """The median over the counted runs."""
        times = [run.step_seconds for run in self.counted if run.step_seconds is not None]
        return statistics.median(times) if times else None

    @property
    def status(self) -> str:
        """In words: how many ended how, where not all are finished."""
        states = [run.status for run in self.runs]
        if len(set(states)) == 1:
            return states[0]
        return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def group_runs(runs: Sequence[RunRecord]) -> list[RunGroup]:
    """Groups in the order of their first runs, runs in that of their seeds."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(json.dumps(_identity(run.experiment), sort_keys=True), []).append(run)
    groups = [sorted(members, key=lambda run: run.experiment.seed) for members in found.values()]
    labels = _told_apart([_label(members) for members in groups], [members[0].experiment for members in groups])
    return [RunGroup(label, tuple(members)) for label, members in zip(labels, groups, strict=True)]


def _identity(experiment: Experiment) -> dict[str, Any]:
    return experiment.model_dump(mode="json", exclude={*NO_RESULT_DEPENDS_ON, "seed"})


def _label(members: Sequence[RunRecord]) -> str:
    """The label that all have; where seeds have labels of their own, what the runs do."""
    labels = {run.label for run in members}
    return labels.pop() if len(labels) == 1 else run_label(members[0].experiment.model_copy(update={"label": None}))


def _told_apart(labels: list[str], experiments: list[Experiment]) -> list[str]:
    """Labels that several groups have, with the keys in which those groups differ."""
    told = list(labels)
    for label in {label for label in labels if labels.count(label) > 1}:
        places = [place for place, its in enumerate(labels) if its == label]
        flat = [_flat(_identity(experiments[place])) for place in places]
        for key in dict.fromkeys(key for each in flat for key in each):
            texts = _short([each.get(key) for each in flat])
            if len(set(texts)) > 1:
                for place, text in zip(places, texts, strict=True):
                    told[place] += f", {key}={text}" if text else ""
    return told


def _short(values: list[Any]) -> list[str]:
    """Texts of values, numbers to four digits where that still tells them apart; empty for None."""
    exact = ["" if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
    short = [f"{v:.4g}" if isinstance(v, float) else text for v, text in zip(values, exact, strict=True)]
    return short if len(set(short)) == len(set(exact)) else exact


def _flat(data: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted keys to values."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{path}{key}.")
        else:
            found[path + key] = value
    return found
