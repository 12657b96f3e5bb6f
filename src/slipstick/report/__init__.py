"""Tables, plots and the HTML report. Everything is read from run folders."""

from slipstick.report.html import render_report, write_report
from slipstick.report.runs import RunRecord, compare_runs, read_run, read_runs
from slipstick.report.tables import operators_table, runs_table

__all__ = [
    "RunRecord",
    "compare_runs",
    "operators_table",
    "read_run",
    "read_runs",
    "render_report",
    "runs_table",
    "write_report",
]
