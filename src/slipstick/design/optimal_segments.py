"""The best piece-wise linear adder: an exact optimum by dynamic programming.

A table of m segments with power-of-two slopes (floor shift) and integer intercepts, 0 beyond the last bound, that
minimises the weighted squared error of the *integer* table against the real function over the whole domain. Hamad et
al. 2025 (arXiv 2510.17058) anneal the same structure; here no bounds, slopes or intercepts can do better.

    best[k, j] = min over i of best[k-1, i] + error of one segment over the distances i..j-1

for every cut j that the constraints allow. The cost grows with the square of the number of cuts: with free bounds
seconds up to frac_bits = 7; with bounds of few significant bits at any width.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Segments
from slipstick.design.constraints import Constraints
from slipstick.design.segment_errors import NEVER, SegmentErrors
from slipstick.design.target import Target
from slipstick.errors import SpecificationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class OptimalSegments:
    """The optimal tables of one target under one set of constraints, for every place where the table may end.

    errors: of segments, made for the same constraints. tilt: Lagrange multiplier of the mean error, in LSBs: the table
    has the least squared error of all tables with its mean error, and a larger multiplier lowers the mean error.
    progress: called with the share of the work that is done.
    """

    def __init__(
        self,
        errors: SegmentErrors,
        constraints: Constraints,
        tilt: float = 0.0,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        constraints.check(errors.target)
        self.target = errors.target
        self.constraints = constraints
        self.tilt = tilt
        self._errors = errors
        self._cuts = np.flatnonzero(constraints.cuts(errors.target))
        self._progress = progress
        self._solve()

    def _solve(self) -> None:
        """``_total[k, c]``: least error of k + 1 segments up to cut c; ``_last``: of a table that ends there."""
        m, count = self.constraints.segments, len(self._cuts)
        self._total, self._last = np.full((2, m, count), NEVER)
        self._from, self._last_from = np.zeros((2, m, count), dtype=np.int64)
        for c in range(1, count):
            cost = self._costs(c, live=self.constraints.gapless)
            self._extend(c, cost, self._total, self._from)
            if self.constraints.end is None or self._end_of(c) == self.constraints.end:
                ending = cost if self.constraints.gapless else self._costs(c, live=True)
                self._extend(c, ending, self._last, self._last_from)
            self._progress(c**2 / count**2)

    def _costs(self, c: int, live: bool) -> Floats:
        """Of one segment up to cut c, from every cut before it."""
        fits = self._errors.best(self._cuts[:c], np.full(c, self._cuts[c]), self.tilt, live)
        return fits.squared + 2 * self.tilt * fits.error

    def _extend(self, c: int, cost: Floats, total: Floats, origin: Ints) -> None:
        """Put the tables up to cut c together from shorter ones and one more segment."""
        total[0, c] = cost[0]
        sums = self._total[:-1, :c] + cost
        best = sums.argmin(axis=1)
        origin[1:, c] = best
        total[1:, c] = sums[np.arange(len(sums)), best]

    def _end_of(self, c: int) -> int:
        return int(self._cuts[c]) - 1 + self.target.first

    def end_costs(self) -> Floats:
        """Squared error, with the multiplier's term, of the best table whose last value other than 0 is at each index
        of the domain; ``NEVER`` and more where there is none."""
        costs = np.full(len(self.target.distance), 2 * NEVER)
        beyond = self._errors.tail() + 2 * self.tilt * self._errors.tail_error()
        costs[self._cuts[1:] - 1] = self._last[:, 1:].min(axis=0) + beyond[self._cuts[1:]]
        return costs

    def segments(self, end: int | None = None) -> Segments:
        """The optimal table that ends at distance ``end``; by default where the constraints or the error say."""
        costs = self.end_costs()
        end = self.constraints.end if end is None else end
        j = int(costs.argmin()) if end is None else end - self.target.first
        if not 0 <= j < len(costs) or costs[j] >= NEVER / 2:
            raise SpecificationError(
                f"no table of {self.constraints.segments} segments satisfies {self.constraints}"
                + (f" and ends at d={end}" if end is not None else "")
                + "; allow more segments or drop a condition"
            )
        return self._trace(int(np.searchsorted(self._cuts, j + 1)))

    def _trace(self, c: int) -> Segments:
        """The segments of the best table that ends at cut c, with the fewest of them."""
        k = int(self._last[:, c].argmin())
        origin, live = self._last_from, True
        pieces: list[tuple[int, int, int]] = []
        while True:
            before = int(origin[k, c]) if k else 0
            start, stop = self._cuts[before : before + 1], self._cuts[c : c + 1]
            fit = self._errors.best(start, stop, self.tilt, live)
            pieces.append((self._end_of(c), int(fit.exponent[0]), int(fit.offset[0])))
            origin, live = self._from, self.constraints.gapless
            k, c = k - 1, before
            if c == 0:
                break
        bound, exponent, offset = zip(*reversed(pieces), strict=True)
        return Segments(bound, exponent, offset)


def optimal_segments(target: Target, constraints: Constraints, weights: Floats | None = None) -> Segments:
    """The table with the least squared error."""
    errors = SegmentErrors(target, constraints, np.ones(len(target.distance)) if weights is None else weights)
    return OptimalSegments(errors, constraints).segments()
