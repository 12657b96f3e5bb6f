"""Distances between rows: the norm of their difference, and its gradient, which is zero where the distance is."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.powers import power
from slipstick.aten.reductions import sum_of, vector_norm
from slipstick.aten.registry import defined
from slipstick.aten.scatter import scatter_sum
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


def _differences(run: "use", a: Tensor, b: Tensor) -> Tensor:
    return run.chain(elementary.sub, a.unsqueeze(-2), b.unsqueeze(-3))


@defined(aten._cdist_forward.default)
def cdist(run: "use", a: Tensor, b: Tensor, p: float, compute_mode: int | None = None) -> Tensor:
    if not a.numel() or not b.numel():
        return a.new_zeros([*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-2]])
    return vector_norm(run, _differences(run, a, b), p, [-1])


@defined(aten._cdist_backward.default)
def cdist_backward(run: "use", gradient: Tensor, a: Tensor, b: Tensor, p: float, distances: Tensor) -> Tensor:
    """Of the first operand; autograd calls it again for the second."""
    if not gradient.numel() or not a.numel():
        return torch.zeros_like(a)
    moved = _gradient_of_difference(run, gradient, _differences(run, a, b), p, distances)
    return sum_of(run, moved, [moved.dim() - 2])


def _pairs(x: Tensor) -> Tensor:
    return torch.combinations(torch.arange(x.shape[0]), 2).reshape(-1, 2)


@defined(aten._pdist_forward.default)
def pdist(run: "use", x: Tensor, p: float = 2) -> Tensor:
    pairs = _pairs(x)
    if not pairs.numel() or not x.numel():
        return x.new_zeros(len(pairs))
    return vector_norm(run, run.chain(elementary.sub, x[pairs[:, 0]], x[pairs[:, 1]]), p, [-1])


@defined(aten._pdist_backward.default)
def pdist_backward(run: "use", gradient: Tensor, x: Tensor, p: float, distances: Tensor) -> Tensor:
    pairs = _pairs(x)
    if not pairs.numel() or not x.numel():
        return torch.zeros_like(x)
    difference = run.chain(elementary.sub, x[pairs[:, 0]], x[pairs[:, 1]])
    moved = _gradient_of_difference(run, gradient, difference, p, distances)
    both = torch.cat([moved, run.chain(elementary.negative, moved)])
    return scatter_sum(run, both.t().contiguous(), pairs.t().reshape(-1), x.shape[0]).t().contiguous()


@chain
def _signed(gradient: Value, difference: Value) -> Value:
    return (difference > 0.0).select(gradient, (difference < 0.0).select(-gradient, 0.0))


@chain
def _along(gradient: Value, difference: Value, distance: Value) -> Value:
    return (gradient / distance) * difference


def _gradient_of_difference(run: "use", gradient: Tensor, d: Tensor, p: float, distances: Tensor) -> Tensor:
    g, distance = gradient.unsqueeze(-1), run.snap(distances).unsqueeze(-1)
    if p == 0:
        return torch.zeros_like(d)
    if p == 1:
        return run.chain(_signed, g, d)
    if p == math.inf:
        return torch.where(d.abs() == distance, run.chain(_signed, g, d), 0.0)
    apart = distance != 0
    safe = torch.where(apart, distance, 1.0)
    if p == 2:
        moved = run.chain(_along, g, d, safe)
    else:
        steep = torch.where(d == 0, 0.0, run.chain(power(p - 1), torch.where(d == 0, 1.0, d.abs())))
        moved = run.chain(_signed, run.chain(_along, g, steep, run.chain(power(p - 1), safe)), d)
    return torch.where(apart, moved, 0.0)
