"""The state of a run, and that state in a checkpoint: tensors in safetensors, the rest in JSON, no pickle.

Weights and the optimiser's state are there as integer codes where they lie on the grid of the run's arithmetic. How
the files are written, checked and kept is in ``checkpoint_files``. The learning rate and the order of the data need no
state of their own: they are functions of the experiment and the position.
"""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.quantize import Quantization
from slipstick.train.checkpoint_files import KEEP, Index, newest_index, open_newest, write_checkpoint
from slipstick.train.metrics import Totals
from slipstick.train.observer import Observer
from slipstick.train.stored_tensors import Tensors, save_tensors

_OBSERVER = "observer."
_UNREADABLE = (OSError, KeyError, TypeError, ValueError, RuntimeError)


@dataclass
class Position:
    """How far a run is. ``epoch`` and ``step`` (within it) count from 0 and say what comes next."""

    epoch: int = 0
    step: int = 0
    elapsed: float = 0.0
    epoch_totals: Totals = field(default_factory=Totals)
    window_totals: Totals = field(default_factory=Totals)


@dataclass(frozen=True)
class Checkpoint:
    """What is saved besides network, optimiser and generators.

    metrics_bytes: the length of metrics.csv. execution: what the run is executed in, as data. test_accuracy: where the
    network as it is was tested. distances: the text of distances.json.
    """

    position: Position
    metrics_bytes: int
    execution: dict[str, Any]
    test_accuracy: float | None = None
    distances: str | None = None


def save_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    quantization: Quantization | None = None,
    observer: Observer | None = None,
    *,
    formats: Sequence[LNS] = (),
    keep: int = KEEP,
) -> None:
    """Add the state to the checkpoints, PyTorch's CPU generator and that of the recipe included.

    formats: on whose grids numbers may lie, the first that fits is taken. keep: so many of the last checkpoints stay,
    besides the one with the best accuracy. Raises StorageError.
    """
    tensors, values = _state(model, optimizer)
    watched = {} if observer is None else {f"{_OBSERVER}{name}": t for name, t in observer.state_dict().items()}
    content: Index = {
        **asdict(checkpoint),
        "optimizer_values": values,
        "learning_rates": [group["lr"] for group in optimizer.param_groups],
        "generator": _text(torch.get_rng_state()),
        "torch": str(torch.__version__),
    }
    if quantization is not None:
        generators = quantization.state_dict()["generator"]
        content["rounding_generators"] = {device: _text(state) for device, state in generators.items()}
    write_checkpoint(folder, content, lambda file: save_tensors(tensors | watched, file, formats), keep)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    quantization: Quantization | None = None,
    observer: Observer | None = None,
) -> Checkpoint:
    """Restore model, optimiser and the generators from the newest checkpoint that is whole, and set damaged ones aside.

    Raises SpecificationError where none is, or it belongs to another run.
    """
    index, tensors = open_newest(folder, set_aside=True)
    try:
        _restore(tensors, index["optimizer_values"], model, optimizer)
        if observer is not None:
            observer.load_state_dict(_observed(tensors, folder))
        position: dict[str, Any] = index["position"]
        position |= {key: Totals(**position[key]) for key in ("epoch_totals", "window_totals")}
        torch.set_rng_state(_tensor(index["generator"]))
        if quantization is not None:
            generators = {device: _tensor(text) for device, text in index["rounding_generators"].items()}
            quantization.load_state_dict({"generator": generators})
        others = {key: index[key] for key in ("metrics_bytes", "execution", "test_accuracy", "distances")}
        return Checkpoint(Position(**position), **others)
    except _UNREADABLE as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(
            f"{folder}: its checkpoint cannot be read ({_reason(error)}); use --overwrite"
        ) from None


def read_model_state(folder: Path) -> tuple[Tensors, bool]:
    """Parameters and buffers in the newest whole checkpoint of a run folder, and whether they are a quantised model's.

    Raises SpecificationError where there is none.
    """
    try:
        index, tensors = open_newest(folder)
        return _of_model(tensors), "recipe" in index["execution"]
    except _UNREADABLE as error:
        raise SpecificationError(
            f"weights = {folder}: its checkpoint cannot be read ({_reason(error)}); give another run"
        ) from None


def read_observer_state(folder: Path) -> Tensors:
    """What the observer of a run had seen at its checkpoint. Raises SpecificationError where nobody watched."""
    return _observed(open_newest(folder)[1], folder)


def checkpoint_hash(folder: Path) -> str | None:
    """The hash of the tensors in the newest whole checkpoint of a run folder; None where there is none."""
    try:
        return str(newest_index(folder)["tensors_sha256"])
    except SpecificationError:
        return None


def _observed(tensors: Tensors, folder: Path) -> Tensors:
    state = {name.removeprefix(_OBSERVER): t for name, t in tensors.items() if name.startswith(_OBSERVER)}
    if not state:
        raise SpecificationError(f"{folder}: was not watched from its beginning; use --overwrite, or another --out")
    return state


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _of_model(tensors: Tensors) -> Tensors:
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, dict[str, Any]]]:
    """Tensors by name, and by parameter what else the optimiser keeps."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    values: dict[str, dict[str, Any]] = {}
    names = _names(model, optimizer)
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{names[index]}.{key}"] = value
            else:
                values.setdefault(names[index], {})[key] = value
    return tensors, values


def _restore(tensors: Tensors, values: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.load_state_dict(_of_model(tensors))
    names = _names(model, optimizer)
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            parameter, _, key = name.removeprefix("optimizer.").rpartition(".")
            state.setdefault(names.index(parameter), {})[key] = tensor
    for parameter, others in values.items():
        state.setdefault(names.index(parameter), {}).update(others)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """The names of the parameters in the order in which the optimiser counts them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _text(state: torch.Tensor) -> str:
    """A generator's state (uint8) for JSON."""
    return base64.b64encode(state.numpy().tobytes()).decode()


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
