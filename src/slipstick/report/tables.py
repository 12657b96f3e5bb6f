"""Tables for the terminal, at most 80 columns wide for the names of usual arithmetics."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from slipstick.report.figures import run_colours
from slipstick.report.runs import RunRecord, compare_runs
from slipstick.report.text import accuracy_text, loss_text, points_text, seconds_text, slowdown_text


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """Accuracy, loss and time of every run."""
    table = Table(title=runs[0].experiment.name, title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("arithmetic", overflow="fold")
    for name in ("bits", "accuracy", "points", "loss", "step", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for compared, label in zip(compare_runs(runs), _labels(runs), strict=True):
        run = compared.run
        table.add_row(
            label if run.status == "finished" else label + Text(f" ({run.status})", style="bold red"),
            str(run.width),
            accuracy_text(run.accuracy),
            points_text(compared.points),
            loss_text(run.result.test_loss if run.result else None, run.experiment.reads_text),
            seconds_text(run.step_seconds),
            slowdown_text(compared.slowdown),
        )
    if len(runs) > 1:
        table.caption = "points, time: against fp32"
    return table


def operators_table(runs: Sequence[RunRecord]) -> Table:
    """How the operators of the first training step were executed."""
    table = Table(title="operators of the first step", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("arithmetic", overflow="fold")
    for name in ("defined", "decomposed", "exact", "outside"):
        table.add_column(name, justify="right", no_wrap=True)
    for run, label in zip(runs, _labels(runs), strict=True):
        if run.audit_totals is not None:
            table.add_row(label, *(str(count) for count in run.audit_totals.values()))
    return table


def _labels(runs: Sequence[RunRecord]) -> list[Text]:
    return [
        Text("■ ", style=colour) + Text(run.label, style="default")
        for run, colour in zip(runs, run_colours(runs), strict=True)
    ]
