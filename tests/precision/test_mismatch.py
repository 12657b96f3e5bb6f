"""Measured mismatch: by hand on a network of one layer, and within the bound that assigned it."""

import pytest
import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment, LayerAssignment, Precision
from slipstick.precision.mismatch import forward_recipe, mismatches
from slipstick.precision.probe import Probe
from slipstick.precision.search import assign

STEP = Precision(3, 1.0)  # -1, -3/4 .. 3/4


def one_layer() -> tuple[nn.Module, Assignment]:
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.55]]))  # rounded, both are 1/2
    fine = Precision(20, 2.0**-2)
    layer = LayerAssignment("0", STEP, Precision(16, 8.0), fine, fine, Precision(20, STEP.step / 2), 0.25, 0.0)
    return model, Assignment("one", (layer,), 3, 0.25, 0.5)


def test_decisions_are_counted_that_rounding_changes() -> None:
    model, given = one_layer()
    inputs = torch.tensor([[1.05, 1.0], [1.0, 2.0], [2.0, 1.0], [1.5, 1.4]])  # float: second, second, first, second
    batches = [(inputs[:3], torch.tensor([0, 1, 0])), (inputs[3:], torch.tensor([1]))]
    seen: list[int] = []
    coarse, fine = mismatches(model, given, batches, (0, 4), seen.append)
    assert (coarse.minimum_bits, coarse.predicted, coarse.measured, coarse.accuracy) == (3, 0.25, 0.5, 0.75)
    assert (fine.minimum_bits, fine.measured, fine.accuracy) == (7, 0.0, 0.75)
    assert fine.predicted == 0.25 / 4**4
    assert sum(seen) == 3 * 4
    assert model[0].weight[1, 1] == torch.tensor(0.55)
    assert not list(model[0].children())


def test_only_the_forward_pass_is_rounded() -> None:
    (rule,) = forward_recipe(one_layer()[1]).layers
    assert rule.weight is not None
    assert rule.activation is not None
    assert rule.activation_gradient is None
    assert rule.weight_gradient is None


@pytest.mark.parametrize("seed", range(3))
def test_an_assignment_keeps_its_target(seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    inputs = torch.randn(600, 6)
    labels = (inputs[:, :3] * torch.tensor([1.0, 2.0, 1.5])).argmax(1)
    optimizer, probe = torch.optim.SGD(model.parameters(), 0.5), Probe(model)
    with probe:
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            probe.after_backward()
            optimizer.step()
    given = assign(probe.statistics([inputs], smallest_lr=0.1), target=0.2)
    (found,) = mismatches(model, given, [(inputs, labels)], (0,))
    assert found.measured <= found.predicted <= 0.2


def test_without_samples_there_is_one_clear_line() -> None:
    with pytest.raises(SpecificationError, match="no samples to decide on; give batches"):
        mismatches(*one_layer(), [], (0,))
