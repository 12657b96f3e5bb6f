"""Training steps of networks on the units of a study, in the form of LNS-Madam's table: millijoules an iteration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slipstick.errors import SpecificationError
from slipstick.hardware.iteration import Datapath, iteration_cost
from slipstick.hardware.workload import KINDS, ROLES, Workload, training_step
from slipstick.hardware_study.config import Network
from slipstick.hardware_study.recording import NORMAL
from slipstick.hardware_study.results import GLITCHES, NetworkCost, UnitResult
from slipstick.train.config import Transformer
from slipstick.train.models import build_model
from slipstick.train.user_functions import types_of, user_function


def workloads_of(networks: Sequence[Network]) -> dict[str, Workload]:
    """The products of every network's training step; no number is computed for them."""
    return {network.name: workload_of(network) for network in networks}


def network_costs(workloads: Mapping[str, Workload], units: Sequence[UnitResult]) -> list[NetworkCost]:
    """Every network on every unit."""
    return [_cost(name, workload, unit) for name, workload in workloads.items() for unit in units]


def workload_of(network: Network) -> Workload:
    """Of one network.

    Raises SpecificationError for a program that is not there, or returns other things than it should.
    """
    with torch.device("meta"):
        if network.program is not None:
            return training_step(*_program(network.program))
        if isinstance(network.model, Transformer):
            model = build_model(network.model, (network.model.context,), network.classes)
            inputs = torch.zeros(network.batch, network.model.context, dtype=torch.int64)
            targets = torch.zeros(network.batch * network.model.context, dtype=torch.int64)
            return training_step(model, inputs, lambda y: F.cross_entropy(y.flatten(0, 1), targets))
        assert network.model is not None
        model = build_model(network.model, network.image, network.classes)
        targets = torch.zeros(network.batch, dtype=torch.int64)
        return training_step(model, torch.empty(network.batch, *network.image), lambda y: F.cross_entropy(y, targets))


def _program(target: str) -> tuple[nn.Module, Tensor, Callable[[Any], Tensor]]:
    match user_function(target)():
        case (nn.Module() as model, Tensor() as inputs, loss) if callable(loss):
            return model, inputs, loss
        case other:
            raise SpecificationError(f"{target}: returned {types_of(other)}; it must return (model, inputs, loss)")


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
