"""How progress looks in every command: what is done, a bar, how much of it, since when, and how long it will take."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_bars(console: Console, done: ProgressColumn, *more: ProgressColumn, **options: Any) -> Progress:
    """Bars that leave nothing behind, on terminals only. done: tells how much is; more: columns at the end."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        done,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *more,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        **options,
    )
