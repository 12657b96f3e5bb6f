"""Noise gains against one autograd call for every sample, logit and tensor."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from probed_networks import CASES, Branches, images, made
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.precision.layer_calls import SampleNetwork, probed_layers
from slipstick.precision.noise_gain import NoiseGains, NoiseGainSum, _squared_product_norms


def gains(model: nn.Module, inputs: torch.Tensor, vectorize: bool = True, **options: Any) -> NoiseGains:
    network = SampleNetwork(model, probed_layers(model), inputs[0], vectorize=vectorize)
    total = NoiseGainSum(network, **options)
    total.add(inputs)
    return total.result()


def slow_gains(model: nn.Module, inputs: torch.Tensor) -> tuple[list[float], list[float]]:
    """The definition, pair by pair."""
    layers = probed_layers(model)
    index = {layer.module: i for i, layer in enumerate(layers)}
    weights, activations = [0.0] * len(layers), [0.0] * len(layers)
    model.eval()
    decisions = 0
    for sample in inputs:
        calls: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []

        def record(
            module: nn.Module, args: Any, y: torch.Tensor, calls: list[Any] = calls
        ) -> torch.Tensor:  # what follows may change a copy in place
            calls.append((module, args[0].detach(), y))
            return y.clone()

        hooks = [module.register_forward_hook(record) for module in index]
        logits = model(sample[None])
        for hook in hooks:
            hook.remove()
        for difference in differences(logits.reshape(-1, logits.shape[-1])):
            scale = 24 * difference.item() ** 2
            parameters = [layer.module.weight for layer in layers]
            for i, gradient in enumerate(torch.autograd.grad(difference, parameters, retain_graph=True)):
                weights[i] += gradient.square().sum().item() / scale
            dys = torch.autograd.grad(difference, [y for _, _, y in calls], retain_graph=True)
            for (module, x, _), dy in zip(calls, dys, strict=True):
                x = x.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(module(x), x, dy)
                activations[index[module]] += gradient.square().sum().item() / scale
        decisions += logits.numel() // logits.shape[-1]
    return [total / decisions for total in weights], [total / decisions for total in activations]


def differences(decisions: torch.Tensor) -> Iterator[torch.Tensor]:
    for z in decisions:
        largest = int(z.argmax())
        yield from (z[i] - z[largest] for i in range(len(z)) if i != largest)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [2, 50])
def test_gains_are_those_of_the_definition(case: str, chunk: int) -> None:
    build, inputs = CASES[case]
    model = made(build)
    found = gains(model, inputs, chunk=chunk)
    weights, activations = slow_gains(model, inputs)
    assert found.weights == pytest.approx(weights, rel=1e-9)
    assert found.activations == pytest.approx(activations, rel=1e-9)
    assert found.ties == 0


def test_gains_in_float32_are_those_of_the_definition() -> None:
    model, inputs = made(Branches).float(), images(3, 2, 6, 6).float()
    weights, activations = slow_gains(model, inputs)
    found = gains(model, inputs)
    assert found.weights == pytest.approx(weights, rel=1e-5)
    assert found.activations == pytest.approx(activations, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_samples_one_at_a_time_give_the_same(case: str) -> None:
    build, inputs = CASES[case]
    model = made(build)
    together, apart = gains(model, inputs), gains(model, inputs, vectorize=False)
    assert apart.weights == pytest.approx(together.weights, rel=1e-12)
    assert apart.activations == pytest.approx(together.activations, rel=1e-12)


def test_batches_add_up() -> None:
    model, inputs = made(Branches), images(5, 2, 6, 6)
    network = SampleNetwork(model, probed_layers(model), inputs[0])
    total = NoiseGainSum(network)
    for batch in inputs.split(2):
        total.add(batch)
    assert total.result().weights == pytest.approx(gains(model, inputs).weights, rel=1e-12)
    assert total.result().samples == 5


def test_random_signs_of_a_single_pair_are_exact() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), images(6, 3)
    assert gains(model, inputs, draws=3).weights == pytest.approx(gains(model, inputs).weights, rel=1e-12)


@pytest.mark.parametrize("case", ["branches", "tokens"])
def test_random_signs_are_right_on_average(case: str) -> None:
    build, inputs = CASES[case]
    model = made(build)
    exact, drawn = gains(model, inputs), gains(model, inputs, draws=500, chunk=500)
    assert drawn.weights == pytest.approx(exact.weights, rel=0.2)
    assert drawn.activations == pytest.approx(exact.activations, rel=0.2)
    assert drawn == gains(model, inputs, draws=500, chunk=500)
    assert drawn != gains(model, inputs, draws=500, chunk=500, seed=1)


@pytest.mark.parametrize("draws", [None, 500])
def test_ties_are_left_out_and_counted(draws: int | None) -> None:
    model = nn.Linear(2, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0], [1, 0], [0, 1]]))
    found = gains(model, torch.tensor([[2.0, 1.0], [4.0, 1.0]]).double(), draws=draws)
    # z = (2, 2, 1) and (4, 4, 1): one pair each, whose gradient is +-x, in the rows of two logits.
    expected = (2 * 5 / 24 / 1 + 2 * 17 / 24 / 9) / 2
    assert found.weights == pytest.approx((expected,), rel=1e-12)
    assert (found.samples, found.ties) == (2, 2)


def test_equal_logits_everywhere_are_refused() -> None:
    model = nn.Linear(2, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    with pytest.raises(SpecificationError, match="all logits of every sample are equal; train the model first"):
        gains(model, torch.ones(2, 2))


@pytest.mark.parametrize(("a", "b", "positions"), [(2, 3, 5), (20, 30, 2), (7, 7, 1)])
def test_both_ways_to_the_norm_of_a_product_are_the_definition(a: int, b: int, positions: int) -> None:
    still, moving = images(2, a, positions), images(3, 2, b, positions, seed=1)
    slow = [sum((moving[k, g] @ still[g].t()).square().sum().item() for g in range(2)) for k in range(3)]
    assert _squared_product_norms(still, moving).tolist() == pytest.approx(slow, rel=1e-12)


def test_the_model_is_left_as_it_was() -> None:
    model = made(Branches).train()
    model.norm.eval()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    gains(model, images(2, 2, 6, 6), draws=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (model.training, model.norm.training) == (True, False)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x if x.sum() > 0 else -x)


def test_a_model_that_branches_on_its_numbers_runs_sample_by_sample() -> None:
    model, inputs = Branching().double(), images(3, 2)
    with pytest.raises(SpecificationError, match=r"Branching cannot run many samples as one .*; pass vectorize=False"):
        gains(model, inputs)
    weights, _ = slow_gains(model, inputs)
    assert gains(model, inputs, vectorize=False).weights == pytest.approx(weights, rel=1e-9)


@pytest.mark.parametrize("options", [{"chunk": 0}, {"draws": 0}, {"draws": 1.5}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecificationError, match="must be a positive integer"):
        gains(nn.Linear(2, 3), torch.ones(1, 2), **options)
