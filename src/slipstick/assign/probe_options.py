"""What is probed of a training, and the file that keeps the answer beside its checkpoints."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from slipstick.errors import SpecificationError
from slipstick.precision.probe import Probe
from slipstick.precision.statistics import Statistics
from slipstick.train.atomic_files import write_json
from slipstick.train.progress import progress_bar

FILE_NAME = "statistics.json"


@dataclass(frozen=True)
class ProbeOptions:
    """samples: of the training data, that noise gains are averaged over. draws: see ``NoiseGainSum``; None is exact.
    every, ignore: see ``Probe``."""

    samples: int = 256
    draws: int | None = None
    every: int = 1
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("samples", self.samples), ("draws", self.draws), ("every", self.every)):
            if (type(value) is not int or value < 1) and not (name == "draws" and value is None):
                raise SpecificationError(f"probe: {name} = {value!r} must be a positive integer")

    def watch(self, model: nn.Module, batches: Iterable[Any]) -> Probe:
        """A probe that is attached. What cannot be probed is refused here, before the training; see ``Probe.check``."""
        probe = Probe(model, every=self.every, ignore=self.ignore)
        for inputs in _first(batches, 1):
            probe.check(inputs)
        return probe.attach()

    def statistics(
        self, probe: Probe, batches: Iterable[Any], smallest_lr: float, batch: int, folder: Path, quiet: bool
    ) -> Statistics:
        """Those in the folder's file, where it was asked the same of as many steps; else measured, and written there.

        batch: the samples of a training step. The model is in its final state. Shows a bar unless ``quiet``.
        """
        question = {**self._question(batch), "steps": probe.steps, "smallest_lr": smallest_lr}
        path = folder / FILE_NAME
        saved = _read(path)
        if saved is not None and saved[0] == question:
            return saved[1]
        bar: AbstractContextManager[Callable[[int], None]] = nullcontext(lambda _: None)
        if not quiet:
            bar = progress_bar("noise gains", self.samples)
        with bar as done:
            samples = _first(batches, self.samples)
            found = probe.statistics(samples, smallest_lr, batch=batch, draws=self.draws, done=done)
        write_json(path, {"question": question, "statistics": found.to_dict()})
        return found

    def known(self, folder: Path, batch: int) -> Statistics | None:
        """Those in the file of a folder whose training is over, where it was asked the same; else None."""
        saved = _read(folder / FILE_NAME)
        return saved[1] if saved is not None and saved[0].items() >= self._question(batch).items() else None

    def _question(self, batch: int) -> dict[str, Any]:
        return {**asdict(self), "ignore": list(self.ignore), "batch": batch}


def _read(path: Path) -> tuple[dict[str, Any], Statistics] | None:
    """A question and its answer; None where there is no file. Raises SpecificationError for one that is damaged."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return dict(saved["question"]), Statistics.from_dict(saved["statistics"])
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SpecificationError(f"{path}: cannot be read ({reason}); delete it to measure again") from None


def _first(batches: Iterable[Any], samples: int) -> Iterator[Any]:
    """The inputs of the first ``samples`` samples, in batches."""
    left = samples
    for batch in batches:
        inputs = (batch[0] if isinstance(batch, (tuple, list)) else batch)[:left]
        left -= len(inputs)
        yield inputs
        if left == 0:
            return
