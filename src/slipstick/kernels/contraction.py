"""One contraction for all sums of products: C[row, column] = sum over k of A[row, k] * B[k, column].

Matrix products, convolutions and reductions differ only in how indices become addresses; their modules write those
down. The native kernels encode the operands, sum in the arithmetic's order and decode.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch

from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.kernels import elementary, native
from slipstick.kernels.carriers import TORCH, check_carrier
from slipstick.kernels.linear_spec import ScaledSums
from slipstick.kernels.observation import Contraction, Dims, current_observer
from slipstick.kernels.spec import KernelSpec

_KINDS = {torch.float32: 0, torch.float64: 1}
_ONES = 2
_SIGNED_LOGS = 3


class Codes(NamedTuple):
    """A tensor, and where its codes go: strides of each logical dimension in the buffer of codes."""

    tensor: torch.Tensor | None
    description: Sequence[int]
    strides: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class Bias(NamedTuple):
    """Numbers added to sums once they are rounded, in the operand arithmetic.

    numbers: broadcasts to the result. codes: where each lies; strides of batch, row and column of the result.
    """

    numbers: torch.Tensor
    codes: Codes


ONES = Codes(None, (_ONES, 0, 0, 1), ())
"""An operand that is 1 everywhere."""


def contract(
    spec: KernelSpec | ScaledSums,
    operator: str,
    a: Codes,
    b: Codes,
    out: torch.Tensor,
    *,
    batch: Dims,
    rows: Dims,
    columns: Dims,
    terms: Dims,
    start: int = 0,
    bias: Bias | None = None,
) -> torch.Tensor:
    """``start`` is added to every address in the codes of ``b``. Sums of integers take no bias."""
    if out.numel() == 0:
        return out
    empty = any(dim[0] == 0 for dim in terms)
    if isinstance(spec, ScaledSums):
        if bias is not None:
            raise SpecificationError(f"{operator}: sums of integers take no bias; add it to the result")
        return out.zero_() if empty else _linear(spec, a, b, out, batch, rows, columns, terms, start)
    fused = None if empty or current_observer() is not None else bias
    if empty:
        out.zero_()
    else:
        sums = Contraction(spec, a.description, b.description, batch, rows, columns, terms, start)
        _logarithmic(sums, operator, out, fused)
    if bias is not None and fused is None:
        elementary.add(spec, operator, bias.numbers, out, out=out)
    return out


def checked(result: Any, spec: KernelSpec, operator: str) -> Any:
    """``result``, unless the native code says False instead: a NaN was among the operands."""
    if result is False:
        raise NonFiniteError(f"{operator} in {spec.format}: NaN has no code; find the operation that produced it")
    return result


def _logarithmic(sums: Contraction, operator: str, out: torch.Tensor, bias: Bias | None) -> None:
    single = out if out.dtype == torch.float32 else torch.empty(out.shape)
    finite = native.contract(
        sums.spec.native,
        sums.a,
        sums.b,
        single.data_ptr(),
        sums.batch,
        sums.rows,
        sums.columns,
        sums.terms,
        sums.start,
        None if bias is None else bias.codes.description,
        () if bias is None else bias.codes.strides,
        torch.get_num_threads(),
    )
    checked(finite, sums.spec, operator)
    if (observer := current_observer()) is not None:
        observer.contraction(sums)
    if single is not out:
        out.copy_(single)


def _linear(
    sums: ScaledSums,
    a: Codes,
    b: Codes,
    out: torch.Tensor,
    batch: Dims,
    rows: Dims,
    columns: Dims,
    terms: Dims,
    start: int,
) -> torch.Tensor:
    count = prod(dim[0] for dim in batch) * prod(dim[0] for dim in rows)
    native.linear_contract(
        sums.spec.native,
        a.description,
        b.description,
        out.data_ptr(),
        batch,
        rows,
        columns,
        terms,
        start,
        sums.unit.expand(count).contiguous().numpy(),
        torch.get_num_threads(),
    )
    return out


def dense(x: torch.Tensor, operator: str) -> Codes:
    """Codes in the tensor's own memory order, without gaps; broadcast dimensions stay broadcast."""
    if (seen := TORCH.dense(x)) is not None:
        return Codes(x, *seen, x.dtype)
    order = sorted((d for d in range(x.dim()) if x.stride(d) != 0), key=lambda d: -x.stride()[d])
    strides = [0] * x.dim()
    total = 1
    for d in reversed(order):
        strides[d] = total
        total *= x.shape[d]
    dims = [(x.shape[d], x.stride(d), strides[d]) for d in order]
    return _codes(x, operator, 0, total, dims, tuple(strides))


def column_bias(x: torch.Tensor | None, operator: str, columns: int) -> Bias | None:
    """One number for each column of a result."""
    if x is None:
        return None
    codes = _one_each(x, operator, columns)
    return Bias(x, codes._replace(strides=(0, 0, codes.strides[0])))


def channel_bias(x: torch.Tensor | None, operator: str, groups: int, channels: int, rank: int) -> Bias | None:
    """One number for each channel of a result [N, C, *spatial]: batches are ``groups``, rows ``channels`` in each."""
    if x is None:
        return None
    codes = _one_each(x, operator, groups * channels)
    step = codes.strides[0]
    return Bias(x.reshape(-1, *(1,) * rank), codes._replace(strides=(channels * step, step, 0)))


def _one_each(x: torch.Tensor, operator: str, count: int) -> Codes:
    if x.shape != (count,):
        raise SpecificationError(
            f"{operator}: a bias {tuple(x.shape)} does not fit {count} outputs; give it ({count},)"
        )
    return dense(x, operator)


def placed(
    x: torch.Tensor, operator: str, *, offset: tuple[int, ...], step: tuple[int, ...], extent: tuple[int, ...]
) -> Codes:
    """Codes of x [N, C, *spatial] on a larger grid of zeros: spatial index i lies at offset + i * step of extent."""
    grid = contiguous(extent)
    pixels = prod(extent)
    strides = (x.shape[1] * pixels, pixels, *grid)
    base = sum(o * g for o, g in zip(offset, grid, strict=True))
    to = (*strides[:2], *scaled(grid, step))
    dims = [(x.shape[d], x.stride(d), to[d]) for d in range(x.dim())]
    return _codes(x, operator, base, x.shape[0] * strides[0], dims, strides)


def _codes(x: torch.Tensor, operator: str, base: int, total: int, dims: Dims, strides: tuple[int, ...]) -> Codes:
    if x.dtype == torch.int16:
        return Codes(x, [_SIGNED_LOGS, x.data_ptr(), base, total, *_flat(dims)], strides)
    check_carrier(x, operator)
    return Codes(x, [_KINDS[x.dtype], x.data_ptr(), base, total, *_flat(dims)], strides, x.dtype)


def new_result(shape: tuple[int, ...], a: Codes, b: Codes) -> torch.Tensor:
    return torch.empty(shape, dtype=a.dtype if a.dtype is b.dtype else torch.promote_types(a.dtype, b.dtype))


def contiguous(size: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(size[i + 1 :]) for i in range(len(size)))


def scaled(strides: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    return tuple(s * f for s, f in zip(strides, factors, strict=True))


def grid_dims(size: Sequence[int], *strides: Sequence[int]) -> Dims:
    return list(zip(size, *strides, strict=True))


def _flat(dims: Dims) -> list[int]:
    return [number for dim in dims for number in dim]
