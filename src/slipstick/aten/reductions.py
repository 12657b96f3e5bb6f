"""Sums and what is made of them. Terms ascend in logical index, row-major over the reduced axes."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.powers import power
from slipstick.aten.registry import defined
from slipstick.aten.signatures import Dims
from slipstick.errors import UnsupportedOperation
from slipstick.kernels import elementary, products
from slipstick.kernels.elementwise import CodeArray

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims


def axes(x: Tensor, dim: Dims) -> list[int]:
    """The reduced axes, ascending; all of them where none is named."""
    if dim is None or (not isinstance(dim, int) and not dim):
        return list(range(x.dim()))
    dims = [dim] if isinstance(dim, int) else dim
    return sorted(d % x.dim() if x.dim() else 0 for d in dims) if x.dim() else []


def sum_of(run: "use", x: Tensor | CodeArray, dims: list[int] | None, keepdim: bool = False) -> Tensor:
    """The sum over ``dims``, all for None; of nothing it is zero, of one number that number on the grid."""
    if isinstance(x, CodeArray):
        if dims:
            return products.sum_over(x, dims, keepdim, run.spec, run.operator)
        x = run.snap(x)
    if dims == [] or x.numel() == 0:
        dims = axes(x, None) if dims is None else dims
        shape = [1 if d in dims else size for d, size in enumerate(x.shape)]
        kept = shape if keepdim else [size for d, size in enumerate(x.shape) if d not in dims]
        return run.snap(x) if not dims else x.new_zeros(kept)
    return products.sum_over(x, dims, keepdim, run.spec, run.operator)


def mean_of(
    run: "use", x: Tensor | CodeArray, dims: list[int], keepdim: bool = False, n: float | None = None
) -> Tensor:
    """sum * encode(1/n)."""
    count = math.prod(x.shape[d] for d in dims) if n is None else n
    if count <= 0:
        raise UnsupportedOperation(f"{run.operator}: mean over {count} numbers is 0/0 in {run.arithmetic}")
    total = sum_of(run, x, dims, keepdim)
    return run.chain(elementary.mul, total, 1.0 / count, out=total)


def variance_of(
    run: "use", x: Tensor | CodeArray, dims: list[int], keepdim: bool, correction: float
) -> tuple[Tensor, Tensor]:
    """sum((x - mean)^2) * encode(1/(n - correction)), and the mean."""
    mean = mean_of(run, x, dims, keepdim=True)
    squares = run.coded(elementary.squared_difference, x, mean)
    n = math.prod(x.shape[d] for d in dims) - correction
    variance = mean_of(run, squares, dims, keepdim, n)
    return variance, mean if keepdim else mean.reshape(variance.shape)


@defined(aten.sum.default, aten.sum.dim_IntList, prims.sum.default)
def sum_(
    run: "use",
    x: Tensor,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    total = sum_of(run, floating(x, dtype), None if dim is None else axes(x, dim), keepdim)
    return total if dtype is None else cast(run, total, dtype)


@defined(aten.mean.default, aten.mean.dim)
def mean(run: "use", x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor:
    return cast(run, mean_of(run, floating(x, dtype), axes(x, dim), keepdim), dtype)


@defined(aten.var.correction)
def var(run: "use", x: Tensor, dim: Dims = None, *, correction: float | None = 1, keepdim: bool = False) -> Tensor:
    return variance_of(run, x, axes(x, dim), keepdim, 1 if correction is None else correction)[0]


@defined(aten.std.correction)
def std(run: "use", x: Tensor, dim: Dims = None, *, correction: float | None = 1, keepdim: bool = False) -> Tensor:
    return run.chain(elementary.root, var(run, x, dim, correction=correction, keepdim=keepdim))


@defined(aten.var_mean.correction)
def var_mean(
    run: "use", x: Tensor, dim: Dims = None, *, correction: float | None = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    return variance_of(run, x, axes(x, dim), keepdim, 1 if correction is None else correction)


@defined(aten.linalg_vector_norm.default)
def vector_norm(
    run: "use",
    x: Tensor,
    ord: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """ord 2: sqrt(sum(x x)); 1: sum |x|; infinite: the largest or smallest |x|; 0: how many; else (sum |x|^p)^(1/p)."""
    dims = axes(x, dim)
    if ord == 2:
        return run.chain(elementary.root, sum_of(run, run.coded(elementary.square, x), dims, keepdim))
    magnitude = aten.abs.default(run.snap(x))
    if ord == 1:
        return sum_of(run, magnitude, dims, keepdim)
    if ord in (math.inf, -math.inf):
        extreme: Tensor = (aten.amax if ord > 0 else aten.amin)(magnitude, dims, keepdim)
        return extreme
    if ord == 0:
        return run.snap((magnitude != 0).sum(dims, keepdim).to(x.dtype))
    powers = run.chain(power(ord), magnitude)
    return run.chain(power(1.0 / ord), sum_of(run, powers, dims, keepdim))


def floating(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    if x.dtype.is_floating_point:
        return x
    return x.to(dtype if dtype is not None and dtype.is_floating_point else torch.float64)


def cast(run: "use", x: Tensor, dtype: torch.dtype | None) -> Tensor:
    return x if dtype is None or dtype == x.dtype else run.snap(x).to(dtype)
