import torch
from torch import nn

from slipstick.precision.layer_sizes import LayerSizes, network_sizes


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.grow = nn.Conv2d(3, 4, 3, padding=1, stride=2, groups=1)
        self.shrink = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.same = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.same(self.same(self.shrink(self.grow(x))))


def test_sizes_are_those_of_the_layers_that_are_called_and_of_one_sample() -> None:
    with torch.device("meta"):
        found = network_sizes(Twice(), torch.empty(5, 3, 8, 8))
    assert found.layers == (
        LayerSizes("grow", (4, 3, 3, 3), (3, 8, 8), (4, 4, 4), macs=4 * 4 * 4 * 27),
        LayerSizes("shrink", (4, 2, 2, 2), (4, 4, 4), (2, 8, 8), macs=4 * 4 * 4 * 8),
        LayerSizes("same", (8, 8), (2, 8, 8), (2, 8, 8), macs=2 * (2 * 8 * 8) * 8),
    )
