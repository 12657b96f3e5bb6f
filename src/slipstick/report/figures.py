"""Curves of training as SVG: of every group of runs the mean over its seeds, and the band from the lowest to the
highest. Each group has one colour, in plots and tables alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from slipstick.report.colours import Look, group_looks
from slipstick.report.runs import RunRecord
from slipstick.report.seeds import RunGroup
from slipstick.report.svg import STYLE, Plot, single_axes, svg_text

_POINTS = 300
"""Of a line; of more, every so-many-th is drawn."""

_NAMED = 8
"""Groups that a figure's description names."""


@dataclass(frozen=True)
class Curve:
    """x, and of the seeds the mean, the lowest and the highest value there."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def accuracy_curves(groups: Sequence[RunGroup]) -> Plot:
    """Test accuracy in per cent after every epoch."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes()
        markers = max((len(run.epochs) for group in groups for run in group.counted), default=0) <= 30
        for group, look in _in_drawing_order(groups):
            curve = seeds_curve(group, accuracy_points)
            _draw(axes, curve, look, marker="o" if look.own and (markers or len(curve.x) == 1) else "")
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return Plot("Test accuracy", svg_text(figure), _description("test accuracy by epoch", groups))


def loss_curves(groups: Sequence[RunGroup]) -> Plot:
    """Training loss over the steps, logarithmic."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes()
        for group, look in _in_drawing_order(groups):
            _draw(axes, seeds_curve(group, loss_points), look)
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
        axes.set_xlabel("training step")
        axes.set_ylabel("training loss")
        return Plot("Training loss", svg_text(figure), _description("training loss by step", groups))


def seeds_curve(group: RunGroup, points: Callable[[RunRecord], dict[int, float]]) -> Curve:
    """At the places that all counted runs have a value for."""
    found = [points(run) for run in group.counted]
    places = sorted(set.intersection(*(set(each) for each in found)))
    kept = places[:: -(-len(places) // _POINTS)] if places else []
    if places and kept[-1] != places[-1]:
        kept.append(places[-1])
    values = np.array([[each[place] for place in kept] for each in found]).reshape(len(found), len(kept))
    return Curve([float(x) for x in kept], *(part(axis=0).tolist() for part in (values.mean, values.min, values.max)))


def accuracy_points(run: RunRecord) -> dict[int, float]:
    """Test accuracy in per cent by epoch."""
    return {row.epoch: 100 * row.test_accuracy for row in run.epochs if row.test_accuracy is not None}


def loss_points(run: RunRecord) -> dict[int, float]:
    """Training loss by step."""
    return {row.step: row.train_loss for row in run.steps or run.epochs if row.train_loss}


def plain_ticks(axis: Axis) -> None:
    """Of a logarithmic axis: at 1, 2 and 5, or at powers of ten where there are many; as plain numbers."""
    low, high = sorted(axis.get_view_interval())
    wide = high > 300 * max(low, 1e-300)
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=9))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _in_drawing_order(groups: Sequence[RunGroup]) -> list[tuple[RunGroup, Look]]:
    """Those without a colour of their own lie below the others."""
    return sorted(zip(groups, group_looks(groups), strict=True), key=lambda pair: pair[1].own)


def _draw(axes: Axes, curve: Curve, look: Look, marker: str = "") -> None:
    width = 1.7 if look.own else 0.7
    axes.plot(curve.x, curve.mean, color=look.colour, linewidth=width, marker=marker, markersize=3.5)
    if look.own and curve.low != curve.high:
        axes.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.16, linewidth=0)


def _description(what: str, groups: Sequence[RunGroup]) -> str:
    named = ", ".join(group.label for group in groups[:_NAMED])
    return f"{what} of {named}" + (f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else "")
