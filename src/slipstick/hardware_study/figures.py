"""Plots of a hardware study as SVG. Each unit has one colour, in plots and tables alike; the baseline is dark grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from textwrap import wrap
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from slipstick.hardware.exploration import front
from slipstick.hardware_study.recording import NORMAL, recorded
from slipstick.hardware_study.results import INERTIAL, ZERO_DELAY, PointResult, StudyResult, UnitResult
from slipstick.hardware_study.tables import roles
from slipstick.hardware_study.text import operands_text
from slipstick.report.svg import COLOURS, PALETTE, REFERENCE, STYLE, TEXT, Plot, mixed, single_axes, svg_text
from slipstick.report.text import amount_text

_MARKERS = ("o", "s", "^", "D")
_PART_COLOURS = {  # Tol's light palette, which no unit has
    "switching": "#77aadd",
    "inputs": "#99ddff",
    "internal": "#ee8866",
    "registers": "#bbcc33",
    "clock": "#eedd88",
    "leakage": "#c4c9d0",
}
_LIGHT = 0.45  # of a colour, over white
_LOG_AREA, _LOG_ENERGY = 8.0, 30.0  # ratios beyond which an axis is logarithmic
_SHARES = 10.0  # ratio beyond which parts are shares

# inches
_WIDTH = 5.2
_BAR, _LINE, _GAP, _AXIS = 0.15, 0.13, 0.06, 0.85
_LABEL_LETTERS = 23
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")


def unit_colours(result: StudyResult) -> list[str]:
    """By position. Beyond the palette its colours come again, darker."""
    others = iter(PALETTE[i % len(PALETTE)] for i in range(len(result.units)))
    return [REFERENCE if unit.label == result.baseline else next(others) for unit in result.units]


def study_plots(result: StudyResult) -> dict[str, Plot]:
    """All of a study, by name of their files."""
    plots = {
        "area-period": area_and_period(result),
        "energy": energy_by_operands(result),
        "energy-parts": energy_parts(result),
    }
    return plots | ({"training-energy": training_energy(result)} if result.networks else {})


def area_and_period(result: StudyResult) -> Plot:
    """Every circuit under every mapping; those that no other one beats as a line, the chosen ones large."""
    columns = 2 if max(len(unit.label) for unit in result.units) <= 26 else 1
    rows = -(-len(result.units) // columns)
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(_WIDTH, 3.4 + 0.2 * rows)
        handles = []
        for i, (unit, colour) in enumerate(zip(result.units, unit_colours(result), strict=True)):
            marker = _MARKERS[i // (len(COLOURS) + 1) % len(_MARKERS)]
            handles.append(_draw_points(axes, unit, colour, marker))
        axes.axvline(result.clock_ns, color=TEXT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        top = axes.get_xaxis_transform()
        clock = f"clock {result.clock_ns:g} ns"
        axes.text(result.clock_ns, 1.015, clock, transform=top, ha="center", va="bottom", fontsize=8.5)
        axes.yaxis.set_major_formatter(_PLAIN)
        areas = [point.area_um2 for unit in result.units for point in unit.points]
        if max(areas) > _LOG_AREA * min(areas):
            axes.set_yscale("log")
            _plain_ticks(axes.yaxis, log10(max(areas) / min(areas)), room=3.5)
        axes.set_xlabel("shortest clock period (ns)")
        axes.set_ylabel("area (µm²)")
        figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)
        text = f"area by shortest clock period of {_listed(result)}; {clock}"
        return Plot("Area and period of all circuits", svg_text(figure), text)


def energy_by_operands(result: StudyResult) -> Plot:
    """Of a product, the chosen circuits on each kind of operands."""
    groups = [
        _Group(
            unit.label,
            tuple(
                _Bar(operands_text(name), colour, energy[INERTIAL], energy[ZERO_DELAY])
                for name, energy in unit.energy_fj.items()
            ),
        )
        for unit, colour in zip(result.units, unit_colours(result), strict=True)
    ]
    with matplotlib.rc_context(STYLE):
        figure, axes = _bars(groups, may_be_logarithmic=True)
        axes.set_xlabel("energy of a product (fJ)")
        _glitch_legend(figure)
        return Plot("Energy of a product", svg_text(figure), f"energy of a product by operands, of {_listed(result)}")


def energy_parts(result: StudyResult) -> Plot:
    """Where the energy of the chosen circuits goes, glitches included: mean over the recorded operands.

    In fJ; where units are too far apart for that, in per cent.
    """
    found = [_mean_parts(unit) for unit in result.units]
    totals = [sum(parts.values()) for parts in found]
    as_shares = max(totals) > _SHARES * min(totals) > 0
    scales = [100 / total if as_shares else 1.0 for total in totals]
    bars = [
        _Bar(unit.label, "none", total * scale, text=amount_text(total) + (" fJ" if as_shares else ""))
        for unit, total, scale in zip(result.units, totals, scales, strict=True)
    ]
    names = list(dict.fromkeys(name for parts in found for name in parts))
    with matplotlib.rc_context(STYLE):
        figure, axes = _bars([_Group("", tuple(bars))], more=0.2)
        starts = [0.0] * len(bars)
        for name in names:
            widths = [scale * parts.get(name, 0.0) for scale, parts in zip(scales, found, strict=True)]
            axes.barh(axes.get_yticks(), widths, _BAR, left=starts, color=_PART_COLOURS.get(name, TEXT))
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        axes.set_xlabel("share of the energy of a product (%)" if as_shares else "energy of a product (fJ)")
        patches = [Patch(color=_PART_COLOURS.get(name, TEXT), label=name) for name in names]
        figure.legend(handles=patches, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
        operands = ", ".join(map(operands_text, roles(result))) or f"{NORMAL} operands"
        text = f"parts of the energy of a product, mean over {operands}, of {_listed(result)}"
        return Plot("Where the energy goes", svg_text(figure), text)


def training_energy(result: StudyResult) -> Plot:
    """Of a training step, for every network and unit."""
    colours = {unit.label: colour for unit, colour in zip(result.units, unit_colours(result), strict=True)}
    groups = [
        _Group(
            name,
            tuple(
                _Bar(cost.unit, colours[cost.unit], cost.energy_mj[INERTIAL], cost.energy_mj[ZERO_DELAY])
                for cost in costs
            ),
        )
        for name, costs in result.by_network().items()
    ]
    with matplotlib.rc_context(STYLE):
        figure, axes = _bars(groups, may_be_logarithmic=True)
        axes.set_xlabel("energy of a training step (mJ)")
        _glitch_legend(figure)
        text = f"energy of a training step of {', '.join(group.title for group in groups)}, on {_listed(result)}"
        return Plot("Energy of a training step", svg_text(figure), text)


@dataclass(frozen=True)
class _Bar:
    """inner: a part of ``value`` in the full colour; the rest is light. text: behind it; default: ``value``."""

    label: str
    colour: str
    value: float
    inner: float | None = None
    text: str = ""

    @property
    def lines(self) -> list[str]:
        return wrap(self.label, _LABEL_LETTERS) or [""]


@dataclass(frozen=True)
class _Group:
    title: str
    bars: tuple[_Bar, ...]


def _bars(groups: Sequence[_Group], may_be_logarithmic: bool = False, more: float = 0.0) -> tuple[Figure, Axes]:
    """Horizontal bars from top to bottom, each with its label before it and its value behind it.

    The vertical axis is in inches, so that rows are as high as their labels whatever their number. more: inches for a
    higher legend.
    """
    titles, places, height = _layout(groups)
    figure, axes = single_axes(_WIDTH, height + _AXIS + more)
    bars = [bar for group in groups for bar in group.bars]
    values = [bar.value for bar in bars]
    if may_be_logarithmic and max(values) > _LOG_ENERGY * min(values) > 0:
        least = min(bar.value if bar.inner is None else bar.inner for bar in bars)
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, log10(max(values) / least), room=1.6)
        axes.set_xlim(least / 2, max(values) * (max(values) / least) ** 0.2)
    else:
        axes.set_xlim(0, (max(values) or 1.0) * 1.16)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(_PLAIN)
    axes.set_ylim(height, 0)
    for place, bar in zip(places, bars, strict=True):
        axes.barh(place, bar.value, _BAR, color=bar.colour if bar.inner is None else _lighter(bar.colour))
        if bar.inner is not None:
            axes.barh(place, bar.inner, _BAR, color=bar.colour)
        axes.annotate(
            bar.text or amount_text(bar.value),
            (bar.value, place),
            (3, 0),
            textcoords="offset points",
            va="center_baseline",
            size=8,
        )
    axes.set_yticks(places, ["\n".join(bar.lines) for bar in bars], fontsize=8.5, linespacing=1.0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    inside = axes.get_yaxis_transform()
    for place, group in zip(titles, groups, strict=True):
        axes.text(0.01, place, group.title, transform=inside, va="center_baseline", size=9, weight="bold")
    return figure, axes


def _layout(groups: Sequence[_Group]) -> tuple[list[float], list[float], float]:
    """Where titles and bars are, and where all ends; inches from the top."""
    titles, places, y = [], [], 0.0
    for group in groups:
        titles.append(y + _LINE)
        y += 2 * _LINE if group.title else _GAP
        for bar in group.bars:
            row = len(bar.lines) * _LINE + _GAP
            places.append(y + row / 2)
            y += row
        y += _GAP
    return titles, places, y


def _draw_points(axes: Axes, unit: UnitResult, colour: str, marker: str) -> Line2D:
    """Returns the unit's entry in the legend."""
    axes.scatter(*_columns(unit.points), s=11, color=colour, marker=marker, alpha=0.28, linewidths=0)
    axes.plot(*_columns(front(unit.points)), color=colour, marker=marker, markersize=3, linewidth=1.3, zorder=2.2)
    chosen: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 8.5, "markeredgecolor": "white"}
    chosen["linestyle"] = "none"
    axes.plot(unit.point.period_ns, unit.point.area_um2, zorder=3, **chosen)
    return Line2D([], [], label="\n".join(wrap(unit.label, 60)), **chosen)


def _columns(points: Sequence[PointResult]) -> tuple[list[float], list[float]]:
    return [point.period_ns for point in points], [point.area_um2 for point in points]


def _plain_ticks(axis: Axis, decades: float, room: float) -> None:
    """Of a logarithmic axis: at 1, 2 and 5; at powers of ten where there are more decades than room."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < room else (1,), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(_PLAIN)


def _glitch_legend(figure: Figure) -> None:
    solid = Patch(color=REFERENCE, label=f"{ZERO_DELAY} (no glitches)")
    whole = Patch(color=_lighter(REFERENCE), label=f"{INERTIAL} (with glitches)")
    figure.legend(handles=[solid, whole], loc="outside lower left", ncols=2, frameon=False, fontsize=9)


def _mean_parts(unit: UnitResult) -> dict[str, float]:
    found = recorded(unit.parts_fj)
    return {name: sum(parts[name] for parts in found) / len(found) for name in found[0]}


def _listed(result: StudyResult) -> str:
    return ", ".join(unit.label for unit in result.units)


def _lighter(colour: str) -> str:
    return mixed(colour, 1.0, 1 - _LIGHT)
