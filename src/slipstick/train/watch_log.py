"""What watching a run sees, in its folder: watch.jsonl, a line for each step looked at, and TensorBoard's scalars.

A resumed run drops the lines of steps that it will take again, and goes on.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from torch import nn
from torch.optim import Optimizer

from slipstick.train.atomic_files import write_text
from slipstick.train.config import Experiment
from slipstick.train.metrics import MetricsLog
from slipstick.train.progress import TrainingProgress
from slipstick.watch import WATCH_EVERY, WATCH_RECIPE_EVERY, Look, Watch
from slipstick.watch.reference import LossOf

FILE_NAME = "watch.jsonl"


class WatchLog:
    """Watches one run; nothing at all where ``every`` is 0."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, every: int, has_reference: bool) -> None:
        """has_reference: whether gradients differ from float32, so that their noise can be measured."""
        self._model, self._optimizer, self._every = model, optimizer, every
        self._has_reference = has_reference
        self._watch: Watch | None = None
        self._epoch = 1

    @classmethod
    def of(cls, experiment: Experiment, model: nn.Module, optimizer: Optimizer) -> "WatchLog":
        """As the experiment asks for. float32 has no grid: by default it is not watched."""
        every = experiment.watch_every
        if every is None:
            every = WATCH_EVERY if experiment.recipe is None else WATCH_RECIPE_EVERY
            every = 0 if experiment.is_fp32 else every
        has_reference = not experiment.is_fp32 and experiment.micro_batches == 1  # which is of a batch as a whole
        return cls(model, optimizer, every, has_reference)

    @contextmanager
    def open(self, folder: Path, steps: int, metrics: MetricsLog, progress: TrainingProgress) -> Iterator[None]:
        """Watch within the block a run that has taken ``steps`` steps. Warnings go to ``progress``."""
        kept = _keep(folder / FILE_NAME, steps)
        if self._every == 0:
            yield
            return
        with (folder / FILE_NAME).open("a", encoding="utf-8") as file:

            def on_look(look: Look) -> None:
                self._write(look, file, metrics, progress)

            self._watch = Watch(self._model, self._optimizer, every=self._every, on_look=on_look)
            self._watch.resume(steps, kept)
            try:
                yield
            finally:
                self._watch.remove()

    def before_step(self, epoch: int, loss: LossOf) -> None:
        """The next step belongs to this epoch (from 1); ``loss`` gives its loss in any copy of the network."""
        self._epoch = epoch
        if self._watch is not None and self._has_reference:
            self._watch.reference(loss)

    def _write(self, look: Look, file: TextIO, metrics: MetricsLog, progress: TrainingProgress) -> None:
        file.write(json.dumps(look.to_dict(self._epoch), separators=(",", ":")) + "\n")
        file.flush()
        metrics.watched(look.step, look.scalars())
        for text in look.warnings:
            progress.warning(text)


def read_watch(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run folder, without one that a crash cut short; none where it was not watched."""
    path = folder / FILE_NAME
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def _keep(path: Path, steps: int) -> list[Look]:
    """Leave the lines of the first ``steps`` steps in the file; what they hold."""
    if not path.is_file():
        return []
    lines = [line for line in read_watch(path.parent) if line["step"] <= steps]
    write_text(path, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return [Look.from_dict(line) for line in lines]
