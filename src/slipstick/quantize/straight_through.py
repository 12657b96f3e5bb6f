"""Rounding as autograd sees it: the derivative of a quantiser is taken as 1 (straight-through estimation)."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

Rounding = Callable[[torch.Tensor], torch.Tensor]


class _RoundForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rounded: Rounding) -> torch.Tensor:
        return rounded(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


class _RoundBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rounded: Rounding) -> torch.Tensor:
        ctx.rounded = rounded
        # The same memory under a new name. It is no view, so that an in-place operator may follow (relu_), and it
        # shares x's version counter, so that autograd still notices when that spoils a saved tensor.
        return x.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.rounded(gradient), None


def round_forward(x: torch.Tensor, rounded: Rounding) -> torch.Tensor:
    """``rounded(x)``; gradients pass unchanged. ``rounded`` must return new memory."""
    result: torch.Tensor = _RoundForward.apply(x, rounded)  # type: ignore[no-untyped-call]
    return result


def round_backward(x: torch.Tensor, rounded: Rounding) -> torch.Tensor:
    """``x`` itself; its gradient is rounded on the way back."""
    result: torch.Tensor = _RoundBackward.apply(x, rounded)  # type: ignore[no-untyped-call]
    return result
