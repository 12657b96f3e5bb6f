"""The float32 training of a model and a loader of the user's own, from nothing to its statistics.

Needs ``slipstick[train]``.
"""

import math
import time
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from slipstick.assign.probe_options import FILE_NAME, ProbeOptions
from slipstick.assign.run_control import RunControl
from slipstick.errors import SpecificationError
from slipstick.precision.probe import Probe
from slipstick.precision.statistics import Statistics
from slipstick.train.atomic_files import remove_partial_files
from slipstick.train.checkpoint_files import has_checkpoint, remove_checkpoints
from slipstick.train.checkpoints import Checkpoint, Position, load_checkpoint, save_checkpoint
from slipstick.train.folder_lock import lock_folder
from slipstick.train.interrupts import Interrupted, StopRequest
from slipstick.train.progress import TrainingProgress
from slipstick.train.user_functions import types_of, user_function


@dataclass(frozen=True)
class Program:
    """What a user's function returns. loader: gives batches (inputs, targets) whenever it is iterated over."""

    model: nn.Module
    loader: Iterable[Any]
    optimizer: torch.optim.Optimizer


def load_program(target: str) -> Program:
    """Call "package.module:function", importable from the working directory too.

    It takes no arguments and returns (model, loader) or (model, loader, optimizer); by default the optimiser is SGD
    with lr 0.01 and momentum 0.9. Raises SpecificationError where there is no such function or it returns other things.
    """
    made = user_function(target)()
    match made:
        case (nn.Module() as model, Iterable() as loader):
            optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        case (nn.Module() as model, Iterable() as loader, torch.optim.Optimizer() as optimizer):
            pass
        case _:
            raise SpecificationError(
                f"{target}: returned {types_of(made)}; it must return (model, loader[, optimizer])"
            )
    return Program(model, loader, optimizer)


def probe_program(
    target: str,
    folder: Path,
    *,
    epochs: int = 1,
    seed: int = 0,
    smallest_lr: float | None = None,
    options: ProbeOptions | None = None,
    control: RunControl | None = None,
) -> Statistics:
    """Train what ``load_program`` gives, by cross-entropy, watched by a probe; returns the statistics.

    The model makes logits (N, classes) or (N, positions, classes) of inputs (N, ...). Training is saved to ``folder``
    after every epoch, with PyTorch's CPU generator; interrupted it goes on from there. smallest_lr: of the training
    that is to be assigned, if not the optimiser's own lr at the end.
    Raises SpecificationError, also where the loss is no number any more, or Interrupted.
    """
    options, control = options or ProbeOptions(), control or RunControl()
    if epochs < 1:
        raise SpecificationError(f"epochs = {epochs}: there is no training to probe; give at least 1")
    started = has_checkpoint(folder) and not control.overwrite
    if started and not control.resume:
        raise SpecificationError(
            f"{folder}: holds a started run; add --resume to continue or --overwrite to replace it"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        program = load_program(target)
        probe = options.watch(program.model, program.loader)
        run = _Run(program, probe, folder, {"program": target, "seed": seed})
        with lock_folder(folder):
            remove_partial_files(folder)
            if started:
                run.restore()
            else:
                (folder / FILE_NAME).unlink(missing_ok=True)
                remove_checkpoints(folder)
            run.train(epochs, control.quiet, control.stop or StopRequest())
        probe.remove()
        lr = min(group["lr"] for group in program.optimizer.param_groups) if smallest_lr is None else smallest_lr
        batch = len(next(iter(program.loader))[0])
        return options.statistics(probe, program.loader, lr, batch, folder, control.quiet)


class _Run:
    """How far a program's training is."""

    def __init__(self, program: Program, probe: Probe, folder: Path, facts: dict[str, Any]) -> None:
        self._program, self._probe, self._folder, self._facts = program, probe, folder, facts
        self._position = Position()

    def restore(self) -> None:
        program = self._program
        checkpoint = load_checkpoint(self._folder, program.model, program.optimizer, observer=self._probe)
        if checkpoint.execution != self._facts:
            raise SpecificationError(f"{self._folder}: holds a run of {checkpoint.execution}; choose another --out")
        self._position = checkpoint.position

    def train(self, epochs: int, quiet: bool, stop: StopRequest) -> None:
        """To the end of so many epochs."""
        program, position = self._program, self._position
        if position.epoch > epochs:
            raise SpecificationError(
                f"{self._folder}: was trained for {position.epoch} epochs; give as many or more, or --overwrite"
            )
        length = len(program.loader) if isinstance(program.loader, Sized) else 0
        label = self._facts["program"]
        with stop, TrainingProgress(label, epochs * length, position.epoch * length, quiet) as progress:
            while position.epoch < epochs:
                for inputs, targets in program.loader:
                    self._step(inputs, targets, progress)
                    if stop.requested is not None:
                        where = f"{self._folder}: stopped in epoch {position.epoch + 1}; resumed, it begins with that"
                        raise Interrupted(where, stop.requested)
                position.epoch += 1
                checkpoint = Checkpoint(position, 0, self._facts)
                save_checkpoint(self._folder, checkpoint, program.model, program.optimizer, observer=self._probe)

    def _step(self, inputs: torch.Tensor, targets: torch.Tensor, progress: TrainingProgress) -> None:
        program, start = self._program, time.perf_counter()
        program.model.train()
        program.optimizer.zero_grad()
        logits = program.model(inputs).flatten(0, -2)
        targets = targets.flatten()
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        self._probe.after_backward()
        program.optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise SpecificationError(f"{self._facts['program']}: the loss became {value}; lower the learning rate")
        accuracy = float((logits.argmax(dim=1) == targets).float().mean())
        progress.step(value, accuracy, time.perf_counter() - start)
