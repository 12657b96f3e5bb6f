"""VGG-11 and VGG-16 with batch normalisation, as Hamad et al. 2025 (arXiv 2510.17058) train them."""

import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.train.config import VGG

_POOL = 0
_LAYERS: dict[str, tuple[int, ...]] = {
    "vgg11": (64, _POOL, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512, _POOL),
    "vgg16": (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL, 512, 512, 512, _POOL, 512, 512, 512, _POOL),
}
_HIDDEN = 4096
_POOLINGS = 5


class GlobalAveragePool(nn.Module):
    """(N, C, H, W) to (N, C): the mean over every image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def build_vgg(model: VGG, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """3x3 convolutions with bias, batch normalisation, ReLU; global average pooling; the head.

    head "papers": two hidden layers of 4096 with ReLU and dropout; "linear": one layer. ``width`` scales both.
    """
    if min(size) < 1 << _POOLINGS:
        need = f"{1 << _POOLINGS}x{1 << _POOLINGS}"
        raise SpecificationError(f"model {model.name}: images of {size[0]}x{size[1]}; it needs {need}, or use cnn")
    layers: list[nn.Module] = []
    for full_width in _LAYERS[model.name]:
        if full_width == _POOL:
            layers.append(nn.MaxPool2d(2))
            continue
        outputs = max(1, round(model.width * full_width))
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers, GlobalAveragePool(), *_head(model, channels, classes))


def _head(model: VGG, features: int, classes: int) -> list[nn.Module]:
    if model.head == "linear":
        return [nn.Linear(features, classes)]
    hidden = max(1, round(model.width * _HIDDEN))
    return [
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(model.dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(model.dropout),
        nn.Linear(hidden, classes),
    ]
