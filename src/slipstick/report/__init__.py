"""Tables, plots and the HTML report. Everything is read from run folders."""

from slipstick.report.contents import Contents, contents_of, read_contents
from slipstick.report.csv_table import render_csv
from slipstick.report.html import render_contents, render_report, write_contents, write_report
from slipstick.report.markdown import render_markdown
from slipstick.report.runs import RunRecord, find_runs, read_run, read_runs
from slipstick.report.tables import operators_table, runs_table

__all__ = [
    "Contents",
    "RunRecord",
    "contents_of",
    "find_runs",
    "operators_table",
    "read_contents",
    "read_run",
    "read_runs",
    "render_contents",
    "render_csv",
    "render_markdown",
    "render_report",
    "runs_table",
    "write_contents",
    "write_report",
]
