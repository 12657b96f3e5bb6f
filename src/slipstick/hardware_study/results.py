"""What a study found, as plain data: written as JSON, read by tables, plots and the page."""

from dataclasses import asdict, dataclass, field
from typing import Any

from slipstick.errors import SpecificationError

ZERO_DELAY, INERTIAL = "zero delay", "inertial"
GLITCHES = (ZERO_DELAY, INERTIAL)

EnergyByGlitches = dict[str, float]
"""fJ for a product, by glitch model."""


@dataclass(frozen=True)
class PointResult:
    """One circuit under one mapping. energy_fj: of all roles together; None where it was not measured."""

    circuit: str
    mapping: str
    area_um2: float
    period_ns: float
    energy_fj: EnergyByGlitches | None = None

    def energy(self, glitches: str) -> float:
        """fJ. Raises SpecificationError where it was not measured."""
        if self.energy_fj is None:
            raise SpecificationError(f"{self.circuit}, {self.mapping}: its energy was not measured")
        return self.energy_fj[glitches]


@dataclass(frozen=True)
class Check:
    """One proof or comparison. outcome: "equal", "different", "proved", "refuted" or "undecided"."""

    what: str
    outcome: str
    vectors: int = 0
    seconds: float = 0.0
    told: str = ""

    @property
    def held(self) -> bool:
        return self.outcome in ("equal", "proved")

    @property
    def undecided(self) -> bool:
        return self.outcome == "undecided"

    @property
    def failed(self) -> bool:
        return self.outcome in ("different", "refuted")


@dataclass(frozen=True)
class UnitResult:
    """One unit of the study.

    points: all that were synthesised, the smallest first. chosen: the one that stands for the unit, the least product
    of area and energy (glitches included) among those that keep to the clock. smallest, thriftiest: by area, by energy
    alone. energy_fj: of the chosen one, by operands, then by glitch model. parts_fj: the same with glitches, split.
    flow_s: RTL to netlist of the chosen point, its timing and its energy. errors_lsb: of a logarithmic adder, root mean
    square and largest of D+ and of D-, every distance counting alike; of others nothing.
    """

    label: str
    title: str
    kind: str
    operand_bits: int
    accumulator_bits: int
    clock_ns: float
    in_time: bool
    points: tuple[PointResult, ...]
    chosen: int
    smallest: int
    thriftiest: int
    cells: int
    register_area_um2: float
    energy_fj: dict[str, EnergyByGlitches]
    parts_fj: dict[str, dict[str, float]]
    checks: tuple[Check, ...]
    files: dict[str, str]
    flow_s: float
    errors_lsb: dict[str, float] = field(default_factory=dict)

    @property
    def point(self) -> PointResult:
        """The one that stands for the unit."""
        return self.points[self.chosen]

    @property
    def least_area_um2(self) -> float:
        """Of the circuits that keep to the clock."""
        return self.points[self.smallest].area_um2

    def least_energy_fj(self, glitches: str) -> float:
        """Of the measured circuits that keep to the clock (of all, where none does); of all roles together."""
        measured = [point for point in self.points if point.energy_fj is not None]
        kept = [point for point in measured if point.period_ns <= self.clock_ns] or measured
        return min(point.energy(glitches) for point in kept)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "UnitResult":
        points = tuple(PointResult(**point) for point in data["points"])
        checks = tuple(Check(**check) for check in data["checks"])
        return cls(**{**data, "points": points, "checks": checks})


@dataclass(frozen=True)
class NetworkCost:
    """A training step of one network on one unit; energy with and without glitches."""

    network: str
    unit: str
    batch: int
    products: int
    energy_mj: EnergyByGlitches
    area_time_mm2_s: float
    traffic_bits: dict[str, int]

    @property
    def bits(self) -> int:
        return sum(self.traffic_bits.values())


@dataclass(frozen=True)
class StudyResult:
    """All units and networks of a study. baseline: the label that ratios are against."""

    name: str
    library: str
    clock_ns: float
    baseline: str
    operands: tuple[str, ...]
    units: tuple[UnitResult, ...]
    networks: tuple[NetworkCost, ...]

    @property
    def against(self) -> UnitResult:
        return next(unit for unit in self.units if unit.label == self.baseline)

    def by_network(self) -> dict[str, list[NetworkCost]]:
        """Costs on every unit, by the network's name."""
        found: dict[str, list[NetworkCost]] = {}
        for cost in self.networks:
            found.setdefault(cost.network, []).append(cost)
        return found

    def baseline_of(self, costs: list[NetworkCost]) -> NetworkCost:
        """Of one network, that on the baseline."""
        return next(cost for cost in costs if cost.unit == self.baseline)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
