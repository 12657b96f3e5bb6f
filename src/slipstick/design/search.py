"""From a request to an adder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, PiecewiseLinear, Segments
from slipstick.design.annealing import Annealing
from slipstick.design.indexed_tables import best_indexed_table, best_table
from slipstick.design.logic_tables import least_logic
from slipstick.design.optimal_segments import OptimalSegments
from slipstick.design.request import DesignRequest
from slipstick.design.segment_errors import NEVER, SegmentErrors
from slipstick.design.target import Target, gaussian_target, table_errors
from slipstick.design.zero_bias import CLOSABLE, LIMIT, balancing_steps, without_bias
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

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
        self._targets = {sign: gaussian_target(sign, request.frac_bits) for sign in SIGNS}
        self._weights = {sign: request.objective_weights().of(target) for sign, target in self._targets.items()}

    def run(self) -> Adder:
        """Search to the end. Raises SpecificationError naming the conditions that conflict."""
        request = self.request
        if request.form == "table":
            return best_table(request)
        if request.search == "logic":
            return least_logic(request, self._named("annealing logic"))
        adder = self._indexed_table() if request.form == "indexed-table" else self._piecewise_linear()
        if request.zero_bias:
            self._check_bias(adder)
        return adder

    def _indexed_table(self) -> Adder:
        return best_indexed_table(self.request, lambda share: self._progress("index forms", share))

    def _piecewise_linear(self) -> Adder:
        end = self._common_end()
        find = self._annealed if self.request.search == "anneal" else self._optimal
        plus, minus = (find(target, end) for target in self._targets.values())
        return PiecewiseLinear(self.request.frac_bits, plus, minus)

    def _check_bias(self, adder: Adder) -> None:
        tables = adder.tables(LNS(int_bits=5, frac_bits=self.request.frac_bits))
        for table, (sign, target) in zip(tables, self._targets.items(), strict=True):
            bias = table_errors(table, target, self._weights[sign]).bias
            if abs(bias) > LIMIT:
                raise SpecificationError(
                    f"zero_bias: {NAMES[sign]} keeps a mean error of {bias:+.3f} LSB where {LIMIT} is allowed; "
                    "allow more segments or index bits, drop another condition, or do without zero_bias"
                )

    def _errors(self, target: Target, end: int | None) -> SegmentErrors:
        return SegmentErrors(target, self.request.constraints(target, end), self._weights[target.sign])

    def _common_end(self) -> int | None:
        """The distance at which both tables end: the threshold's, or the one with the least sum of squared errors."""
        request = self.request
        if request.end is not None:
            return self._threshold_end(request.end)
        if not request.symmetric:
            return None
        costs = [self._end_costs(target) for target in self._targets.values()]
        total = costs[0][1:] + costs[1]  # D+ starts at d = 0, D- at d = 1
        if total.min() >= NEVER / 2:
            raise SpecificationError(
                f"segments={request.segments}: no pair of tables satisfies {request.constraints(self._targets[-1])}; "
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

    def _threshold_end(self, end: int) -> int:
        """The first distance from ``end`` on where the conditions on bounds let a table end."""
        cuts = self.request.constraints(self._targets[-1]).cuts(self._targets[-1])
        ends = np.flatnonzero(cuts) - 1 + self._targets[-1].first  # the domain's end is always one of them
        end = int(ends[ends >= end][0])
        for target in self._targets.values():
            try:
                self.request.constraints(target, end).check(target)
            except SpecificationError as error:
                raise SpecificationError(f"swamping={self.request.swamping:g}: {error}") from None
        return end

    def _optimal(self, target: Target, end: int | None) -> Segments:
        errors, constraints = self._errors(target, end), self.request.constraints(target, end)
        progress = self._named(NAMES[target.sign])

        def at(tilt: float) -> tuple[Segments, float]:
            segments = OptimalSegments(errors, constraints, tilt, progress).segments()
            return segments, self._bias(segments, target)

        return self._balanced(without_bias(at, until=CLOSABLE)[0], target) if self.request.zero_bias else at(0.0)[0]

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
        weights = self._weights[target.sign]
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
        return table_errors(segments.values(d, -target.sign), target, self._weights[target.sign]).bias

    def _named(self, what: str) -> Callable[[float], None]:
        return lambda share: self._progress(what, share)


def design_adder(request: DesignRequest) -> Adder:
    """The adder that ``request`` asks for. Raises SpecificationError naming the conditions that conflict."""
    return Designer(request).run()
