"""Curves of training runs as SVG. Each run has one colour, in plots and tables alike."""

from collections.abc import Sequence

import matplotlib
from matplotlib.ticker import MaxNLocator

from slipstick.report.runs import RunRecord
from slipstick.report.svg import COLOURS, REFERENCE, STYLE, Plot, single_axes, svg_text


def run_colours(runs: Sequence[RunRecord]) -> list[str]:
    """One colour for every run, by position."""
    others = iter(COLOURS[i % len(COLOURS)] for i in range(len(runs)))
    return [REFERENCE if run.experiment.is_fp32 else next(others) for run in runs]


def accuracy_curves(runs: Sequence[RunRecord]) -> Plot:
    """Test accuracy in per cent after every epoch."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes()
        for run, colour in zip(runs, run_colours(runs), strict=True):
            points = [(row.epoch, 100 * row.test_accuracy) for row in run.epochs if row.test_accuracy is not None]
            axes.plot(*_columns(points), color=colour, marker="o", markersize=3.5, linewidth=1.8)
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return Plot("Test accuracy", svg_text(figure), _description("test accuracy by epoch", runs))


def loss_curves(runs: Sequence[RunRecord]) -> Plot:
    """Training loss over the steps, logarithmic."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes()
        for run, colour in zip(runs, run_colours(runs), strict=True):
            points = [(row.step, row.train_loss) for row in run.steps or run.epochs if row.train_loss]
            axes.plot(*_columns(points), color=colour, linewidth=1.6)
        axes.set_yscale("log")
        axes.set_xlabel("training step")
        axes.set_ylabel("training loss")
        return Plot("Training loss", svg_text(figure), _description("training loss by step", runs))


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _description(what: str, runs: Sequence[RunRecord]) -> str:
    return f"{what} of {', '.join(run.label for run in runs)}"
