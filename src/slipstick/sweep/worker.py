"""A worker of a study: takes one trial after another until all have ended, whoever ran them."""

import json
import signal
import time
from collections.abc import Mapping
from typing import Any, Protocol

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from slipstick.errors import SpecificationError
from slipstick.sweep.config import MAXIMISED, SYNTHESISED, Study, experiment_of
from slipstick.sweep.costs import require_full_adders, synthesised_unit
from slipstick.sweep.samplers import SeededByTrial, build_pruner
from slipstick.sweep.space import Space, Value, a_possible_point
from slipstick.sweep.storage import open_storage, reason, storage_name
from slipstick.sweep.table import write_csv
from slipstick.sweep.trial import Attempts, TrialFailed
from slipstick.sweep.trials import NUMBER, TrialRecord, queue_trials, read_trials, total_trials
from slipstick.train import Experiment, Interrupted
from slipstick.train.interrupts import StopRequest

_DEFINITION = "slipstick study"
_POLL_SECONDS = 2.0


class Watcher(Protocol):
    """Told how a sweep goes on."""

    def begins(self, ended: int, total: int) -> None:
        """At the start: how many trials have ended already."""

    def started(self, number: int, values: Mapping[str, Value]) -> None:
        """A trial begins here."""

    def ended(self, record: TrialRecord) -> None:
        """A trial ended here."""

    def waits(self, running: list[TrialRecord]) -> None:
        """Nothing is left to take but what others run."""


def sweep(plan: Study, space: Space, source: str, watcher: Watcher, *, retry_failed: bool = False) -> list[TrialRecord]:
    """Run trials until all that the study asks for have ended; returns them.

    Trials that have ended are kept, those whose workers are gone are gone on with. source: named in messages.
    retry_failed: try those again that ended with an error.
    Raises SpecificationError for a study that cannot be, or is not what it was started as; StorageError where the
    disk is full, Interrupted after a signal: the same command goes on then.
    """
    example = a_possible_point(space, lambda given: _usable(plan, experiment_of(plan, given, source)))
    try:
        study = open_study(plan)
        worker = _Worker(study, plan, space, source, watcher)
        worker.load_data(example)
        queue_trials(study, plan, space, retry_failed)
        worker.run()
    except KeyboardInterrupt:
        raise Interrupted(f"{plan.folder}: stopped", signal.SIGINT) from None
    except StorageInternalError as error:
        raise SpecificationError(
            f"storage = {storage_name(plan)!r}: {reason(error)}; the same command goes on once it answers"
        ) from None
    return read_trials(study)


def open_study(plan: Study, create: bool = True) -> optuna.Study:
    """The study in its storage. Raises SpecificationError where it is another one, or, without ``create``, none."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # what it says is in the trials
    storage = open_storage(plan, create)
    sampler, pruner = SeededByTrial(plan.sampler, NUMBER), build_pruner(plan.pruner)
    if not create:
        try:
            return optuna.load_study(study_name=plan.name, storage=storage, sampler=sampler, pruner=pruner)
        except KeyError:
            raise SpecificationError(
                f"storage = {storage_name(plan)!r}: has no study {plan.name!r} yet; start it without --status"
            ) from None
    directions = ["maximize" if name in MAXIMISED else "minimize" for name in plan.objectives]
    study = optuna.create_study(
        study_name=plan.name,
        storage=storage,
        sampler=sampler,
        pruner=pruner,
        directions=directions,  # type: ignore[arg-type]
        load_if_exists=True,
    )
    _require_same(study, plan)
    return study


class _Worker:
    def __init__(self, study: optuna.Study, plan: Study, space: Space, source: str, watcher: Watcher) -> None:
        self._study, self._plan, self._space, self._watcher = study, plan, space, watcher
        self._stop = StopRequest()
        self._attempts = Attempts(plan, space, source, self._stop, watcher.started)

    def load_data(self, example: Experiment) -> None:
        """Refuse data that cannot be had before any trial begins."""
        if "data" not in self._space.entries:
            self._attempts.data.of(example)

    def run(self) -> None:
        total = total_trials(self._plan, self._space)
        self._watcher.begins(sum(record.has_ended for record in self._records(total)), total)
        while True:
            queue_trials(self._study, self._plan, self._space)
            records = self._records(total)
            if any(record.outcome == "waiting" for record in records):
                self._one()
            elif others := [record for record in records if not record.has_ended]:
                self._watcher.waits(others)
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _records(self, total: int) -> list[TrialRecord]:
        return [record for record in read_trials(self._study) if record.number < total]

    def _one(self) -> None:
        """Take a trial and see it to its end."""
        try:
            self._study.optimize(self._attempts, n_trials=1, catch=(TrialFailed,))
        except Interrupted as stopped:
            self._study.tell(self._attempts.attempt, state=TrialState.FAIL)
            raise Interrupted(f"{self._plan.folder}: stopped in trial {self._attempts.number}",
                              stopped.signal_number) from None  # fmt: skip
        except UpdateFinishedTrialError:
            return  # this worker was thought to be gone, and another one has the trial
        except ValueError as error:
            if "Cannot tell" in str(error):
                return  # likewise
            raise
        records = read_trials(self._study)
        for record in records:
            if record.number == self._attempts.number and record.has_ended:
                self._watcher.ended(record)
        write_csv(self._plan, self._space, records)
        if self._stop.requested is not None:
            raise Interrupted(f"{self._plan.folder}: stopped after trial {self._attempts.number}", self._stop.requested)


def _usable(plan: Study, experiment: Experiment) -> Experiment:
    """Raises SpecificationError where a cost that is asked for is not defined, or its packages are missing."""
    if "full_adders" in plan.objectives:
        require_full_adders(experiment)
    if any(name in SYNTHESISED for name in plan.objectives):
        synthesised_unit(experiment, plan.hardware)
    return experiment


def _require_same(study: optuna.Study, plan: Study) -> None:
    """Raises SpecificationError where the study was started as another one."""
    now = json.loads(json.dumps(plan.definition))
    before = study.user_attrs.get(_DEFINITION)
    if before is None:
        if study.get_trials(deepcopy=False):
            raise SpecificationError(
                f"storage = {storage_name(plan)!r}: its study {plan.name!r} is another program's; take another name"
            )
        left = plan.folder / "trials"
        if left.is_dir() and any(left.iterdir()):
            raise SpecificationError(
                f"{left}: holds trials that the storage does not know; remove it, or take another name or --out"
            )
        study.set_user_attr(_DEFINITION, now)
    elif before != now:
        key, was, is_now = _difference(before, now)
        raise SpecificationError(
            f"{plan.name}: was started with {key} = {was}, not {is_now}; change it back, or take another name"
        )


def _difference(before: Any, now: Any, key: str = "") -> tuple[str, str, str]:
    """The first key that is different, and both values, as JSON."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *now]:
            if name not in before or name not in now or before[name] != now[name]:
                return _difference(before.get(name, "nothing"), now.get(name, "nothing"), f"{key}.{name}".strip("."))
    return key, json.dumps(before), json.dumps(now)
