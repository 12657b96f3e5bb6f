"""Sums of products: matrix products, convolutions with their gradients, and reductions.

All are one contraction, C[row, column] = sum over k of A[row, k] * B[k, column], that differs only in how indices
become addresses. This module writes those addresses down; the native kernels encode the operands, sum in the
arithmetic's order and decode. Terms follow the order that the semantics fix: matmul k ascending; convolution (input
channel, kernel row, kernel column); input gradient (output channel, kernel row, kernel column); weight gradient
(sample, row, column); reductions row-major over the reduced axes in ascending order.

Every function takes float32 or float64 tensors of any strides and returns a new contiguous tensor: float64 if an
operand is, else float32. NaN raises NonFiniteError naming ``operator``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from slipstick.errors import NonFiniteError, SpecificationError, UnsupportedOperation
from slipstick.kernels import native
from slipstick.kernels.observation import Contraction, Dims, current_observer
from slipstick.kernels.spec import KernelSpec

_KINDS = {torch.float32: 0, torch.float64: 1}
_ONES = 2


@dataclass(frozen=True)
class _Codes:
    """A tensor, and where its codes go: strides of each logical dimension in the buffer of codes."""

    tensor: torch.Tensor | None
    description: list[int]
    strides: tuple[int, ...]
    dtype: torch.dtype = torch.float32


def matmul(a: torch.Tensor, b: torch.Tensor, spec: KernelSpec, operator: str = "mm") -> torch.Tensor:
    """a [M, K] times b [K, N], or [B, M, K] times [B, K, N]. Raises SpecificationError where the shapes do not fit."""
    if a.dim() != b.dim() or a.dim() not in (2, 3) or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise SpecificationError(f"{operator}: shapes {tuple(a.shape)} and {tuple(b.shape)} do not multiply")
    left, right = _dense(a, operator), _dense(b, operator)
    rows, terms, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    out = _new((*a.shape[:-1], columns), left, right)
    batch = [(a.shape[0], left.strides[0], right.strides[0], rows * columns)] if a.dim() == 3 else []
    return _contract(
        spec,
        operator,
        left,
        right,
        out,
        batch=batch,
        rows=[(rows, left.strides[-2], columns)],
        columns=[(columns, right.strides[-1], 1)],
        terms=[(terms, left.strides[-1], right.strides[-2])],
    )


def convolution(
    x: torch.Tensor,
    w: torch.Tensor,
    spec: KernelSpec,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    operator: str = "convolution",
) -> torch.Tensor:
    """x [N, C, *spatial] with w [O, C / groups, *kernel], in one to three spatial dimensions, without bias."""
    spatial, kernel = tuple(x.shape[2:]), tuple(w.shape[2:])
    rank = len(spatial)
    if w.dim() != x.dim() or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise SpecificationError(
            f"{operator}: input {tuple(x.shape)} and weight {tuple(w.shape)} do not fit groups={groups}"
        )
    stride, padding, dilation = _per_axis(stride, rank), _per_axis(padding, rank), _per_axis(dilation, rank)
    size = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(spatial, padding, dilation, kernel, stride, strict=True)
    )
    if min(size) < 1:
        raise SpecificationError(f"{operator}: kernel {kernel} is larger than the padded input {spatial}")
    extent = tuple(n + 2 * p for n, p in zip(spatial, padding, strict=True))
    image = _placed(x, operator, offset=padding, step=(1,) * rank, extent=extent)
    weight = _dense(w, operator)
    out = _new((x.shape[0], w.shape[0], *size), image, weight)
    channels, filters, pixels = w.shape[1], w.shape[0] // groups, prod(size)
    return _contract(
        spec,
        operator,
        weight,
        image,
        out,
        batch=[(groups, filters * weight.strides[0], channels * image.strides[1], filters * pixels)],
        rows=[(filters, weight.strides[0], pixels)],
        columns=[
            (x.shape[0], image.strides[0], w.shape[0] * pixels),
            *_grid(size, _scaled(image.strides[2:], stride), _contiguous(size)),
        ],
        terms=[
            (channels, weight.strides[1], image.strides[1]),
            *_grid(kernel, weight.strides[2:], _scaled(image.strides[2:], dilation)),
        ],
    )


def convolution_input_gradient(
    gy: torch.Tensor,
    w: torch.Tensor,
    input_shape: Sequence[int],
    spec: KernelSpec,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    operator: str = "convolution_backward",
) -> torch.Tensor:
    """The gradient of the input [N, C, *spatial]; also the transposed convolution of gy."""
    spatial, kernel = tuple(input_shape[2:]), tuple(w.shape[2:])
    rank = len(spatial)
    stride, padding, dilation = _per_axis(stride, rank), _per_axis(padding, rank), _per_axis(dilation, rank)
    # Input row i meets kernel row k at gy's row (i + padding - k dilation) / stride where that is whole: spread over a
    # grid of zeros, gy is read at i + padding - k dilation + before.
    before = tuple(max(0, d * (k - 1) - p) for d, k, p in zip(dilation, kernel, padding, strict=True))
    extent = tuple(
        max(n - 1 + p + b, (m - 1) * s + b) + 1
        for n, p, b, m, s in zip(spatial, padding, before, gy.shape[2:], stride, strict=True)
    )
    gradient = _placed(gy, operator, offset=before, step=stride, extent=extent)
    start = sum((p + b) * t for p, b, t in zip(padding, before, gradient.strides[2:], strict=True))
    weight = _dense(w, operator)
    out = _new(tuple(input_shape), gradient, weight)
    channels, filters, pixels = w.shape[1], w.shape[0] // groups, prod(spatial)
    backwards = tuple(-d * t for d, t in zip(dilation, gradient.strides[2:], strict=True))
    return _contract(
        spec,
        operator,
        weight,
        gradient,
        out,
        batch=[(groups, filters * weight.strides[0], filters * gradient.strides[1], channels * pixels)],
        rows=[(channels, weight.strides[1], pixels)],
        columns=[
            (gy.shape[0], gradient.strides[0], input_shape[1] * pixels),
            *_grid(spatial, gradient.strides[2:], _contiguous(spatial)),
        ],
        terms=[
            (filters, weight.strides[0], gradient.strides[1]),
            *_grid(kernel, weight.strides[2:], backwards),
        ],
        start=start,
    )


def convolution_weight_gradient(
    gy: torch.Tensor,
    x: torch.Tensor,
    weight_shape: Sequence[int],
    spec: KernelSpec,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    operator: str = "convolution_backward",
) -> torch.Tensor:
    """The gradient of the weight [O, C / groups, *kernel]."""
    size, kernel = tuple(gy.shape[2:]), tuple(weight_shape[2:])
    rank = len(kernel)
    stride, padding, dilation = _per_axis(stride, rank), _per_axis(padding, rank), _per_axis(dilation, rank)
    extent = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
    image = _placed(x, operator, offset=padding, step=(1,) * rank, extent=extent)
    gradient = _dense(gy, operator)
    out = _new(tuple(weight_shape), gradient, image)
    filters, channels, taps = weight_shape[0] // groups, weight_shape[1], prod(kernel)
    return _contract(
        spec,
        operator,
        gradient,
        image,
        out,
        batch=[
            (groups, filters * gradient.strides[1], channels * image.strides[1], filters * channels * taps),
        ],
        rows=[(filters, gradient.strides[1], channels * taps)],
        columns=[
            (channels, image.strides[1], taps),
            *_grid(kernel, _scaled(image.strides[2:], dilation), _contiguous(kernel)),
        ],
        terms=[
            (x.shape[0], gradient.strides[0], image.strides[0]),
            *_grid(size, gradient.strides[2:], _scaled(image.strides[2:], stride)),
        ],
    )


def sum_over(
    x: torch.Tensor,
    dims: Sequence[int] | None,
    keepdim: bool,
    spec: KernelSpec,
    operator: str = "sum",
) -> torch.Tensor:
    """The sum over ``dims``; None or an empty list means all of them, as in PyTorch."""
    rank = x.dim()
    reduced = sorted({d % rank for d in dims} if dims and rank else range(rank))
    kept = [d for d in range(rank) if d not in reduced]
    codes = _dense(x, operator)
    ones = _Codes(None, [_ONES, 0, 0, 1], ())
    shape = tuple(1 if d in reduced else x.shape[d] for d in range(rank))
    out = _new(shape, codes, ones)
    result = _contract(
        spec,
        operator,
        ones,
        codes,
        out,
        batch=[],
        rows=[],
        columns=[(x.shape[d], codes.strides[d], out.stride(d)) for d in kept],
        terms=[(x.shape[d], 0, codes.strides[d]) for d in reduced],
    )
    return result if keepdim else result.reshape([x.shape[d] for d in kept])


def _contract(
    spec: KernelSpec,
    operator: str,
    a: _Codes,
    b: _Codes,
    out: torch.Tensor,
    *,
    batch: Dims,
    rows: Dims,
    columns: Dims,
    terms: Dims,
    start: int = 0,
) -> torch.Tensor:
    """``start`` is added to every address in the codes of ``b``."""
    if out.numel() == 0:
        return out
    if any(dim[0] == 0 for dim in terms):
        return out.zero_()
    single = out if out.dtype == torch.float32 else torch.empty(out.shape)
    finite = native.contract(
        spec.native,
        a.description,
        b.description,
        single.data_ptr(),
        _flat(batch),
        _flat(rows),
        _flat(columns),
        _flat(terms),
        start,
        torch.get_num_threads(),
    )
    if not finite:
        raise NonFiniteError(f"{operator} in {spec.format}: NaN has no code; find the operation that produced it")
    if (observer := current_observer()) is not None:
        observer.contraction(Contraction(spec, a.description, b.description, batch, rows, columns, terms, start))
    return out if single is out else out.copy_(single)


def _dense(x: torch.Tensor, operator: str) -> _Codes:
    """Codes in the tensor's own memory order, without gaps; broadcast dimensions stay broadcast."""
    order = sorted((d for d in range(x.dim()) if x.stride(d) != 0), key=lambda d: -x.stride()[d])
    strides = [0] * x.dim()
    total = 1
    for d in reversed(order):
        strides[d] = total
        total *= x.shape[d]
    dims = [(x.shape[d], x.stride(d), strides[d]) for d in order]
    return _codes(x, operator, 0, total, dims, tuple(strides))


def _placed(
    x: torch.Tensor, operator: str, *, offset: tuple[int, ...], step: tuple[int, ...], extent: tuple[int, ...]
) -> _Codes:
    """Codes of x [N, C, *spatial] on a larger grid of zeros: spatial index i lies at offset + i * step of extent."""
    grid = _contiguous(extent)
    pixels = prod(extent)
    strides = (x.shape[1] * pixels, pixels, *grid)
    base = sum(o * g for o, g in zip(offset, grid, strict=True))
    to = (*strides[:2], *_scaled(grid, step))
    dims = [(x.shape[d], x.stride(d), to[d]) for d in range(x.dim())]
    return _codes(x, operator, base, x.shape[0] * strides[0], dims, strides)


def _codes(x: torch.Tensor, operator: str, base: int, total: int, dims: Dims, strides: tuple[int, ...]) -> _Codes:
    if x.device.type != "cpu":
        raise UnsupportedOperation(f"{operator}: no kernel for {x.device.type} tensors; move them to the CPU")
    if x.dtype not in _KINDS:
        raise UnsupportedOperation(f"{operator}: {x.dtype} carries no codes; use float32 or float64")
    return _Codes(x, [_KINDS[x.dtype], x.data_ptr(), base, total, *_flat(dims)], strides, x.dtype)


def _new(shape: tuple[int, ...], a: _Codes, b: _Codes) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.promote_types(a.dtype, b.dtype))


def _contiguous(size: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(size[i + 1 :]) for i in range(len(size)))


def _scaled(strides: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    return tuple(s * f for s, f in zip(strides, factors, strict=True))


def _grid(size: Sequence[int], *strides: Sequence[int]) -> Dims:
    return list(zip(size, *strides, strict=True))


def _per_axis(values: Sequence[int], rank: int) -> tuple[int, ...]:
    """PyTorch lets one number stand for every axis."""
    return tuple(values) * rank if len(values) == 1 else tuple(values)


def _flat(dims: Dims) -> list[int]:
    return [number for dim in dims for number in dim]
