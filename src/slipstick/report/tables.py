"""Tables for the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from slipstick.report.figures import run_colours
from slipstick.report.runs import RunRecord, compare_runs
from slipstick.report.text import accuracy_text, points_text, seconds_text, slowdown_text


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """Accuracy, loss, time and execution of every run."""
    table = Table(title=runs[0].experiment.name, title_style="bold", header_style="bold")
    table.add_column("arithmetic", overflow="fold")
    for name in ("bits", "test accuracy", "vs fp32", "test loss", "step", "time"):
        table.add_column(name, justify="right")
    table.add_column("operators in the first step")
    for compared, colour in zip(compare_runs(runs), run_colours(runs), strict=True):
        run = compared.run
        label = Text("■ ", style=colour) + Text(run.label, style="default")
        loss = run.result.test_loss if run.result else None
        table.add_row(
            label if run.status == "finished" else label + Text(f" ({run.status})", style="bold red"),
            str(run.width),
            accuracy_text(run.accuracy),
            points_text(compared.points),
            "–" if loss is None else f"{loss:.3f}",
            seconds_text(run.step_seconds),
            slowdown_text(compared.slowdown),
            _audit_text(run),
        )
    return table


def _audit_text(run: RunRecord) -> str:
    totals = run.audit_totals
    if totals is None:
        return "PyTorch's own"
    return ", ".join(f"{count} {how}" for how, count in totals.items() if count)
