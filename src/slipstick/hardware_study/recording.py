"""Operands of a real training: float32, recorded at a few steps, the same for every unit of a study."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from slipstick.hardware.cache import content_key
from slipstick.hardware.operands import Operands, Piece, merged, normal, of_role
from slipstick.hardware.streams import Stream, record
from slipstick.hardware.tools import Progress, silent
from slipstick.hardware.workload import ROLES
from slipstick.hardware_study.config import HardwareStudy
from slipstick.train import Data, load_data
from slipstick.train.atomic_files import replace_atomically
from slipstick.train.config import Experiment
from slipstick.train.loop import Run
from slipstick.train.optimizers import learning_rate, set_learning_rate

NORMAL = "normal"
"""Name of operands that are independent normal numbers."""

_DOT_LENGTH = 64
_DOTS = 32

_T = TypeVar("_T")

Recorded = dict[str, Operands]
"""Operands by name: of every role, or ``NORMAL``."""


def recorded_operands(study: HardwareStudy, progress: Progress = silent) -> Recorded:
    """Of the study's training, or normal ones where it has none; kept in its folder."""
    found: Recorded = {}
    if study.training is not None:
        path, key = study.folder / "operands.npz", _key(study)
        kept = _read(path, key)
        if kept is None:
            kept = _record(study, study.training, progress)
            _write(path, key, kept)
        found = kept
    return found | {NORMAL: normal(study.cycles, _DOT_LENGTH, study.seed)}


def of_training(operands: Recorded) -> Operands:
    """Of all roles one after another; where nothing was recorded, the normal ones."""
    return merged(recorded(operands))


def recorded(found: Mapping[str, _T]) -> list[_T]:
    """What belongs to recorded operands; where there are none, to the normal ones."""
    return [value for name, value in found.items() if name != NORMAL] or [found[NORMAL]]


def _record(study: HardwareStudy, experiment: Experiment, progress: Progress) -> Recorded:
    streams: list[Stream] = []
    with torch.random.fork_rng(devices=[]):
        data = load_data(experiment)
        run, steps = Run(experiment, data), study.record_at[-1] + 1
        run.model.train()
        for step, (inputs, targets) in enumerate(islice(_batches(data, experiment.seed), steps)):
            loss = partial(F.cross_entropy, target=targets)
            if step in study.record_at:
                streams += record(run.model, inputs, loss, dots=_DOTS, seed=study.seed + step)
            set_learning_rate(run.optimizer, learning_rate(experiment, step, data.steps_per_epoch))
            run.optimizer.zero_grad()
            loss(run.model(inputs)).backward()
            run.optimizer.step()
            progress("training, to record operands", (step + 1) / steps)
    return {role: of_role(streams, role, study.cycles, study.seed) for role in ROLES}


def _batches(data: Data, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch after another."""
    for epoch in count():
        yield from data.training_batches(seed, epoch, 0)


def _key(study: HardwareStudy) -> str:
    chosen = study.model_dump(include={"training", "record_at", "cycles", "seed"}, mode="json")
    return content_key(json.dumps(chosen, sort_keys=True))


def _write(path: Path, key: str, operands: Recorded) -> None:
    arrays: dict[str, np.ndarray] = {"key": np.array(key)}
    for name, pieces in operands.items():
        for i, piece in enumerate(pieces):
            peaks = np.array([piece.a_peak, piece.b_peak])
            arrays[f"{name}.{i}"] = np.stack([piece.a, piece.b, piece.clear.astype(np.float32)])
            arrays[f"{name}.{i}.peaks"] = peaks
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    replace_atomically(path, write)


def _read(path: Path, key: str) -> Recorded | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            return {role: tuple(_pieces(file, role)) for role in ROLES}
    except (OSError, ValueError, KeyError):
        return None


def _pieces(file: "np.lib.npyio.NpzFile", role: str) -> list[Piece]:
    pieces: list[Piece] = []
    while f"{role}.{len(pieces)}" in file:
        a, b, clear = file[f"{role}.{len(pieces)}"]
        a_peak, b_peak = file[f"{role}.{len(pieces)}.peaks"].tolist()
        pieces.append(Piece(a, b, clear.astype(np.int64), a_peak, b_peak))
    return pieces
