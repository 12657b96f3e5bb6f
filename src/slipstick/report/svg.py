"""What all plots have in common: one style, one palette, SVG as the result."""

import io
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; what others are compared with is the dark grey
REFERENCE = "#3a3f45"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
OTHERS = "#b9bfc7"
GRID = "#e3e6ea"
TEXT = "#4a5058"

STYLE: Any = {  # matplotlib's own type lists every key of every release
    "svg.fonttype": "path",
    "svg.hashsalt": "slipstick",
    "font.size": 10,
    "axes.edgecolor": "#c4c9d0",
    "axes.labelcolor": TEXT,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}
"""For ``matplotlib.rc_context``."""


@dataclass(frozen=True)
class Plot:
    """A titled SVG, and its text for readers who do not see it."""

    title: str
    svg: str
    description: str


def mixed(colour: str, grey: float, share: float) -> str:
    """``share`` of a grey from 0 (black) to 1 (white), the rest ``colour``."""
    red, green, blue = (share * grey + (1 - share) * part for part in to_rgb(colour))
    return to_hex((red, green, blue))


PALETTE = (*COLOURS, *(mixed(colour, 0.0, 0.45) for colour in COLOURS))
"""The colours, and again darker."""


def single_axes(width: float = 5.2, height: float = 3.5) -> tuple[Figure, Axes]:
    """A figure of one plot; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def svg_text(figure: Figure) -> str:
    """The same figure gives the same text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
