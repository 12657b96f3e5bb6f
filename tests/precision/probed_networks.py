"""Small networks for the tests of the probe."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class Branches(nn.Module):
    """For images of 2x6x6: batch norm, strides, groups, a residual, an activation that enters two layers, a transposed
    convolution, in-place ReLU, and a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.main = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
        self.shortcut = nn.Conv2d(4, 6, 1, stride=2)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm(self.stem(x)), inplace=True)
        h = F.relu(self.main(h) + self.shortcut(h))
        h = torch.tanh(self.stem(self.up(h)[:, :2]))
        return self.head(h.mean(dim=(2, 3)))


def sequence() -> nn.Module:
    """For signals of 2x8."""
    return nn.Sequential(
        nn.Conv1d(2, 3, 3, dilation=2, padding="same", padding_mode="circular"), nn.Tanh(),
        nn.ConvTranspose1d(3, 2, 2, stride=3), nn.Flatten(), nn.Linear(46, 4),
    )  # fmt: skip


def volume() -> nn.Module:
    """For volumes of 1x4x4x4."""
    return nn.Sequential(nn.Conv3d(1, 4, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


class Tokens(nn.Module):
    """Of (N, 3) integers logits (N, 3, 4), with a layer whose input has no axis of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place, self.head = nn.Linear(4, 5), nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        like = self.head.weight
        h = self.token(F.one_hot(codes, 4).to(like.dtype)) + self.place(torch.eye(3, dtype=like.dtype))
        return self.head(torch.tanh(h + h.mean(dim=1, keepdim=True)))


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def codes(count: int) -> torch.Tensor:
    return torch.randint(4, (count, 3), generator=torch.Generator().manual_seed(0))


def made(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """In float64."""
    torch.manual_seed(seed)
    return build().double()


CASES = {
    "branches": (Branches, images(3, 2, 6, 6)),
    "sequence": (sequence, images(3, 2, 8)),
    "volume": (volume, images(2, 1, 4, 4, 4)),
    "tokens": (Tokens, codes(2)),
}
