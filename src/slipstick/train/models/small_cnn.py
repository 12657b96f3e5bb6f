"""A small network with every ingredient of the large ones: convolution, batch norm, pooling, a linear layer."""

from torch import nn

from slipstick.errors import SpecificationError
from slipstick.train.config import SmallCNN

_CHANNELS = (16, 32, 32)


def build_small_cnn(model: SmallCNN, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """conv-bn-relu, then twice conv-bn-relu-pool, then one linear layer."""
    if min(size) < 4:
        raise SpecificationError(f"model cnn: images of {size[0]}x{size[1]}; it needs 4x4")
    first, second, third = (max(1, round(model.width * c)) for c in _CHANNELS)
    return nn.Sequential(
        *_block(channels, first),
        *_block(first, second),
        nn.MaxPool2d(2),
        *_block(second, third),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(third * (size[0] // 4) * (size[1] // 4), classes),
    )


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
