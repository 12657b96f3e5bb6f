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
    index = index.expand(values.shape)
    rows = values.shape[:-1].numel()
    keys = index.reshape(rows, -1) + size * torch.arange(rows)[:, None]
    order = torch.argsort(keys.reshape(-1), stable=True)
    sorted_keys = keys.reshape(-1)[order]
    _, counts = torch.unique_consecutive(sorted_keys, return_counts=True)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(order)) - first.repeat_interleave(counts)
    most = int(counts.max()) if len(counts) else 0
    # One row per rank: absent contributions are zeros, which a sum does not see.
    terms = values.new_zeros(max(most, 1), rows * size)
    terms[rank, sorted_keys] = values.reshape(-1)[order]
    sequential = kernel_spec(replace(run.spec.arithmetic, order=Sequential()), run.spec.via)
    return products.sum_over(terms, [0], False, sequential, run.operator).reshape(*values.shape[:-1], size)
