"""Tables for the terminal, at most 80 columns wide for the names of usual arithmetics."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from slipstick.report.rows import Row, comparison_rows
from slipstick.report.runs import RunRecord
from slipstick.report.seeds import group_runs


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """Accuracy, loss and time of every run; of runs that differ in their seed only, the means."""
    rows = comparison_rows(group_runs(runs))
    several = any(int(row.seeds) > 1 for row in rows)
    experiments = dict.fromkeys(run.experiment.name for run in runs)
    title = ", ".join(experiments) if len(experiments) <= 3 else f"{len(runs)} runs"
    table = Table(title=title, title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("arithmetic", overflow="fold")
    names = ("seeds", "accuracy", "points", "step") if several else ("accuracy", "points", "loss", "step", "time")
    for name in ("bits", *names):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        label = _label(row) + Text(f" ({row.group.status})", style="bold red") if row.note else _label(row)
        if several:
            points = f"{row.points} ± {row.points_half}" if row.difference else row.points
            cells = [row.seeds, f"{row.accuracy} ± {row.accuracy_half}", points, row.step]
        else:
            cells = [row.accuracy, row.points, row.loss, row.step, row.slowdown]
        table.add_row(label, row.bits, *cells)
    if len(runs) > 1:
        table.caption = (
            "points: against fp32; ±: half a 95 % interval over seeds" if several else "points, time: against fp32"
        )
    return table


def operators_table(runs: Sequence[RunRecord]) -> Table:
    """How the operators of the first training step were executed."""
    table = Table(title="operators of the first step", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("arithmetic", overflow="fold")
    for name in ("defined", "decomposed", "exact", "outside"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in comparison_rows(group_runs(runs)):
        totals = next((run.audit_totals for run in row.group.runs if run.audit_totals is not None), None)
        if totals is not None:
            table.add_row(_label(row), *(str(count) for count in totals.values()))
    return table


def _label(row: Row) -> Text:
    return Text("■ ", style=row.colour) + Text(row.label, style="default")
