"""Progress on stderr: bars with the time that remains, and a line for every epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from slipstick.progress_bars import progress_bars


def _progress(console: Console) -> Progress:
    return progress_bars(console, MofNCompleteColumn(), TextColumn("{task.fields[metrics]}"))


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar; the value it gives advances it."""
    with _progress(Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, metrics="")
        yield lambda n: progress.advance(task, n)


@dataclass(frozen=True)
class EpochSummary:
    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    step_seconds: float


class TrainingProgress:
    """The progress of one run. ``quiet`` shows nothing."""

    def __init__(self, label: str, steps: int, done: int, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._progress = _progress(self._console)
        self._label = label
        self._task = self._progress.add_task(label, total=steps or None, completed=done, metrics="")

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, loss: float, accuracy: float, seconds: float) -> None:
        metrics = f"loss {loss:.3f}  accuracy {accuracy:.3f}  {1000 * seconds:.0f} ms/step"
        self._progress.update(self._task, advance=1, metrics=metrics)

    def epoch(self, summary: EpochSummary) -> None:
        self._console.print(
            f"{self._label}: epoch {summary.epoch}/{summary.epochs}"
            f"  train loss {summary.train_loss:.3f} accuracy {summary.train_accuracy:.3f}"
            f"  test loss {summary.test_loss:.3f} accuracy {summary.test_accuracy:.3f}"
            f"  {1000 * summary.step_seconds:.0f} ms/step",
            highlight=False,
            soft_wrap=True,
        )

    def warning(self, text: str) -> None:
        """Something that is about to fail."""
        self._console.print(f"{self._label}: warning: {text}", highlight=False, markup=False, soft_wrap=True)

    def evaluation(self, test_loss: float, test_accuracy: float) -> None:
        """The one line of a run that trains nothing."""
        self._console.print(
            f"{self._label}: not trained  test loss {test_loss:.3f} accuracy {test_accuracy:.3f}",
            highlight=False,
            soft_wrap=True,
        )
