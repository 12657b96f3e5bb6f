"""Training steps of networks on the units of a study, in the form of LNS-Madam's table: millijoules an iteration."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from slipstick.hardware.iteration import Datapath, iteration_cost
from slipstick.hardware.workload import KINDS, ROLES, Workload, training_step
from slipstick.hardware_study.config import Network
from slipstick.hardware_study.recording import NORMAL
from slipstick.hardware_study.results import GLITCHES, NetworkCost, UnitResult
from slipstick.train.config import Transformer
from slipstick.train.models import build_model


def network_costs(networks: Sequence[Network], units: Sequence[UnitResult]) -> list[NetworkCost]:
    """Every network on every unit."""
    workloads = [(network.name, workload_of(network)) for network in networks]
    return [_cost(name, workload, unit) for name, workload in workloads for unit in units]


def workload_of(network: Network) -> Workload:
    """The products of a training step; no number is computed for it."""
    with torch.device("meta"):
        if isinstance(network.model, Transformer):
            model = build_model(network.model, (network.model.context,), network.classes)
            inputs = torch.zeros(network.batch, network.model.context, dtype=torch.int64)
            targets = torch.zeros(network.batch * network.model.context, dtype=torch.int64)
            return training_step(model, inputs, lambda y: F.cross_entropy(y.flatten(0, 1), targets))
        model = build_model(network.model, network.image, network.classes)
        targets = torch.zeros(network.batch, dtype=torch.int64)
        return training_step(model, torch.empty(network.batch, *network.image), lambda y: F.cross_entropy(y, targets))


def _cost(name: str, workload: Workload, unit: UnitResult) -> NetworkCost:
    """A unit that was measured on normal numbers alone has their energy in every role."""
    energies = {role: unit.energy_fj.get(role, unit.energy_fj[NORMAL]) for role in ROLES}
    period = max(unit.clock_ns, unit.point.period_ns)
    widths = dict.fromkeys(KINDS, unit.operand_bits)
    costs = {}
    for glitches in GLITCHES:
        by_role = {role: energies[role][glitches] for role in ROLES}
        costs[glitches] = iteration_cost(workload, Datapath(unit.label, by_role, unit.point.area_um2, period, widths))
    first = costs[GLITCHES[0]]
    return NetworkCost(
        name,
        unit.label,
        workload.batch,
        workload.products(),
        {glitches: cost.energy_mj for glitches, cost in costs.items()},
        first.area_time_mm2_s,
        {str(kind): bits for kind, bits in first.traffic_bits.items()},
    )
