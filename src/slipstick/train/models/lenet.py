"""LeNet-5 with ReLU and max pooling."""

from torch import nn

from slipstick.errors import SpecificationError

_SMALLEST = 12


def build_lenet(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    if min(size) < _SMALLEST:
        raise SpecificationError(
            f"model lenet: images of {size[0]}x{size[1]}; it needs {_SMALLEST}x{_SMALLEST}, or use cnn"
        )
    height, width = ((side // 2 - 4) // 2 for side in size)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * height * width, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )
