"""The least squared error of one segment, for any number of segments at once, in closed form.

Given where a segment begins and ends, each power-of-two slope has one best integer intercept: the weighted mean of what
the line leaves, rounded. That is what the published tables of Hamad et al. 2025 hold too. With sums over all distances
up to each, a segment costs the same to evaluate however long it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstick.design.constraints import Constraints
from slipstick.design.target import Target

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEVER = 1e12
"""Error of a segment that is not allowed."""

# A slope of 2 or more that exceeds the function's by this factor is never better than none. Leaving it out also keeps
# the sums within float64, where a line of slope 2^10 would swamp everything else.
_TOO_STEEP = 4.0


@dataclass(frozen=True, eq=False)
class Fits:
    """Best lines of many segments: squared error times weight, its share of the mean error, and the line."""

    squared: Floats
    error: Floats
    exponent: Ints
    offset: Ints


class SegmentErrors:
    """Best lines on the segments of one target, each distance weighted."""

    def __init__(self, target: Target, constraints: Constraints, weights: Floats) -> None:
        self.target = target
        self.weights = weights
        self.exponents = constraints.slope_exponents(target)
        self._lines = np.stack([-target.sign * shift(target.distance, int(e)) for e in self.exponents])
        residual = target.real - self._lines
        self._count = _sums(weights)
        self._first = _sums(weights * residual)
        self._second = _sums(weights * residual**2)
        self._broken = _sums(self._breaks(constraints))
        self._pinned = int((target.distance <= constraints.exact_through).sum())
        self._pin_level = (target.nearest - self._lines)[:, : self._pinned]
        self._pin_changes = _sums(np.diff(self._pin_level, axis=1, prepend=self._pin_level[:, :1]) != 0)
        self._steep_until = self._steepness()

    def tail(self) -> Floats:
        """[n + 1]: the squared error of zeros from each index to the end of the domain; ``NEVER`` and more where one of
        them must be exact and is not 0."""
        squares = self.weights * self.target.real**2
        squares[: self._pinned] += NEVER * (self.target.nearest[: self._pinned] != 0)
        return np.append(np.cumsum(squares[::-1])[::-1], 0.0)

    def tail_error(self) -> Floats:
        """[n + 1]: the sum of the errors of those zeros."""
        errors = -self.weights * self.target.real
        return np.append(np.cumsum(errors[::-1])[::-1], 0.0)

    def best(self, start: Ints, stop: Ints, tilt: Floats | float = 0.0, live: bool = False) -> Fits:
        """Best lines of the segments start..stop-1 (indices of the domain; arrays of one shape).

        tilt: Lagrange multiplier of the mean error; the lines minimise squared error + 2 tilt * error. live: no value
        of these segments may be 0, as where the table ends. Empty segments cost nothing.
        """
        count = self._count[stop] - self._count[start]
        first = self._first[:, stop] - self._first[:, start]
        second = self._second[:, stop] - self._second[:, start]
        with np.errstate(invalid="ignore", divide="ignore"):
            offset = np.where(count > 0, np.rint(first / count - tilt), 0.0)
        allowed = self._broken[:, stop] - self._broken[:, np.minimum(start + 1, stop)] == 0
        allowed &= start < self._steep_until[:, None].reshape(-1, *(1,) * start.ndim)
        if self._pinned:
            self._pin(start, stop, offset, allowed)
        if live:
            self._keep_from_zero(start, stop, offset, allowed)
        error = offset * count - first
        squared = second - 2 * offset * first + offset**2 * count
        total = np.where(allowed, np.rint((squared + 2 * tilt * error) * _GRID) / _GRID, NEVER)
        choice = total.argmin(axis=0)[None]
        squared = np.where(allowed, squared, NEVER)
        return Fits(
            np.where(stop > start, np.take_along_axis(squared, choice, 0)[0], 0.0),
            np.where(stop > start, np.take_along_axis(error, choice, 0)[0], 0.0),
            self.exponents[choice[0]],
            np.take_along_axis(offset, choice, 0)[0].astype(np.int64),
        )

    def _breaks(self, constraints: Constraints) -> NDArray[np.bool_]:
        """Where a line changes between two distances of one class."""
        broken = np.zeros(self._lines.shape, dtype=np.bool_)
        if constraints.index is not None:
            classes = constraints.index.of(self.target.distance)
            broken[:, 1:] = (np.diff(self._lines, axis=1) != 0) & (classes[1:] == classes[:-1])
        return broken

    def _steepness(self) -> Ints:
        """Up to which start each slope may be worth trying."""
        slope = np.abs(np.diff(self.target.real, append=self.target.real[-1]))
        steepest = np.maximum.accumulate(slope[::-1])[::-1]
        until = [(2.0**e <= _TOO_STEEP * steepest).sum() if e >= 1 else len(steepest) for e in self.exponents.tolist()]
        flattest = int(self.exponents.argmin())
        until[flattest] = len(steepest)
        return np.array(until, dtype=np.int64)

    def _pin(self, start: Ints, stop: Ints, offset: Floats, allowed: NDArray[np.bool_]) -> None:
        """Intercepts of segments that begin among the distances that must be exact."""
        pinned = start < self._pinned
        begin = np.minimum(start, self._pinned - 1)
        until = np.maximum(np.minimum(stop, self._pinned), begin + 1)
        offset[:] = np.where(pinned, self._pin_level[:, begin], offset)
        allowed &= ~pinned | (self._pin_changes[:, until] - self._pin_changes[:, begin + 1] == 0)

    def _keep_from_zero(self, start: Ints, stop: Ints, offset: Floats, allowed: NDArray[np.bool_]) -> None:
        """Move intercepts, where they may move, so that the last value, which is the one nearest to 0, is at least 1
        in the target's direction."""
        limit = self.target.sign - self._lines[:, np.maximum(stop - 1, 0)]
        moved = np.maximum(offset, limit) if self.target.sign > 0 else np.minimum(offset, limit)
        allowed &= (moved == offset) | (start >= self._pinned)
        offset[:] = moved


_GRID = float(1 << 20)  # ties, and differences below this, go to the flattest slope


def _sums(terms: NDArray[np.generic]) -> Floats:
    """Sums of all terms before each index, along the last axis."""
    zero = np.zeros((*terms.shape[:-1], 1))
    return np.concatenate([zero, np.cumsum(terms, axis=-1, dtype=np.float64)], axis=-1)


def shift(d: Ints, exponent: int) -> Ints:
    """d times 2^exponent, rounded down."""
    return d << exponent if exponent >= 0 else d >> -exponent
