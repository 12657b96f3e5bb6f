"""The 12-bit arithmetic of Hamad et al. 2025, a finer one for updates, and questions about grids."""

import torch
from torch import nn

import slipstick as ss

LNS12 = ss.LogArithmetic(ss.LNS(5, 5), "hamad2025")
FINE = ss.LogArithmetic(ss.LNS(5, 9), "exact")
COARSE = ss.LogArithmetic(ss.LNS(5, 2), "exact")


def is_on(x: torch.Tensor, grid: ss.LogArithmetic) -> bool:
    """Whether every number of ``x`` is a number of the grid."""
    format = grid.format
    x = x.detach()
    return torch.equal(format.decode(format.encode(x)).to(x.dtype), x)


def grid_in_force() -> str:
    """Where the result of an operator lies now."""
    probe = torch.full((), 1.2345) * torch.ones(())
    for name, grid in (("coarse", COARSE), ("compute", LNS12), ("update", FINE)):
        if is_on(probe, grid):
            return name
    return "float"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Dropout2d(0.2),
        nn.Conv2d(4, 4, 3, stride=2, groups=2, bias=False),
        nn.Hardtanh(),
        nn.AvgPool2d(3, 2, 1),
        nn.Flatten(),
        nn.Linear(4, 8),
        nn.Tanh(),
        nn.Dropout(0.2),
        nn.Linear(8, 3),
    )


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 1, 1, 0])


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> torch.Tensor:
    """Training steps on one batch, whatever mode is on."""
    x, y = batch()
    torch.manual_seed(3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss.detach()


def state(model: nn.Module) -> list[torch.Tensor]:
    """Everything that a training step leaves behind."""
    return [*(p.detach() for p in model.parameters()), *(p.grad for p in model.parameters()), *model.buffers()]


def assert_same_state(first: nn.Module, second: nn.Module) -> None:
    for a, b in zip(state(first), state(second), strict=True):
        assert torch.equal(a, b)
