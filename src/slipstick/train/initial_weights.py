"""The weights that a run starts from: those of another run's checkpoint, in whatever that run was executed."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.quantize.layer_quantizers import CHILD
from slipstick.train.atomic_files import write_json
from slipstick.train.checkpoint_files import has_checkpoint
from slipstick.train.checkpoints import checkpoint_hash, read_model_state

_RECORD = "initial_weights.json"
_PARAMETRIZATIONS = "parametrizations"

Tensors = dict[str, torch.Tensor]


def check_initial_weights(weights: str, run: Path) -> None:
    """Raises SpecificationError where the run in folder ``run`` cannot start from the run folder ``weights``."""
    folder = Path(weights)
    if folder == run.resolve():
        raise SpecificationError(f"weights = {weights}: is the folder of this run itself; give that of another run")
    if not folder.is_dir():
        raise SpecificationError(f"weights = {weights}: no such folder; train that run first, or give another")
    if not has_checkpoint(folder):
        raise SpecificationError(
            f"weights = {weights}: holds no checkpoint; give the folder of one trained run, such as runs/NAME/fp32"
        )


def load_initial_weights(model: nn.Module, weights: str) -> None:
    """Give ``model``, which has no recipe yet, the parameters and buffers in the run folder ``weights``.

    Of a run in an arithmetic these are numbers on its grid; of a run with a recipe the weights as they are stored, in
    full precision where it keeps a master copy. Raises SpecificationError where they do not fit.
    """
    tensors, is_quantised = read_model_state(Path(weights))
    tensors = without_quantisers(tensors) if is_quantised else tensors
    misfit = next(_misfits(model.state_dict(), tensors), None)
    if misfit is not None:
        raise SpecificationError(
            f"weights = {weights}: {misfit}; use the model and data of its experiment.toml, or give another run"
        )
    model.load_state_dict(tensors)


def without_quantisers(state: Tensors) -> Tensors:
    """The state of a quantised model as ``ss.dequantize`` would leave it: no ranges, weights by their own names."""
    plain = {}
    for name, tensor in state.items():
        path = name.split(".")
        if _PARAMETRIZATIONS in path:
            at = path.index(_PARAMETRIZATIONS)
            attribute, what = path[at + 1 : at + 3]
            if what == "original":  # else the range of the quantiser
                plain[".".join([*path[:at], attribute])] = tensor
        elif CHILD not in path:
            plain[name] = tensor
    return plain


def record_initial_weights(run: Path, weights: str) -> None:
    """Write into the run's folder what it starts from."""
    write_json(run / _RECORD, {"folder": weights, "tensors_sha256": checkpoint_hash(Path(weights))})


def started_from(run: Path, weights: str) -> bool | None:
    """Whether the run in folder ``run`` was started from what ``weights`` holds now; None where that is gone."""
    now = checkpoint_hash(Path(weights))
    if now is None:
        return None
    try:
        return bool(json.loads((run / _RECORD).read_text(encoding="utf-8"))["tensors_sha256"] == now)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _misfits(own: Tensors, given: Tensors) -> Iterator[str]:
    """What keeps a network with the state ``own`` from taking ``given``."""
    for name, tensor in own.items():
        if name not in given:
            yield f"has no tensor {name!r}, which this network has"
        elif given[name].shape != tensor.shape:
            yield f"its tensor {name!r} has the shape {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
    yield from (f"has a tensor {name!r}, which this network has not" for name in sorted(given) if name not in own)
