"""``slipstick hardware``: units as RTL, proved equal to the software, with area, delay and energy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from slipstick.cli.options import Out, Set
from slipstick.cli.runs import failure
from slipstick.errors import SpecificationError


def hardware(
    study: Annotated[Path, typer.Argument(help="A TOML file.")],
    overrides: Set = [],  # noqa: B006 (typer reads the default)
    out: Out = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where synthesis and simulations are kept. Default: the user's.")
    ] = None,
) -> None:
    """Cost the multiply-accumulate units of a study: Verilog, proofs, synthesis, energy, one page that compares them.

    The same command goes on where it was interrupted; what is already known is not made again.
    """
    try:
        from slipstick.hardware.cache import Cache
        from slipstick.hardware_study import errors_table, load_study, networks_table, run_study, units_table
        from slipstick.hardware_study.page import write_page, write_plots
    except ModuleNotFoundError as error:
        if (error.name or "slipstick").split(".")[0] == "slipstick":
            raise
        raise SpecificationError(
            f"slipstick hardware needs the package {error.name!r}; pip install 'slipstick[hardware]'"
        ) from None
    chosen = load_study(study, tuple(overrides), out)
    with _bars() as progress:
        result = run_study(chosen, cache=Cache(cache), progress=progress)
    print("\n\n".join(filter(None, (units_table(result), errors_table(result), networks_table(result)))))
    write_plots(result, chosen.folder / "plots")
    page = write_page(result, chosen.folder / "report.html")
    print(f"folder: {chosen.folder}   page: {page}")
    failed = [
        f"{unit.label}: {check.what}: {check.told}" for unit in result.units for check in unit.checks if check.failed
    ]
    if failed:
        raise failure(failed[0])


@contextmanager
def _bars() -> Iterator[Callable[[str, float], None]]:
    """One bar on stderr for what is being done now; a line for each stage where there is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task, shown = bars.add_task("", total=1.0), ""

        def progress(what: str, share: float) -> None:
            nonlocal shown
            if what != shown:
                shown = what
                bars.reset(task, description=what, total=1.0)
                if not console.is_terminal:
                    console.print(what, highlight=False, markup=False)
            bars.update(task, completed=share)

        yield progress
