from contextlib import nullcontext

import pytest
import torch
from torch import nn

import slipstick as ss
from slipstick.arithmetic import parse_arithmetic
from slipstick.errors import SpecificationError
from slipstick.train.config import Experiment
from slipstick.train.models import build_model


def model(size: int = 32, classes: int = 10, **fields: object) -> nn.Module:
    return build_model(Experiment(name="a", model=fields).model, (3, size, size), classes)


def convolutions(network: nn.Module) -> list[int]:
    return [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "mlp", "hidden": [20, 10], "activation": "leaky"},
        {"name": "lenet"},
        {"name": "cnn", "width": 0.5},
        {"name": "vgg11", "width": 0.125},
        {"name": "vgg16", "width": 0.125, "head": "linear"},
        {"name": "resnet18", "width": 0.125},
        {"name": "resnet20", "width": 0.5},
    ],
    ids=lambda fields: fields["name"],
)
def test_every_network_maps_images_to_logits_and_learns_every_parameter(fields: dict[str, object]) -> None:
    network = model(classes=7, **fields)
    logits = network(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def transformer(**fields: object) -> nn.Module:
    torch.manual_seed(0)
    chosen = Experiment(name="a", data="python-docs", model={"name": "transformer", **fields})
    return build_model(chosen.model, (chosen.model.context,), 20)


def test_the_transformer_maps_codes_to_logits_and_learns_every_parameter() -> None:
    network = transformer(width=8, heads=2, context=6, dropout=0.1)
    logits = network(torch.randint(20, (4, 6)))
    assert logits.shape == (4, 6, 20)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network(torch.randint(20, (4, 3))).shape == (4, 3, 20)


def test_the_transformer_has_the_parameters_of_its_shape() -> None:
    attention, feed_forward, norm = 4 * (64 * 64 + 64), 64 * 256 + 256 + 256 * 64 + 64, 2 * 64
    block = attention + feed_forward + 2 * norm
    expected = 20 * 64 + 64 * 64 + 2 * block + norm + 64 * 20 + 20  # embeddings without bias, head with
    network = transformer()
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 106_772
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), transformer().parameters(), strict=True))


@pytest.mark.parametrize("arithmetic", [None, "LNS(5,5) designed"])
def test_a_later_character_changes_no_earlier_logit(arithmetic: str | None) -> None:
    network = transformer(width=8, heads=2, context=6)
    codes = torch.randint(20, (1, 6), generator=torch.Generator().manual_seed(1))
    changed = codes.clone()
    changed[0, 3:] = (codes[0, 3:] + 1) % 20
    with nullcontext() if arithmetic is None else ss.use(parse_arithmetic(arithmetic)):
        before, after = network(codes), network(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).all(dim=-1).any()


def test_vgg_has_the_layers_of_the_paper() -> None:
    vgg11, vgg16 = model(name="vgg11"), model(name="vgg16")
    assert convolutions(vgg11) == [64, 128, 256, 256, 512, 512, 512, 512]
    assert convolutions(vgg16) == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [layer.out_features for layer in vgg11.modules() if isinstance(layer, nn.Linear)] == [4096, 4096, 10]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in vgg16.modules()) == 13


def test_resnets_have_the_size_of_the_paper() -> None:
    assert sum(p.numel() for p in model(name="resnet18").parameters()) == 11_173_962
    assert len(convolutions(model(name="resnet20"))) == 19 + 2  # two shortcuts change shape


def test_vgg_accepts_the_56_pixels_of_tiny_imagenet() -> None:
    assert model(size=56, name="vgg11", width=0.125)(torch.randn(2, 3, 56, 56)).shape == (2, 10)


@pytest.mark.parametrize(("name", "need"), [("vgg11", "32x32"), ("lenet", "12x12")])
def test_images_that_are_too_small_are_refused(name: str, need: str) -> None:
    with pytest.raises(SpecificationError, match=f"model {name}: images of 8x8; it needs {need}, or use cnn"):
        model(size=8, name=name)
