"""The state of a run on disk: tensors in safetensors, the rest in JSON, no pickle.

checkpoint.json names its tensor file and that file's hash and is replaced last, so at every moment it is either the
old checkpoint or the new one.
"""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.quantize import Quantization
from slipstick.train.atomic_files import replace_atomically, write_json
from slipstick.train.metrics import Totals
from slipstick.train.observer import Observer

_INDEX = "checkpoint.json"
_VERSION = 1
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
    position: Position
    metrics_bytes: int
    execution: dict[str, Any]


def has_checkpoint(folder: Path) -> bool:
    return (folder / _INDEX).is_file()


def save_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    quantization: Quantization | None = None,
    observer: Observer | None = None,
) -> None:
    """Write the state, PyTorch's CPU generator and that of the recipe included, then remove older tensor files."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    values: dict[str, dict[str, Any]] = {}
    names = _names(model, optimizer)
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{names[index]}.{key}"] = value
            else:
                values.setdefault(names[index], {})[key] = value
    if observer is not None:
        tensors |= {f"{_OBSERVER}{name}": tensor for name, tensor in observer.state_dict().items()}
    position = checkpoint.position
    file = f"checkpoint-{position.epoch:04d}-{position.step:06d}.safetensors"
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    replace_atomically(folder / file, lambda temporary: save_file(contiguous, temporary))
    index = {
        "version": _VERSION,
        "tensors": file,
        "tensors_sha256": _sha256(folder / file),
        "position": asdict(position),
        "metrics_bytes": checkpoint.metrics_bytes,
        "optimizer_values": values,
        "generator": _text(torch.get_rng_state()),
        "execution": checkpoint.execution,
        "torch": str(torch.__version__),
    }
    if quantization is not None:
        generators = quantization.state_dict()["generator"]
        index["rounding_generators"] = {device: _text(state) for device, state in generators.items()}
    write_json(folder / _INDEX, index)
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != file:
            old.unlink()


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    quantization: Quantization | None = None,
    observer: Observer | None = None,
) -> Checkpoint:
    """Restore model, optimiser and the generators. Raises SpecificationError where the files are damaged."""
    try:
        index, tensors = _open(folder)
        _restore(tensors, index["optimizer_values"], model, optimizer)
        if observer is not None:
            observer.load_state_dict(_observed(tensors, folder))
        position: dict[str, Any] = index["position"]
        position |= {key: Totals(**position[key]) for key in ("epoch_totals", "window_totals")}
        torch.set_rng_state(_tensor(index["generator"]))
        if quantization is not None:
            generators = {device: _tensor(text) for device, text in index["rounding_generators"].items()}
            quantization.load_state_dict({"generator": generators})
        return Checkpoint(Position(**position), index["metrics_bytes"], index["execution"])
    except _UNREADABLE as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(f"{folder / _INDEX}: cannot be read ({_reason(error)}); use --overwrite") from None


def read_model_state(folder: Path) -> tuple[dict[str, torch.Tensor], bool]:
    """Parameters and buffers in the checkpoint of a run folder, and whether they are a quantised model's.

    Raises SpecificationError where the files are damaged.
    """
    try:
        index, tensors = _open(folder)
        return _of_model(tensors), "recipe" in index["execution"]
    except _UNREADABLE as error:
        raise SpecificationError(
            f"weights = {folder}: its checkpoint cannot be read ({_reason(error)}); give another run"
        ) from None


def read_observer_state(folder: Path) -> dict[str, torch.Tensor]:
    """What the observer of a run had seen at its checkpoint. Raises SpecificationError where nobody watched."""
    try:
        return _observed(_open(folder)[1], folder)
    except _UNREADABLE as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(f"{folder / _INDEX}: cannot be read ({_reason(error)}); use --overwrite") from None


def checkpoint_hash(folder: Path) -> str | None:
    """The hash of the tensors in the checkpoint of a run folder; None where there is none."""
    try:
        return str(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["tensors_sha256"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _observed(tensors: dict[str, torch.Tensor], folder: Path) -> dict[str, torch.Tensor]:
    state = {name.removeprefix(_OBSERVER): t for name, t in tensors.items() if name.startswith(_OBSERVER)}
    if not state:
        raise SpecificationError(f"{folder}: was not watched from its beginning; use --overwrite, or another --out")
    return state


def _open(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The index of a checkpoint and its tensors."""
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    if index["version"] != _VERSION:
        raise SpecificationError(f"{folder}: checkpoint version {index['version']}, this build reads {_VERSION}")
    file = folder / index["tensors"]
    if _sha256(file) != index["tensors_sha256"]:
        raise SpecificationError(f"{file}: does not match its checkpoint; start again with --overwrite")
    return index, load_file(file)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _of_model(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


def _restore(
    tensors: dict[str, torch.Tensor], values: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
