"""Panels of coloured cells under each other, as one SVG: rows by columns, one scale of colours for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from slipstick.report.svg import GRID, STYLE, Plot, svg_text

Matrix = NDArray[np.float64]

MOST_COLUMNS = 120
"""Of a panel; of more, neighbours are averaged."""

# inches
_WIDTH = 5.2
_ROW, _LEAST, _NUMBERS = 0.135, 0.75, 1.1
_TOP, _BETWEEN, _BOTTOM = 0.3, 0.5, 0.48
_LETTER, _AXIS, _RIGHT, _BAR, _BAR_NUMBERS = 0.054, 0.6, 0.12, 0.11, 0.42
_LOW = 1.8  # figures less high have few ticks at their scale
_MOST_LABELS = 44
_LETTERS = 22
_RESOLUTION = 200  # dots per inch of the cells
_SHARES = (0.0, 1.0, 10.0, 30.0, 60.0, 100.0)  # ticks of per cents


@dataclass(frozen=True)
class Panel:
    """title: above it. columns: ascending numbers. rows: labels from top to bottom, or ascending numbers from below.

    cells: (rows, columns); NaN where nothing is known.
    """

    title: str
    columns: Sequence[float]
    rows: Sequence[str] | Sequence[int]
    cells: Matrix


def per_cents(title: str, panels: Sequence[Panel], x: str, y: str, description: str, most: float = 100.0) -> Plot:
    """most: where the scale ends; it is stretched near 0."""
    norm = PowerNorm(0.4, 0.0, most)
    return _heat_maps(title, panels, norm, "YlGnBu", [t for t in _SHARES if t <= most], ("%", x, y), description)


def decibels(title: str, panels: Sequence[Panel], x: str, y: str, description: str) -> Plot:
    """Low values are dark."""
    known = np.concatenate([panel.cells[np.isfinite(panel.cells)] for panel in panels])
    low, high = min(0.0, float(known.min())), max(float(known.max()), float(known.min()) + 1)
    return _heat_maps(title, panels, Normalize(low, high), "YlOrRd_r", None, ("dB", x, y), description)


def _heat_maps(
    title: str,
    panels: Sequence[Panel],
    norm: Normalize,
    colours: str,
    ticks: list[float] | None,
    names: tuple[str, str, str],
    description: str,
) -> Plot:
    with matplotlib.rc_context(STYLE):
        heights = [_height(panel) for panel in panels]
        height = _TOP + sum(heights) + _BETWEEN * (len(panels) - 1) + _BOTTOM
        figure = Figure(figsize=(_WIDTH, height), dpi=_RESOLUTION)
        left = max(_left(panel) for panel in panels)
        right = _WIDTH - _RIGHT - _BAR - _BAR_NUMBERS
        top = height - _TOP
        for panel, its in zip(panels, heights, strict=True):
            axes = figure.add_axes(_box(left, top - its, right - left, its, height))
            cells = _draw(axes, panel, norm, colours, names[2])
            top -= its + _BETWEEN
        axes.set_xlabel(names[1])
        if ticks is not None and height < _LOW:
            ticks = [ticks[0], *ticks[2::3]]
        place = figure.add_axes(_box(right + _RIGHT, _BOTTOM, _BAR, height - _TOP - _BOTTOM, height))
        bar = figure.colorbar(cells, cax=place, ticks=ticks, format="{x:g}")
        bar.outline.set_visible(False)
        place.set_title(names[0], fontsize=9)
        place.tick_params(labelsize=8)
        return Plot(title, svg_text(figure), description)


def _box(left: float, bottom: float, width: float, height: float, whole: float) -> tuple[float, float, float, float]:
    """Inches as shares of the figure."""
    return left / _WIDTH, bottom / whole, width / _WIDTH, height / whole


def _left(panel: Panel) -> float:
    """Room for what stands before the rows."""
    return 0.1 + _LETTER * max(len(_shortened(str(row))) for row in panel.rows) if _is_named(panel) else _AXIS


def _height(panel: Panel) -> float:
    return max(_LEAST, _ROW * min(len(panel.rows), _MOST_LABELS)) if _is_named(panel) else _NUMBERS


def _is_named(panel: Panel) -> bool:
    return isinstance(panel.rows[0], str)


def _draw(axes: Axes, panel: Panel, norm: Normalize, colours: str, y: str) -> matplotlib.cm.ScalarMappable:
    palette = matplotlib.colormaps[colours].with_extremes(bad=GRID)
    columns = np.asarray(panel.columns, dtype=float)
    if _is_named(panel):
        edges = np.arange(len(panel.rows) + 1) - 0.5
        every = -(-len(panel.rows) // _MOST_LABELS)
        axes.set_yticks(range(0, len(panel.rows), every), [_shortened(str(r)) for r in panel.rows[::every]], fontsize=7)
        axes.tick_params(axis="y", length=0)
    else:
        edges = _edges(np.asarray(panel.rows, dtype=float))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_ylabel(y)
    masked = np.ma.masked_invalid(panel.cells)
    drawn = axes.pcolormesh(_edges(columns), edges, masked, norm=norm, cmap=palette, rasterized=True)
    if _is_named(panel):
        axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.spines[:].set_visible(False)
    axes.set_title(panel.title, loc="left", fontsize=9)
    return drawn


def _edges(places: Matrix) -> Matrix:
    """Cells reach half-way to their neighbours."""
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middles = (places[1:] + places[:-1]) / 2
    return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]])


def _shortened(name: str) -> str:
    """The end of a dotted name tells it from its neighbours."""
    return name if len(name) <= _LETTERS else "…" + name[-_LETTERS + 1 :]
