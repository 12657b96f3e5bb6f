"""Accuracy against what it costs: bits, and whatever a sweep measured besides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from slipstick.report.colours import group_looks
from slipstick.report.figures import plain_ticks
from slipstick.report.intervals import Interval, interval
from slipstick.report.pareto import non_dominated
from slipstick.report.runs import RunRecord
from slipstick.report.seeds import RunGroup
from slipstick.report.study import Trial
from slipstick.report.svg import STYLE, TEXT, Plot, single_axes, svg_text

WIDTH = "bits of an operand"
_MEASURED = ("accuracy", "loss")  # what training gives is no cost
_NAMES = {"bits": "bits held in a training step"}

_LOG = 12.0  # ratio beyond which an axis is logarithmic
_LONG, _WHOLE = 1e6, 10.0  # costs whose ticks are long, and whole numbers
_NUMBERED = 30  # points of a front that have room for their numbers
_BARS = 30  # points that have room for their intervals


@dataclass(frozen=True)
class CostPoint:
    """A group's accuracy from 0 to 1, and a cost; the mean over its runs."""

    group: RunGroup
    cost: float
    accuracy: Interval


@dataclass(frozen=True)
class Front:
    """A plot of all points, and those that no other one beats, by ascending cost, as they are numbered there."""

    cost: str
    plot: Plot
    best: list[CostPoint]


def fronts(groups: Sequence[RunGroup], trials: Mapping[int, Trial | None]) -> list[Front]:
    """One for every cost that at least two groups have and that is not the same for all. trials: by id of the run."""
    found = []
    for cost, points in _points_by_cost(groups, trials).items():
        if len(points) > 1 and len({point.cost for point in points}) > 1:
            best = [points[place] for place in non_dominated([(point.cost, point.accuracy.mean) for point in points])]
            found.append(Front(cost, _plot(cost, points, best, groups), best))
    return found


def _points_by_cost(groups: Sequence[RunGroup], trials: Mapping[int, Trial | None]) -> dict[str, list[CostPoint]]:
    """The width of an operand, then the sweep's objectives in their order; only groups with a finished run."""
    found: dict[str, list[CostPoint]] = {WIDTH: []}
    for group in groups:
        accuracy = group.accuracy if group.finished else None
        if accuracy is None:
            continue
        found[WIDTH].append(CostPoint(group, float(group.width), accuracy))
        names = [name for run in group.finished for name in _values(run, trials)]
        for name in dict.fromkeys(names):
            if name in _MEASURED:
                continue
            values = [_values(run, trials)[name] for run in group.finished if name in _values(run, trials)]
            if (mean := interval(values)) is not None:
                found.setdefault(cost_name(name), []).append(CostPoint(group, mean.mean, accuracy))
    return found


def cost_name(objective: str) -> str:
    """In words."""
    return _NAMES.get(objective, objective.replace("_", " "))


def _values(run: RunRecord, trials: Mapping[int, Trial | None]) -> dict[str, float]:
    trial = trials.get(id(run))
    return {} if trial is None else trial.values


def _plot(cost: str, points: Sequence[CostPoint], best: Sequence[CostPoint], groups: Sequence[RunGroup]) -> Plot:
    looks = dict(zip((group.label for group in groups), group_looks(groups), strict=True))
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes()
        axes.plot(
            [point.cost for point in best],
            [100 * point.accuracy.mean for point in best],
            color=TEXT,
            linewidth=1,
            linestyle=(0, (4, 3)),
            drawstyle="steps-post",
            zorder=1,
        )
        for point in points:
            look = looks[point.group.label]
            half = point.accuracy.half
            if look.own and half is not None and len(points) <= _BARS:
                axes.errorbar(
                    point.cost, 100 * point.accuracy.mean, 100 * half, color=look.colour, linewidth=1, capsize=2
                )
            size, edge = (8.0, TEXT) if point in best else (5.0 if look.own else 3.0, "none")
            axes.plot(
                point.cost,
                100 * point.accuracy.mean,
                color=look.colour,
                marker="o",
                markersize=size,
                markeredgecolor=edge,
                zorder=3 if point in best else 2,
            )
        _number(axes, best)
        _scale(axes, [point.cost for point in points])
        axes.set_xlabel(cost)
        axes.set_ylabel("test accuracy (%)")
        text = f"test accuracy against {cost} of {len(points)} groups of runs; {len(best)} that no other one beats"
        return Plot(f"Accuracy against {cost}", svg_text(figure), text)


def _number(axes: Axes, best: Sequence[CostPoint]) -> None:
    if len(best) > _NUMBERED:
        return
    for number, point in enumerate(best, 1):
        place = (point.cost, 100 * point.accuracy.mean)
        axes.annotate(str(number), place, (-4, 5), textcoords="offset points", ha="right", va="bottom", fontsize=9)


def _scale(axes: Axes, costs: Sequence[float]) -> None:
    axes.margins(0.08, 0.1)
    if min(costs) > 0 and max(costs) > _LOG * min(costs):
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4 if max(costs) > _LONG else 6, integer=max(costs) > _WHOLE))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
