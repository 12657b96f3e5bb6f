"""One run's folder: what it holds, and whether a run may start or go on there.

experiment.toml   the resolved experiment          metrics.csv       rows per interval and per epoch
environment.json  versions and machine             tensorboard/      the same for TensorBoard
audit.json        operators of the first step      checkpoint*       the last checkpoint
distances.json    what --record-d measured
result.json       written at the end: its presence means that the run is complete
"""

import json
import shutil
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from slipstick.errors import SpecificationError
from slipstick.train.atomic_files import write_json, write_text
from slipstick.train.checkpoints import has_checkpoint
from slipstick.train.config import Experiment
from slipstick.train.environment import environment
from slipstick.train.experiment_files import experiment_toml

_RESULT = "result.json"
_EXPERIMENT = "experiment.toml"
_FREE_TO_CHANGE = ("label", "out", "log_every", "checkpoint_minutes")


@dataclass(frozen=True)
class Result:
    """How a run ended. Accuracies are of the test set, from 0 to 1; None where no epoch was completed.

    median_last_accuracy: the median over the last ten epochs, as Hamad et al. 2025 report.
    """

    status: Literal["finished", "diverged"]
    message: str
    epochs: int
    steps: int
    accuracy: float | None
    best_accuracy: float | None
    median_last_accuracy: float | None
    test_loss: float | None
    elapsed_seconds: float
    training_images: int
    test_images: int
    parameters: int


State = Literal["absent", "started", "complete"]


def folder_state(folder: Path) -> State:
    if (folder / _RESULT).is_file():
        return "complete"
    return "started" if has_checkpoint(folder) else "absent"


def prepare_folder(folder: Path, experiment: Experiment, resume: bool, overwrite: bool) -> State:
    """Decide what happens in ``folder`` and make it ready for a new run where it is one.

    Raises SpecificationError where a run is there that may be neither resumed nor replaced.
    """
    state = check_folder(folder, experiment, resume, overwrite)
    if state == "absent":
        try:
            if (folder / _EXPERIMENT).is_file():
                shutil.rmtree(folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / _EXPERIMENT, experiment_toml(experiment))
        except OSError as error:
            raise SpecificationError(f"{folder}: cannot be written: {error.strerror}; choose another --out") from None
    return state


def check_folder(folder: Path, experiment: Experiment, resume: bool, overwrite: bool) -> State:
    """As ``prepare_folder``, without writing."""
    state = "absent" if overwrite else folder_state(folder)
    if state != "absent" and not resume:
        raise SpecificationError(
            f"{folder}: holds a {state} run; add --resume to continue or --overwrite to replace it"
        )
    if state != "absent":
        _require_same(folder, experiment)
    return state


def record_environment(folder: Path) -> None:
    """Append to environment.json, one entry for every start."""
    path = folder / "environment.json"
    starts: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    write_json(path, [*starts, environment()])


def write_result(folder: Path, result: Result) -> None:
    write_json(folder / _RESULT, asdict(result))


def read_result(folder: Path) -> Result | None:
    """The result of a complete run, else None."""
    path = folder / _RESULT
    return Result(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def read_experiment(folder: Path) -> Experiment:
    """The experiment of a run folder. Raises SpecificationError where there is none."""
    path = folder / _EXPERIMENT
    try:
        return Experiment.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SpecificationError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


def _require_same(folder: Path, experiment: Experiment) -> None:
    before, now = read_experiment(folder).model_dump(), experiment.model_dump()
    for key in before:
        if key not in _FREE_TO_CHANGE and before[key] != now[key]:
            raise SpecificationError(
                f"{folder}: was started with {key} = {_shown(before[key])}, not {_shown(now[key])}; "
                "change it back, or choose another --out or name"
            )


def _shown(value: Any) -> str:
    return "default" if value is None else json.dumps(value)
