"""What a piece-wise linear table must satisfy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.indexed_table import IndexForm
from slipstick.design.target import Target
from slipstick.errors import SpecificationError

STEEPEST = 10
"""Largest exponent of a slope: 2^10, as in the published tables."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Constraints:
    """Conditions on one table.

    segments: at most this many.
    exact_through: correctly rounded for every d up to this one; -1 for none.
    end: the last distance with a value other than 0; None leaves it to the objective.
    bound_bits: a segment's first distance has at most this many significant bits, so that a comparator needs no more.
    exponents: slopes 2^e allowed; None: from the flattest that changes a value to 2^10.
    index: the table is constant on the classes of this index; None: no such condition.
    gapless: no value is 0 before the table ends, so that every update above the threshold moves a weight.
    """

    segments: int = 16
    exact_through: int = -1
    end: int | None = None
    bound_bits: int | None = None
    exponents: tuple[int, ...] | None = None
    index: IndexForm | None = None
    gapless: bool = False

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise SpecificationError(f"Constraints(segments={self.segments!r}): must be at least 1")
        if self.bound_bits is not None and self.bound_bits < 1:
            raise SpecificationError(f"Constraints(bound_bits={self.bound_bits!r}): must be at least 1")
        if self.exponents is not None and not self.exponents:
            raise SpecificationError("Constraints(exponents=()): name at least one slope exponent")
        if any(not -31 <= e <= STEEPEST for e in self.exponents or ()):
            raise SpecificationError(f"Constraints(exponents={self.exponents}): must lie in -31 to {STEEPEST}")

    def check(self, target: Target) -> None:
        """Raises SpecificationError where a condition cannot hold on the target's domain."""
        count = len(target.distance)
        if self.segments > count:
            raise SpecificationError(
                f"segments={self.segments}: D{'+' if target.sign > 0 else '-'} has only {count} distances at "
                f"frac_bits={target.frac_bits}; ask for fewer segments"
            )
        if self.end is not None:
            self._check_end(self.end, target)

    def _check_end(self, end: int, target: Target) -> None:
        first, last = target.first, int(target.distance[-1])
        if not first <= end <= last:
            raise SpecificationError(f"end={end}: outside the domain {first}..{last} of the design")
        pinned = target.distance[target.distance <= self.exact_through]
        live = target.nearest[: len(pinned)] != 0
        wrong = pinned[np.where(pinned <= end, ~live & self.gapless, live)]
        if len(wrong):
            value = "0" if wrong[0] <= end else "not 0"
            raise SpecificationError(
                f"end={end} conflicts with exact_through={self.exact_through}: D is {value} at d={wrong[0]}"
            )
        if not self.cuts(target)[end + 1 - first]:
            condition = f"index={self.index}" if self.index is not None else f"bound_bits={self.bound_bits}"
            raise SpecificationError(f"end={end} conflicts with {condition}: no segment may end there")

    def slope_exponents(self, target: Target) -> NDArray[np.int64]:
        """The exponents of the slopes to try, ascending."""
        if self.exponents is not None:
            return np.array(sorted(set(self.exponents)))
        return np.arange(-int(target.distance[-1]).bit_length(), STEEPEST + 1)

    def cuts(self, target: Target) -> Bools:
        """[n + 1]: whether a segment may end before index i of the domain (and the next begin there)."""
        d = np.append(target.distance, target.distance[-1] + 1)
        allowed = np.ones(len(d), dtype=np.bool_)
        if self.index is not None:
            classes = self.index.of(d)
            allowed[1:] &= classes[1:] != classes[:-1]
        if self.bound_bits is not None:
            lowest_bit = np.maximum(d & -d, 1)
            allowed &= d < (lowest_bit << self.bound_bits)
        allowed[0] = allowed[-1] = True
        return allowed
