"""One run's folder: what it holds, and whether a run may start or go on there.

experiment.toml   the resolved experiment          metrics.csv           rows per interval and per epoch
environment.json  versions and machine             tensorboard/          the same for TensorBoard
audit.json        operators of the first step      checkpoint-*          the last checkpoints and the best
distances.json    what --record-d measured         initial_weights.json  the checkpoint that it started from
watch.jsonl       what slipstick.Watch saw, a line for each step looked at
result.json       written at the end: its presence means that the run is complete
.lock             held by the process that writes here

One process at a time writes here, see ``folder_lock``. Every file but metrics.csv and TensorBoard's is replaced whole
or not at all; those two grow row by row and are cut back to the checkpoint that a run goes on from. So a run may end at
any moment, by a kill, a power cut or a full disk, and go on from its last checkpoint to the same end.
"""

import json
import shutil
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from slipstick.errors import SpecificationError
from slipstick.train.atomic_files import write_json, write_text, writing
from slipstick.train.checkpoint_files import has_checkpoint, remove_checkpoints
from slipstick.train.config import Experiment
from slipstick.train.environment import environment
from slipstick.train.experiment_files import experiment_toml
from slipstick.train.folder_lock import FILE_NAME as LOCK
from slipstick.train.initial_weights import check_initial_weights, record_initial_weights, started_from

_RESULT = "result.json"
_EXPERIMENT = "experiment.toml"
_FREE_TO_CHANGE = (
    *("label", "out", "log_every", "watch_every"),
    *("checkpoint_minutes", "checkpoint_steps", "checkpoint_keep"),
)


@dataclass(frozen=True)
class Result:
    """How a run ended. Accuracies are of the test set, from 0 to 1; None where no epoch was completed.

    Losses are in nats. Of text, losses and accuracies are means over all positions, and its windows count as images.

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

    Raises SpecificationError where a run is there that may be neither resumed nor replaced, StorageError where nothing
    can be written.
    """
    state = check_folder(folder, experiment, resume, overwrite)
    if state == "absent":
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)
        write_text(folder / _EXPERIMENT, experiment_toml(experiment))
        if experiment.weights is not None:
            record_initial_weights(folder, experiment.weights)
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
    elif experiment.weights is not None:
        check_initial_weights(experiment.weights, folder)
    return state


def record_environment(folder: Path, data_facts: dict[str, Any]) -> None:
    """Append to environment.json, one entry for every start.

    Raises SpecificationError where the data is not what it was at the last one.
    """
    path = folder / "environment.json"
    starts: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    for key, value in data_facts.items():
        if starts and starts[-1].get(key) != value:
            raise SpecificationError(
                f"{folder}: the data has changed since it was started ({key} was {starts[-1].get(key)}, is {value}); "
                "bring it back, or use --overwrite"
            )
    write_json(path, [*starts, {**environment(), **data_facts}])


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


def _clear(folder: Path) -> None:
    """Remove an old run, except its lock file; what else lies in a folder that holds none stays.

    What says that a run is complete goes first, what says that it is one goes last, should this be interrupted.
    """
    (folder / _RESULT).unlink(missing_ok=True)
    remove_checkpoints(folder)
    if (folder / _EXPERIMENT).is_file():
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (_EXPERIMENT, LOCK):
                entry.unlink()
        (folder / _EXPERIMENT).unlink()


def _require_same(folder: Path, experiment: Experiment) -> None:
    before, now = read_experiment(folder).model_dump(), experiment.model_dump()
    free = set(_FREE_TO_CHANGE)
    if before["weights"] and now["weights"] and _holds_its_weights(now["weights"], folder):
        free.add("weights")  # the same ones in another place
    for key in before:
        if key not in free and before[key] != now[key]:
            raise SpecificationError(
                f"{folder}: was started with {key} = {_shown(before[key])}, not {_shown(now[key])}; "
                "change it back, or choose another --out or name"
            )


def _holds_its_weights(weights: str, folder: Path) -> bool:
    """Whether ``weights`` is there. Raises SpecificationError where it is not what the run was started from."""
    same = started_from(folder, weights)
    if same is False:
        raise SpecificationError(
            f"{folder}: was started from other weights than {weights} holds now; use --overwrite, or give those"
        )
    return same is True


def _shown(value: Any) -> str:
    return "default" if value is None else json.dumps(value)
