"""Batch normalisation. Running statistics are state: they move in the update arithmetic."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.reductions import sum_of, variance_of
from slipstick.aten.registry import defined
from slipstick.aten.signatures import Gradients
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import CodeArray, Value, chain, identity

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def inverse_root(variance: Value, eps: Value) -> Value:
    return (variance + eps).rsqrt()


@chain
def normalised(x: Value, mean: Value, inverse: Value) -> Value:
    return (x - mean) * inverse


@chain
def _normalised_scaled(x: Value, mean: Value, inverse: Value, weight: Value) -> Value:
    return ((x - mean) * inverse) * weight


@chain
def _normalised_affine(x: Value, mean: Value, inverse: Value, weight: Value, bias: Value) -> Value:
    return ((x - mean) * inverse) * weight + bias


@chain
def _running(running: Value, momentum: Value, kept: Value, statistic: Value) -> Value:
    return kept * running + momentum * statistic


@chain
def _running_scaled(running: Value, momentum: Value, kept: Value, statistic: Value, factor: Value) -> Value:
    return kept * running + momentum * (factor * statistic)


def _channelwise(x: Tensor | CodeArray, per_channel: Tensor) -> Tensor:
    dims = len(x.shape)
    return per_channel.reshape(-1, *[1] * (dims - 2)) if dims > 1 else per_channel


def _reduced(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def normalise(
    run: "use",
    x: Tensor | CodeArray,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
) -> Tensor:
    parts = [_channelwise(x, p) for p in (mean, inverse, weight, bias) if p is not None]
    return run.chain((normalised, _normalised_scaled, _normalised_affine)[len(parts) - 2], x, *parts)


@defined(aten.native_batch_norm.default, aten._native_batch_norm_legit.default)
def native_batch_norm(
    run: "use",
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """((x - mean) * rsqrt(var + eps)) * weight + bias, var = sum((x - mean)^2) * encode(1/n).

    running = (1 - momentum) * running + momentum * statistic, the variance times encode(n/(n-1)).
    """
    if not training:
        assert running_mean is not None
        assert running_var is not None
        inverse = run.chain(inverse_root, running_var, eps)
        y = normalise(run, x, run.snap(running_mean), inverse, weight, bias)
        return y, x.new_empty(0), x.new_empty(0)
    codes = run.coded(identity, x)
    variance, mean = variance_of(run, codes, _reduced(x), False, 0)
    if running_mean is not None and running_var is not None:
        n = math.prod(x.shape[d] for d in _reduced(x))
        unbiased = n / (n - 1) if n > 1 else 1.0
        spec = run.update_spec
        _running(spec, run.operator, running_mean, momentum, 1 - momentum, mean, out=running_mean)
        _running_scaled(spec, run.operator, running_var, momentum, 1 - momentum, variance, unbiased, out=running_var)
    inverse = run.chain(inverse_root, variance, eps)
    return normalise(run, codes, mean, inverse, weight, bias), mean, inverse


@defined(aten._native_batch_norm_legit.no_stats)
def native_batch_norm_without_stats(
    run: "use",
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return native_batch_norm(run, x, weight, bias, None, None, True, momentum, eps)


@chain
def _gradient_of_input(
    gradient: Value,
    hat: Value,
    inverse: Value,
    weight: Value,
    bias_gradient: Value,
    weight_gradient: Value,
    one_over_n: Value,
) -> Value:
    centred = gradient - one_over_n * bias_gradient
    return (centred - hat * (one_over_n * weight_gradient)) * (inverse * weight)


@chain
def _with_normalised(gradient: Value, x: Value, mean: Value, inverse: Value) -> tuple[Value, Value, Value]:
    """g, h and their product."""
    hat = (x - mean) * inverse
    return gradient, hat, gradient * hat


@defined(aten.native_batch_norm_backward.default)
def native_batch_norm_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    save_mean: Tensor | None,
    save_invstd: Tensor | None,
    train: bool,
    eps: float,
    output_mask: list[bool],
) -> Gradients:
    """With h = (x - mean) inv: db = sum(g), dw = sum(g h), dx = ((g - db/n) - h (dw/n)) (inv w); eval: g (inv w)."""
    if train:
        assert save_mean is not None
        assert save_invstd is not None
        mean, inverse = save_mean, save_invstd
    else:
        assert running_mean is not None
        assert running_var is not None
        mean, inverse = running_mean, run.chain(inverse_root, running_var, eps)
    mean, inverse = _channelwise(x, mean), _channelwise(x, inverse)
    scale = 1.0 if weight is None else _channelwise(x, weight)
    dx = dw = db = None
    if train or output_mask[1] or output_mask[2]:
        codes, hat, product = run.coded(_with_normalised, gradient, x, mean, inverse)
        db, dw = sum_of(run, codes, _reduced(x)), sum_of(run, product, _reduced(x))
    if output_mask[0] and train:
        assert db is not None
        assert dw is not None
        n = math.prod(x.shape[d] for d in _reduced(x))
        sums = _channelwise(x, db), _channelwise(x, dw)
        dx = run.chain(_gradient_of_input, codes, hat, inverse, scale, *sums, 1.0 / n)
    elif output_mask[0]:
        dx = run.chain(elementary.mul, gradient, run.chain(elementary.mul, inverse, scale))
    return dx, dw if output_mask[1] else None, db if output_mask[2] else None


@defined(aten._native_batch_norm_legit_no_training.default)
def native_batch_norm_evaluation(
    run: "use",
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return native_batch_norm(run, x, weight, bias, running_mean, running_var, False, momentum, eps)
