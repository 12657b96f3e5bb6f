"""One self-contained HTML page: no script, no font, no picture from anywhere else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipstick.report.adder_figures import MOST_PICTURES, UsedAdder, adder_plot, error_texts
from slipstick.report.codes_over_time import watch_plots
from slipstick.report.commands import OUT, command_of, links_of, relative_paths
from slipstick.report.contents import Contents, contents_of
from slipstick.report.facts import facts, introduction, title
from slipstick.report.figures import accuracy_curves, loss_curves
from slipstick.report.pareto_figures import Front
from slipstick.report.runs import Progress, RunRecord, standard_error
from slipstick.report.svg import OTHERS
from slipstick.report.template import pictures, render, write_output
from slipstick.report.text import accuracy_text, cost_text, half_text
from slipstick.report.warnings import given_warnings
from slipstick.report.watch import read_watch
from slipstick.report.watch_summary import COLUMNS, WatchSummary, worst_text
from slipstick.train.experiment_files import experiment_toml

MOST_WATCHED = 4
"""Runs whose codes are drawn; of the others the page has the numbers."""

_STACKED = 24
"""Rows that a narrow screen shows as cards; more rows scroll sideways."""

_SHOWN_WARNINGS = 12
_SHOWN_OPERATORS = 8


def write_report(runs: Sequence[RunRecord], path: Path, progress: Progress | None = None) -> Path:
    """Write the comparison of ``runs`` to ``path``; returns its absolute path."""
    return write_contents(contents_of(runs), path, progress)


def write_contents(contents: Contents, path: Path, progress: Progress | None = None) -> Path:
    """As ``write_report``, of contents read before. Links are relative to the page."""
    return write_output(path, render_contents(contents, path.parent, progress))


def render_report(runs: Sequence[RunRecord]) -> str:
    """The page, without links. ``runs``: at least one."""
    return render_contents(contents_of(runs))


def render_contents(contents: Contents, page_folder: Path | None = None, progress: Progress | None = None) -> str:
    """The page; with ``page_folder``, where it will be, with links to the files of the runs."""
    tell = progress or (lambda what, share: None)
    tell("drawing curves", 0.0)
    curves = [accuracy_curves(contents.groups), loss_curves(contents.groups)] if contents.trained else []
    warnings = given_warnings(contents)
    first = contents.runs[0]
    return render(
        "slipstick.report",
        "report.html.jinja",
        title=title(contents),
        introduction=introduction(contents),
        trained=contents.trained,
        facts=facts(contents),
        left_out=contents.left_out,
        warnings=warnings[:_SHOWN_WARNINGS],
        more_warnings=warnings[_SHOWN_WARNINGS:],
        rows=contents.rows,
        legend=_legend(contents),
        stacked="stacking" if len(contents.rows) <= _STACKED else "",
        several_seeds=contents.seeds > 1,
        uncertainty=_uncertainty(contents),
        figures=pictures(curves),
        fronts=[_front(front) for front in contents.fronts],
        watch_columns=COLUMNS,
        watched=[_watched(contents, summary) for summary in contents.watched],
        drawn=_drawn(contents, progress),
        adders=_adders(contents, progress),
        operators=_operators(contents),
        listed=_listed(contents, page_folder),
        out=OUT,
        relative=sorted({path for run in contents.runs for path in relative_paths(run)}),
        toml=experiment_toml(first.experiment),
        environment=first.environment,
    )


def _legend(contents: Contents) -> list[tuple[str, str]]:
    """Labels and colours; those without a colour of their own as one."""
    entries = [(row.label, row.colour) for row in contents.rows if row.look.own]
    others = len(contents.rows) - len(entries)
    return [*entries, (f"{others} others, less accurate", OTHERS)] if others else entries


def _uncertainty(contents: Contents) -> str | None:
    """The largest standard error of the accuracies, in points; not of text, whose characters depend on each other."""
    errors = [
        standard_error(run.accuracy, run.result.test_images)
        for run in contents.runs
        if run.accuracy is not None and run.result is not None and not run.experiment.reads_text
    ]
    return f"{100 * max(errors):.1f}" if errors else None


def _front(front: Front) -> dict[str, Any]:
    return {
        "figure": pictures([front.plot])[0],
        "cost": front.cost,
        "best": [
            {
                "label": point.group.label,
                "cost": cost_text(point.cost),
                "accuracy": accuracy_text(point.accuracy.mean),
                "half": half_text(point.accuracy, 100),
            }
            for point in front.best
        ],
    }


def _watched(contents: Contents, summary: WatchSummary) -> dict[str, Any]:
    cells = []
    for name in COLUMNS:
        worst = summary.worst.get(name)
        cells.append(
            {"name": name, "value": worst_text(name, worst) if worst else "", "where": worst.where if worst else ""}
        )
    return {"label": contents.label_of(summary.run), "cells": cells}


def _drawn(contents: Contents, progress: Progress | None) -> list[dict[str, Any]]:
    """Of each group the first watched run, those with most warnings first, as far as there is room."""
    first: dict[int, WatchSummary] = {}
    for place, group in enumerate(contents.groups):
        for summary in contents.watched:
            if any(summary.run is run for run in group.runs):
                first.setdefault(place, summary)
    chosen = sorted(first.values(), key=lambda summary: -len(summary.warnings))[:MOST_WATCHED]
    drawn = []
    for done, summary in enumerate(chosen):
        if progress is not None:
            progress("drawing codes over time", done / len(chosen))
        label = contents.label_of(summary.run)
        drawn.append({"label": label, "figures": pictures(watch_plots(read_watch(summary.run.folder), label))})
    return drawn


def _adders(contents: Contents, progress: Progress | None) -> list[dict[str, Any]]:
    found = []
    for place, used in enumerate(contents.adders):
        if progress is not None:
            progress("drawing adders", place / len(contents.adders))
        plots = [adder_plot(used)] if used.has_picture and place < MOST_PICTURES else []
        given = {"title": used.title, "formats": _formats(used), "cancels_to": used.cancels_to}
        found.append({**given, "figures": pictures(plots), "errors": error_texts(used)})
    return found


def _formats(used: UsedAdder) -> str:
    return ", ".join(str(format) for format in used.formats)


def _operators(contents: Contents) -> list[dict[str, Any]]:
    """How the first run of each group executed its operators, the most frequent first."""
    listed: list[dict[str, Any]] = []
    for row in contents.rows:
        run = next((run for run in row.group.runs if run.audit is not None), None)
        if run is None or run.audit is None:
            continue
        entries = [(name, how, count) for name, counts in run.audit.items() for how, count in counts.items()]
        entries.sort(key=lambda entry: (-entry[2], entry[0]))
        given = {"label": row.label, "colour": row.colour, "totals": run.audit_totals}
        listed.append({**given, "entries": entries if len(listed) < _SHOWN_OPERATORS else []})
    return listed


def _listed(contents: Contents, page_folder: Path | None) -> list[dict[str, Any]]:
    """Every run, by group, with its command and its files."""
    trials = {id(run): trial for run, trial in zip(contents.runs, contents.trial_of, strict=True)}
    return [
        {
            "label": row.label,
            "colour": row.colour,
            "runs": [
                {
                    "folder": str(run.folder),
                    "seed": run.experiment.seed,
                    "status": run.status,
                    "accuracy": accuracy_text(run.accuracy),
                    "trial": f"{trial.trial} ({trial.state})" if (trial := trials[id(run)]) is not None else "",
                    "command": command_of(run),
                    "links": links_of(run, page_folder),
                }
                for run in row.group.runs
            ],
        }
        for row in contents.rows
    ]
