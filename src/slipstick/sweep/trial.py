"""One attempt of a trial: its costs, then its trainings, each in an ordinary run folder, all told in trial.log."""

import os
import platform
import signal
import statistics
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

from slipstick.errors import SpecificationError, StorageError, UnsupportedOperation
from slipstick.report.intervals import interval
from slipstick.sweep.config import MEASURED, Study, experiment_of
from slipstick.sweep.costs import costs
from slipstick.sweep.folder_lock import FolderLock
from slipstick.sweep.samplers import suggest
from slipstick.sweep.space import Space, Value
from slipstick.sweep.trials import (
    FIGURES,
    FOLDER,
    HOST,
    LAST,
    NUMBER,
    OUTCOME,
    PROCESS,
    REASON,
    SURPLUS,
    Outcome,
    is_surplus,
)
from slipstick.train import Data, Experiment, Interrupted, Result, load_data, run_folder, train
from slipstick.train.interrupts import StopRequest
from slipstick.train.metrics import Row, read_metrics
from slipstick.train.run_folder import folder_state

LOG = "trial.log"


Started = Callable[[int, Mapping[str, Value]], None]
"""Told of the number and the parameters of an attempt that begins."""


class TrialFailed(Exception):
    """An attempt that gives no values; its user attributes say why."""


class Diverged(Exception):
    """A training that ended in no number."""


class DataAtHand:
    """The data of the last experiment, which the next one mostly shares."""

    def __init__(self) -> None:
        self._key: Any = None
        self._data: Data | None = None

    def of(self, experiment: Experiment) -> Data:
        """Raises SpecificationError where it cannot be had."""
        fields = {"data", "image_size", "subset", "augment", "batch"} | ({"model"} if experiment.reads_text else set())
        key = experiment.model_dump(include=fields)
        if self._data is None or key != self._key:
            self._key, self._data = key, load_data(experiment)
        return self._data


class Attempts:
    """What Optuna calls for every trial: returns the values of the objectives."""

    def __init__(self, plan: Study, space: Space, source: str, stop: StopRequest, started: Started) -> None:
        self.plan, self.space, self.source, self.stop, self.started = plan, space, source, stop, started
        self.data = DataAtHand()
        self.attempt = self.number = -1
        """Of the latest: the number that Optuna gave it, and its trial's; -1 where it was surplus."""

    def __call__(self, trial: optuna.Trial) -> list[float]:
        self.attempt, self.number = trial.number, -1
        if is_surplus(trial.study, trial):
            trial.set_user_attr(OUTCOME, SURPLUS)
            raise TrialFailed
        trial.set_user_attr(HOST, platform.node())
        trial.set_user_attr(PROCESS, os.getpid())
        number = self.number = int(trial.user_attrs[NUMBER])
        folder = (self.plan.folder / "trials" / f"{number:04d}").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with FolderLock(folder), _logged(folder / LOG):
            trial.set_user_attr(FOLDER, str(folder))
            try:
                values = _Attempt(self, trial, number).run()
                trial.set_user_attr(OUTCOME, "finished")
                return values
            except optuna.TrialPruned as error:
                trial.set_user_attr(OUTCOME, "pruned")
                trial.set_user_attr(REASON, str(error))
                raise
            except (Interrupted, KeyboardInterrupt) as stopped:
                trial.set_user_attr(OUTCOME, "interrupted")
                number_of_signal = stopped.signal_number if isinstance(stopped, Interrupted) else signal.SIGINT
                raise Interrupted(f"{folder}: stopped", number_of_signal) from None
            except StorageError:
                trial.set_user_attr(OUTCOME, "interrupted")  # the next trial could not be written either
                raise
            except (UpdateFinishedTrialError, StorageInternalError):
                raise  # nobody is left to tell
            except Exception as error:
                raise self._ended(trial, error) from None

    def _ended(self, trial: optuna.Trial, error: Exception) -> Exception:
        """What is told of an error, and what Optuna is to make of it."""
        outcome: Outcome = "failed"
        if isinstance(error, SpecificationError | UnsupportedOperation):
            outcome = "impossible"
        elif isinstance(error, Diverged):
            outcome = "diverged"
        else:
            traceback.print_exc()
        line = (str(error).splitlines() or [""])[0].removeprefix(f"{self.source}: ")
        reason = line if outcome != "failed" else f"{type(error).__name__}: {line}"
        print(f"{outcome}: {reason}", file=sys.stderr)
        trial.set_user_attr(OUTCOME, outcome)
        trial.set_user_attr(REASON, reason)
        if outcome != "failed" and len(self.plan.objectives) == 1:
            return optuna.TrialPruned(reason)  # the sampler learns from it; with several objectives it cannot
        return TrialFailed(reason)


class _Attempt:
    def __init__(self, common: "Attempts", trial: optuna.Trial, number: int) -> None:
        self._trial, self._number = trial, number
        self._plan, self._space, self._source = common.plan, common.space, common.source
        self._at_hand, self._stop, self._started = common.data, common.stop, common.started
        self._ended_values: list[float] = []

    def run(self) -> list[float]:
        data = self._at_hand.of(self._experiments[0])
        figures: dict[str, Any] = dict(costs(self._plan, self._experiments[0], data))
        self._trial.set_user_attr(FIGURES, figures)
        results = [self._train(experiment, data) for experiment in self._experiments]
        figures |= _means(results)
        self._trial.set_user_attr(FIGURES, figures)
        return [float(figures[name]) for name in self._plan.objectives]

    @cached_property
    def _experiments(self) -> list[Experiment]:
        """One for each seed; their folders are those of ordinary runs, below the trial's."""
        values = {name: suggest(self._trial, name, entry) for name, entry in self._space.entries.items()}
        self._started(self._number, values)
        chosen = experiment_of(self._plan, self._space.experiment(values), self._source)
        where = {"name": f"{self._number:04d}", "out": str(self._plan.folder / "trials")}
        seeds = self._plan.seeds or (chosen.seed,)
        return [chosen.model_copy(update={**where, "seed": seed, "variant": self._variant(seed)}) for seed in seeds]

    def _variant(self, seed: int) -> str:
        return f"trial {self._number}" + ("" if self._plan.seeds is None else f" seed {seed}")

    def _train(self, experiment: Experiment, data: Data) -> Result:
        folder = run_folder(experiment)
        if folder_state(folder) != "absent":
            for row in read_metrics(folder):
                self._report(row, experiment)
        result = train(experiment, data, resume=True, stop=self._stop, after_epoch=lambda r: self._after(r, experiment))
        if result.status == "diverged":
            raise Diverged(f"{result.message}, seed {experiment.seed}")
        figure = result.accuracy if self._metric == "accuracy" else result.test_loss
        self._ended_values.append(float("nan") if figure is None else figure)
        return result

    @property
    def _metric(self) -> str:
        return self._plan.objectives[0] if self._plan.objectives[0] in MEASURED else "accuracy"

    def _after(self, row: Row, experiment: Experiment) -> None:
        """Report an epoch; leave the training where it is not worth going on."""
        self._report(row, experiment)
        complete = row.epoch == experiment.epochs and len(self._ended_values) == len(self._experiments) - 1
        if self._plan.pruner.name != "none" and not complete and self._trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {row.epoch} of {experiment.epochs}, seed {experiment.seed}")

    def _report(self, row: Row, experiment: Experiment) -> None:
        """The mean over the seeds that have ended and this one so far, at the epochs of all of them together."""
        value = row.test_accuracy if self._metric == "accuracy" else row.test_loss
        if row.kind != "epoch" or value is None:
            return
        step = len(self._ended_values) * experiment.epochs + row.epoch
        value = statistics.fmean([*self._ended_values, value])
        self._trial.set_user_attr(LAST, [step, len(self._experiments) * experiment.epochs, value])
        if len(self._plan.objectives) == 1:
            self._trial.report(value, step)


def _means(results: list[Result]) -> dict[str, Any]:
    """Accuracy and loss over the seeds; of several their intervals, and what each gave."""
    figures: dict[str, Any] = {"seconds": sum(result.elapsed_seconds for result in results)}
    columns = {"accuracy": [r.accuracy for r in results], "loss": [r.test_loss for r in results]}
    for name, column in columns.items():
        known = [value for value in column if value is not None]
        if (over := interval(known)) is None:
            continue
        figures[name] = over.mean
        if over.half is not None:
            low, high = over.mean - over.half, over.mean + over.half
            figures |= {f"{name}_low": low, f"{name}_high": high, f"{name}_by_seed": known}
    return figures


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What is printed goes to the end of a file."""
    with path.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        yield
