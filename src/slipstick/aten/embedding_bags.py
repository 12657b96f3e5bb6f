"""Embedding bags: rows of a table summed, averaged or compared bag by bag, in ascending place, sequentially."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.reductions import sum_of
from slipstick.aten.registry import defined
from slipstick.aten.scatter import scatter_sum
from slipstick.errors import UnsupportedOperation
from slipstick.kernels import elementary

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten

_SUM, _MEAN, _MAX = 0, 1, 2


def _sums(run: "use", rows: Tensor, target: Tensor, size: int) -> Tensor:
    """[n, columns] rows added into [size, columns]."""
    return scatter_sum(run, rows.t().contiguous(), target, size).t().contiguous()


def _scaled(run: "use", rows: Tensor, factors: Tensor | None) -> Tensor:
    """Each row times its factor; None means ones."""
    return rows if factors is None else run.chain(elementary.mul, rows, factors[:, None]).to(rows.dtype)


def _inverse(sizes: Tensor) -> Tensor:
    return 1.0 / sizes.clamp(min=1).double()


@defined(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def embedding_bag(
    run: "use",
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The bags; then the bag of every index, how many each holds, and where a maximum came from."""
    starts = offsets[:-1] if include_last_offset else offsets
    bags = len(starts)
    bag = torch.searchsorted(starts, torch.arange(len(indices), dtype=starts.dtype), right=True) - 1
    kept = indices != padding_idx
    sizes = torch.bincount(bag[kept], minlength=bags)
    rows = weight[indices[kept]]
    if mode == _MAX:
        largest, source = _largest(run, rows, indices[kept], bag[kept], bags)
        return largest, bag, sizes, source
    own = None if per_sample_weights is None else per_sample_weights[kept]
    sums = _sums(run, _scaled(run, rows, own), bag[kept], bags)
    sums = _scaled(run, sums, _inverse(sizes) if mode == _MEAN else None)
    return sums, bag, sizes, torch.zeros(0, dtype=indices.dtype)


def _largest(run: "use", rows: Tensor, indices: Tensor, bag: Tensor, bags: int) -> tuple[Tensor, Tensor]:
    """The largest of every column, and the row that it came from: the first of equals."""
    rows = run.snap(rows)
    target = bag[:, None].expand(rows.shape)
    largest = rows.new_zeros(bags, rows.shape[1])
    largest = torch.scatter_reduce(largest, 0, target, rows, "amax", include_self=False)
    place = torch.arange(len(rows))[:, None].expand(rows.shape)
    place = torch.where(rows == largest.gather(0, target), place, len(rows))
    first = torch.full(largest.shape, len(rows)).scatter_reduce(0, target, place, "amin")
    padded = torch.cat([indices, indices.new_full((1,), -1)])
    return largest, padded[first]


@defined(aten._embedding_bag_dense_backward.default)
def embedding_bag_dense_backward(
    run: "use",
    gradient: Tensor,
    indices: Tensor,
    offset2bag: Tensor,
    bag_size: Tensor,
    maximum_indices: Tensor,
    num_weights: int,
    scale_grad_by_freq: bool,
    mode: int,
    per_sample_weights: Tensor | None,
    padding_idx: int = -1,
) -> Tensor:
    if mode == _MAX:
        used = maximum_indices >= 0
        target = torch.where(used, maximum_indices, num_weights).t().contiguous()
        return scatter_sum(run, gradient.t().contiguous(), target, num_weights + 1)[:, :-1].t().contiguous()
    kept = indices != padding_idx
    index, bag = indices[kept], offset2bag[kept]
    counts = torch.bincount(index, minlength=num_weights)[index]
    rows = _scaled(run, gradient[bag], _inverse(bag_size)[bag] if mode == _MEAN else None)
    rows = _scaled(run, rows, None if per_sample_weights is None else per_sample_weights[kept])
    rows = _scaled(run, rows, _inverse(counts) if scale_grad_by_freq else None)
    return _sums(run, rows, index, num_weights)


@defined(aten._embedding_bag_backward.default)
def embedding_bag_backward(
    run: "use",
    gradient: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    bag_size: Tensor,
    maximum_indices: Tensor,
    num_weights: int,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Tensor | None,
    padding_idx: int = -1,
) -> Tensor:
    if sparse:
        raise UnsupportedOperation(f"{run.operator}: sparse gradients are not defined; use sparse=False")
    return embedding_bag_dense_backward(
        run, gradient, indices, offset2bag, bag_size, maximum_indices, num_weights, scale_grad_by_freq, mode,
        per_sample_weights, padding_idx,
    )  # fmt: skip


@defined(aten._embedding_bag_per_sample_weights_backward.default)
def embedding_bag_per_sample_weights_backward(
    run: "use",
    gradient: Tensor,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    mode: int,
    padding_idx: int = -1,
) -> Tensor:
    products = run.chain(elementary.mul, gradient[offset2bag], weight[indices])
    return torch.where(indices != padding_idx, sum_of(run, products, [1]), 0.0)
