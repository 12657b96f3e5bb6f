"""Operators that only move raw values, that select among values, or that make new ones."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slipstick.aten.registry import defined, existing, moves, selections
from slipstick.errors import UnsupportedOperation
from slipstick.kernels.carriers import USE_A_CARRIER
from slipstick.kernels.elementwise import identity

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims

_VIEWS = """
    alias as_strided detach diagonal expand lift lift_fresh movedim permute real reshape select slice split
    split_with_sizes squeeze t transpose unbind unfold unsafe_split unsafe_split_with_sizes unsqueeze view
    _reshape_alias _unsafe_view _conj _neg_view resolve_conj resolve_neg detach_ squeeze_ unsqueeze_ t_ transpose_
    contiguous narrow view_as flatten as_strided_ resize_as_
"""
_COPIES = """
    cat clone constant_pad_nd copy diagonal_copy flip gather index index_select masked_select
    pixel_shuffle pixel_unshuffle repeat roll stack take channel_shuffle tril triu rot90 repeat_interleave
    select_backward slice_backward diagonal_backward select_scatter slice_scatter as_strided_scatter
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    _unsafe_index embedding im2col
"""
_FILLS = """
    arange empty empty_like empty_permuted empty_strided eye fill fill_ full full_like linspace masked_fill
    masked_fill_ new_empty new_empty_strided new_full new_ones new_zeros ones ones_like resize_ scalar_tensor set_
    zero zero_ zeros zeros_like index_fill index_fill_ masked_scatter masked_scatter_ index_copy index_copy_ bernoulli
    bernoulli_ is_same_size
"""
_TESTS = "isnan isinf isfinite signbit isposinf isneginf"
moves(*existing(aten, _VIEWS), *existing(aten, _COPIES), *existing(aten, _FILLS), *existing(aten, _TESTS))
moves(
    *existing(
        prims,
        "broadcast_in_dim squeeze transpose view_of split_dim collapse_view as_strided slice clone empty_strided "
        "empty_permuted full full_like iota scalar_tensor _make_token inductor_seeds",
    )
)

# Their other overloads reduce.
moves(aten.scatter.src, aten.scatter.src_out, aten.scatter.value, aten.scatter.value_out)
moves(aten.scatter_.src, aten.scatter_.value)

_ORDERS = """
    amax amin aminmax argmax argmin argsort max_pool1d_with_indices max_pool2d_with_indices
    max_pool3d_with_indices median msort nonzero sort topk kthvalue equal all any logical_and logical_or logical_not
    bucketize searchsorted cummax cummin unique_consecutive _unique2 fmax fmin adaptive_max_pool2d
    adaptive_max_pool3d count_nonzero logical_xor mode
    fractional_max_pool2d fractional_max_pool3d nanmedian multinomial nonzero_static isin unique_dim
    _unique heaviside nan_to_num max_unpool2d max_unpool3d
"""
selections(*existing(aten, _ORDERS))
selections(aten.max.default, aten.max.dim, aten.min.default, aten.min.dim)


def whole(run: "use", x: Tensor) -> Tensor:
    """The whole number of every number, in float64: the one that it is the code of, else what lies toward zero.

    3 is no number of a logarithmic grid. What it is rounded to stands for it, though it may lie below 3.
    """
    numbers = run.snap(x).double()
    nearest = numbers.round()
    return torch.where(run.snap(nearest) == numbers, nearest, numbers.trunc())


@defined(aten._to_copy.default)
def to_copy(
    run: "use",
    x: Tensor,
    dtype: torch.dtype | None = None,
    layout: torch.layout | None = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format | None = None,
) -> Tensor:
    """Between float32 and float64 a number of the grid moves unchanged; an integer becomes a number of the grid."""
    wanted = dtype or x.dtype
    _check_dtype(run, wanted)
    if device is not None and torch.device(device).type != "cpu":
        raise UnsupportedOperation(f"{run.operator}: no kernels for {device}; stay on the CPU")
    options = {"dtype": dtype, "layout": layout, "device": device, "non_blocking": non_blocking}
    if x.dtype.is_floating_point and not wanted.is_floating_point and wanted != torch.bool:
        x = whole(run, x)
    crosses_types = wanted != x.dtype and (x.dtype.is_floating_point or wanted.is_floating_point)
    snapped = run.snap(x) if crosses_types and wanted.is_floating_point else x
    copied: Tensor = aten._to_copy.default(snapped, **options, memory_format=memory_format)
    return copied


@defined(*existing(aten, "_efficientzerotensor"))
def zeros_without_memory(run: "use", size: list[int], **kwargs: Any) -> Tensor:
    """Zeros with memory: kernels read them."""
    return aten.zeros.default(size, **kwargs)  # type: ignore[no-any-return]


@defined(aten.allclose.default)
def allclose(run: "use", a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    return bool(run.call(aten.isclose, a, b, rtol, atol, equal_nan).all())


@defined(prims.convert_element_type.default)
def convert_element_type(run: "use", x: Tensor, dtype: torch.dtype) -> Tensor:
    return to_copy(run, x, dtype=dtype)


@defined(aten.copy_.default, *existing(prims, "copy_to"))
def copy_(run: "use", x: Tensor, source: Tensor, non_blocking: bool = False, *, out: Tensor) -> Tensor:
    """Raw values pass, unless the type changes."""
    return out.copy_(run.snap(source) if source.dtype != out.dtype and source.dtype != torch.bool else source)


@defined(*existing(aten, "uniform_ normal_ exponential_ log_normal_ cauchy_ geometric_ random_"))
def sample_(run: "use", x: Tensor, *args: Any, out: Tensor, **kwargs: Any) -> Tensor:
    """PyTorch's samples, rounded to the grid."""
    packet, overload = run.operator.split(".")[1:]
    getattr(getattr(aten, packet), overload)(out, *args, **kwargs)
    return run.chain(identity, out, out=out)


@defined(
    *existing(
        aten,
        """rand randn rand_like randn_like normal normal_functional uniform randint randint_like randperm exponential
        log_normal cauchy geometric""",
    )
)
def sample(run: "use", *args: Any, **kwargs: Any) -> Tensor:
    """PyTorch's samples, floats rounded to the grid."""
    packet, overload = run.operator.split(".")[1:]
    samples: Tensor = getattr(getattr(aten, packet), overload)(*args, **kwargs)
    return run.snap(samples) if samples.is_floating_point() else samples


def _check_dtype(run: "use", dtype: torch.dtype) -> None:
    if dtype.is_complex or (dtype.is_floating_point and dtype not in (torch.float32, torch.float64)):
        raise UnsupportedOperation(f"{run.operator}: {dtype} carries no codes; {USE_A_CARRIER}")
