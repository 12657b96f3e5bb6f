"""Progress of work in stages: what is being done now, and the share of it that is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import TaskProgressColumn

from slipstick.progress_bars import progress_bars


@contextmanager
def stage_bar(lines: bool = False) -> Iterator[Callable[[str, float], None]]:
    """One bar on stderr for what is being done now. lines: where there is no terminal, a line for each stage."""
    console = Console(stderr=True)
    with progress_bars(console, TaskProgressColumn()) as bars:
        task, shown = bars.add_task("", total=1.0), ""

        def progress(what: str, share: float) -> None:
            nonlocal shown
            if what != shown:
                shown = what
                bars.reset(task, description=what, total=1.0)
                if lines and not console.is_terminal:
                    console.print(what, highlight=False, markup=False)
            bars.update(task, completed=share)

        yield progress
