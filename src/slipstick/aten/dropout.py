"""Dropout where it arrives as one operator, as in inference mode: PyTorch's mask, times encode(1/(1-p))."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.registry import defined
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def _kept(x: Value, mask: Value, scale: Value) -> Value:
    return mask.select(scale * x, 0.0)


@defined(aten.native_dropout.default)
def native_dropout(run: "use", x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False:
        return run.snap(x), torch.ones_like(x, dtype=torch.bool)
    mask = torch.empty_like(x).bernoulli_(1 - p).to(torch.bool)
    return run.chain(_kept, x, mask, _scale(p)), mask


@defined(aten.native_dropout_backward.default)
def native_dropout_backward(run: "use", gradient: Tensor, mask: Tensor, scale: float) -> Tensor:
    return run.chain(_kept, gradient, mask, scale)


@defined(aten.dropout.default, aten.dropout_.default)
def dropout(run: "use", x: Tensor, p: float, train: bool, out: Tensor | None = None) -> Tensor:
    if not train or p == 0:
        return x
    mask = torch.empty_like(x).bernoulli_(1 - p)
    return run.chain(_kept, x, mask, _scale(p), out=out)


def _scale(p: float) -> float:
    """Everything is dropped at p = 1, whatever the factor."""
    return 1.0 / (1.0 - p) if p < 1 else 1.0
