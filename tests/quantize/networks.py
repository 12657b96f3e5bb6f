"""Small networks and recipes for the tests of quantisation."""

import torch
from torch import nn

from slipstick.formats import FixedPoint
from slipstick.quantize import QuantizerSpec, Range, Recipe

FORWARD = QuantizerSpec(FixedPoint(0, 3))
BACKWARD = QuantizerSpec(FixedPoint(0, 4), range=Range(scale="power_of_two"))
STOCHASTIC = QuantizerSpec(FixedPoint(0, 4), "stochastic")
STORED = QuantizerSpec(FixedPoint(0, 7), range=Range("calibrated", times=4, scale="power_of_two"))

ALL_ROLES = {"weight": FORWARD, "activation": FORWARD, "activation_gradient": BACKWARD, "weight_gradient": BACKWARD}


def recipe(**fields: object) -> Recipe:
    return Recipe("trial", **fields)


def network(seed: int = 0) -> nn.Sequential:
    """Convolutions, batch norm, in-place ReLU, a linear layer; for images of 1x6x6."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 2), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(36, 5),
    )  # fmt: skip


def images(seed: int = 1, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    optimizer.zero_grad()
    loss = model(images(seed)).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def numbers(spec: QuantizerSpec, x: torch.Tensor) -> torch.Tensor:
    """``x`` rounded by ``spec`` with the range of the tensor, written down anew."""
    peak = x.abs().max().double()
    scale = peak / spec.format.largest if spec.range.scale == "real" else 2.0 ** torch.ceil(torch.log2(peak))
    return spec.format.quantize(x, scale=float(scale.float()))
