"""Convolutions and their gradients, in one to three spatial dimensions.

Terms follow the order that the semantics fix: convolution (input channel, kernel row, kernel column); input gradient
(output channel, kernel row, kernel column) with the indices of the unflipped weight; weight gradient (sample, row,
column). Tensors and errors as in ``kernels.products``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from slipstick.errors import SpecificationError
from slipstick.kernels.contraction import (
    channel_bias,
    contiguous,
    contract,
    dense,
    grid_dims,
    new_result,
    placed,
    scaled,
)
from slipstick.kernels.linear_spec import ScaledSums
from slipstick.kernels.spec import KernelSpec


@dataclass(frozen=True)
class Geometry:
    """stride, padding, dilation: one number per spatial axis, or one for all. groups: of channels."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int = 1

    def per_axis(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Stride, padding and dilation of each of ``rank`` axes."""
        stride, padding, dilation = (
            tuple(given) * rank if len(given) == 1 else tuple(given)
            for given in (self.stride, self.padding, self.dilation)
        )
        return stride, padding, dilation


def convolution(
    x: torch.Tensor,
    w: torch.Tensor,
    spec: KernelSpec | ScaledSums,
    geometry: Geometry,
    operator: str = "convolution",
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """x [N, C, *spatial] with w [O, C / geometry.groups, *kernel]; then bias [O] is added, in log arithmetic."""
    spatial, kernel = tuple(x.shape[2:]), tuple(w.shape[2:])
    rank = len(spatial)
    if w.dim() != x.dim() or x.shape[1] != w.shape[1] * geometry.groups or w.shape[0] % geometry.groups:
        raise SpecificationError(
            f"{operator}: input {tuple(x.shape)} and weight {tuple(w.shape)} do not fit groups={geometry.groups}"
        )
    stride, padding, dilation = geometry.per_axis(rank)
    size = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(spatial, padding, dilation, kernel, stride, strict=True)
    )
    if min(size) < 1:
        raise SpecificationError(f"{operator}: kernel {kernel} is larger than the padded input {spatial}")
    extent = tuple(n + 2 * p for n, p in zip(spatial, padding, strict=True))
    image = placed(x, operator, offset=padding, step=(1,) * rank, extent=extent)
    weight = dense(w, operator)
    out = new_result((x.shape[0], w.shape[0], *size), image, weight)
    channels, filters, pixels = w.shape[1], w.shape[0] // geometry.groups, prod(size)
    return contract(
        spec,
        operator,
        weight,
        image,
        out,
        batch=[(geometry.groups, filters * weight.strides[0], channels * image.strides[1], filters * pixels)],
        rows=[(filters, weight.strides[0], pixels)],
        columns=[
            (x.shape[0], image.strides[0], w.shape[0] * pixels),
            *grid_dims(size, scaled(image.strides[2:], stride), contiguous(size)),
        ],
        terms=[
            (channels, weight.strides[1], image.strides[1]),
            *grid_dims(kernel, weight.strides[2:], scaled(image.strides[2:], dilation)),
        ],
        bias=channel_bias(bias, operator, geometry.groups, filters, rank),
    )


def convolution_input_gradient(
    gy: torch.Tensor,
    w: torch.Tensor,
    input_shape: Sequence[int],
    spec: KernelSpec | ScaledSums,
    geometry: Geometry,
    operator: str = "convolution_backward",
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gradient of the input [N, C, *spatial]; also the transposed convolution of gy, with its bias [C]."""
    spatial, kernel = tuple(input_shape[2:]), tuple(w.shape[2:])
    rank = len(spatial)
    stride, padding, dilation = geometry.per_axis(rank)
    # Input row i meets kernel row k at gy's row (i + padding - k dilation) / stride where that is whole: spread over a
    # grid of zeros, gy is read at i + padding - k dilation + before.
    before = tuple(max(0, d * (k - 1) - p) for d, k, p in zip(dilation, kernel, padding, strict=True))
    extent = tuple(
        max(n - 1 + p + b, (m - 1) * s + b) + 1
        for n, p, b, m, s in zip(spatial, padding, before, gy.shape[2:], stride, strict=True)
    )
    gradient = placed(gy, operator, offset=before, step=stride, extent=extent)
    start = sum((p + b) * t for p, b, t in zip(padding, before, gradient.strides[2:], strict=True))
    weight = dense(w, operator)
    out = new_result(tuple(input_shape), gradient, weight)
    channels, filters, pixels = w.shape[1], w.shape[0] // geometry.groups, prod(spatial)
    backwards = tuple(-d * t for d, t in zip(dilation, gradient.strides[2:], strict=True))
    return contract(
        spec,
        operator,
        weight,
        gradient,
        out,
        batch=[(geometry.groups, filters * weight.strides[0], filters * gradient.strides[1], channels * pixels)],
        rows=[(channels, weight.strides[1], pixels)],
        columns=[
            (gy.shape[0], gradient.strides[0], input_shape[1] * pixels),
            *grid_dims(spatial, gradient.strides[2:], contiguous(spatial)),
        ],
        terms=[
            (filters, weight.strides[0], gradient.strides[1]),
            *grid_dims(kernel, weight.strides[2:], backwards),
        ],
        start=start,
        bias=channel_bias(bias, operator, geometry.groups, channels, rank),
    )


def convolution_weight_gradient(
    gy: torch.Tensor,
    x: torch.Tensor,
    weight_shape: Sequence[int],
    spec: KernelSpec | ScaledSums,
    geometry: Geometry,
    operator: str = "convolution_backward",
) -> torch.Tensor:
    """The gradient of the weight [O, C / geometry.groups, *kernel]."""
    size, kernel = tuple(gy.shape[2:]), tuple(weight_shape[2:])
    rank = len(kernel)
    stride, padding, dilation = geometry.per_axis(rank)
    extent = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
    image = placed(x, operator, offset=padding, step=(1,) * rank, extent=extent)
    gradient = dense(gy, operator)
    out = new_result(tuple(weight_shape), gradient, image)
    filters, channels, taps = weight_shape[0] // geometry.groups, weight_shape[1], prod(kernel)
    return contract(
        spec,
        operator,
        gradient,
        image,
        out,
        batch=[
            (geometry.groups, filters * gradient.strides[1], channels * image.strides[1], filters * channels * taps),
        ],
        rows=[(filters, gradient.strides[1], channels * taps)],
        columns=[
            (channels, image.strides[1], taps),
            *grid_dims(kernel, scaled(image.strides[2:], dilation), contiguous(kernel)),
        ],
        terms=[
            (x.shape[0], gradient.strides[0], image.strides[0]),
            *grid_dims(size, gradient.strides[2:], scaled(image.strides[2:], stride)),
        ],
    )
