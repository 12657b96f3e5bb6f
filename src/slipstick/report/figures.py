"""Curves of training runs as SVG. Each run has one colour, in plots and tables alike."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slipstick.report.runs import RunRecord

# Okabe and Ito's palette, told apart by colour-blind readers; fp32 is the dark grey
_REFERENCE = "#3a3f45"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GRID = "#e3e6ea"
_TEXT = "#4a5058"

_STYLE: Any = {  # matplotlib's own type lists every key of every release
    "svg.fonttype": "path",
    "svg.hashsalt": "slipstick",
    "font.size": 10,
    "axes.edgecolor": "#c4c9d0",
    "axes.labelcolor": _TEXT,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}


@dataclass(frozen=True)
class Curves:
    """A titled SVG, and its text for readers who do not see it."""

    title: str
    svg: str
    description: str


def run_colours(runs: Sequence[RunRecord]) -> list[str]:
    """One colour for every run, by position."""
    others = iter(_COLOURS[i % len(_COLOURS)] for i in range(len(runs)))
    return [_REFERENCE if run.experiment.is_fp32 else next(others) for run in runs]


def accuracy_curves(runs: Sequence[RunRecord]) -> Curves:
    """Test accuracy in per cent after every epoch."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        for run, colour in zip(runs, run_colours(runs), strict=True):
            points = [(row.epoch, 100 * row.test_accuracy) for row in run.epochs if row.test_accuracy is not None]
            axes.plot(*_columns(points), color=colour, marker="o", markersize=3.5, linewidth=1.8)
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return Curves("Test accuracy", _svg(figure), _description("test accuracy by epoch", runs))


def loss_curves(runs: Sequence[RunRecord]) -> Curves:
    """Training loss over the steps, logarithmic."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure()
        for run, colour in zip(runs, run_colours(runs), strict=True):
            points = [(row.step, row.train_loss) for row in run.steps or run.epochs if row.train_loss]
            axes.plot(*_columns(points), color=colour, linewidth=1.6)
        axes.set_yscale("log")
        axes.set_xlabel("training step")
        axes.set_ylabel("training loss")
        return Curves("Training loss", _svg(figure), _description("training loss by step", runs))


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _description(what: str, runs: Sequence[RunRecord]) -> str:
    return f"{what} of {', '.join(run.label for run in runs)}"
