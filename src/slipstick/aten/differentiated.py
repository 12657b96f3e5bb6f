"""The gradient of an operator as autograd's own gradient of its composition, every step in the arithmetic."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.overrides import enable_reentrant_dispatch

if TYPE_CHECKING:
    from slipstick.aten.mode import use


def gradients_of(
    run: "use", forward: Callable[..., Tensor], inputs: Sequence[Tensor], gradient: Tensor
) -> list[Tensor | None]:
    """Gradients of ``forward(*inputs)``, which may call any operator, for ``gradient``; None of an unused input."""
    with enable_reentrant_dispatch(), torch.enable_grad(), run.reentered():
        leaves = [x.detach().requires_grad_(x.dtype.is_floating_point) for x in inputs]
        result = forward(*leaves)
        wanted = [x for x in leaves if x.requires_grad]
        found = iter(torch.autograd.grad(result, wanted, gradient, allow_unused=True))
        return [next(found) if x.requires_grad else None for x in leaves]
