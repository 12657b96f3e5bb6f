"""From one unit to a training step: energy, area-time and traffic of a network in an arithmetic.

The energy counts multiply-accumulates alone, as tables of MAC units do: every product of the step at the energy that
the unit has on operands of its role. What moves between memory and units is a line of its own, in bits, because its
energy is the memory's and no unit's. Nothing else of a processor is in either: no control, no buffers, no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slipstick.errors import SpecificationError
from slipstick.hardware.workload import KINDS, ROLES, Kind, Role, Workload
from slipstick.text_table import aligned

_FEMTO_TO_MILLI = 1e-12
_NANO = 1e-9


@dataclass(frozen=True)
class Datapath:
    """A multiply-accumulate unit and the widths of the tensors it works on.

    energy_fj: per product, by role. area_um2. period_ns: between two products of one unit. widths: bits of a number, by
    kind of tensor.
    """

    title: str
    energy_fj: Mapping[Role, float]
    area_um2: float
    period_ns: float
    widths: Mapping[Kind, int]

    def __post_init__(self) -> None:
        for what, given, needed in (("energy_fj", self.energy_fj, ROLES), ("widths", self.widths, KINDS)):
            missing = [name for name in needed if name not in given]
            if missing:
                raise SpecificationError(f"Datapath({self.title}): {what} has no {missing[0]!r}")


@dataclass(frozen=True)
class IterationCost:
    """Of one training step. energy_mj: of all products. area_time_mm2_s: area of a unit times the time it takes for all
    products; n units take the n-th part of the time, so it does not depend on their number. traffic_bits: by kind."""

    title: str
    batch: int
    energy_mj: float
    area_time_mm2_s: float
    traffic_bits: dict[Kind, int]

    @property
    def bits(self) -> int:
        """Moved in all."""
        return sum(self.traffic_bits.values())


def iteration_cost(workload: Workload, datapath: Datapath) -> IterationCost:
    """One training step on one kind of unit."""
    energy = sum(workload.products(role) * datapath.energy_fj[role] for role in ROLES)
    seconds = workload.products() * datapath.period_ns * _NANO
    return IterationCost(
        datapath.title,
        workload.batch,
        energy * _FEMTO_TO_MILLI,
        datapath.area_um2 * 1e-6 * seconds,
        {kind: workload.numbers(kind) * datapath.widths[kind] for kind in KINDS},
    )


def iteration_table(costs: Sequence[IterationCost]) -> str:
    """As text, each beside the first."""
    if not costs:
        return "no datapaths"
    first = costs[0]
    rows: list[Sequence[str]] = [("unit", "energy mJ", "area-time mm2 s", "traffic Gbit")]
    for cost in costs:
        pairs = (
            (cost.energy_mj, first.energy_mj),
            (cost.area_time_mm2_s, first.area_time_mm2_s),
            (cost.bits / 1e9, first.bits / 1e9),
        )
        cells = (f"{value:.4g} ({value / base:.3f})" for value, base in pairs)
        rows.append((cost.title, *cells))
    return "\n".join([f"a training step of {first.batch} samples; in brackets against {first.title}", *aligned(rows)])
