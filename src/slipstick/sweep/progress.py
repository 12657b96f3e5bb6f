"""Progress of a sweep on stderr: a line for each trial, and on a terminal a bar with the time that remains."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import MofNCompleteColumn

from slipstick.progress_bars import progress_bars
from slipstick.sweep.space import Value
from slipstick.sweep.trials import TrialRecord


class SweepProgress:
    """Watches a sweep. Trials print into their logs; this one keeps the stream that stderr is now."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._bars = progress_bars(self._console, MofNCompleteColumn(), redirect_stdout=False, redirect_stderr=False)
        self._task = self._bars.add_task("trials", total=None)
        self._since = time.monotonic()
        self._waited_for: set[int] = set()

    def __enter__(self) -> "SweepProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begins(self, ended: int, total: int) -> None:
        self._bars.update(self._task, total=total, completed=ended)
        if ended:
            self._say(f"{ended} of {total} trials have ended before")

    def started(self, number: int, values: Mapping[str, Value]) -> None:
        self._since = time.monotonic()
        self._bars.update(self._task, description=f"trial {number}")
        self._say(f"trial {number}: {_words(values)}")

    def ended(self, record: TrialRecord) -> None:
        self._bars.advance(self._task)
        told = ", ".join(
            f"{name} {value:.4g}"
            for name, value in record.figures.items()
            if isinstance(value, float) and name != "seconds" and not name.endswith(("_low", "_high"))
        )
        reason = f": {record.reason}" if record.reason else f": {told}"
        self._say(f"trial {record.number}: {record.outcome}{reason} ({time.monotonic() - self._since:.1f} s)")

    def waits(self, running: list[TrialRecord]) -> None:
        numbers = {record.number for record in running}
        if numbers != self._waited_for:
            where = ", ".join(f"{r.number} ({r.host or 'beginning'})" for r in running)
            self._say(f"waiting for what runs elsewhere: trial {where}; Ctrl-C loses nothing")
        self._waited_for = numbers

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _words(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} = {v:.4g}" if isinstance(v, float) else f"{name} = {v}" for name, v in values.items())
