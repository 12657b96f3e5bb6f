"""What one circuit costs under one mapping: area, clock period, energy of a product by operands and glitch model."""

from collections.abc import Mapping as Named
from dataclasses import dataclass

from slipstick.hardware.activity import settle, zero_delay
from slipstick.hardware.cache import Cache
from slipstick.hardware.candidates import Codes
from slipstick.hardware.energy import Energy, energy
from slipstick.hardware.inertial import inertial
from slipstick.hardware.synthesis import Mapping, Synthesis, synthesise
from slipstick.hardware.timing import Timing
from slipstick.hardware.unit import Unit

Ports = Named[str, Codes]


@dataclass(frozen=True, eq=False)
class Point:
    """A synthesised circuit: one point of a candidate's trade of area for time.

    period_ns: the shortest clock period. seconds: that synthesis took, when it was made.
    """

    unit: Unit
    mapping: Mapping
    synthesis: Synthesis
    timing: Timing

    @property
    def area_um2(self) -> float:
        return self.synthesis.area_um2

    @property
    def period_ns(self) -> float:
        return self.timing.period_ns

    @property
    def cells(self) -> int:
        return len(self.synthesis.netlist.cells)


@dataclass(frozen=True)
class Energies:
    """Of a product, at one clock period. zero_delay, inertial: without glitches, and with those that gates pass on."""

    zero_delay: Energy
    inertial: Energy


def synthesised(unit: Unit, mapping: Mapping, *, cache: Cache | None = None) -> Point:
    """Synthesis and timing."""
    made = synthesise(unit, mapping, cache=cache)
    return Point(unit, mapping, made, Timing(made.netlist))


def energies(point: Point, ports: Ports, clock_ns: float, *, cache: Cache | None = None) -> Energies:
    """Mean over the cycles of ``ports``, at a clock of ``clock_ns``, or of the shortest period where that is longer."""
    period = max(clock_ns, point.period_ns)
    cycles = settle(point.synthesis.netlist, {"rst": 0, **ports}, cache=cache)
    glitching = inertial(cycles, point.timing, period_ns=period, cache=cache)
    return Energies(energy(zero_delay(cycles), point.timing, period), energy(glitching, point.timing, period))
