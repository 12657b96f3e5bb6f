"""From a request to an adder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, PiecewiseLinear, Segments
from slipstick.design.annealing import Annealing
from slipstick.design.indexed_tables import best_indexed_table, best_table
from slipstick.design.optimal_segments import OptimalSegments
from slipstick.design.request import DesignRequest
from slipstick.design.segment_errors import NEVER, SegmentErrors
from slipstick.design.target import Target, gaussian_target, table_errors
from slipstick.design.zero_bias import balancing_steps, without_bias
from slipstick.errors import SpecificationError

Progress = Callable[[str, float], None]
SIGNS = (1, -1)
NAMES = {1: "D+", -1: "D-"}

_BIAS_PRICE = 100.0
"""Of the mean error in an annealing that shall have none, in LSB^2 per LSB^2."""


class Designer:
    """One search. ``state`` holds a started annealing as plain data, for a file; ``saved`` is called when it grows."""

    def __init__(
        self,
        request: DesignRequest,
        progress: Progress = lambda what, share: None,
        state: dict[str, Any] | None = None,
        saved: Callable[[dict[str, Any]], None] = lambda state: None,
    ) -> None:
        self.request = request
        self._progress = progress
        self._state = dict(state or {})
        self._saved = saved

    def run(self) -> Adder:
        """Search to the end. Raises SpecificationError naming the conditions that conflict."""
        request = self.request
        if request.form == "table":
            return best_table(request)
        if request.form == "indexed-table":
            return best_indexed_table(request, lambda share: self._progress("index forms", share))
        end = self._common_end()
        find = self._annealed if request.search == "anneal" else self._optimal
        plus, minus = (find(gaussian_target(sign, request.frac_bits), end) for sign in SIGNS)
        return PiecewiseLinear(request.frac_bits, plus, minus)

    def _errors(self, target: Target, end: int | None) -> SegmentErrors:
        return SegmentErrors(target, self.request.constraints(target, end), self.request.objective_weights().of(target))

    def _common_end(self) -> int | None:
        """The distance at which both tables end: the threshold's, or the one with the least sum of squared errors."""
        request = self.request
        targets = {sign: gaussian_target(sign, request.frac_bits) for sign in SIGNS}
        if request.end is not None:
            return self._allowed_end(request.end, targets[-1])
        if not request.symmetric:
            return None
        costs = [self._end_costs(target) for target in targets.values()]
        total = costs[0][1:] + costs[1]  # D+ starts at d = 0, D- at d = 1
        if total.min() >= NEVER / 2:
            raise SpecificationError(
                f"segments={request.segments}: no pair of tables satisfies {request.constraints(targets[-1])}; "
                "allow more segments or drop a condition"
            )
        return int(total.argmin()) + 1

    def _end_costs(self, target: Target) -> NDArray[np.float64]:
        """Squared error of the best table for each end, with the multiplier that leaves no mean error."""
        request, constraints = self.request, self.request.constraints(target)
        errors, progress = self._errors(target, None), self._named(f"{NAMES[target.sign]}, where to end")

        def at(tilt: float) -> tuple[OptimalSegments, float]:
            solved = OptimalSegments(errors, constraints, tilt, progress)
            return solved, self._bias(solved.segments(), target)

        return (without_bias(at) if request.zero_bias else at(0.0))[0].end_costs()

    def _allowed_end(self, end: int, target: Target) -> int:
        """The first distance from ``end`` on where the conditions on bounds let a table end."""
        ends = np.flatnonzero(self.request.constraints(target).cuts(target)) - 1 + target.first
        later = ends[ends >= end]
        return int(later[0]) if len(later) else end

    def _optimal(self, target: Target, end: int | None) -> Segments:
        errors, constraints = self._errors(target, end), self.request.constraints(target, end)
        progress = self._named(NAMES[target.sign])

        def at(tilt: float) -> tuple[Segments, float]:
            segments = OptimalSegments(errors, constraints, tilt, progress).segments()
            return segments, self._bias(segments, target)

        return self._balanced(without_bias(at)[0], target) if self.request.zero_bias else at(0.0)[0]

    def _annealed(self, target: Target, end: int | None) -> Segments:
        request, name = self.request, NAMES[target.sign]
        prices = replace(request.prices, bias=_BIAS_PRICE) if request.zero_bias else request.prices
        annealing = Annealing(self._errors(target, end), request.constraints(target, end), request.schedule, prices)
        if name in self._state:
            annealing.restore(self._state[name])
        progress, part = self._named(f"annealing {name}"), max(1, request.schedule.steps // 10)
        while not annealing.finished:
            annealing.run(progress, until=annealing.step + part)
            self._state[name] = annealing.state()
            self._saved(self._state)
        segments = annealing.segments()
        return self._balanced(segments, target) if request.zero_bias else segments

    def _balanced(self, segments: Segments, target: Target) -> Segments:
        """Intercepts moved by single LSBs until the mean error is as near to zero as that can bring it."""
        d = target.distance
        part = np.searchsorted(np.asarray(segments.bound), d)
        weights = self.request.objective_weights().of(target)
        error = weights * (segments.values(d, -target.sign) - target.real)
        count = len(segments.bound) + 1  # and the zeros beyond the last bound
        weight = np.maximum(np.bincount(part, weights, count), 1e-12)
        share, mean = weight / weights.sum(), np.bincount(part, error, count) / weight
        starts = np.append(target.first, np.asarray(segments.bound) + 1)
        free = starts > self.request.constraints(target).exact_through
        last = np.append(segments.values(np.asarray(segments.bound), -target.sign), 0) * target.sign
        rises, falls = (free & ((last + step * target.sign > 0) | (last <= 0)) for step in (1, -1))
        rises[-1] = falls[-1] = False
        steps = balancing_steps(share, mean, rises, falls)[:-1]
        return Segments(segments.bound, segments.exponent, tuple((np.array(segments.offset) + steps).tolist()))

    def _bias(self, segments: Segments, target: Target) -> float:
        d = np.arange(int(target.distance[-1]) + 1)
        weights = self.request.objective_weights().of(target)
        return table_errors(segments.values(d, -target.sign), target, weights).bias

    def _named(self, what: str) -> Callable[[float], None]:
        return lambda share: self._progress(what, share)


def design_adder(request: DesignRequest) -> Adder:
    """The adder that ``request`` asks for: under a second for frac_bits up to 6, seconds beyond."""
    return Designer(request).run()
