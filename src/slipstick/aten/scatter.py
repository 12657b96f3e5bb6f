"""Scatter-like sums: contributions to one place add in ascending source index, sequentially."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.arithmetic import Sequential
from slipstick.kernels import products
from slipstick.kernels.spec import kernel_spec

if TYPE_CHECKING:
    from slipstick.aten.mode import use


def scatter_sum(run: "use", values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum ``values[..., k]`` into ``result[..., index[..., k]]``.

    values: [..., K]; index: [K], or the shape of values. Result: [..., size].
    """
    if not values.numel():
        return values.new_zeros(*values.shape[:-1], size)
    index = index.expand(values.shape)
    rows = values.shape[:-1].numel()
    keys = (index.reshape(rows, -1) + size * torch.arange(rows)[:, None]).reshape(-1)
    result = values.new_zeros(rows * size)
    order = torch.argsort(keys, stable=True)
    targets, counts = torch.unique_consecutive(keys[order], return_counts=True)
    first = torch.cumsum(counts, 0) - counts
    flat = values.reshape(-1)
    sequential = kernel_spec(replace(run.spec.arithmetic, order=Sequential()), run.spec.via)
    # Targets with about as many contributions are summed together: a row per rank, padded by zeros, which a sum does
    # not see.
    doublings = torch.frexp(counts.double() - 0.5).exponent
    for doubling in doublings.unique().tolist():
        chosen = torch.nonzero(doublings == doubling).squeeze(1)
        ranks = torch.arange(int(counts[chosen].max()))[:, None]
        present = ranks < counts[chosen]
        sources = order[torch.where(present, first[chosen] + ranks, 0)]
        terms = torch.where(present, flat[sources], 0.0)
        result[targets[chosen]] = products.sum_over(terms, [0], False, sequential, run.operator)
    return result.reshape(*values.shape[:-1], size)
