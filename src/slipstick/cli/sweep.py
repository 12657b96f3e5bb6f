"""``slipstick sweep``: a study of many trainings, on one machine or many."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from slipstick.cli.options import Out, Set
from slipstick.cli.runs import failure
from slipstick.errors import SpecificationError

if TYPE_CHECKING:
    from slipstick.sweep import Space, Study

_REFRESH_SECONDS = 2.0
_WIDTH = 132  # where no terminal has one


def sweep(
    study: Annotated[Path, typer.Argument(help="A TOML file.")],
    overrides: Set = [],  # noqa: B006 (typer reads the default)
    out: Out = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="In all, those that have ended included.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Only show how far it is; on a terminal until Ctrl-C.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try those again that ended with an error.")
    ] = False,
) -> None:
    """Search a space of arithmetics, recipes and settings: accuracy beside cost, best trials or Pareto front.

    The same command goes on where it was interrupted. Started again elsewhere, with the same storage, it is another
    worker of the same study.
    """
    try:
        import slipstick.sweep as sweeps
    except ModuleNotFoundError as error:
        if (error.name or "slipstick").split(".")[0] == "slipstick":
            raise
        raise SpecificationError(
            f"slipstick sweep needs the package {error.name!r}; pip install 'slipstick[sweep]'"
        ) from None
    if trials is not None:
        overrides = [*overrides, f"trials={trials}"]
    plan, space = sweeps.load_study(study, overrides, out)
    if status:
        _show(plan, space)
        return
    with sweeps.SweepProgress() as progress:
        records = sweeps.sweep(plan, space, str(study), progress, retry_failed=retry_failed)
    total = sweeps.total_trials(plan, space)
    console = _console()
    console.print(sweeps.best_table(plan, space, records))
    console.print(sweeps.summary_line(plan, records, total), highlight=False, soft_wrap=True)
    sweeps.write_csv(plan, space, records)
    print(f"folder: {plan.folder}   table: {plan.folder / 'study.csv'}")
    if not sweeps.best_first(plan, records):
        first = next((record for record in records if record.reason), None)
        raise failure("no trial has finished" + (f"; trial {first.number}: {first.reason}" if first else ""))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _show(plan: "Study", space: "Space") -> None:
    import slipstick.sweep as sweeps

    study, total, console = sweeps.open_study(plan, create=False), sweeps.total_trials(plan, space), _console()
    records = sweeps.read_trials(study)
    if not console.is_terminal:
        console.print(sweeps.status_view(plan, space, records, total))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(sweeps.status_view(plan, space, records, total), refresh=True)
            if sum(record.has_ended for record in records) >= total:
                return
            try:
                time.sleep(_REFRESH_SECONDS)
            except KeyboardInterrupt:
                return
            records = sweeps.read_trials(study)
