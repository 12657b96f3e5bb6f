"""Spreads of gradients over a training against the same numbers written down with ``torch.var``."""

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from probed_networks import Branches, images, made
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.precision.layer_calls import probed_layers
from slipstick.precision.spreads import RunningSpreads, Spreads


def batches(count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for seed in range(count):
        yield images(6, 2, 6, 6, seed=seed), torch.arange(6) % 5


def train(model: nn.Module, spreads: Spreads, steps: int, first: int = 0) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in list(batches(steps))[first:]:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        spreads.after_backward()
        optimizer.step()


def watched(model: nn.Module, every: int = 1) -> Spreads:
    spreads = Spreads(probed_layers(model), every)
    spreads.attach()
    return spreads


class Slow:
    """The definition, layer by layer: variances, largest magnitudes and signs of every step."""

    def __init__(self, model: nn.Module, steps: int) -> None:
        self.layers = probed_layers(model)
        self.weight, self.output, self.maxima, self.input_maxima, self.signs = [], [], [], [], []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for inputs, targets in batches(steps):
            calls: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in self.layers]

            def record(module, args, y, calls=calls):
                y.retain_grad()
                calls[[layer.module for layer in self.layers].index(module)].append((args[0].detach().clone(), y))
                return y.clone()

            hooks = [layer.module.register_forward_hook(record) for layer in self.layers]
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            for hook in hooks:
                hook.remove()
            self.weight.append([layer.module.weight.grad.var(correction=0).item() for layer in self.layers])
            variances = [[y.grad.var(correction=0).item() for _, y in each] for each in calls]
            self.output.append([sum(each) / len(each) for each in variances])
            self.maxima.append([layer.module.weight.abs().max().item() for layer in self.layers])
            self.input_maxima.append([max(x.abs().max().item() for x, _ in each) for each in calls])
            self.signs.append([any(bool((x < 0).any()) for x, _ in each) for each in calls])
            optimizer.step()


def extremes(variances: list[float]) -> tuple[float, float]:
    averages = variances[:1]
    for variance in variances[1:]:
        averages.append(0.9 * averages[-1] + 0.1 * variance)
    return min(averages) ** 0.5, max(averages) ** 0.5


def test_spreads_and_magnitudes_are_those_of_the_definition() -> None:
    model = made(Branches)
    slow = Slow(copy.deepcopy(model), steps=4)
    spreads = watched(model)
    train(model, spreads, steps=4)
    for i, layer in enumerate(slow.layers):
        for found, variances in ((spreads.weight_gradients, slow.weight), (spreads.output_gradients, slow.output)):
            spread = found.spread(i, layer.name)
            expected = extremes([step[i] for step in variances])
            assert (spread.smallest, spread.largest) == pytest.approx(expected, rel=1e-9)
        assert spreads.weight_maximum[i].item() == max(step[i] for step in slow.maxima)
        assert spreads.input_maximum[i].item() == pytest.approx(max(step[i] for step in slow.input_maxima), rel=1e-12)
        assert bool(spreads.input_minimum[i] < 0) == any(step[i] for step in slow.signs)


def test_one_step_in_so_many_is_a_snapshot() -> None:
    model = made(Branches)
    slow = Slow(copy.deepcopy(model), steps=5)
    spreads = watched(model, every=2)
    train(model, spreads, steps=5)
    expected = extremes([step[0] for step in slow.weight[::2]])
    spread = spreads.weight_gradients.spread(0, "stem")
    assert (spread.smallest, spread.largest) == pytest.approx(expected, rel=1e-9)
    assert spreads.steps == 5


def test_a_training_that_is_watched_is_the_same() -> None:
    plain, seen = made(Branches), made(Branches)
    train(plain, Spreads(probed_layers(plain)), steps=3)
    train(seen, watched(seen), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), seen.parameters(), strict=True))


def test_a_state_goes_on_to_the_same_numbers() -> None:
    model = made(Branches)
    whole = watched(model)
    train(model, whole, steps=5)
    model = made(Branches)
    first = watched(model)
    train(model, first, steps=2)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    train(model, first, steps=1)  # what was saved is not what goes on
    model = made(Branches)
    train(model, Spreads(probed_layers(model)), steps=2)
    second = watched(model)
    second.load_state_dict(state)
    train(model, second, steps=5, first=2)
    assert all(torch.equal(a, second.state_dict()[name]) for name, a in whole.state_dict().items())


def test_a_state_of_other_layers_or_another_interval_is_refused() -> None:
    state = Spreads(probed_layers(made(Branches))).state_dict()
    with pytest.raises(SpecificationError, match="is not of these layers"):
        Spreads(probed_layers(nn.Linear(2, 2))).load_state_dict(state)
    with pytest.raises(SpecificationError, match="was started with every = 1, not 3; change it back"):
        Spreads(probed_layers(made(Branches)), every=3).load_state_dict(state)


def test_the_first_gradient_that_is_not_zero_starts_the_average() -> None:
    spreads = RunningSpreads(2)
    there = torch.tensor([True, True])
    for variances in ([0.0, 4.0], [0.0, 0.0], [9.0, 0.0]):
        spreads.add(torch.tensor(variances), there)
    first, second = (spreads.spread(i, "weight") for i in range(2))
    assert (first.smallest, first.largest) == (3, 3)
    assert (second.smallest, second.largest) == pytest.approx(((0.81 * 4) ** 0.5, 2))


def test_a_step_without_a_gradient_changes_nothing() -> None:
    spreads = RunningSpreads(1)
    spreads.add(torch.tensor([4.0]), torch.tensor([True]))
    spreads.add(torch.tensor([0.0]), torch.tensor([False]))
    assert spreads.spread(0, "weight").smallest == 2


@pytest.mark.parametrize(("variance", "message"), [(0.0, "zero at every snapshot"), (float("nan"), "not finite")])
def test_gradients_without_a_spread_are_refused(variance: float, message: str) -> None:
    spreads = RunningSpreads(1)
    spreads.add(torch.tensor([variance]), torch.tensor([True]))
    with pytest.raises(SpecificationError, match=f"probe: fc.weight: its gradient was {message}"):
        spreads.spread(0, "fc.weight")


def test_only_training_with_gradients_is_watched() -> None:
    model = made(Branches)
    spreads = watched(model)
    model.eval()
    model(images(2, 2, 6, 6))
    model.train()
    with torch.no_grad():
        model(100 * images(2, 2, 6, 6))
    train(model, spreads, steps=1)
    assert spreads.input_maximum[0] < 100


def test_a_copy_of_a_watched_model_is_not_watched() -> None:
    model = made(Branches)
    spreads = watched(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        F.cross_entropy(other(100 * images(2, 2, 6, 6)), torch.tensor([0, 1])).backward()
    train(model, spreads, steps=1)
    assert spreads.input_maximum[0] < 100


def test_removed_hooks_leave_the_model_as_it_was() -> None:
    model = made(Branches)
    spreads = watched(model)
    with pytest.raises(SpecificationError, match="is attached already"):
        spreads.attach()
    spreads.remove()
    assert not any(module._forward_hooks for module in model.modules())
    spreads.attach()


def test_gradients_are_those_before_an_activation_in_place() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    spreads = watched(model)
    x = images(5, 3)
    F.cross_entropy(model(x), torch.arange(5) % 2).backward()
    spreads.after_backward()
    y = (x @ model[0].weight.t() + model[0].bias).detach().requires_grad_()
    F.cross_entropy(model[2](y.relu()), torch.arange(5) % 2).backward()
    expected = y.grad.std(correction=0).item()
    assert spreads.output_gradients.spread(0, "y").largest == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("every", [0, 1.0])
def test_an_impossible_interval_is_refused(every: int) -> None:
    with pytest.raises(SpecificationError, match="must be a positive number of steps"):
        Spreads(probed_layers(nn.Linear(2, 2)), every)
