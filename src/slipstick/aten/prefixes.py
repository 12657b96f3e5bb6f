"""Products over an axis, and sums and products of every prefix."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.reductions import cast, floating, sum_of
from slipstick.aten.registry import defined, existing
from slipstick.aten.signatures import Dims
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims


def _product(run: "use", x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """Fold by halves: factor i times factor i + n/2, rounded up; a missing factor is one."""
    x = run.snap(x)
    if not x.shape[dim]:
        return torch.ones_like(x.sum(dim, keepdim))
    while (n := x.shape[dim]) > 1:
        half = (n + 1) // 2
        first, second = x.narrow(dim, 0, half), x.narrow(dim, half, n - half)
        folded = run.chain(elementary.mul, first.narrow(dim, 0, n - half), second)
        x = torch.cat([folded, first.narrow(dim, n - half, 2 * half - n)], dim)
    return x if keepdim else x.squeeze(dim)


@defined(aten.prod.dim_int)
def prod_over(run: "use", x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    x = floating(x, dtype)
    return cast(run, _product(run, x, dim % x.dim(), keepdim) if x.dim() else run.snap(x), dtype)


@defined(aten.prod.default)
def prod(run: "use", x: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    return cast(run, _product(run, floating(x, dtype).reshape(-1), 0, False), dtype)


@defined(*existing(prims, "prod"))
def prims_prod(run: "use", x: Tensor, dims: Dims, *, output_dtype: torch.dtype | None = None) -> Tensor:
    over = list(range(x.dim())) if dims is None else [dims] if isinstance(dims, int) else list(dims)
    kept = [d for d in range(x.dim()) if d not in over]
    flat = x.permute(*kept, *over).reshape([x.shape[d] for d in kept] + [-1])
    return cast(run, _product(run, flat, len(kept), False), output_dtype)


@defined(aten.cumsum.default, aten.cumsum_.default)
def cumsum(run: "use", x: Tensor, dim: int, *, dtype: torch.dtype | None = None, out: Tensor | None = None) -> Tensor:
    """Every prefix is a sum of its own, in the arithmetic's order and accumulator, rounded once: the last number equals
    ``sum``. A running sum in the operand format would stop growing where its terms become small beside it.
    """
    x = floating(x, dtype)
    if not x.numel() or not x.dim():
        result = run.snap(x)
    else:
        dim = dim % x.dim()
        prefixes = [sum_of(run, x.narrow(dim, 0, i + 1), [dim], True) for i in range(x.shape[dim])]
        result = torch.cat(prefixes, dim)
    result = cast(run, result, dtype)
    return result if out is None else out.copy_(result)


@defined(aten.cumprod.default, aten.cumprod_.default)
def cumprod(run: "use", x: Tensor, dim: int, *, dtype: torch.dtype | None = None, out: Tensor | None = None) -> Tensor:
    """Factor after factor; exact within the range."""
    x = run.snap(floating(x, dtype))
    if x.numel() and x.dim():
        parts = list(x.split(1, dim))
        for i in range(1, len(parts)):
            parts[i] = run.chain(elementary.mul, parts[i - 1], parts[i])
        x = torch.cat(parts, dim)
    result = cast(run, x, dtype)
    return result if out is None else out.copy_(result)


@chain
def _exp_shifted(x: Value, largest: Value) -> Value:
    return (x - largest).function("exp")


@chain
def _plus_log(largest: Value, total: Value) -> Value:
    return largest + total.function("log")


@defined(aten.logcumsumexp.default)
def logcumsumexp(run: "use", x: Tensor, dim: int) -> Tensor:
    """m + log(sum(exp(x - m))) of every prefix, m its largest number."""
    if not x.numel() or not x.dim():
        return run.snap(x)
    dim, results = dim % x.dim(), []
    for i in range(x.shape[dim]):
        prefix = run.snap(x.narrow(dim, 0, i + 1))
        largest = prefix.amax(dim, True)
        total = sum_of(run, run.coded(_exp_shifted, prefix, largest), [dim], True)
        results.append(run.chain(_plus_log, largest, total))
    return torch.cat(results, dim)
