"""What a run records: sums while it trains, rows in metrics.csv, scalars for TensorBoard."""

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.train.append_only import AppendOnlyFile
from slipstick.train.atomic_files import write_text, writing

FILE_NAME = "metrics.csv"


@dataclass
class Totals:
    """Sums over training steps. images: of text, positions at which a character was predicted."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0
    steps: int = 0
    seconds: float = 0.0

    def add(self, loss: float, correct: int, images: int, seconds: float) -> None:
        self.loss += loss * images
        self.correct += correct
        self.images += images
        self.steps += 1
        self.seconds += seconds

    @property
    def mean_loss(self) -> float:
        return self.loss / self.images

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    @property
    def step_seconds(self) -> float:
        return self.seconds / self.steps


@dataclass(frozen=True)
class Row:
    """A line of metrics.csv. kind "step": means since the last one; "epoch": means over it, and the test set's.

    epoch and step count from 1; where nothing was trained both are 0 and what training gives is None. step_seconds is
    the mean time of forward, backward and update; elapsed_seconds the time spent in this run so far, evaluation
    included.
    """

    kind: str
    epoch: int
    step: int
    lr: float | None
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    step_seconds: float | None
    elapsed_seconds: float


class MetricsLog:
    """Appends rows to metrics.csv and to TensorBoard's event file in one run folder, each at once.

    Every method raises StorageError where the disk refuses.
    """

    def __init__(self, folder: Path, keep_bytes: int | None = None, step: int = 0) -> None:
        """``keep_bytes``: resume a file that had this length at ``step``; what was written since is dropped.

        Raises SpecificationError where it is shorter.
        """
        from slipstick.train.event_file import EventFile

        path = folder / FILE_NAME
        if keep_bytes is None:
            write_text(path, ",".join(field.name for field in fields(Row)) + "\n")
        else:
            _require_bytes(path, keep_bytes)
            with writing(path):
                os.truncate(path, keep_bytes)
        self._file = AppendOnlyFile(path)
        self._board = EventFile(folder / "tensorboard", purge_step=None if keep_bytes is None else step + 1)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()

    def append(self, row: Row) -> None:
        values = asdict(row)
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(["" if v is None else v for v in values.values()])
        self._file.write(line.getvalue().encode())
        for name in ("lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "step_seconds"):
            if values[name] is not None:
                self._board.add_scalar(f"{row.kind}/{name}", values[name], row.step)

    def watched(self, step: int, scalars: Mapping[str, float]) -> None:
        """What watching the step has seen, for TensorBoard."""
        for name, value in scalars.items():
            self._board.add_scalar(f"watch/{name}", value, step)

    def sync(self) -> int:
        """Bring the rows to disk; returns the length of the file."""
        self._board.sync()
        return self._file.sync()


def read_metrics(folder: Path) -> list[Row]:
    """The rows of a run folder; a last line that a crash cut short is left out."""
    text = (folder / FILE_NAME).read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    return [_row(record) for record in csv.DictReader(io.StringIO(complete))]


def _require_bytes(path: Path, count: int) -> None:
    length = path.stat().st_size if path.is_file() else 0
    if length < count:
        raise SpecificationError(
            f"{path}: has lost rows since the checkpoint: {length} bytes of {count}; bring it back, or use --overwrite"
        )


def _row(record: dict[str, Any]) -> Row:
    def number(name: str) -> float | None:
        return float(record[name]) if record[name] else None

    return Row(
        kind=record["kind"],
        epoch=int(record["epoch"]),
        step=int(record["step"]),
        lr=number("lr"),
        train_loss=number("train_loss"),
        train_accuracy=number("train_accuracy"),
        test_loss=number("test_loss"),
        test_accuracy=number("test_accuracy"),
        step_seconds=number("step_seconds"),
        elapsed_seconds=float(record["elapsed_seconds"]),
    )
