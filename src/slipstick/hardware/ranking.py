"""Adders of logarithms ranked by what they cost: area and energy of their units, beside their errors.

    found = rank(["hamad2025", "designed", mine], LNS(5, 5), operands.normal(10_000, 64))
    print(ranking_table(found))

What an adder costs is not told by its segments or its stored bits: its tables become logic, and that depends on their
values. So the clocked multiply-accumulate unit of each is made, mapped in several ways, and fed the same numbers.
"""

from collections.abc import Mapping as Named
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from slipstick.arithmetic import Adder, LogArithmetic
from slipstick.design import TableErrors, Weights, pair_errors
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.hardware.cache import Cache
from slipstick.hardware.candidates import LogCandidate, clocked_units
from slipstick.hardware.measurement import energies, synthesised
from slipstick.hardware.operands import Operands, codes
from slipstick.hardware.rtl.log_names import adder_name
from slipstick.hardware.synthesis import Mapping
from slipstick.hardware.tools import Progress, silent
from slipstick.text_table import aligned


@dataclass(frozen=True)
class Cost:
    """Of one circuit under one mapping. Energies in fJ per product, at the clock of the ranking."""

    circuit: str
    mapping: Mapping
    area_um2: float
    period_ns: float
    zero_delay_fj: float
    inertial_fj: float


@dataclass(frozen=True, eq=False)
class Ranked:
    """An adder, its errors and its costs.

    plus, minus: errors of D+ and D- under the weights of the ranking, in LSB. costs: of every circuit and mapping that
    meets the clock; area and both energies are the least among them, each by itself.
    """

    name: str
    adder: Adder
    plus: TableErrors
    minus: TableErrors
    costs: tuple[Cost, ...]

    @property
    def area_um2(self) -> float:
        return min(cost.area_um2 for cost in self.costs)

    @property
    def zero_delay_fj(self) -> float:
        return min(cost.zero_delay_fj for cost in self.costs)

    @property
    def inertial_fj(self) -> float:
        return min(cost.inertial_fj for cost in self.costs)

    @property
    def period_ns(self) -> float:
        """The shortest."""
        return min(cost.period_ns for cost in self.costs)

    @property
    def rms(self) -> float:
        """Root mean square error over both functions, in LSB."""
        return sqrt((self.plus.rms**2 + self.minus.rms**2) / 2)

    def errs_no_more_than(self, other: "Ranked") -> bool:
        """In root mean square and at most, of either function."""
        pairs = ((self.plus, other.plus), (self.minus, other.minus))
        return all(mine.rms <= its.rms and mine.max <= its.max for mine, its in pairs)

    def beats(self, other: "Ranked") -> bool:
        """Less area and less energy, by both models, at no larger error."""
        less = self.area_um2 < other.area_um2 and self.inertial_fj < other.inertial_fj
        return less and self.zero_delay_fj < other.zero_delay_fj and self.errs_no_more_than(other)


def rank(
    adders: Sequence[Adder | str] | Named[str, Adder | str],
    format: LNS,
    operands: Operands,
    *,
    accumulator: Literal["guard", "operand"] = "operand",
    mappings: Sequence[Mapping] = (Mapping(),),
    clock_ns: float = 2.5,
    weights: Weights | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> list[Ranked]:
    """The adders, the one whose unit takes the least energy (with glitches) first.

    adders: objects, names or design files; a mapping gives them names. accumulator: as in ``LogArithmetic``.
    clock_ns: of all units. weights: of the distances that errors are taken over.

    Raises:
        SpecificationError: no adders or mappings, two adders of one name, or an adder of which no circuit meets the
            clock or fits the format.
    """
    named = _named(adders, format)
    if not named or not mappings:
        raise SpecificationError("rank: needs at least one adder and one mapping")
    found, weighing = [], (weights or Weights()).of
    for number, (name, adder) in enumerate(named.items()):

        def told(what: str, share: float, done: int = number, name: str = name) -> None:
            progress(f"{name}: {what}", (done + share) / len(named))

        candidate = LogCandidate(LogArithmetic(format, adder, accumulator=accumulator))
        costs = _costs(candidate, operands, mappings, clock_ns, cache, told)
        if not costs:
            raise SpecificationError(
                f"rank: {name} in {format}: no mapping has a clock period of {clock_ns:g} ns or less; "
                "give a longer clock_ns, or mappings with a shorter target_ps"
            )
        arithmetic = candidate.arithmetic
        errors = pair_errors(arithmetic.accumulator_tables, arithmetic.accumulator_format.frac_bits, weighing)
        found.append(Ranked(name, arithmetic.adder, *errors, costs))
    return sorted(found, key=lambda ranked: ranked.inertial_fj)


def pareto(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Those that no other equals or betters in area, energy with glitches and root mean square error alike."""

    def figures(one: Ranked) -> tuple[float, float, float]:
        return one.area_um2, one.inertial_fj, one.rms

    def dominated(one: Ranked) -> bool:
        mine = figures(one)
        others = (figures(other) for other in ranked)
        return any(its != mine and all(a <= b for a, b in zip(its, mine, strict=True)) for its in others)

    return [one for one in ranked if not dominated(one)]


def ranking_table(ranked: Sequence[Ranked]) -> str:
    """As text, a line for each adder; * marks those on the Pareto front."""
    front = pareto(ranked)
    rows: list[Sequence[str]] = [
        ("adder", "area um2", "fJ zero delay", "fJ inertial", "ns", "D+ rms", "max", "bias", "D- rms", "max", "bias")
    ]
    for one in ranked:
        errors = (text for e in (one.plus, one.minus) for text in (f"{e.rms:.3f}", f"{e.max:.2f}", f"{e.bias:+.3f}"))
        cost = f"{one.area_um2:.1f}", f"{one.zero_delay_fj:.0f}", f"{one.inertial_fj:.0f}", f"{one.period_ns:.3f}"
        rows.append((one.name + (" *" if one in front else ""), *cost, *errors))
    return "\n".join(aligned(rows))


def _named(adders: Sequence[Adder | str] | Named[str, Adder | str], format: LNS) -> dict[str, Adder | str]:
    if isinstance(adders, Named):
        return dict(adders)
    named: dict[str, Adder | str] = {}
    for adder in adders:
        name = adder if isinstance(adder, str) else adder_name(adder, format)
        if name in named:
            raise SpecificationError(f"rank: {name} twice; give adders of one kind names, as a mapping")
        named[name] = adder
    return named


def _costs(
    candidate: LogCandidate,
    operands: Operands,
    mappings: Sequence[Mapping],
    clock_ns: float,
    cache: Cache | None,
    progress: Progress,
) -> tuple[Cost, ...]:
    ports, units = codes(operands, candidate), clocked_units(candidate)
    pairs = [(unit, mapping) for unit in units for mapping in mappings]
    costs = []
    for number, (unit, mapping) in enumerate(pairs):
        progress(str(mapping), number / len(pairs))
        point = synthesised(unit, mapping, cache=cache)
        if point.period_ns <= clock_ns:
            took = energies(point, ports, clock_ns, cache=cache)
            both = took.zero_delay.total_fj, took.inertial.total_fj
            costs.append(Cost(unit.name, mapping, point.area_um2, point.period_ns, *both))
    progress("measured", 1.0)
    return tuple(costs)
