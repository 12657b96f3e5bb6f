"""Layer, group and root-mean-square normalisation: statistics of every sample, as batch normalisation takes them.

y = ((x - mean) * rsqrt(var + eps)) * weight + bias, var = sum((x - mean)^2) * encode(1/n). With h = (x - mean) inv and
g' = g weight: db = sum(g), dw = sum(g h), dx = ((g' - sum(g')/n) - h (sum(g' h)/n)) inv.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.normalisation import inverse_root, normalised
from slipstick.aten.reductions import mean_of, sum_of, variance_of
from slipstick.aten.registry import defined, existing
from slipstick.aten.signatures import Gradients
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def _scaled_shifted(h: Value, weight: Value, bias: Value) -> Value:
    return h * weight + bias


@chain
def _gradient_of_input(g: Value, h: Value, inverse: Value, total: Value, along: Value, one_over_n: Value) -> Value:
    return ((g - one_over_n * total) - h * (one_over_n * along)) * inverse


def _affine(run: "use", h: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None and bias is not None:
        return run.chain(_scaled_shifted, h, weight, bias)
    if weight is not None:
        return run.chain(elementary.mul, h, weight)
    return h if bias is None else run.chain(elementary.add, h, bias)


def _gradient_along(run: "use", g: Tensor, h: Tensor, inverse: Tensor, dims: list[int]) -> Tensor:
    """The gradient of x for the gradient g of h = (x - mean) inv, statistics over ``dims``."""
    n = math.prod(h.shape[d] for d in dims)
    total = sum_of(run, g, dims, True)
    along = sum_of(run, run.coded(elementary.mul, g, h), dims, True)
    return run.chain(_gradient_of_input, g, h, inverse, total, along, 1.0 / n)


@defined(aten.native_layer_norm.default)
def native_layer_norm(
    run: "use", x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dims = list(range(x.dim() - len(shape), x.dim()))
    if not x.numel():
        statistic = x.new_zeros([*x.shape[: x.dim() - len(shape)], *[1] * len(shape)])
        return x.clone(), statistic, statistic.clone()
    variance, mean = variance_of(run, x, dims, True, 0)
    inverse = run.chain(inverse_root, variance, eps)
    return _affine(run, run.chain(normalised, x, mean, inverse), weight, bias), mean, inverse


@defined(aten.native_layer_norm_backward.default)
def native_layer_norm_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    shape: list[int],
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    output_mask: list[bool],
) -> Gradients:
    inner = list(range(x.dim() - len(shape), x.dim()))
    outer = list(range(x.dim() - len(shape)))
    if not x.numel():
        like = [
            torch.zeros_like(t) if t is not None and m else None
            for t, m in zip((x, weight, bias), output_mask, strict=True)
        ]
        return like[0], like[1], like[2]
    h = run.chain(normalised, x, mean, inverse)
    dx = dw = db = None
    if output_mask[0]:
        g = gradient if weight is None else run.chain(elementary.mul, gradient, weight)
        dx = _gradient_along(run, g, h, inverse, inner)
    if output_mask[1] and weight is not None:
        dw = sum_of(run, run.coded(elementary.mul, gradient, h), outer)
    if output_mask[2] and bias is not None:
        db = sum_of(run, gradient, outer)
    return dx, dw, db


@defined(aten.native_group_norm.default)
def native_group_norm(
    run: "use",
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    samples: int,
    channels: int,
    size: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    if not x.numel():
        statistic = x.new_zeros(samples, groups)
        return x.clone(), statistic, statistic.clone()
    grouped = x.reshape(samples, groups, -1)
    variance, mean = variance_of(run, grouped, [2], True, 0)
    inverse = run.chain(inverse_root, variance, eps)
    h = run.chain(normalised, grouped, mean, inverse).reshape(x.shape)
    per_channel = [None if p is None else _channelwise(p, x) for p in (weight, bias)]
    return _affine(run, h, *per_channel), mean.squeeze(2), inverse.squeeze(2)


@defined(aten.native_group_norm_backward.default)
def native_group_norm_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    samples: int,
    channels: int,
    size: int,
    groups: int,
    output_mask: list[bool],
) -> Gradients:
    if not x.numel():
        zero = x.new_zeros(channels)
        return torch.zeros_like(x), zero if output_mask[1] else None, zero.clone() if output_mask[2] else None
    inverse = inverse.reshape(samples, groups, 1)
    h = run.chain(normalised, x.reshape(samples, groups, -1), mean.reshape(samples, groups, 1), inverse)
    dims = [0, *range(2, x.dim())]
    dx = dw = db = None
    if output_mask[0]:
        g = gradient if weight is None else run.chain(elementary.mul, gradient, _channelwise(weight, x))
        dx = _gradient_along(run, g.reshape(h.shape), h, inverse, [2]).reshape(x.shape)
    if output_mask[1]:
        dw = sum_of(run, run.coded(elementary.mul, gradient, h.reshape(x.shape)), dims)
    if output_mask[2]:
        db = sum_of(run, gradient, dims)
    return dx, dw, db


def _channelwise(per_channel: Tensor, x: Tensor) -> Tensor:
    return per_channel.reshape(-1, *[1] * (x.dim() - 2))


@defined(*existing(aten, "_fused_rms_norm"))
def fused_rms_norm(
    run: "use", x: Tensor, shape: list[int], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor]:
    """(x * rsqrt(sum(x x) * encode(1/n) + eps)) * weight."""
    dims = list(range(x.dim() - len(shape), x.dim()))
    square = mean_of(run, run.coded(elementary.square, x), dims, True)
    inverse = run.chain(inverse_root, square, torch.finfo(x.dtype).eps if eps is None else eps)
    h = run.chain(elementary.mul, x, inverse)
    return h if weight is None else run.chain(elementary.mul, h, weight), inverse


@chain
def _gradient_through_rms(g: Value, h: Value, inverse: Value, along: Value, one_over_n: Value) -> Value:
    return (g - h * (one_over_n * along)) * inverse


@defined(*existing(aten, "_fused_rms_norm_backward"))
def fused_rms_norm_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    shape: list[int],
    inverse: Tensor,
    weight: Tensor | None,
    output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """dw = sum(g h), dx = (g' - h (sum(g' h)/n)) inv with h = x inv and g' = g weight."""
    inner = list(range(x.dim() - len(shape), x.dim()))
    h = run.chain(elementary.mul, x, inverse)
    dx = dw = None
    if output_mask[0]:
        g = gradient if weight is None else run.chain(elementary.mul, gradient, weight)
        along = sum_of(run, run.coded(elementary.mul, g, h), inner, True)
        n = math.prod(x.shape[d] for d in inner)
        dx = run.chain(_gradient_through_rms, g, h, inverse, along, 1.0 / n)
    if output_mask[1] and weight is not None:
        dw = sum_of(run, run.coded(elementary.mul, gradient, h), list(range(x.dim() - len(shape))))
    return dx, dw
