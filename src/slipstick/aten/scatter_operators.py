"""Operators that add, multiply or reduce into places given by an index; and gradients of gathers, which are such sums.

"Contributions in ascending source index, sequentially": a place's own number comes first.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slipstick.aten.registry import defined, existing
from slipstick.aten.scatter import scatter_sum
from slipstick.errors import UnsupportedOperation
from slipstick.kernels import elementary

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


def _places(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Flat places in x of a scatter's index along ``dim``."""
    index = index.reshape([1] * x.dim()) if x.dim() != index.dim() else index
    grid = [torch.arange(size) for size in index.shape]
    at = list(torch.meshgrid(*grid, indexing="ij")) if grid else []
    if at:
        at[dim % x.dim()] = index
    flat = torch.zeros(index.shape, dtype=torch.long)
    for a, size in zip(at, x.shape, strict=True):
        flat = flat * size + a
    return flat.reshape(-1)


def _places_along(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Flat places in ``x`` of every number of ``source``, whose slices along ``dim`` go where ``index`` says."""
    along = index.reshape([-1 if d == dim % x.dim() else 1 for d in range(x.dim())])
    return _places(x, dim, along.expand(source.shape))


def add_into(run: "use", x: Tensor, places: Tensor, values: Tensor, out: Tensor | None = None) -> Tensor:
    """x plus the sums of ``values`` at flat places of it."""
    if not places.numel():
        return run.snap(x) if out is None else out
    touched, slot = torch.unique(places, return_inverse=True)
    flat = x.reshape(-1)
    terms = torch.cat([flat[touched], values.reshape(-1).to(x.dtype)])
    order = torch.cat([torch.arange(len(touched)), slot])
    sums = scatter_sum(run, terms, order, len(touched))
    result = run.snap(flat).index_put_([touched], sums).reshape(x.shape)
    return result if out is None else out.copy_(result)


def gradient_of_gather(run: "use", gradient: Tensor, shape: Any, gather: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a gather from a tensor of ``shape``: each number is added back where it came from."""
    size = torch.Size(shape).numel()
    sources = gather(torch.arange(size, dtype=torch.float64).reshape(shape)).long()
    return scatter_sum(run, gradient.reshape(-1), sources.reshape(-1), size).reshape(shape)


@defined(aten.index_put.default, aten.index_put_.default, *existing(aten, "_unsafe_index_put _index_put_impl_"))
def index_put(
    run: "use",
    x: Tensor,
    indices: list[Tensor | None],
    values: Tensor,
    accumulate: bool = False,
    unsafe: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    if not accumulate:
        result: Tensor = aten.index_put(x, indices, values) if out is None else aten.index_put_(out, indices, values)
        return result
    places = aten.index(torch.arange(x.numel()).reshape(x.shape), indices)
    return add_into(run, x, places.reshape(-1), values.expand(places.shape), out)


@defined(aten.scatter_add.default, aten.scatter_add_.default)
def scatter_add(run: "use", x: Tensor, dim: int, index: Tensor, source: Tensor, out: Tensor | None = None) -> Tensor:
    if not x.dim() or not index.numel():
        return add_into(run, x, index.reshape(-1), source, out)
    return add_into(run, x, _places(x, dim, index), _facing(source, index), out)


def _facing(source: Tensor, index: Tensor) -> Tensor:
    """The part of a source that its index uses."""
    return source[tuple(map(slice, index.shape))] if source.dim() == index.dim() else source


@defined(aten.index_add.default, aten.index_add_.default)
def index_add(
    run: "use", x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1, out: Tensor | None = None
) -> Tensor:
    values = run.chain(elementary.mul, source, alpha) if alpha != 1 else source
    if not x.dim():
        return add_into(run, x, torch.zeros(index.numel(), dtype=torch.long), values.expand(index.shape), out)
    return add_into(run, x, _places_along(x, dim, index, source), values, out)


@defined(aten.put.default, aten.put_.default)
def put(
    run: "use", x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False, out: Tensor | None = None
) -> Tensor:
    target = (x.clone() if out is None else out).reshape(-1) if x.is_contiguous() else x.reshape(-1).clone()
    places = torch.where(index < 0, index + x.numel(), index).reshape(-1)
    result = add_into(run, x, places, source) if accumulate else target.index_put_([places], source.reshape(-1))
    return result.reshape(x.shape) if out is None else out.copy_(result.reshape(x.shape))


@defined(aten.scatter.reduce, aten.scatter_.reduce, aten.scatter.value_reduce, aten.scatter_.value_reduce)
def scatter_with(
    run: "use",
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor | float,
    *,
    reduce: str,
    out: Tensor | None = None,
) -> Tensor:
    values = source if isinstance(source, Tensor) else torch.full(index.shape, source, dtype=x.dtype)
    names = {"add": "sum", "multiply": "prod"}
    return scatter_reduce(run, x, dim, index, values, names[reduce], out=out)


@defined(aten.scatter_reduce.two, aten.scatter_reduce_.two)
def scatter_reduce(
    run: "use",
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """sum and prod in ascending source index; mean is the sum times encode(1/n), n per place; amax, amin select."""
    values = _facing(source, index).reshape(-1)
    places = _places(x, dim, index) if x.dim() else index.reshape(-1)
    result = _reduced(run, x, places, values, reduce, include_self)
    return result if out is None else out.copy_(result)


@defined(aten.index_reduce.default, aten.index_reduce_.default)
def index_reduce(
    run: "use",
    x: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
    out: Tensor | None = None,
) -> Tensor:
    places = _places_along(x, dim, index, source) if x.dim() else torch.zeros(source.numel(), dtype=torch.long)
    result = _reduced(run, x, places, source.reshape(-1), reduce, include_self)
    return result if out is None else out.copy_(result)


def _reduced(run: "use", x: Tensor, places: Tensor, values: Tensor, reduce: str, include_self: bool) -> Tensor:
    flat = run.snap(x).reshape(-1).clone()
    if not places.numel():
        return flat.reshape(x.shape)
    if reduce in ("amax", "amin"):
        chosen: Tensor = aten.scatter_reduce.two(flat, 0, places, run.snap(values), reduce, include_self=include_self)
        return chosen.reshape(x.shape)
    touched, slot = torch.unique(places, return_inverse=True)
    counts = torch.bincount(slot, minlength=len(touched)) + int(include_self)
    own = flat[touched] if include_self else torch.full((len(touched),), float(reduce == "prod"), dtype=x.dtype)
    if reduce == "prod":
        result = _products(run, own, slot, values)
    elif reduce in ("sum", "mean"):
        order = torch.cat([torch.arange(len(touched)), slot])
        result = scatter_sum(run, torch.cat([own, values]), order, len(touched))
        if reduce == "mean":
            result = run.chain(elementary.mul, result, 1.0 / counts.double()).to(x.dtype)
    else:
        raise UnsupportedOperation(f"{run.operator}: reduce={reduce!r} is not defined in {run.arithmetic}")
    return flat.index_put_([touched], result).reshape(x.shape)


def _products(run: "use", own: Tensor, slot: Tensor, values: Tensor) -> Tensor:
    order = torch.argsort(slot, stable=True)
    _, counts = torch.unique_consecutive(slot[order], return_counts=True)
    rank = torch.arange(len(order)) - (torch.cumsum(counts, 0) - counts).repeat_interleave(counts)
    result = own
    for r in range(int(counts.max())):
        chosen = order[rank == r]
        factors = torch.ones_like(own).index_put_([slot[chosen]], values[chosen])
        result = run.chain(elementary.mul, result, factors)
    return result


@defined(aten.embedding_dense_backward.default)
def embedding_dense_backward(
    run: "use", gradient: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Tensor:
    """Each row's gradients are summed in the order of the indices; by frequency: times encode(1/count) before."""
    rows = gradient.reshape(indices.numel(), gradient.shape[-1])
    flat = indices.reshape(-1)
    if scale_grad_by_freq:
        counts = torch.bincount(flat, minlength=num_weights)[flat]
        rows = run.chain(elementary.mul, rows, 1.0 / counts.double()[:, None])
    kept = flat != padding_idx
    return scatter_sum(run, rows[kept].t().contiguous(), flat[kept], num_weights).t().contiguous().to(gradient.dtype)


@defined(aten.masked_scatter_backward.default)
def masked_scatter_backward(run: "use", gradient: Tensor, mask: Tensor, sizes: list[int]) -> Tensor:
    """The gradients under the mask, in order, and zeros where the source was not used."""
    size = torch.Size(sizes).numel()
    taken = gradient[mask.expand(gradient.shape)][:size]
    result = gradient.new_zeros(size)
    result[: len(taken)] = run.snap(taken)
    return result.reshape(sizes)


@defined(aten.col2im.default)
def col2im(
    run: "use", x: Tensor, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Tensor:
    """Overlapping columns add in ascending source index."""
    batched = x if x.dim() == 3 else x.unsqueeze(0)
    kernel = 1
    for k in kernel_size:
        kernel *= k
    channels = batched.shape[1] // kernel
    size = output_size[0] * output_size[1]
    # Place 0 stands for the padding, which the gather fills with zeros.
    numbered = torch.arange(1, channels * size + 1, dtype=torch.float64).reshape(1, channels, *output_size)
    places = aten.im2col(numbered, kernel_size, dilation, padding, stride).long().reshape(-1)
    sums = scatter_sum(run, batched.flatten(1), places, channels * size + 1)[:, 1:]
    result = sums.reshape(-1, channels, *output_size)
    return result if x.dim() == 3 else result.squeeze(0)


def _define_padding_gradient(name: str) -> None:
    gather = getattr(aten, name)

    @defined(getattr(aten, f"{name}_backward").default)
    def padding_backward(run: "use", gradient: Tensor, x: Tensor, padding: list[int]) -> Tensor:
        return gradient_of_gather(run, gradient, x.shape, lambda numbers: gather(numbers, padding))


for _rank in (1, 2, 3):
    _define_padding_gradient(f"reflection_pad{_rank}d")
    _define_padding_gradient(f"replication_pad{_rank}d")
