"""Activations and their gradients that are no single table. Each chain states the normative formula."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.registry import defined
from slipstick.aten.unary import define_binary, define_unary, named
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten

define_unary(chain(lambda x: x * x.function("sigmoid")), *named("silu"))


@chain
def _clamped(x: Value, low: Value, high: Value) -> Value:
    return x.maximum(low).minimum(high)


@defined(aten.hardtanh.default, aten.hardtanh_.default)
def hardtanh(run: "use", x: Tensor, min_val: float = -1, max_val: float = 1, out: Tensor | None = None) -> Tensor:
    return run.chain(_clamped, x, min_val, max_val, out=out)


@chain
def _hardtanh_backward(gradient: Value, x: Value, low: Value, high: Value) -> Value:
    return (x > low).select((x < high).select(gradient, 0.0), 0.0)


@defined(aten.hardtanh_backward.default)
def hardtanh_backward(run: "use", gradient: Tensor, x: Tensor, min_val: float, max_val: float) -> Tensor:
    return run.chain(_hardtanh_backward, gradient, x, min_val, max_val)


@chain
def _threshold_backward(gradient: Value, x: Value, threshold: Value) -> Value:
    return (x > threshold).select(gradient, 0.0)


@defined(aten.threshold_backward.default)
def threshold_backward(run: "use", gradient: Tensor, x: Tensor, threshold: float) -> Tensor:
    return run.chain(_threshold_backward, gradient, x, threshold)


@chain
def _leaky_relu(x: Value, slope: Value) -> Value:
    return (x > 0.0).select(x, slope * x)


@chain
def _leaky_relu_backward(gradient: Value, x: Value, slope: Value) -> Value:
    return (x > 0.0).select(gradient, slope * gradient)


@defined(aten.leaky_relu.default, aten.leaky_relu_.default)
def leaky_relu(run: "use", x: Tensor, negative_slope: float = 0.01, out: Tensor | None = None) -> Tensor:
    return run.chain(_leaky_relu, x, negative_slope, out=out)


@defined(aten.leaky_relu_backward.default)
def leaky_relu_backward(run: "use", gradient: Tensor, x: Tensor, negative_slope: float, self_is_result: bool) -> Tensor:
    return run.chain(_leaky_relu_backward, gradient, x, negative_slope)


@chain
def _tanh_backward(gradient: Value, y: Value) -> Value:
    return gradient * (1.0 - y * y)


@chain
def _sigmoid_backward(gradient: Value, y: Value) -> Value:
    return gradient * (y * (1.0 - y))


@chain
def _silu_backward(gradient: Value, x: Value) -> Value:
    s = x.function("sigmoid")
    return gradient * (s * (1.0 + x * (1.0 - s)))


define_binary(_tanh_backward, aten.tanh_backward.default)
define_binary(_sigmoid_backward, aten.sigmoid_backward.default)
define_binary(_silu_backward, aten.silu_backward.default)


@chain
def _hardshrink_backward(gradient: Value, x: Value, threshold: Value) -> Value:
    return (abs(x) > threshold).select(gradient, 0.0)


@defined(aten.hardshrink_backward.default, aten.softshrink_backward.default)
def shrink_backward(run: "use", gradient: Tensor, x: Tensor, threshold: float) -> Tensor:
    """The gradient where |x| lies above the threshold."""
    return run.chain(_hardshrink_backward, gradient, x, threshold)


@chain
def _softplus(x: Value, beta: Value, one_over_beta: Value, threshold: Value) -> Value:
    z = beta * x
    smooth = one_over_beta * (z.maximum(0.0) + (-abs(z)).function("exp").function("log1p"))
    return (z > threshold).select(x, smooth)


@defined(aten.softplus.default)
def softplus(run: "use", x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """(max(z, 0) + log1p(exp(-|z|))) / beta with z = beta x: exp z itself leaves the range of few integer bits."""
    return run.chain(_softplus, x, beta, 1.0 / beta, threshold)
