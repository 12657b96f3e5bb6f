"""Products of a training step, counted by hand on small layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.hardware.workload import ROLES, Workload, training_step


def counts(workload: Workload) -> list[int]:
    return [workload.products(role) for role in ROLES]


def step(model: nn.Module, *shape: int) -> Workload:
    with torch.device("meta"):
        return training_step(model.to("meta"), torch.empty(shape), lambda y: y.sum())


def test_a_linear_layer_has_its_product_thrice_and_the_first_no_input_gradient() -> None:
    workload = step(nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), 4, 5)
    first, second = 4 * 5 * 7, 4 * 7 * 3
    assert counts(workload) == [first + second, second, first + second]
    assert workload.products() == 3 * second + 2 * first
    assert workload.batch == 4
    assert workload.numbers("weight") == 35 + 21 + 21
    assert workload.numbers("weight_gradient") == 35 + 21
    assert workload.numbers("activation") == (4 * 5 + 4 * 7) + (4 * 7 + 4 * 3) + 4 * 5 + 4 * 7
    assert workload.numbers("gradient") == (4 * 3 + 4 * 7) + 4 * 7 + 4 * 3


@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions(transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    workload = step(nn.Sequential(nn.Conv2d(2, 4, 1), kind(4, 6, 3, stride=2, padding=1, groups=2)), 3, 2, 8, 8)
    positions = 8 * 8 if transposed else 4 * 4
    first, second = 3 * 64 * 2 * 4, 3 * positions * (4 * 6 // 2) * 9
    assert counts(workload) == [first + second, second, first + second]


def test_attention_has_products_of_activations_and_they_have_input_gradients_alone() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.project(x).chunk(3, -1))
            return F.scaled_dot_product_attention(q, k, v)

    workload = step(Attention(), 5, 6, 8)
    linear, attention = 5 * 6 * 8 * 24, 2 * 5 * 2 * 6 * 6 * 4
    assert counts(workload) == [linear + attention, 2 * attention, linear]


def test_a_counted_model_keeps_no_gradients_and_its_numbers_do_not_matter() -> None:
    model = nn.Linear(3, 2)
    given = training_step(model, torch.ones(4, 3), lambda y: y.square().sum())
    assert model.weight.grad is None
    assert counts(given) == counts(step(nn.Linear(3, 2), 4, 3)) == [24, 0, 24]


def test_a_step_without_products_is_refused() -> None:
    model = nn.BatchNorm1d(3)
    with pytest.raises(SpecificationError, match="BatchNorm1d: a step without matrix products"):
        training_step(model, torch.ones(4, 3), lambda y: y.sum())
