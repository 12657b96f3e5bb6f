"""A picture of an assignment: bits of every tensor, layer by layer."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slipstick.precision.assignment import Assignment, LogPrecision
from slipstick.precision.explanation import KINDS, NAMELESS, Kind
from slipstick.precision.lns import LNSAssignment

_GRID = "#e3e6ea"
_SERIES: dict[Kind, tuple[str, str, str]] = {
    "weight": ("weights", "#0072b2", "o"),
    "activation": ("activations", "#009e73", "s"),
    "weight_gradient": ("weight gradients", "#d55e00", "^"),
    "activation_gradient": ("activation gradients", "#cc79a7", "v"),
    "accumulator": ("accumulators", "#3a3f45", "D"),
}
_INCHES_PER_LAYER = 0.32


def save_figure(path: Path, assignment: Assignment | LNSAssignment, title: str | None = None) -> None:
    """Write a PNG, PDF or SVG. title: the model's name if None."""
    names = [layer.name or NAMELESS for layer in assignment.layers]
    figure = Figure(figsize=(max(6.5, 2.5 + _INCHES_PER_LAYER * len(names)), 4.2), layout="constrained", dpi=130)
    figure.suptitle(assignment.model if title is None else title, fontsize=11)
    axes = figure.subplots()
    for kind in KINDS:
        label, colour, marker = _SERIES[kind]
        bits = _bits(assignment, kind)
        axes.plot(bits, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
        hollow = _logarithms(assignment, kind)
        axes.plot(hollow, [bits[i] for i in hollow], marker, color=colour, markerfacecolor="white", markersize=4)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    mixed = isinstance(assignment, Assignment) and assignment.is_mixed
    axes.set_ylabel("bits (hollow: logarithms)" if mixed else "bits")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    _style(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path)


def _bits(assignment: Assignment | LNSAssignment, kind: Kind) -> list[int]:
    if isinstance(assignment, LNSAssignment):
        return [layer.format(kind).width for layer in assignment.layers]
    return [layer.precision(kind).bits for layer in assignment.layers]


def _logarithms(assignment: Assignment | LNSAssignment, kind: Kind) -> list[int]:
    """Where fixed point is mixed with logarithms."""
    if isinstance(assignment, LNSAssignment):
        return []
    return [i for i, layer in enumerate(assignment.layers) if isinstance(layer.precision(kind), LogPrecision)]


def _style(axes: Axes) -> None:
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
