"""Matrix products and reductions.

Terms follow the order that the semantics fix: matmul k ascending; reductions row-major over the reduced axes in
ascending order. Every function takes float32 or float64 tensors of any strides and returns a new contiguous tensor:
float64 if an operand is, else float32. NaN raises NonFiniteError naming ``operator``.
"""

from collections.abc import Sequence

import torch

from slipstick.errors import SpecificationError
from slipstick.kernels import native
from slipstick.kernels.carriers import TORCH
from slipstick.kernels.contraction import ONES, checked, column_bias, contiguous, contract, dense, new_result
from slipstick.kernels.elementwise import CodeArray, identity
from slipstick.kernels.linear_spec import ScaledSums
from slipstick.kernels.observation import current_observer
from slipstick.kernels.spec import KernelSpec


def matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    spec: KernelSpec | ScaledSums,
    operator: str = "mm",
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """a [M, K] times b [K, N], or [B, M, K] times [B, K, N]; then bias [N] is added to every row, in log arithmetic.

    Raises SpecificationError where the shapes do not fit.
    """
    if not isinstance(spec, ScaledSums) and current_observer() is None:
        quick = native.matmul(TORCH, spec.native, a, b, bias, torch.get_num_threads())
        if quick is not None:
            product: torch.Tensor = checked(quick, spec, operator)
            return product
    size, other = a.shape, b.shape
    if len(size) != len(other) or len(size) not in (2, 3) or size[-1] != other[-2] or size[:-2] != other[:-2]:
        raise SpecificationError(f"{operator}: shapes {tuple(size)} and {tuple(other)} do not multiply")
    left, right = dense(a, operator), dense(b, operator)
    rows, terms, columns = size[-2], size[-1], other[-1]
    out = new_result((*size[:-1], columns), left, right)
    batch = [(size[0], left.strides[0], right.strides[0], rows * columns)] if len(size) == 3 else []
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
        bias=column_bias(bias, operator, columns),
    )


def sum_over(
    x: torch.Tensor | CodeArray,
    dims: Sequence[int] | None,
    keepdim: bool,
    spec: KernelSpec,
    operator: str = "sum",
) -> torch.Tensor:
    """The sum over ``dims``; None or an empty list means all of them, as in PyTorch."""
    if current_observer() is None:
        quick = native.sum_over(TORCH, spec.native, x, dims, keepdim, torch.get_num_threads())
        if quick is not None:
            total: torch.Tensor = checked(quick, spec, operator)
            return total
    numbers: torch.Tensor = identity(spec, operator, x) if isinstance(x, CodeArray) else x
    size = numbers.shape
    rank = len(size)
    reduced = sorted({d % rank for d in dims}) if dims and rank else list(range(rank))
    kept = [d for d in range(rank) if d not in reduced]
    codes = dense(numbers, operator)
    out = new_result(tuple([size[d] for d in kept]), codes, ONES)
    result = contract(
        spec,
        operator,
        ONES,
        codes,
        out,
        batch=[],
        rows=[],
        columns=[(size[d], codes.strides[d], place) for d, place in zip(kept, contiguous(out.shape), strict=True)],
        terms=[(size[d], 0, codes.strides[d]) for d in reduced],
    )
    return result.reshape([1 if d in reduced else n for d, n in enumerate(size)]) if keepdim else result
