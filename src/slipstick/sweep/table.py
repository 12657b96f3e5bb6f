"""What a study found, as tables and as study.csv."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from slipstick.sweep.config import Study
from slipstick.sweep.front import best_first, front
from slipstick.sweep.space import Space
from slipstick.sweep.trials import Outcome, TrialRecord
from slipstick.train.atomic_files import write_text

_BEST = 10
_LATEST = 12
_ORDER: tuple[Outcome, ...] = (
    "finished",
    "pruned",
    "diverged",
    "impossible",
    "failed",
    "running",
    "interrupted",
    "waiting",
)
_COLOURS = {"running": "cyan", "failed": "red", "diverged": "yellow", "impossible": "yellow", "interrupted": "magenta"}
_UNITS = {"energy": "energy nJ", "area": "area um2", "full_adders": "full adders"}


def best_table(plan: Study, space: Space, records: Sequence[TrialRecord]) -> Table:
    """Of one objective the ten best trials, of several the Pareto front."""
    several = len(plan.objectives) > 1
    chosen = front(plan, records) if several else best_first(plan, records)[:_BEST]
    title = f"Pareto front: {len(chosen)} of {len(best_first(plan, records))} trials" if several else "best trials"
    table = _table(title)
    for name in ("trial", *space.entries):
        table.add_column(name, overflow="fold")
    for name in plan.objectives:
        table.add_column(_UNITS.get(name, name), justify="right")
    for record in chosen:
        table.add_row(str(record.number), *_parameters(space, record), *_values(plan, record))
    return table


def status_view(plan: Study, space: Space, records: Sequence[TrialRecord], total: int) -> RenderableType:
    """How far a study is: counts, what runs where, the latest trials, the best ones."""
    running = [record for record in records if record.outcome in ("running", "interrupted")]
    ended = sorted((r for r in records if r.has_ended and r.ended), key=lambda r: str(r.ended))
    parts: list[RenderableType] = [_summary(plan, records, total)]
    shown = [*running, *reversed(ended[-_LATEST:])]
    if shown:
        parts += [_trials_table(plan, space, shown), *_reasons(shown)]
    if best_first(plan, records):
        parts.append(best_table(plan, space, records))
    return Group(*parts)


def summary_line(plan: Study, records: Sequence[TrialRecord], total: int) -> str:
    """Counts in words, and the time that is left."""
    counts = Counter(record.outcome for record in records)
    words = [f"{counts[each]} {each}" for each in _ORDER if counts[each]]
    done = sum(record.has_ended for record in records)
    seconds = [record.seconds for record in records if record.outcome in ("finished", "diverged") and record.seconds]
    workers = counts["running"]
    left = ""
    if seconds and workers and done < total:
        left = (
            f"; about {_duration((total - done) * sum(seconds) / len(seconds) / workers)} left with {workers} working"
        )
    return f"{plan.name}: {done} of {total} trials have ended ({', '.join(words) or 'none begun'}){left}"


def write_csv(plan: Study, space: Space, records: Sequence[TrialRecord]) -> None:
    """study.csv in the study's folder: a row for each trial. Costs and measurements stand after the parameters."""
    figures = list(dict.fromkeys(key for r in records for key in r.figures if not key.endswith("_by_seed")))
    best = {record.number for record in front(plan, records)}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["trial", "outcome", "best", *space.entries, *figures, "epochs", "attempt", "seconds_in_all", "host", "folder",
         "reason"]
    )  # fmt: skip
    for record in records:
        where = "" if record.folder is None else _below(record, plan)
        rows.writerow(
            [record.number, record.outcome, int(record.number in best)]
            + [record.parameters.get(name, "") for name in space.entries]
            + [record.figures.get(name, "") for name in figures]
            + ["" if record.last is None else record.last.epoch, record.attempt]
            + ["" if record.seconds is None else f"{record.seconds:.1f}", record.host, where, record.reason]
        )
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_text(plan.folder / "study.csv", text.getvalue())


def _below(record: TrialRecord, plan: Study) -> str:
    assert record.folder is not None
    return str(record.folder.relative_to(record.folder.parents[1]))


def _summary(plan: Study, records: Sequence[TrialRecord], total: int) -> Text:
    return Text(summary_line(plan, records, total), style="bold")


def _trials_table(plan: Study, space: Space, records: Sequence[TrialRecord]) -> Table:
    table = _table("running and latest trials")
    for name in ("trial", "outcome", "parameters"):
        table.add_column(name, overflow="fold")
    for name in (*(_UNITS.get(name, name) for name in plan.objectives), "epoch", "time"):
        table.add_column(name, justify="right")
    table.add_column("where", overflow="fold")
    for record in records:
        reached = "" if record.last is None else f"{record.last.epoch}/{record.last.epochs}: {record.last.value:.4f}"
        took = "" if record.seconds is None else _duration(record.seconds)
        where = f"{record.host} {record.process}" if record.outcome == "running" and record.process else ""
        outcome = Text(record.outcome, style=_COLOURS.get(record.outcome, ""))
        cells = [_words(space, record), *_values(plan, record), reached, took, where]
        table.add_row(str(record.number), outcome, *map(Text, cells))
    return table


def _reasons(records: Sequence[TrialRecord]) -> list[Text]:
    """Why trials ended early, a line each."""
    return [Text(f"trial {r.number}: {r.outcome}: {r.reason}") for r in records if r.reason]


def _table(title: str) -> Table:
    return Table(title=title, title_style="bold", header_style="bold", box=box.SIMPLE_HEAD, title_justify="left")


def _parameters(space: Space, record: TrialRecord) -> list[str]:
    return [_short(record.parameters.get(name, "")) for name in space.entries]


def _words(space: Space, record: TrialRecord) -> str:
    values = zip(space.entries, _parameters(space, record), strict=True)
    return ", ".join(f"{name} {value}" for name, value in values if value)


def _values(plan: Study, record: TrialRecord) -> list[str]:
    """Of the objectives; a cost also before the trial has finished."""
    cells = []
    for name in plan.objectives:
        value = record.figures.get(name)
        if value is None:
            cells.append("")
            continue
        text = f"{value:.4f}" if name in ("accuracy", "loss") else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
        low, high = record.figures.get(f"{name}_low"), record.figures.get(f"{name}_high")
        cells.append(text if low is None or high is None else f"{text} ± {(high - low) / 2:.4f}")
    return cells


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
