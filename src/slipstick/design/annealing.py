"""Simulated annealing of a piece-wise linear table: bounds move at random, lines follow in closed form.

Hamad et al. 2025 (arXiv 2510.17058) find their tables so; their program is not public. Their tables show that only
bounds were annealed, from 16 equal bins, with slope and intercept of each segment fitted inside the cost and the cost
taken after quantisation. The rest is this project's choice:

* energy: weighted mean square error in LSB^2, plus a price times the square of the mean error, plus a price per segment
  in use, per distinct slope and per bit of a comparator (``Prices``);
* moves: with probability 3/4 one bound moves by a normal step, otherwise one bound is taken out and put in elsewhere;
  one time in ten the common shift of all intercepts before rounding moves too, which is how the mean error is steered;
* temperature: geometric from ``hottest`` to ``coldest`` LSB^2; steps of bounds shrink with it from a quarter of the
  domain to one distance. Accepted with probability exp(-rise / temperature).

All chains of one search move together, so that restarts cost little more than one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Segments
from slipstick.design.constraints import Constraints
from slipstick.design.cost import significant_bits
from slipstick.design.segment_errors import NEVER, Fits, SegmentErrors
from slipstick.errors import SpecificationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_JUMP_SHARE = 0.25
_LIFT_SHARE = 0.1
_LIFT_STEP = 0.1


@dataclass(frozen=True)
class Schedule:
    """steps: proposals per chain. chains: restarts that run side by side. hottest, coldest: temperatures in LSB^2.
    seed: of all random choices."""

    steps: int = 5000
    chains: int = 24
    hottest: float = 0.1
    coldest: float = 1e-6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.chains < 1 or not 0 < self.coldest <= self.hottest:
            raise SpecificationError(f"{self}: needs steps, chains >= 1 and 0 < coldest <= hottest")


@dataclass(frozen=True)
class Prices:
    """What the search pays for, in LSB^2 of mean square error: the trade-off between accuracy and hardware."""

    bias: float = 0.0
    segment: float = 0.0
    shift: float = 0.0
    comparator_bit: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1e3:
                raise SpecificationError(f"Prices({name}={value!r}): must lie in 0 to 1000 LSB^2")


class Annealing:
    """One search, advanced step by step; ``state`` and ``restore`` make it resumable to the same result."""

    def __init__(
        self, errors: SegmentErrors, constraints: Constraints, schedule: Schedule, prices: Prices | None = None
    ) -> None:
        constraints.check(errors.target)
        self._errors = errors
        self._constraints = constraints
        self._schedule = schedule
        self._prices = prices or Prices()
        self._cuts = np.flatnonzero(constraints.cuts(errors.target))
        self._tail, self._tail_error = errors.tail(), errors.tail_error()
        self._generator = np.random.default_rng(schedule.seed)
        self.step = 0
        chains, segments = schedule.chains, constraints.segments
        self._last_cut = len(self._cuts) - 1 if constraints.end is None else self._cut_of(constraints.end)
        even = np.rint(np.linspace(0, self._last_cut, segments + 1)).astype(np.int64)
        self._bounds = np.tile(even, (chains, 1))
        self._lift = np.zeros(chains)
        self._energy = self._energies(self._bounds, self._lift)
        self._best = self._energy.copy()
        self._best_bounds, self._best_lift = self._bounds.copy(), self._lift.copy()

    @property
    def energy(self) -> float:
        """The least energy that any chain has seen, in LSB^2."""
        return float(self._best.min())

    @property
    def finished(self) -> bool:
        return self.step >= self._schedule.steps

    def run(self, progress: Callable[[float], None] = lambda share: None, until: int | None = None) -> None:
        """Advance to the end, or to step ``until``."""
        until = self._schedule.steps if until is None else min(until, self._schedule.steps)
        while self.step < until:
            self._advance()
            self.step += 1
            if self.step % 64 == 0:
                progress(self.step / self._schedule.steps)

    def segments(self) -> Segments:
        """The best table seen. Empty segments are left out."""
        chain = int(self._best.argmin())
        if self._best[chain] * len(self._errors.target.distance) >= NEVER / 2:
            raise SpecificationError(
                f"annealing found no table of {self._constraints.segments} segments that satisfies "
                f"{self._constraints}; allow more segments, drop a condition, or search exactly"
            )
        bounds = self._best_bounds[chain : chain + 1]
        fits, stop = self._fits(bounds, self._best_lift[chain : chain + 1]), self._cuts[bounds[0, 1:]]
        kept = np.diff(bounds[0]) > 0
        first = self._errors.target.first
        return Segments(
            tuple((stop[kept] - 1 + first).tolist()),
            tuple(fits.exponent[0][kept].tolist()),
            tuple(fits.offset[0][kept].tolist()),
        )

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the search depends on, as plain data."""
        return {
            "step": self.step,
            "generator": self._generator.bit_generator.state,
            **{name: getattr(self, f"_{name}").tolist() for name in _ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state`` of a search with the same arguments."""
        if np.shape(state["bounds"]) != self._bounds.shape:
            raise SpecificationError("annealing state: belongs to a search with other segments or chains; start anew")
        self.step = int(state["step"])
        self._generator.bit_generator.state = state["generator"]
        for name in _ARRAYS:
            setattr(self, f"_{name}", np.array(state[name], dtype=getattr(self, f"_{name}").dtype))

    def _cut_of(self, end: int) -> int:
        return int(np.searchsorted(self._cuts, end + 1 - self._errors.target.first))

    def _advance(self) -> None:
        schedule = self._schedule
        cooled = self.step / max(schedule.steps - 1, 1)
        temperature = schedule.hottest * (schedule.coldest / schedule.hottest) ** cooled
        bounds, lift = self._proposals(max(1.0, self._last_cut / 4 * (1 - cooled) ** 2))
        energy = self._energies(bounds, lift)
        rise = np.maximum(energy - self._energy, 0.0)
        accepted = self._generator.random(len(rise)) < np.exp(-rise / temperature)
        self._bounds[accepted], self._lift[accepted] = bounds[accepted], lift[accepted]
        self._energy[accepted] = energy[accepted]
        better = self._energy < self._best
        self._best[better] = self._energy[better]
        self._best_bounds[better], self._best_lift[better] = self._bounds[better], self._lift[better]

    def _proposals(self, reach: float) -> tuple[Ints, Floats]:
        """Bounds and lifts one move away. ``reach``: standard deviation of a bound's step, in cuts."""
        bounds, lift, draw = self._bounds.copy(), self._lift.copy(), self._generator
        chains, columns = bounds.shape
        inner = columns - 2
        ends_fixed = self._constraints.end is not None
        if inner or not ends_fixed:
            rows, chosen = np.arange(chains), draw.integers(1, columns - ends_fixed, chains)
            steps = np.rint(draw.normal(0.0, reach, chains)).astype(np.int64)
            steps += np.where(steps == 0, draw.integers(0, 2, chains) * 2 - 1, 0)
            is_end = chosen == columns - 1
            above = np.where(is_end, self._last_cut, bounds[rows, np.minimum(chosen + 1, columns - 1)])
            moved = np.clip(bounds[rows, chosen] + steps, bounds[rows, chosen - 1], above)
            anywhere = draw.integers(1, np.maximum(bounds[:, -1], 1) + 1, chains)
            jumps = (draw.random(chains) < _JUMP_SHARE) & ~is_end
            bounds[rows, chosen] = np.where(jumps, anywhere, moved)
            bounds.sort(axis=1)
        if self._prices.bias > 0:
            lift += np.where(draw.random(chains) < _LIFT_SHARE, draw.normal(0.0, _LIFT_STEP, chains), 0.0)
        return bounds, lift

    def _fits(self, bounds: Ints, lift: Floats) -> Fits:
        positions = self._cuts[bounds]
        gapless = self._constraints.gapless
        fits = self._errors.best(positions[:, :-1], positions[:, 1:], lift[:, None], live=gapless)
        if gapless or self._constraints.end is None:
            return fits
        last = self._errors.best(positions[:, -2:-1], positions[:, -1:], lift[:, None], live=True)
        joined = (np.concatenate([a[:, :-1], b], axis=1) for a, b in zip(_fields(fits), _fields(last), strict=True))
        return Fits(*joined)

    def _energies(self, bounds: Ints, lift: Floats) -> Floats:
        fits = self._fits(bounds, lift)
        last = self._cuts[bounds[:, -1]]
        count = len(self._errors.target.distance)
        energy: Floats = (fits.squared.sum(axis=1) + self._tail[last]) / count
        if self._prices.bias > 0:
            energy += self._prices.bias * ((fits.error.sum(axis=1) + self._tail_error[last]) / count) ** 2
        if self._constraints.end is not None and not self._constraints.gapless:
            energy += NEVER * (bounds[:, -1] == bounds[:, -2])
        return energy + self._hardware(bounds, fits.exponent)

    def _hardware(self, bounds: Ints, exponent: Ints) -> Floats:
        used = np.diff(bounds, axis=1) > 0
        price = self._prices.segment * used.sum(axis=1)
        if self._prices.shift > 0:
            slopes = np.sort(np.where(used, exponent, exponent[:, :1]), axis=1)
            price = price + self._prices.shift * (1 + (np.diff(slopes, axis=1) != 0).sum(axis=1))
        if self._prices.comparator_bit > 0:
            stop = self._cuts[bounds[:, 1:]] + self._errors.target.first
            price = price + self._prices.comparator_bit * np.where(used, significant_bits(stop), 0).sum(axis=1)
        return np.asarray(price, dtype=np.float64)


_ARRAYS = ("bounds", "lift", "energy", "best", "best_bounds", "best_lift")
"""Attributes that the rest of a search depends on."""


def _fields(fits: Fits) -> tuple[NDArray[Any], ...]:
    return fits.squared, fits.error, fits.exponent, fits.offset
