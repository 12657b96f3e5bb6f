"""Of every adder in the runs a picture, D+ and D- with their errors in LSBs, and those errors in numbers."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.adders import Adder
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.design.figure import draw_adder
from slipstick.design.target import FRAC_BITS, TableErrors, Target, gaussian_target
from slipstick.formats import LNS
from slipstick.report.svg import STYLE, Plot, svg_text
from slipstick.report.text import MINUS, NONE
from slipstick.train.config import Experiment, resolve_arithmetic

_SHARP = 2000
"""Distances above which curves are drawn as dots, which takes less room than their outlines."""

_NAME_LETTERS = 60
_MARGINS = {"left": 0.1, "right": 0.985, "top": 0.935, "bottom": 0.12, "wspace": 0.3, "hspace": 0.16}

MOST_PICTURES = 12
"""Adders that are drawn; of the others there are the numbers."""


@dataclass(frozen=True)
class UsedAdder:
    """An adder on a number of fraction bits, and what of the runs' formats it adds in."""

    name: str
    adder: Adder
    frac_bits: int
    formats: tuple[LNS, ...]

    @property
    def title(self) -> str:
        return f"{self.name}, {self.frac_bits} fraction bits"

    @property
    def has_picture(self) -> bool:
        """Whether the exact functions are known at its width."""
        return self.frac_bits in FRAC_BITS

    @property
    def errors(self) -> tuple[TableErrors, TableErrors] | None:
        """Of D+ and D-, at the distances at which operands do not cancel."""
        if not self.has_picture:
            return None
        plus, minus = self.adder.tables(self.formats[0])
        return _errors(plus, gaussian_target(1, self.frac_bits)), _errors(minus, gaussian_target(-1, self.frac_bits))

    @property
    def cancels_to(self) -> int:
        """The largest distance, besides 0, at which operands of opposite sign cancel; 0 where there is none."""
        _, minus = self.adder.tables(self.formats[0])
        return int(np.flatnonzero(minus == CANCEL).max(initial=0))


def used_adders(experiments: Sequence[Experiment]) -> list[UsedAdder]:
    """Each once, in the order in which they occur: of operands, updates, accumulators, modules of their own."""
    found: dict[tuple[int, str], UsedAdder] = {}
    for arithmetic in dict.fromkeys(each for experiment in experiments for each in _arithmetics(experiment)):
        plus, minus = arithmetic.tables
        key = (arithmetic.format.frac_bits, hashlib.sha256(plus.tobytes() + b"/" + minus.tobytes()).hexdigest())
        before = found.get(key)
        formats = tuple(dict.fromkeys((*(before.formats if before else ()), arithmetic.format)))
        name = before.name if before else _name(arithmetic)
        found[key] = UsedAdder(name, arithmetic.adder, arithmetic.format.frac_bits, formats)
    return list(found.values())


def error_texts(used: UsedAdder) -> list[str]:
    """RMS, mean and largest of D+, then of D-; six dashes where the exact functions are not known."""
    if used.errors is None:
        return [NONE] * 6
    return [
        text
        for errors in used.errors
        for text in (f"{errors.rms:.3f}", f"{errors.bias:+.3f}".replace("-", MINUS), f"{errors.max:.1f}")
    ]


def adder_plot(used: UsedAdder) -> Plot:
    """D+ and D- as tables and as real functions above, the errors of the tables below."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.9), dpi=200)
        figure.subplots_adjust(**_MARGINS)
        draw_adder(figure, used.adder, used.frac_bits, name="the adder's table")
        if len(gaussian_target(1, used.frac_bits).distance) > _SHARP:
            for line in (line for axes in figure.axes for line in axes.lines):
                line.set_rasterized(True)
        return Plot(used.title, svg_text(figure), f"D+ and D- of {used.title}, and their errors in LSB")


def _arithmetics(experiment: Experiment) -> Iterator[LogArithmetic]:
    given = [experiment.arithmetic, experiment.update, *(experiment.override or {}).values()]
    for text in given:
        arithmetic = None if text is None else resolve_arithmetic(text)
        if isinstance(arithmetic, LogArithmetic):
            yield arithmetic
            if isinstance(arithmetic.accumulator, LogArithmetic):
                yield arithmetic.accumulator


def _errors(table: NDArray[np.int32], target: Target) -> TableErrors:
    values = target.on_domain(table)
    kept = values != CANCEL
    error = (values - target.real)[kept]
    return TableErrors(float(np.sqrt((error**2).mean())), float(error.mean()), float(np.abs(error).max()))


def _name(arithmetic: LogArithmetic) -> str:
    name = arithmetic.add if isinstance(arithmetic.add, str) else str(arithmetic.add)
    return name if len(name) <= _NAME_LETTERS else name[: _NAME_LETTERS - 1] + "…"
