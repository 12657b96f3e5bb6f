"""The trials of a study as its storage tells them.

A trial of the sweep has a number from 0 and one attempt after another, each a trial of Optuna's: one that its worker
left, killed or stopped, is followed by the next with the same parameters. All trials wait in the storage from the
beginning, and taking one is atomic there, so that workers share them without talking to each other. Should two workers
make an attempt at the same moment, the later one is surplus.
"""

import platform
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from slipstick.sweep.config import DEFAULT_TRIALS, Study
from slipstick.sweep.folder_lock import is_abandoned
from slipstick.sweep.space import Space, Value
from slipstick.sweep.storage import GRACE

NUMBER, ATTEMPT, DEATHS = "number", "attempt", "deaths"
HOST, PROCESS, FOLDER = "host", "process", "folder"
OUTCOME, REASON, FIGURES, LAST = "outcome", "reason", "figures", "last"
"""User attributes of Optuna's trials."""

Outcome = Literal["finished", "pruned", "diverged", "impossible", "failed", "interrupted", "running", "waiting"]
ENDED: tuple[Outcome, ...] = ("finished", "pruned", "diverged", "impossible", "failed")
SURPLUS = "surplus"

_MOST_DEATHS = 3
_LEAVES = (None, "interrupted", SURPLUS, "failed")
"""Outcomes of an attempt after which there may be another."""


@dataclass(frozen=True)
class Reached:
    """The latest epoch of a trial, of all its seeds' epochs, and accuracy or loss there."""

    epoch: int
    epochs: int
    value: float


@dataclass(frozen=True)
class TrialRecord:
    """A trial by its latest attempt. values: of the objectives, in their order, where it has finished.

    outcome: "interrupted" is one whose worker is gone, to be gone on with; "impossible" a point that is no training.
    figures: costs, and what was measured.
    """

    number: int
    outcome: Outcome
    reason: str
    parameters: Mapping[str, Value]
    values: tuple[float, ...] | None
    figures: Mapping[str, Any]
    last: Reached | None
    attempt: int
    deaths: int
    host: str
    process: int | None
    folder: Path | None
    started: datetime | None
    ended: datetime | None

    @property
    def has_ended(self) -> bool:
        return self.outcome in ENDED

    @property
    def seconds(self) -> float | None:
        """Of the latest attempt; of a running one so far."""
        if self.started is None:
            return None
        return ((self.ended or datetime.now()) - self.started).total_seconds()


def read_trials(study: optuna.Study) -> list[TrialRecord]:
    """Of every number the latest attempt, in order."""
    latest: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        number = trial.user_attrs.get(NUMBER)
        if number is None or trial.user_attrs.get(OUTCOME) == SURPLUS:
            continue
        if number not in latest or _has_left(latest[number]):
            latest[number] = trial
    return [_record(number, latest[number]) for number in sorted(latest)]


def is_surplus(study: optuna.Study, trial: optuna.Trial) -> bool:
    """Whether another attempt of the same number goes before this one."""
    number = trial.user_attrs.get(NUMBER)
    if number is None:
        return True
    earlier = (t for t in study.get_trials(deepcopy=False) if t.number < trial.number)
    return any(t.user_attrs.get(NUMBER) == number and not _has_left(t) for t in earlier)


def total_trials(plan: Study, space: Space) -> int:
    """How many trials the study asks for."""
    if plan.sampler.name != "grid":
        return plan.trials or DEFAULT_TRIALS
    return min(space.size, plan.trials or space.size)


def queue_trials(study: optuna.Study, plan: Study, space: Space, retry_failed: bool = False) -> None:
    """Make the trials that are missing, and another attempt of those whose workers left them."""
    free_abandoned(study, plan)
    known = {record.number: record for record in read_trials(study)}
    fixed = list(space.points()) if plan.sampler.name == "grid" else []
    again = ("interrupted", "failed") if retry_failed else ("interrupted",)
    for number in range(total_trials(plan, space)):
        record = known.get(number)
        if record is None:
            study.enqueue_trial(dict(fixed[number]) if fixed else {}, {NUMBER: number, ATTEMPT: 1, DEATHS: 0})
        elif record.outcome in again:
            deaths = 0 if record.outcome == "failed" else record.deaths
            attributes = {NUMBER: number, ATTEMPT: record.attempt + 1, DEATHS: deaths}
            study.enqueue_trial(dict(record.parameters), attributes)


def free_abandoned(study: optuna.Study, plan: Study) -> None:
    """End the attempts whose workers are gone: of this machine at once, of others when their heart has stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_abandoned(trial) or _never_began(trial, plan):
            with suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another worker did it
                study.tell(trial.number, state=TrialState.FAIL)


def _has_left(trial: FrozenTrial) -> bool:
    """Whether an attempt leaves its number to the next one."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(OUTCOME) in _LEAVES


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Whether an attempt ran on this machine and its process is gone."""
    folder = trial.user_attrs.get(FOLDER)
    return folder is not None and trial.user_attrs.get(HOST) == platform.node() and is_abandoned(Path(folder))


def _never_began(trial: FrozenTrial, plan: Study) -> bool:
    """Whether its worker went before the first beat of its heart."""
    if HOST in trial.user_attrs or trial.datetime_start is None:
        return False
    return (datetime.now() - trial.datetime_start).total_seconds() > GRACE * plan.heartbeat


def _record(number: int, trial: FrozenTrial) -> TrialRecord:
    told = trial.user_attrs
    deaths = told.get(DEATHS, 0)
    outcome: Outcome | None = told.get(OUTCOME)
    reason = told.get(REASON, "")
    if trial.state == TrialState.WAITING:
        outcome = "waiting"
    elif trial.state == TrialState.RUNNING:
        outcome = "interrupted" if _is_abandoned(trial) else "running"
    elif outcome is None:  # its worker is gone
        deaths += 1
        outcome, reason = (
            ("interrupted", "") if deaths < _MOST_DEATHS else ("failed", f"its worker died {deaths} times")
        )
    finished = trial.state == TrialState.COMPLETE
    last = told.get(LAST)
    return TrialRecord(
        number=number,
        outcome=outcome,
        reason=reason,
        parameters=trial.params or trial.system_attrs.get("fixed_params", {}),
        values=tuple(trial.values) if finished and trial.values else None,
        figures=told.get(FIGURES, {}),
        last=None if last is None else Reached(*last),
        attempt=told.get(ATTEMPT, 1),
        deaths=deaths,
        host=told.get(HOST, ""),
        process=told.get(PROCESS),
        folder=Path(told[FOLDER]) if FOLDER in told else None,
        started=trial.datetime_start,
        ended=trial.datetime_complete,
    )
