"""A training step's energy, area-time and traffic, by hand."""

import pytest
import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.hardware.iteration import Datapath, iteration_cost, iteration_table
from slipstick.hardware.workload import training_step

WORKLOAD = training_step(nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)), torch.ones(4, 5), torch.Tensor.sum)
NARROW = Datapath(
    "narrow",
    {"forward": 1000.0, "input_gradient": 2000.0, "weight_gradient": 500.0},
    area_um2=800.0,
    period_ns=2.0,
    widths={"weight": 8, "activation": 4, "gradient": 6, "weight_gradient": 12},
)
WIDE = Datapath("wide", dict.fromkeys(NARROW.energy_fj, 4000.0), 1600.0, 2.0, dict.fromkeys(NARROW.widths, 32))


def test_by_hand() -> None:
    first, second = 4 * 5 * 7, 4 * 7 * 3
    cost = iteration_cost(WORKLOAD, NARROW)
    energy = (first + second) * 1000 + second * 2000 + (first + second) * 500
    assert cost.energy_mj == pytest.approx(energy * 1e-12)
    assert cost.area_time_mm2_s == pytest.approx(800e-6 * (2 * first + 3 * second) * 2e-9)
    weights, weight_gradients = 35 + 21 + 21, 35 + 21
    assert cost.traffic_bits["weight"] == 8 * weights
    assert cost.traffic_bits["weight_gradient"] == 12 * weight_gradients
    assert cost.bits == sum(cost.traffic_bits.values())


def test_the_table_stands_beside_its_first_row() -> None:
    lines = iteration_table([iteration_cost(WORKLOAD, each) for each in (WIDE, NARROW)]).splitlines()
    assert lines[0] == "a training step of 4 samples; in brackets against wide"
    assert lines[2].count("(1.000)") == 3
    assert "(0.500)" in lines[3]  # area-time
    assert iteration_table([]) == "no datapaths"


def test_a_missing_role_is_named() -> None:
    with pytest.raises(SpecificationError, match="Datapath\\(x\\): energy_fj has no 'input_gradient'"):
        Datapath("x", {"forward": 1.0, "weight_gradient": 1.0}, 1.0, 1.0, NARROW.widths)
