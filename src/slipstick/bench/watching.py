"""What watching costs: a training step that is looked at, one that is not, and the same step unwatched, in turns."""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

import slipstick as ss
from slipstick.arithmetic import parse_arithmetic
from slipstick.bench.timing import seconds
from slipstick.train.config import VGG, Model, SmallCNN
from slipstick.train.metrics import MetricsLog
from slipstick.train.models import build_model
from slipstick.train.progress import TrainingProgress
from slipstick.train.watch_log import WatchLog
from slipstick.watch import WATCH_EVERY, WATCH_RECIPE_EVERY

_RECIPES = ("miyashita2016", "luq2021")


@dataclass(frozen=True)
class Subject:
    """A network on random images. repeats: rounds of the three kinds of step."""

    name: str
    model: Model
    shape: tuple[int, int, int]
    batch: int
    repeats: int


SUBJECTS = (
    Subject("cnn on 8 x 8 images, batch 64", SmallCNN(), (1, 8, 8), 64, 40),
    Subject("vgg11 of quarter width on 32 x 32 images, batch 128", VGG(name="vgg11", width=0.25), (3, 32, 32), 128, 5),
)


@dataclass(frozen=True)
class WatchingCost:
    """Median seconds of a step: unwatched, watched but not looked at, and looked at, file and TensorBoard included.

    rounding: the arithmetic, or the recipe.
    """

    name: str
    rounding: str
    plain: float
    between: float
    looked_at: float

    @property
    def share(self) -> float:
        """Of the time of unwatched steps, what is added at the default interval."""
        every = WATCH_RECIPE_EVERY if self.rounding in _RECIPES else WATCH_EVERY
        return (self.looked_at - self.plain) / (every * self.plain)


def watching_costs(arithmetic: str, subjects: tuple[Subject, ...] = SUBJECTS) -> Iterator[WatchingCost]:
    """On each network, in an arithmetic (as text) and quantised by shipped recipes."""
    for subject in subjects:
        for rounding in (arithmetic, *_RECIPES):
            yield _cost(subject, rounding)


def _cost(subject: Subject, rounding: str) -> WatchingCost:
    torch.manual_seed(0)
    batch = torch.randn(subject.batch, *subject.shape), torch.randint(0, 10, (subject.batch,))
    plain, watched = _Training(subject, rounding, batch), _Training(subject, rounding, batch)
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    log = WatchLog(watched.model, watched.optimizer, 2, has_reference=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        MetricsLog(Path(folder)) as metrics,
        TrainingProgress("", 1, 0, quiet=True) as progress,
        log.open(Path(folder), 2, metrics, progress),  # the next step is not looked at, the one after it is
    ):
        looking = partial(watched.step, log)
        steps: tuple[Callable[[], None], ...] = (plain.step, looking, looking)
        for step in steps:
            step()
        for _ in range(subject.repeats):
            for found, step in zip(times, steps, strict=True):
                found.append(seconds(step))
    return WatchingCost(subject.name, rounding, *map(statistics.median, times))


class _Training:
    def __init__(self, subject: Subject, rounding: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._x, self._y = batch
        self.model = build_model(subject.model, subject.shape, 10)
        self._arithmetic = None if rounding in _RECIPES else parse_arithmetic(rounding)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        if self._arithmetic is None:
            ss.quantize(self.model, rounding, calibration=[self._x]).attach(self.optimizer)
        else:
            ss.snap_(self.model, self._arithmetic)

    def step(self, log: WatchLog | None = None) -> None:
        if log is not None:
            log.before_step(1, lambda twin: F.cross_entropy(twin(self._x), self._y))
        with nullcontext() if self._arithmetic is None else ss.use(self._arithmetic):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self._x), self._y).backward()
            self.optimizer.step()
