"""Matrix products and reductions.

Terms follow the order that the semantics fix: matmul k ascending; reductions row-major over the reduced axes in
ascending order. Every function takes float32 or float64 tensors of any strides and returns a new contiguous tensor:
float64 if an operand is, else float32. NaN raises NonFiniteError naming ``operator``.
"""

from collections.abc import Sequence

import torch

from slipstick.errors import SpecificationError
from slipstick.kernels.contraction import contract, dense, new_result, ones
from slipstick.kernels.linear_spec import ScaledSums
from slipstick.kernels.spec import KernelSpec


def matmul(a: torch.Tensor, b: torch.Tensor, spec: KernelSpec | ScaledSums, operator: str = "mm") -> torch.Tensor:
    """a [M, K] times b [K, N], or [B, M, K] times [B, K, N]. Raises SpecificationError where the shapes do not fit."""
    if a.dim() != b.dim() or a.dim() not in (2, 3) or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise SpecificationError(f"{operator}: shapes {tuple(a.shape)} and {tuple(b.shape)} do not multiply")
    left, right = dense(a, operator), dense(b, operator)
    rows, terms, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    out = new_result((*a.shape[:-1], columns), left, right)
    batch = [(a.shape[0], left.strides[0], right.strides[0], rows * columns)] if a.dim() == 3 else []
    return contract(
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
    codes = dense(x, operator)
    one = ones()
    shape = tuple(1 if d in reduced else x.shape[d] for d in range(rank))
    out = new_result(shape, codes, one)
    result = contract(
        spec,
        operator,
        one,
        codes,
        out,
        batch=[],
        rows=[],
        columns=[(x.shape[d], codes.strides[d], out.stride(d)) for d in kept],
        terms=[(x.shape[d], 0, codes.strides[d]) for d in reduced],
    )
    return result if keepdim else result.reshape([x.shape[d] for d in kept])
