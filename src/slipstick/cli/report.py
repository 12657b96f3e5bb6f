"""``slipstick report``: runs in one page, a Markdown text or a CSV table."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slipstick.cli.runs import print_runs
from slipstick.cli.stage_bar import stage_bar
from slipstick.errors import SpecificationError


class Format(StrEnum):
    html = "html"
    md = "md"
    csv = "csv"


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders, or folders of them: of comparisons, of sweeps; at any depth.")
    ],
    format: Annotated[
        Format, typer.Option(help="A page, a text for Markdown pages, or a row for every run.")
    ] = Format.html,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: report.html in the folder, md and csv to standard output."),
    ] = None,
) -> None:
    """Tell any number of runs in one page, also unfinished ones: table, curves, codes, fronts, adders, commands."""
    from slipstick.report import read_contents, render_csv, render_markdown, write_contents
    from slipstick.report.template import write_output

    with stage_bar() as progress:
        contents = read_contents(folders, progress)
        if format is Format.html:
            page = write_contents(contents, out or _default_page(folders), progress)
        else:
            text = render_markdown(contents) if format is Format.md else render_csv(contents)
    for line in contents.left_out:
        print(f"slipstick: left out: {line}", file=sys.stderr)
    if format is Format.html:
        print_runs(contents.runs)
        print(f"report: {page}")
    elif out is not None:
        print(f"report: {write_output(out, text)}")
    else:
        sys.stdout.write(text)


def _default_page(folders: list[Path]) -> Path:
    """In the one folder; of several, here."""
    if len(folders) > 1:
        return Path("report.html")
    if not folders[0].is_dir():
        raise SpecificationError(f"{folders[0]}: no such folder of runs")
    return folders[0] / "report.html"
