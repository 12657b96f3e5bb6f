"""A picture of an adder: the functions, the tables, and the error in LSBs below."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slipstick.arithmetic.adders import Adder
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.design.target import DOMAIN_OCTAVES, Target, gaussian_target
from slipstick.formats import LNS

_TRUE, _TABLE, _OTHER, _GRID = "#3a3f45", "#0072b2", "#d55e00", "#e3e6ea"
_ERROR_RANGE = 3.0
_DEEPEST = -4.0


def save_figure(path: Path, adder: Adder, frac_bits: int, title: str, other: tuple[str, Adder] | None = None) -> None:
    """Write a PNG, PDF or SVG. other: a second adder to compare with, with its name."""
    figure = Figure(figsize=(11, 6.2), layout="constrained", dpi=130)
    figure.suptitle(title, fontsize=11)
    draw_adder(figure, adder, frac_bits, other)
    figure.savefig(path)


def draw_adder(
    figure: Figure, adder: Adder, frac_bits: int, other: tuple[str, Adder] | None = None, name: str = "this design"
) -> None:
    """D+ and D- beside the real functions, and their errors in LSBs below, into an empty figure."""
    axes = figure.subplots(2, 2, sharex="col", height_ratios=(3, 2))
    for column, sign in enumerate((1, -1)):
        target = gaussian_target(sign, frac_bits)
        _draw_function(axes[0, column], target, (name, adder), other)
        _draw_error(axes[1, column], target, adder, other)
    axes[0, 0].legend(frameon=False, fontsize=9)


def _values(adder: Adder, target: Target) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    table = adder.tables(LNS(int_bits=5, frac_bits=target.frac_bits))[0 if target.sign > 0 else 1]
    values = target.on_domain(table).astype(np.float64)
    values[values == CANCEL] = np.nan
    return values


def _draw_function(axes: Axes, target: Target, adder: tuple[str, Adder], other: tuple[str, Adder] | None) -> None:
    one = 1 << target.frac_bits
    octaves = target.distance / one
    axes.plot(octaves, target.real / one, color=_TRUE, linewidth=1, label="real function")
    if other is not None:
        axes.step(octaves, _values(other[1], target) / one, where="mid", color=_OTHER, linewidth=0.9, label=other[0])
    axes.step(octaves, _values(adder[1], target) / one, where="mid", color=_TABLE, linewidth=1.2, label=adder[0])
    axes.set_title("D+, equal signs" if target.sign > 0 else "D-, opposite signs", fontsize=10)
    axes.set_ylabel("octaves")
    if target.sign < 0:
        axes.set_ylim(_DEEPEST, 0.1)
    _style(axes)


def _draw_error(axes: Axes, target: Target, adder: Adder, other: tuple[str, Adder] | None) -> None:
    octaves = target.distance / (1 << target.frac_bits)
    if other is not None:
        axes.plot(octaves, _values(other[1], target) - target.real, color=_OTHER, linewidth=0.8)
    axes.plot(octaves, _values(adder, target) - target.real, color=_TABLE, linewidth=0.9)
    axes.axhline(0.0, color=_TRUE, linewidth=0.6)
    axes.set_ylim(-_ERROR_RANGE, _ERROR_RANGE)
    axes.set_ylabel("error, LSB")
    axes.set_xlabel("distance d / 2^F, octaves")
    axes.set_xlim(0, DOMAIN_OCTAVES * 0.8)
    _style(axes)


def _style(axes: Axes) -> None:
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
