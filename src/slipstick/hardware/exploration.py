"""The trade of area for time of a candidate: its circuits under many mappings, and the ones worth having.

A comparison of single synthesis results compares luck. First every circuit and way to map it is tried at one target,
and energy measured of the best of each way, because the smallest need not be the thriftiest: a multiplier of full-adder
cells is larger than one of gates and has fewer glitches. The smallest and the thriftiest then meet every target and
carry network, and energy is measured where it can matter: on the smallest of those that keep to the clock, and on the
points that no other beats in both area and period.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from slipstick.hardware.cache import Cache
from slipstick.hardware.candidates import Candidate, clocked_units
from slipstick.hardware.measurement import Energies, Point, Ports, energies, synthesised
from slipstick.hardware.synthesis import Adder, Cover, FullAdders, Mapping, Multiplier
from slipstick.hardware.tools import Progress, silent
from slipstick.hardware.unit import Unit

Glitches = Literal["zero delay", "inertial"]

_J = TypeVar("_J")
_R = TypeVar("_R")


class Placed(Protocol):
    """What has an area and a period."""

    @property
    def area_um2(self) -> float: ...

    @property
    def period_ns(self) -> float: ...


_P = TypeVar("_P", bound=Placed)


@dataclass(frozen=True)
class Sweep:
    """Which mappings are tried.

    targets: delays that abc aims at, as shares of the clock; the first one is tried with everything. Well below the
        clock, because abc sees neither registers nor wires. adders: carry networks, likewise.
    covers, full_adders, multipliers: tried at the first target, the last two of candidates that multiply.
    measured: how many points get their energy in the second round.
    """

    targets: tuple[float, ...] = (0.8, 0.6, 0.4, 1.2)
    adders: tuple[Adder, ...] = ("brent-kung", "sklansky", "kogge-stone", "han-carlson")
    covers: tuple[Cover, ...] = ("area", "rewritten-area", "speed")
    full_adders: tuple[FullAdders, ...] = ("gates", "cells")
    multipliers: tuple[Multiplier, ...] = ("booth", "array")
    measured: int = 4

    def targets_ps(self, clock_ns: float) -> list[int]:
        """In picoseconds."""
        return [max(1, round(1000 * share * clock_ns)) for share in self.targets]

    def first(self, library: str, clock_ns: float, multipliers: Sequence[Multiplier]) -> list[Mapping]:
        """Everything at the first target and adder. multipliers: that the circuit allows, nothing where it has none."""
        base = Mapping(library, self.targets_ps(clock_ns)[0], self.adders[0])
        chosen = [each for each in self.multipliers if each in multipliers] or list(multipliers)
        made: list[tuple[Multiplier, FullAdders]] = [(m, f) for m in chosen for f in self.full_adders]
        if not made:
            made = [(base.multiplier, base.full_adders)]
        return [replace(base, cover=c, multiplier=m, full_adders=f) for c in self.covers for m, f in made]

    def around(self, mapping: Mapping, clock_ns: float) -> list[Mapping]:
        """Every target and adder for one way to cover."""
        targets = self.targets_ps(clock_ns)
        return [replace(mapping, target_ps=t, adder=adder) for t in targets for adder in self.adders]


@dataclass(frozen=True, eq=False)
class Measured:
    """A point and its energies."""

    point: Point
    energies: Energies

    def energy_fj(self, glitches: Glitches) -> float:
        """Of a product."""
        return (self.energies.inertial if glitches == "inertial" else self.energies.zero_delay).total_fj


@dataclass(frozen=True, eq=False)
class Exploration:
    """Of one candidate. points: all that were synthesised, the smallest first. measured: those with energies."""

    title: str
    candidate: Candidate
    clock_ns: float
    points: tuple[Point, ...]
    measured: tuple[Measured, ...]

    @property
    def in_time(self) -> tuple[Measured, ...]:
        """Measured points that keep to the clock; the fastest one where none does."""
        kept = tuple(each for each in self.measured if each.point.period_ns <= self.clock_ns)
        return kept or (min(self.measured, key=lambda each: each.point.period_ns),)

    @property
    def meets_clock(self) -> bool:
        return any(each.point.period_ns <= self.clock_ns for each in self.measured)

    @property
    def smallest(self) -> Measured:
        return min(self.in_time, key=lambda each: each.point.area_um2)

    def thriftiest(self, glitches: Glitches = "inertial") -> Measured:
        """The one that takes the least energy."""
        return min(self.in_time, key=lambda each: each.energy_fj(glitches))

    @property
    def chosen(self) -> Measured:
        """The least product of area and energy, glitches included: the circuit that stands for the candidate."""
        return min(self.in_time, key=lambda each: each.point.area_um2 * each.energy_fj("inertial"))


def explore(
    title: str,
    candidate: Candidate,
    ports: Ports,
    clock_ns: float,
    *,
    library: str = "nangate45",
    sweep: Sweep | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Exploration:
    """Synthesise a candidate in many ways and measure the best.

    ports: operands of its clocked unit, see ``operands.codes``. clock_ns: of the clock that it should keep to.
    """
    sweep = sweep or Sweep()
    runner = _Runner(title, cache, progress)
    pairs = zip(clocked_units(candidate), map(candidate.multipliers, candidate.cores()), strict=True)
    first = [(unit, mapping) for unit, allowed in pairs for mapping in sweep.first(library, clock_ns, allowed)]
    tried = runner.synthesise(first, "first look")
    looked_at = runner.measure(ways(tried, clock_ns), ports, clock_ns)
    first_look = Exploration(title, candidate, clock_ns, (), tuple(looked_at))
    finalists = dict.fromkeys((first_look.smallest.point, first_look.thriftiest().point))
    more = [(p.unit, m) for p in finalists for m in sweep.around(p.mapping, clock_ns) if m != p.mapping]
    new = runner.synthesise(more, "targets and adders")
    points = distinct([*(each.point for each in looked_at), *tried, *new])
    known = {each.point for each in looked_at}
    ahead = [*best(points, clock_ns, len(known) + 2), *front(points), *best(points, clock_ns, len(points))]
    shown = [point for point in dict.fromkeys(ahead) if point not in known][: sweep.measured]
    measured = looked_at + runner.measure(shown, ports, clock_ns)
    return Exploration(title, candidate, clock_ns, tuple(points), tuple(measured))


def best(points: Iterable[Point], clock_ns: float, count: int) -> list[Point]:
    """The smallest in time; where fewer are in time, the fastest of the others after them."""
    return sorted(points, key=lambda p: (max(p.period_ns, clock_ns), *_cost(p)))[:count]


def front(points: Iterable[_P]) -> list[_P]:
    """Those that no other beats in both area and period, the smallest first."""
    kept: list[_P] = []
    for point in sorted(points, key=_cost):
        if not kept or point.period_ns < kept[-1].period_ns:
            kept.append(point)
    return kept


def ways(points: Iterable[Point], clock_ns: float) -> list[Point]:
    """The best of every circuit, multiplier and way to make full adders."""
    found: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        key = point.unit.name, point.mapping.multiplier, point.mapping.full_adders
        found.setdefault(key, []).append(point)
    return distinct(best(group, clock_ns, 1)[0] for group in found.values())


def distinct(points: Iterable[Point]) -> list[Point]:
    """One of those that came out the same, the smallest first."""
    found: dict[tuple[str, float, float], Point] = {}
    for point in points:
        found.setdefault((point.unit.name, *_cost(point)), point)
    return sorted(found.values(), key=_cost)


def _cost(point: Placed) -> tuple[float, float]:
    return point.area_um2, point.period_ns


class _Runner:
    """Two jobs at a time: the tools are processes of their own."""

    def __init__(self, title: str, cache: Cache | None, progress: Progress) -> None:
        self._title, self._cache, self._progress = title, cache, progress
        self._workers = max(1, min(4, os.cpu_count() or 1))

    def synthesise(self, jobs: list[tuple[Unit, Mapping]], what: str) -> list[Point]:
        def job(pair: tuple[Unit, Mapping]) -> Point:
            return synthesised(*pair, cache=self._cache)

        return self._all(job, jobs, what)

    def measure(self, points: list[Point], ports: Ports, clock_ns: float) -> list[Measured]:
        def job(point: Point) -> Measured:
            return Measured(point, energies(point, ports, clock_ns, cache=self._cache))

        return self._all(job, points, "energies")

    def _all(self, job: Callable[[_J], _R], jobs: Sequence[_J], what: str) -> list[_R]:
        done = []
        with ThreadPoolExecutor(self._workers) as pool:
            for result in pool.map(job, jobs):
                done.append(result)
                self._progress(f"{self._title}: {what}", len(done) / len(jobs))
        return done
