"""Losses, and gradients of what PyTorch fuses: autograd's of its own decomposition."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._decomp import decomposition_table

from slipstick.aten.differentiated import gradients_of
from slipstick.aten.reductions import mean_of, sum_of
from slipstick.aten.registry import defined
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def _soft_margin(x: Value, target: Value) -> Value:
    z = -(target * x)
    return z.maximum(0.0) + (-abs(z)).function("exp").function("log1p")


@defined(aten.soft_margin_loss.default)
def soft_margin_loss(run: "use", x: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    """max(z, 0) + log1p(exp(-|z|)) with z = -(t x): exp z itself leaves the range."""
    losses = run.chain(_soft_margin, x, target)
    everything = list(range(losses.dim()))
    if reduction == 0:
        return losses
    return mean_of(run, losses, everything) if reduction == 1 else sum_of(run, losses, everything)


def _one(gradients: list[Tensor | None], like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradients[0] is None else gradients[0]


@defined(aten.multi_margin_loss_backward.default)
def multi_margin_loss_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    target: Tensor,
    p: float,
    margin: float,
    weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:
    loss = decomposition_table[aten.multi_margin_loss.default]
    return _one(gradients_of(run, lambda x: loss(x, target, p, margin, weight, reduction), (x,), gradient), x)


def _multilabel_margin(x: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    """max(0, (1 - x[label]) + x[class]) / classes, summed over (label, class), of labels before the first -1 and of
    classes that are none of them; and which classes are labels.

    PyTorch's own decomposition (2.13) counts the labels after the first -1 too, unlike its kernel.
    """
    rows, labels = torch.atleast_2d(x), torch.atleast_2d(target)
    classes = rows.shape[1]
    counted = (labels == -1).cumsum(1) == 0
    named = torch.where(counted, labels, 0)
    is_label = ((named.unsqueeze(-1) == torch.arange(classes)) & counted.unsqueeze(-1)).any(1)
    z = (1.0 - rows.gather(1, named).T.unsqueeze(-1)) + rows
    z = torch.where(counted.T.unsqueeze(-1) & ~is_label, z.clamp_min(0) / classes, 0.0)
    loss = z.sum() if reduction == 2 else z.sum((0, 2))
    loss = loss.mean() if reduction == 1 else loss.reshape(()) if reduction == 0 and x.dim() < 2 else loss
    return loss, is_label.to(x.dtype).reshape(target.shape)


@defined(aten.multilabel_margin_loss_forward.default)
def multilabel_margin_loss(run: "use", x: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    with run.reentered():
        return _multilabel_margin(x, target, reduction)


@defined(aten.multilabel_margin_loss_backward.default)
def multilabel_margin_loss_backward(
    run: "use", gradient: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor
) -> Tensor:
    return _one(gradients_of(run, lambda x: _multilabel_margin(x, target, reduction)[0], (x,), gradient), x)


@defined(aten.grid_sampler_2d_backward.default)
def grid_sampler_2d_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    grid: Tensor,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
    output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None]:
    sampler = decomposition_table[aten.grid_sampler_2d.default]
    found = gradients_of(
        run,
        lambda x, grid: sampler(x, grid, interpolation_mode, padding_mode, align_corners),
        (x, grid),
        gradient,
    )
    of_x, of_grid = (
        (torch.zeros_like(t) if g is None else g) if wanted else None
        for t, g, wanted in zip((x, grid), found, output_mask, strict=True)
    )
    return of_x, of_grid


@defined(aten.rrelu_with_noise.default, aten.rrelu_with_noise_.default)
def rrelu_with_noise(
    run: "use",
    x: Tensor,
    noise: Tensor,
    lower: float = 0.125,
    upper: float = 1.0 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """x times PyTorch's noise, rounded to the grid; in evaluation the mean of the bounds below zero."""
    from slipstick.aten.activations import leaky_relu
    from slipstick.aten.pointwise import mul

    if not training:
        return leaky_relu(run, x, (lower + upper) / 2, out=out)
    signs = torch.where(run.snap(x) <= 0, -1.0, 1.0).to(x.dtype)
    aten.rrelu_with_noise.default(signs, noise, lower, upper, True, generator)
    noise.copy_(run.snap(noise))
    return mul(run, x, noise, out=out)
