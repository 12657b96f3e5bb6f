"""The adders that ``add="designed"`` means: one piece-wise linear design for each width, and how it was chosen.

Each is the least-squares optimum of ``optimal_segments`` under four conditions, because squared error alone does not
make an adder that trains:

* exact where subtraction cancels: D+(0), so that x + x = 2x, and D-(1..4) are correctly rounded;
* no drift: a bias of a fraction of an LSB per addition compounds along a sum, so the mean error is brought to zero;
* symmetric swamping: D+ and D- end at one distance, so an update too small to raise a weight is too small to lower it;
* constant on the index classes of a fast kernel, where there is one for the width.

What that costs in RMS, in LSBs of D+ / D-, one condition added after the other:
                     F = 5            F = 6
    unconstrained    .2534 / .2940    .3006 / .4335
    exact            .2534 / .3000    .3006 / .4571
    classes          .2563 / .3002    .3011 / .4572
    no drift         .2583 / .3003    .3034 / .4594
The published tables of Hamad et al. 2025 have .407 / .426 and .408 / .567, but keep +-1 far beyond the distance where
correct rounding gives 0 (255 for 211 at F = 5); no condition here asks for that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slipstick.arithmetic.adders import PiecewiseLinear, Segments
from slipstick.design.optimal_segments import Constraints, OptimalSegments
from slipstick.design.target import DOMAIN_OCTAVES, Target, adder_errors, gaussian_target, table_errors

FRAC_BITS = (3, 4, 5, 6, 7, 8)
EXACT_THROUGH = {1: 0, -1: 4}
OUTPUT = "src/slipstick/arithmetic/designed.json"

_SIGNS = (1, -1)
_MULTIPLIER_RANGE = 1.0
_BISECTIONS = 10
_BIAS_TOLERANCE = 1 / 256

_OBJECTIVE = (
    "Least mean squared error in LSBs of D+ over d = 0..12*2^F and of D- over d = 1..12*2^F, at most 16 segments, 0 "
    "beyond the last bound; D+(0) and D-(1..4) correctly rounded; both tables end at one distance; mean error brought "
    "to zero by a Lagrange multiplier (each table has the least squared error of all with its end and its mean error)"
)


@dataclass(frozen=True)
class IndexClasses:
    """How a vector kernel turns a distance into a short table index: min(d, base + (d >> shift), top).

    It looks D up in a table of top + 1 entries, so it can evaluate an adder that is constant on every class.
    """

    shift: int
    base: int
    top: int

    def __str__(self) -> str:
        return f"min(d, {self.base} + (d >> {self.shift}), {self.top})"

    def of(self, count: int) -> tuple[int, ...]:
        """The classes of d = 0 .. count - 1."""
        return tuple(min(d, self.base + (d >> self.shift), self.top) for d in range(count))


# F <= 4: tables this short are indexed by d itself. F = 7, 8: no map this short has room for their tables.
INDEX_CLASSES = {5: IndexClasses(2, 63, 127), 6: IndexClasses(2, 127, 255)}


def designed_adder(frac_bits: int) -> PiecewiseLinear:
    """The design for one width: seconds for frac_bits <= 6, minutes for 8."""
    solved = {sign: _unbiased(gaussian_target(sign, frac_bits), _constraints(sign, frac_bits), None) for sign in _SIGNS}
    end = _common_end(solved[1], solved[-1])
    plus, minus = (_unbiased(solved[sign].target, solved[sign].constraints, end).segments(end) for sign in _SIGNS)
    return PiecewiseLinear(frac_bits, plus, minus)


def unconstrained_adder(frac_bits: int, segments: int = 16) -> PiecewiseLinear:
    """The least-squares optimum with no further condition: what the conditions of ``designed_adder`` are paid from."""
    plus, minus = (
        OptimalSegments(gaussian_target(sign, frac_bits), Constraints(segments)).segments() for sign in _SIGNS
    )
    return PiecewiseLinear(frac_bits, plus, minus)


def design_records(widths: Iterable[int] = FRAC_BITS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and JSON form of each shipped design, in the shape of the published tables with its objective and errors."""
    for frac_bits in widths:
        yield f"designed-F{frac_bits}", _record(frac_bits)


def _record(frac_bits: int) -> dict[str, Any]:
    adder = designed_adder(frac_bits)
    classes = INDEX_CLASSES.get(frac_bits)
    plus, minus = adder_errors(adder, frac_bits)
    free_plus, free_minus = adder_errors(unconstrained_adder(frac_bits), frac_bits)
    return {
        "frac_bits": frac_bits,
        "upper": DOMAIN_OCTAVES,
        "plus": adder.plus.to_dict(),
        "minus": adder.minus.to_dict(),
        "objective": _OBJECTIVE + (f"; constant on the classes {classes}" if classes else ""),
        "errors": {"plus": plus.to_dict(), "minus": minus.to_dict()},
        "unconstrained_errors": {"plus": free_plus.to_dict(), "minus": free_minus.to_dict()},
        "last_nonzero": adder.plus.bound[-1],
        "command": f"python -m slipstick.design --frac-bits {frac_bits}",
    }


def _constraints(sign: int, frac_bits: int) -> Constraints:
    classes = INDEX_CLASSES.get(frac_bits)
    count = (DOMAIN_OCTAVES << frac_bits) + 1
    return Constraints(exact_through=EXACT_THROUGH[sign], classes=classes.of(count) if classes else None)


def _common_end(plus: OptimalSegments, minus: OptimalSegments) -> int:
    """The distance at which both tables end with the least sum of their squared errors."""
    costs = plus.end_costs()[1:] + minus.end_costs()  # D+ starts at d = 0, D- at d = 1
    return int(costs.argmin()) + 1


def _unbiased(target: Target, constraints: Constraints, end: int | None) -> OptimalSegments:
    """The optimum whose mean error is nearest to zero, found by bisection of its multiplier."""
    low, high = -_MULTIPLIER_RANGE, _MULTIPLIER_RANGE
    solved = OptimalSegments(target, constraints)
    least = solved
    for _ in range(_BISECTIONS):
        bias = _bias(solved.segments(end), target)
        if abs(bias) < abs(_bias(least.segments(end), target)):
            least = solved
        if abs(bias) <= _BIAS_TOLERANCE:
            break
        low, high = (
            (solved.constraints.bias_multiplier, high) if bias > 0 else (low, solved.constraints.bias_multiplier)
        )
        solved = OptimalSegments(target, replace(constraints, bias_multiplier=(low + high) / 2))
    return least


def _bias(segments: Segments, target: Target) -> float:
    d = np.arange(int(target.distance[-1]) + 1)
    return table_errors(segments.values(d, -target.sign), target).bias
