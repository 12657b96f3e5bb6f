"""The probe as a whole: what it reports, and what it refuses."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from probed_networks import CASES, Branches, Tokens, codes, images, made
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError, UnsupportedOperation
from slipstick.precision.layer_calls import SampleNetwork, probed_layers
from slipstick.precision.noise_gain import NoiseGainSum
from slipstick.precision.probe import Probe
from slipstick.precision.statistics import Statistics


def train(probe: Probe, inputs: torch.Tensor, steps: int = 2) -> None:
    optimizer = torch.optim.SGD(probe.model.parameters(), lr=0.1)
    with probe:
        for _ in range(steps):
            optimizer.zero_grad()
            logits = probe.model(inputs)
            targets = torch.arange(logits[..., 0].numel()) % logits.shape[-1]
            F.cross_entropy(logits.flatten(0, -2), targets).backward()
            probe.after_backward()
            optimizer.step()


def statistics(model: nn.Module, inputs: torch.Tensor, **options: Any) -> Statistics:
    probe = Probe(model)
    train(probe, inputs)
    return probe.statistics([inputs], 0.1, **options)


@pytest.mark.parametrize("case", CASES)
def test_statistics_are_plain_data_of_every_layer(case: str) -> None:
    build, inputs = CASES[case]
    model = made(build)
    found = statistics(model, inputs)
    assert Statistics.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert sorted(layer.name for layer in found.layers) == sorted(layer.name for layer in probed_layers(model))
    for layer in found.layers:
        assert 0 < layer.weight_gradient.smallest <= layer.weight_gradient.largest
        assert 0 < layer.activation_gradient.smallest <= layer.activation_gradient.largest
        assert layer.weight_gain > 0
        assert layer.jacobian > 0
        assert layer.weight_mean_square <= layer.weight_maximum**2


def test_layers_are_in_the_order_of_the_forward_pass_with_their_shapes() -> None:
    found = statistics(made(Branches), images(3, 2, 6, 6))
    facts = [(e.name, e.weight_shape, e.input_shape, e.output_shape, e.macs, e.fan_in) for e in found.layers]
    assert facts == [
        ("stem", (4, 2, 3, 3), (2, 6, 6), (4, 6, 6), 2 * 4 * 36 * 18, 18),  # called twice
        ("main", (6, 2, 3, 3), (4, 6, 6), (6, 3, 3), 6 * 9 * 18, 18),
        ("shortcut", (6, 4, 1, 1), (4, 6, 6), (6, 3, 3), 6 * 9 * 4, 4),
        ("up", (6, 2, 3, 3), (6, 3, 3), (4, 6, 6), 6 * 9 * 18, 12),
        ("head", (5, 4), (4,), (5,), 20, 4),
    ]
    assert (found.model, found.samples, found.steps, found.smallest_lr) == ("Branches", 3, 2, 0.1)


def test_of_a_sequence_every_position_is_a_decision() -> None:
    found = statistics(made(Tokens), codes(2))
    assert found.samples == 6
    shapes = {layer.name: (layer.input_shape, layer.output_shape, layer.macs) for layer in found.layers}
    assert shapes == {"token": ((3, 4), (3, 5), 60), "place": ((3, 3), (3, 5), 45), "head": ((3, 5), (3, 4), 60)}


def test_noise_gains_and_maxima_are_those_of_the_model_at_the_end() -> None:
    model, inputs = made(Branches), images(3, 2, 6, 6)
    found = {layer.name: layer for layer in statistics(model, inputs).layers}
    layers = probed_layers(model)
    total = NoiseGainSum(SampleNetwork(model, layers, inputs[0]))
    total.add(inputs)
    for layer, weight, activation in zip(layers, total.result().weights, total.result().activations, strict=True):
        assert (found[layer.name].weight_gain, found[layer.name].activation_gain) == (weight, activation)
        assert found[layer.name].weight_maximum >= layer.module.weight.abs().max().item()
    assert found["stem"].activation_has_signs
    assert not found["main"].activation_has_signs


def test_batches_may_have_targets_and_progress_is_told() -> None:
    model, inputs = made(Branches), images(4, 2, 6, 6)
    probe = Probe(model)
    train(probe, inputs)
    done: list[int] = []
    targets = torch.zeros(2)
    found = probe.statistics([(inputs[:2], targets), (inputs[2:], targets)], 0.1, chunk=4, done=done.append)
    assert (found.samples, sum(done)) == (4, 4)


def test_ignored_layers_are_left_out() -> None:
    probe = Probe(made(Branches), ignore=["up", "s*"])
    assert probe.layers == ("main", "head")
    with pytest.raises(SpecificationError, match="ignore = 'body' matches no layer; there are: stem, main"):
        Probe(made(Branches), ignore=["body"])


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


class Detached(Unused):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x) + self.spare(x).detach()


def test_a_layer_that_is_never_reached_is_named() -> None:
    message = "spare is never reached in the forward pass of Unused; remove it, or ignore it"
    with pytest.raises(SpecificationError, match=message):
        Probe(Unused()).check(torch.ones(1, 3))
    with pytest.raises(SpecificationError, match=message):
        statistics(Unused(), torch.ones(2, 3))
    probe = Probe(Unused(), ignore=["spare"])
    train(probe, images(4, 3).float())
    assert len(probe.statistics([images(4, 3).float()], 0.1).layers) == 1


def test_a_gradient_that_is_always_zero_is_named() -> None:
    with pytest.raises(SpecificationError, match=r"spare\.weight: its gradient was zero at every snapshot"):
        statistics(Detached(), images(4, 3).float())


def test_a_weight_that_is_frozen_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    with pytest.raises(
        SpecificationError, match=r"probe: 0\.weight: its gradient was zero at every snapshot; train it"
    ):
        statistics(model, images(4, 3).float())


class Returns(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(3, 2), change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda y: (y, y), "tuple"),
        (lambda y: y[:, :1], r"\(1, 1\)"),
        (lambda y: y.mean(), r"\(\)"),
        (lambda y: y[0], r"\(2,\)"),
    ],
)
def test_an_output_that_is_no_logits_is_refused(change: Callable[[torch.Tensor], Any], found: str) -> None:
    with pytest.raises(SpecificationError, match=f"Returns makes {found} of one sample; it must be logits"):
        Probe(Returns(change)).check(torch.ones(1, 3))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def quantized() -> nn.Module:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    ss.quantize(model, "miyashita2016")
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (nn.ReLU, "ReLU has no linear or convolution layer to probe"),
        (lambda: nn.Embedding(3, 2), "Embedding has no linear or convolution layer"),
        (tied, r"1\.weight is that of 0 too; untie them"),
        (quantized, r"is quantised; call ss\.dequantize"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "is parametrised; remove that first"),
        (lambda: nn.LazyLinear(2), "has no shape yet; run the model once"),
    ],
)
def test_a_model_that_cannot_be_probed_is_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        Probe(build())


def test_statistics_need_a_training_samples_and_a_learning_rate() -> None:
    probe = Probe(nn.Linear(3, 2))
    with pytest.raises(SpecificationError, match="has watched no training step"):
        probe.statistics([torch.ones(1, 3)], 0.1)
    train(probe, images(4, 3).float())
    with pytest.raises(SpecificationError, match="no samples to measure noise gains with"):
        probe.statistics([], 0.1)
    with pytest.raises(SpecificationError, match="smallest_lr = 0 must be a positive number"):
        probe.statistics([torch.ones(1, 3)], 0)


def test_a_probe_does_not_run_inside_an_arithmetic() -> None:
    with ss.use(ss.LogArithmetic(ss.LNS(5, 5))), pytest.raises(UnsupportedOperation, match=r"inside ss\.use"):
        Probe(nn.Linear(3, 2)).attach()
