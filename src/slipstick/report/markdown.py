"""The same figures as GitHub-flavoured Markdown: tables and facts that a page of results can hold."""

from collections.abc import Iterable, Sequence

from slipstick.report.adder_figures import error_texts
from slipstick.report.commands import command_of
from slipstick.report.contents import Contents
from slipstick.report.facts import facts, introduction, title
from slipstick.report.rows import Row
from slipstick.report.text import accuracy_text, cost_text, half_text
from slipstick.report.warnings import given_warnings
from slipstick.report.watch_summary import COLUMNS, worst_text

_SPECIAL = str.maketrans({**{character: f"\\{character}" for character in r"\`*_[]<>|~"}, "\n": " "})


def render_markdown(contents: Contents) -> str:
    """Title, facts, warnings, comparison, fronts, what was watched, adders, commands; each where there is any."""
    several = contents.seeds > 1
    parts = [f"# {_escaped(title(contents))}", _escaped(introduction(contents))]
    parts.append("\n".join(f"* {name}: {_escaped(value)}" for name, value in facts(contents)))
    parts += _section("Warnings", _warnings(contents)) + _section("Left out", map(_escaped, contents.left_out))
    parts += ["## Results", _results(contents.rows, several), _explanation(several)]
    parts += [block for front in _fronts(contents, several) for block in front]
    if contents.watched:
        parts += ["## Worst layer of each run at the last look", _watched(contents)]
    if contents.adders:
        parts += ["## Errors of the adders in LSB", _adders(contents)]
    commands = "\n".join(dict.fromkeys(command_of(run) for run in contents.runs))
    parts += ["## To repeat it", f"```sh\n{commands}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _results(rows: Sequence[Row], several: bool) -> str:
    head = [
        "arithmetic",
        "bits",
        "seeds",
        "test accuracy",
        "points to fp32",
        "test loss",
        "time per step",
        "time to fp32",
    ]
    return _table([*head, "status"], [_result(row, several) for row in rows])


def _result(row: Row, several: bool) -> list[str]:
    accuracy = f"{row.accuracy} ± {row.accuracy_half}" if several else row.accuracy
    points = f"{row.points} ± {row.points_half}" if several and row.difference else row.points
    marked = f"{points} ({row.mark})" if row.mark else points
    status = row.note or row.group.status
    return [row.label, row.bits, row.seeds, accuracy, marked, row.loss, row.step, row.slowdown, status]


def _explanation(several: bool) -> str:
    if not several:
        return "One seed: no interval."
    return (
        "±: half a 95 % confidence interval over seeds (Student's t); of one seed there is none. Points are paired by "
        "seed unless marked."
    )


def _warnings(contents: Contents) -> Iterable[str]:
    return (f"{_escaped(warning.text)} ({_escaped(warning.where)})" for warning in given_warnings(contents))


def _fronts(contents: Contents, several: bool) -> Iterable[list[str]]:
    for front in contents.fronts:
        rows = []
        for point in front.best:
            half = f" ± {half_text(point.accuracy, 100)}" if several else ""
            rows.append([point.group.label, cost_text(point.cost), accuracy_text(point.accuracy.mean) + half])
        yield [
            f"## No other one is better: accuracy against {front.cost}",
            _table(["arithmetic", front.cost, "test accuracy"], rows),
        ]


def _watched(contents: Contents) -> str:
    rows = []
    for summary in contents.watched:
        worst = [summary.worst.get(name) for name in COLUMNS]
        told = [f"{worst_text(n, w)} ({w.where})" if w else "" for n, w in zip(COLUMNS, worst, strict=True)]
        rows.append([contents.label_of(summary.run), *told])
    return _table(["run", *COLUMNS], rows)


def _adders(contents: Contents) -> str:
    head = ["adder", "D+: RMS", "mean", "largest", "D−: RMS", "mean", "largest"]  # noqa: RUF001 (a true minus sign)
    return _table(head, [[used.title, *error_texts(used)] for used in contents.adders])


def _section(name: str, lines: Iterable[str]) -> list[str]:
    listed = "\n".join(f"* {line}" for line in lines)
    return [f"## {name}", listed] if listed else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
