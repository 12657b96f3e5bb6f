"""The best piece-wise linear adder: an exact optimum by dynamic programming.

A table of m segments with power-of-two slopes (floor shift) and integer intercepts, 0 beyond the last bound, that
minimises the squared error of the *integer* table against the real Gaussian logarithm over the whole domain. Hamad et
al. 2025 (arXiv 2510.17058) anneal the same structure; here no bounds, slopes or intercepts can do better.

    best[k, j] = min over i of best[k-1, i-1] + cost[i, j]

cost[i, j] is the least error of one segment over d = i..j among all slopes, with the intercept in closed form. All sums
are integers in units of 2^-FRACTION_BITS, so there are no rounding errors and ties fall the same way everywhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Segments
from slipstick.design.target import FRACTION_BITS, Target
from slipstick.errors import SpecificationError

_ONE = 1 << FRACTION_BITS
_NEVER = 1 << 61
_STEEPEST = 10  # slope 2^10, as in the published tables
# A segment that leaves the target by this many LSBs has a squared error above CLIP^2 / 2. Cutting the difference off
# there keeps the sums of squares inside 64 bits; `fit` checks that no optimum comes near.
_CLIP = 1 << 12


@dataclass(frozen=True)
class Constraints:
    """What a table must satisfy besides having few segments.

    segments: at most this many.
    exact_through: correctly rounded for every d up to this one; -1 for none.
    classes: class number of every d of the domain; the table must be constant on each class. None: no such condition.
    bias_multiplier: Lagrange multiplier of the mean error, in LSBs. The result has the least squared error of all
        tables with its mean error; a larger multiplier lowers the mean error.
    """

    segments: int = 16
    exact_through: int = -1
    classes: tuple[int, ...] | None = None
    bias_multiplier: float = 0.0

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise SpecificationError(f"Constraints(segments={self.segments!r}): must be at least 1")
        if not abs(self.bias_multiplier) <= 4:
            raise SpecificationError(f"Constraints(bias_multiplier={self.bias_multiplier!r}): must lie in -4 to 4")


@dataclass(frozen=True, eq=False)
class SegmentCosts:
    """Cost and best exponent of one segment from index i to index j of the domain; ``_NEVER`` where not allowed.

    ``last_*`` are for a segment that ends the table: its value at j must not be 0.
    """

    cost: NDArray[np.int64]
    exponent: NDArray[np.int8]
    last_cost: NDArray[np.int64]
    last_exponent: NDArray[np.int8]


class OptimalSegments:
    """All optimal tables of one target under one set of constraints, for every place where the table may end."""

    def __init__(self, target: Target, constraints: Constraints) -> None:
        self.target = target
        self.constraints = constraints
        self._slope_sign = -target.sign
        # 2 * multiplier * sum(error) is what a target lowered by the multiplier adds to the squared error.
        self._remainder = target.remainder - round(constraints.bias_multiplier * _ONE)
        flattest = -int(target.distance[-1]).bit_length()
        self._exponents = np.arange(flattest, _STEEPEST + 1)
        self._shifts = np.stack([_shift(target.distance, int(e)) for e in self._exponents])
        self._class_end = self._class_ends()
        self._costs = self._segment_costs()
        self._best, self._start, self._last, self._last_start = self._dynamic_programme()

    def end_costs(self) -> NDArray[np.int64]:
        """Squared error (less a constant, in units of 2^-FRACTION_BITS) of the best table whose last nonzero value
        is at each index of the domain."""
        nearest = self.target.nearest
        beyond = _ONE * nearest**2 + 2 * nearest * self._remainder
        total: NDArray[np.int64] = self._last.min(axis=0) + beyond.sum() - np.cumsum(beyond)
        pinned = (self.target.distance <= self.constraints.exact_through) & (nearest != 0)
        must_follow = np.logical_or.accumulate(pinned[::-1])[::-1]
        total[:-1][must_follow[1:]] = _NEVER
        return np.minimum(total, _NEVER)

    def segments(self, end: int | None = None) -> Segments:
        """The optimal table that ends at distance ``end``, or at the best one."""
        costs = self.end_costs()
        first = int(self.target.distance[0])
        j = int(costs.argmin()) if end is None else end - first
        if not 0 <= j < len(costs) or costs[j] >= _CLIP**2 // 4 * _ONE:
            raise SpecificationError(f"OptimalSegments(end={end}): no table satisfies {self.constraints}")
        return self._trace(j)

    def _class_ends(self) -> NDArray[np.bool_]:
        classes = self.constraints.classes
        ends = np.ones(len(self.target.distance), dtype=np.bool_)
        if classes is not None:
            used = np.asarray(classes)[self.target.distance]
            ends[:-1] = used[:-1] != used[1:]
        return ends

    def _segment_costs(self) -> SegmentCosts:
        n = len(self.target.distance)
        cost, last_cost = np.full((2, n, n), _NEVER, dtype=np.int64)
        exponent, last_exponent = np.zeros((2, n, n), dtype=np.int8)
        for i in range(n):
            if i and not self._class_end[i - 1]:
                continue
            cost[i, i:], exponent[i, i:], last_cost[i, i:], last_exponent[i, i:] = self._costs_from(i)
        return SegmentCosts(cost, exponent, last_cost, last_exponent)

    def _costs_from(self, i: int) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int64], NDArray[np.int8]]:
        """Costs of the segments i..j for every j >= i, the best exponent chosen (the flattest where several tie)."""
        rise, allowed = self._rise(i)
        remainder = self._remainder[i:]
        count = np.arange(1, rise.shape[1] + 1)
        rises, remainders = np.cumsum(rise, axis=1), np.cumsum(remainder)
        squares = _ONE * np.cumsum(rise * rise, axis=1) - 2 * np.cumsum(rise * remainder, axis=1)
        if self.target.distance[i] <= self.constraints.exact_through:
            level = np.zeros_like(rise)
        else:
            level = (2 * (remainders - _ONE * rises) + _ONE * count) // (2 * _ONE * count)

        def best(level: NDArray[np.int64], allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
            cost = _ONE * level * (count * level + 2 * rises) + squares - 2 * level * remainders
            cost = np.where(allowed, cost, _NEVER)
            choice = cost.argmin(axis=0)
            return np.take_along_axis(cost, choice[None], 0)[0], self._exponents[choice].astype(np.int8)

        nonzero, movable = self._nonzero_level(rise, level, i)
        return *best(level, allowed), *best(nonzero, allowed & movable)

    def _rise(self, i: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """How far each slope leaves the rounded target after index i, and whether each end j is allowed."""
        line = self._slope_sign * (self._shifts[:, i:] - self._shifts[:, i : i + 1])
        rise = np.clip(line - (self.target.nearest[i:] - self.target.nearest[i]), -_CLIP, _CLIP)
        broken = np.zeros(rise.shape, dtype=np.bool_)
        broken[:, 1:] = (np.diff(line, axis=1) != 0) & ~self._class_end[i:-1]
        pinned = self.target.distance[i:] <= self.constraints.exact_through
        broken |= pinned & (rise != 0)
        return rise, ~np.logical_or.accumulate(broken, axis=1) & self._class_end[i:]

    def _nonzero_level(
        self, rise: NDArray[np.int64], level: NDArray[np.int64], i: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """``level`` moved, where it may move, so that the segment's last value has the sign of the target."""
        limit = self.target.sign - rise - self.target.nearest[i:]
        moved = np.maximum(level, limit) if self.target.sign > 0 else np.minimum(level, limit)
        pinned = self.target.distance[i] <= self.constraints.exact_through
        return moved, (moved == level) | (not pinned)

    def _dynamic_programme(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
        """Least cost of k segments that cover the domain up to j, and where the k-th starts; the same for tables
        that end at j."""
        m, n = self.constraints.segments, len(self.target.distance)
        best, last = np.full((2, m, n), _NEVER, dtype=np.int64)
        start, last_start = np.zeros((2, m, n), dtype=np.int32)
        best[0], last[0] = self._costs.cost[0], self._costs.last_cost[0]
        for k in range(1, m):
            before = np.concatenate([[_NEVER], best[k - 1, :-1]])[:, None]
            for cost, total, origin in ((self._costs.cost, best, start), (self._costs.last_cost, last, last_start)):
                sums = before + cost
                origin[k] = sums.argmin(axis=0)
                total[k] = np.minimum(np.take_along_axis(sums, origin[k][None], 0)[0], _NEVER)
        return best, start, last, last_start

    def _trace(self, j: int) -> Segments:
        """The segments of the best table that ends at index j, with the fewest of them."""
        k = int(self._last[:, j].argmin())
        pieces: list[tuple[int, int, int]] = []
        start, exponents, final = self._last_start, self._costs.last_exponent, True
        while k >= 0:
            i = int(start[k, j]) if k else 0
            exponent = int(exponents[i, j])
            pieces.append((int(self.target.distance[j]), exponent, self._offset(i, j, exponent, final)))
            start, exponents, final = self._start, self._costs.exponent, False
            k, j = k - 1, i - 1
        bound, exponent_, offset = zip(*reversed(pieces), strict=True)
        return Segments(bound, exponent_, offset)

    def _offset(self, i: int, j: int, exponent: int, final: bool) -> int:
        """The best intercept of one segment."""
        d, nearest = self.target.distance[i : j + 1], self.target.nearest[i : j + 1]
        line = self._slope_sign * _shift(d, exponent)
        if d[0] <= self.constraints.exact_through:
            return int(nearest[0] - line[0])
        gap = int(_ONE * (nearest - line).sum() + self._remainder[i : j + 1].sum())
        offset = (2 * gap + _ONE * len(d)) // (2 * _ONE * len(d))
        if final:
            limit = self.target.sign - int(line[-1])
            offset = max(offset, limit) if self.target.sign > 0 else min(offset, limit)
        return offset


def _shift(d: NDArray[np.int64], exponent: int) -> NDArray[np.int64]:
    return d << exponent if exponent >= 0 else d >> -exponent
