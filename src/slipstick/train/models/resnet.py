"""ResNet-18 and ResNet-20 for small images (He et al. 2015, arXiv 1512.03385): a 3x3 stem without pooling.

Where a block changes shape its shortcut is a 1x1 convolution (option B of the paper) in both.
"""

import torch
from torch import nn

from slipstick.train.config import ResNet

_STAGES: dict[str, tuple[tuple[int, int], ...]] = {  # channels, blocks
    "resnet18": ((64, 2), (128, 2), (256, 2), (512, 2)),
    "resnet20": ((16, 3), (32, 3), (64, 3)),
}


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallImageResNet(nn.Module):
    def __init__(self, stages: tuple[tuple[int, int], ...], channels: int, classes: int) -> None:
        super().__init__()
        width = stages[0][0]
        self.conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        for stage, (outputs, count) in enumerate(stages):
            for block in range(count):
                blocks.append(BasicBlock(width, outputs, stride=2 if stage > 0 and block == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(torch.relu(self.bn(self.conv(x))))
        y: torch.Tensor = self.linear(x.mean(dim=(2, 3)))
        return y


def build_resnet(model: ResNet, channels: int, classes: int) -> nn.Module:
    stages = tuple((max(1, round(model.width * c)), n) for c, n in _STAGES[model.name])
    return SmallImageResNet(stages, channels, classes)
