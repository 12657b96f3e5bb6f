"""Errors and updates without effect against magnitude, learning rate and base factor, with the bounds."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

_COLOURS = {  # Okabe and Ito's palette
    "SGD": "#d55e00",
    "SGD, momentum .9": "#e69f00",
    "Adam": "#009e73",
    "Madam": "#0072b2",
    "Madam, released": "#56b4e9",
    "MUL": "#cc79a7",
    "signMUL": "#3a3f45",
}
_WIDE = ("MUL", "Madam, released")  # drawn below the others, which they often coincide with
_GRID, _CEILING = "#e3e6ea", "#9aa1aa"
_COLUMNS = (
    ("magnitude", r"magnitude of the weight $|w|$"),
    ("lr", r"learning rate $\eta$"),
    ("base_factor", r"base factor $\gamma$ of the update format (10 to 16 bits)"),
)
_NO_ERROR = 1e-3  # in steps of the grid: what is left where moves are multiples of the step

Point = dict[str, Any]


def save_figure(path: Path, sweeps: dict[str, list[Point]], title: str) -> None:
    """Write a PNG: the error and its ratio to the move under stochastic rounding, unchanged weights under nearest."""
    figure = Figure(figsize=(15, 12), layout="constrained", dpi=100)
    figure.suptitle(title, fontsize=13)
    rows = figure.subplots(3, 3, sharex="col", sharey="row", height_ratios=(3, 2, 2))
    for column, (key, label) in enumerate(_COLUMNS):
        _draw_bounds(rows[0, column], sweeps[key], key)
        for axes, value in zip(rows[:, column], (_error, _relative_error, _unchanged), strict=True):
            _draw(axes, sweeps[key], key, value)
        rows[2, column].set_xlabel(label)
    rows[0, 0].set_ylabel("error, RMS, octaves (stochastic)")
    rows[1, 0].set_ylabel("error / move, both RMS (stochastic)")
    rows[2, 0].set_ylabel("weights unchanged (nearest)")
    rows[0, 0].set_ylim(2.0**-15, 2.0**-1)
    rows[1, 0].set_ylim(2.0**-10, 2.0**6)
    rows[2, 0].set_ylim(-0.03, 1.03)
    for axes in rows[:2].flat:
        axes.set_yscale("log", base=2)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, fontsize=11)
    figure.savefig(path)


def _draw(axes: Axes, points: list[Point], key: str, value: Callable[[Point], float]) -> None:
    for rule, colour, chosen in _by_rule(points):
        width, order = (4.0, 2.0) if rule in _WIDE else (1.6, 2.5)
        x, y = [point[key] for point in chosen], [value(point) for point in chosen]
        axes.plot(x, y, color=colour, linewidth=width, zorder=order, marker="o", markersize=2 + width)
    axes.set_xscale("log", base=2)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bounds(axes: Axes, points: list[Point], key: str) -> None:
    for rule, colour, chosen in _by_rule(points):
        x = [point[key] for point in chosen]
        if "paper" in chosen[0]["bounds"]:
            axes.plot(x, [point["bounds"]["paper"] for point in chosen], color=colour, linestyle="--", linewidth=1.3)
        if rule in ("SGD", "Adam"):
            axes.plot(x, [point["bounds"]["moves"] for point in chosen], color=colour, linestyle=":", linewidth=1.6)
    axes.plot(x, [point["bounds"]["rounding"] for point in chosen], color=_CEILING, linewidth=5, alpha=0.5, zorder=1)


def _by_rule(points: list[Point]) -> list[tuple[str, str, list[Point]]]:
    """The rules that there are, each with its colour and its points."""
    chosen = {rule: [point for point in points if point["rule"] == rule] for rule in _COLOURS}
    return [(rule, colour, chosen[rule]) for rule, colour in _COLOURS.items() if chosen[rule]]


def _error(point: Point) -> float:
    exact = point["expected_rms"] * point["base_factor"] < _NO_ERROR
    return math.nan if exact else float(point["stochastic"]["rms"])


def _relative_error(point: Point) -> float:
    return _error(point) / float(point["stochastic"]["move_rms"])


def _unchanged(point: Point) -> float:
    return float(point["nearest"]["unchanged"])


def _legend() -> list[Line2D]:
    rules = [
        Line2D([], [], color=colour, linewidth=4 if rule in _WIDE else 1.6, marker="o", markersize=4, label=rule)
        for rule, colour in _COLOURS.items()
    ]
    black = _COLOURS["signMUL"]
    return [
        *rules,
        Line2D([], [], color=black, linestyle="--", label="bound of Zhao et al. 2021"),
        Line2D([], [], color=black, linestyle=":", label="bound by the moves (SGD, Adam)"),
        Line2D([], [], color=_CEILING, linewidth=5, alpha=0.5, label=r"$1 / (2 \gamma)$: any rule"),
        Line2D([], [], linestyle="none", label="where a line ends, the error is 0"),
    ]
