"""How commands show runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Console

if TYPE_CHECKING:
    from slipstick.report import RunRecord


def print_runs(runs: "Sequence[RunRecord]") -> None:
    """A table of how they ended, and of their operators where those were counted."""
    from slipstick.report import operators_table, runs_table

    console = Console()
    console.print(runs_table(runs))
    if any(run.audit for run in runs):
        console.print(operators_table(runs))


def failure(message: str) -> typer.Exit:
    """Says so; the exit status to raise."""
    Console(stderr=True).print(f"slipstick: {message}", highlight=False, soft_wrap=True, markup=False)
    return typer.Exit(1)
