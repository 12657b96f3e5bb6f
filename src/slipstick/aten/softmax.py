"""Softmax, its logarithm, and the losses of classification and regression."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.reductions import mean_of, sum_of
from slipstick.aten.registry import defined
from slipstick.errors import UnsupportedOperation
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def _exp_shifted(x: Value, largest: Value) -> Value:
    return (x - largest).function("exp")


@chain
def _shifted_exp(x: Value, largest: Value) -> tuple[Value, Value]:
    shifted = x - largest
    return shifted, shifted.function("exp")


@chain
def _minus_log(shifted: Value, total: Value) -> Value:
    return shifted - total.function("log")


def _largest(run: "use", x: Tensor, dim: int) -> Tensor:
    largest: Tensor = aten.amax.default(run.snap(x), [dim], True)
    return largest


@defined(aten._softmax.default, aten._safe_softmax.default)
def softmax(run: "use", x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    """e / sum(e) with e = exp(x - max x)."""
    if not x.dim() or not x.numel():
        return torch.ones_like(x)
    e = run.coded(_exp_shifted, x, _largest(run, x, dim))
    return run.chain(elementary.div, e, sum_of(run, e, [dim % x.dim()], True))


@defined(aten._log_softmax.default)
def log_softmax(run: "use", x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    """(x - max x) - log(sum(exp(x - max x)))."""
    if not x.dim() or not x.numel():
        return torch.zeros_like(x)
    shifted, e = run.coded(_shifted_exp, x, _largest(run, x, dim))
    return run.chain(_minus_log, shifted, sum_of(run, e, [dim % x.dim()], True))


@chain
def _softmax_backward(gradient: Value, y: Value, dot: Value) -> Value:
    return (gradient - dot) * y


@chain
def _log_softmax_backward(gradient: Value, y: Value, total: Value) -> Value:
    return gradient - y.function("exp") * total


@defined(aten._softmax_backward_data.default)
def softmax_backward(run: "use", gradient: Tensor, y: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
    """(g - sum(g y)) y."""
    dot = sum_of(run, run.coded(elementary.mul, gradient, y), [dim % y.dim()] if y.dim() else [], True)
    return run.chain(_softmax_backward, gradient, y, dot)


@defined(aten._log_softmax_backward_data.default)
def log_softmax_backward(run: "use", gradient: Tensor, y: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor:
    """g - exp(y) sum(g)."""
    return run.chain(
        _log_softmax_backward, gradient, y, sum_of(run, gradient, [dim % y.dim()] if y.dim() else [], True)
    )


_NONE, _MEAN, _SUM = 0, 1, 2


@chain
def _negated_weighted(x: Value, weight: Value) -> Value:
    return -(x * weight)


@defined(aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
def nll_loss_forward(
    run: "use", x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """-w[t] x[t] over the counted samples; its mean is the sum times encode(1/n), or the sum / sum(w)."""
    axis = 1 if x.dim() > 1 else 0
    counted = target != ignore_index
    index = torch.where(counted, target, 0).unsqueeze(axis)
    picked = torch.where(counted, x.gather(axis, index).squeeze(axis), 0.0)
    if weight is None:
        losses = run.chain(elementary.negative, picked)
        total_weight = counted.sum().to(x.dtype)  # a count, not a number of the arithmetic
    else:
        weights = torch.where(counted, weight[torch.where(counted, target, 0)], 0.0)
        losses = run.chain(_negated_weighted, picked, weights)
        total_weight = sum_of(run, weights, list(range(weights.dim())))
    if reduction == _NONE:
        return losses, x.new_zeros(())
    loss = sum_of(run, losses, list(range(losses.dim())))
    if reduction == _MEAN:
        loss = _per_weight(run, loss, total_weight, weight is None)
    return loss, total_weight


@defined(aten.nll_loss_backward.default, aten.nll_loss2d_backward.default)
def nll_loss_backward(
    run: "use",
    gradient: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    total_weight: Tensor,
) -> Tensor:
    """-w[t] g at the target, with g scaled as the loss was."""
    axis = 1 if x.dim() > 1 else 0
    counted = target != ignore_index
    safe = torch.where(counted, target, 0)
    if reduction == _MEAN:
        gradient = _per_weight(run, gradient, total_weight, weight is None)
    if weight is None:
        at_target = run.chain(elementary.negative, gradient).expand(target.shape)
    else:
        at_target = run.chain(_negated_weighted, gradient, weight[safe])
    at_target = torch.where(counted, at_target, 0.0).unsqueeze(axis)
    return torch.zeros_like(x, memory_format=torch.contiguous_format).scatter_(axis, safe.unsqueeze(axis), at_target)


def _per_weight(run: "use", x: Tensor, total_weight: Tensor, is_count: bool) -> Tensor:
    if is_count:
        return run.chain(elementary.mul, x, 1.0 / _positive(run, total_weight.item()))
    return run.chain(elementary.div, x, total_weight)


def _positive(run: "use", count: float) -> float:
    if count <= 0:
        raise UnsupportedOperation(f"{run.operator}: the mean over no counted sample is 0/0; check ignore_index")
    return count


@chain
def _scaled_difference(gradient: Value, x: Value, y: Value, factor: Value) -> Value:
    return (factor * gradient) * (x - y)


@defined(aten.mse_loss.default)
def mse_loss(run: "use", x: Tensor, y: Tensor, reduction: int = _MEAN) -> Tensor:
    """(x - y)^2, summed, times encode(1/n)."""
    losses = run.chain(elementary.squared_difference, x, y)
    everything = list(range(losses.dim()))
    if reduction == _NONE:
        return losses
    return mean_of(run, losses, everything) if reduction == _MEAN else sum_of(run, losses, everything)


@defined(aten.mse_loss_backward.default)
def mse_loss_backward(run: "use", gradient: Tensor, x: Tensor, y: Tensor, reduction: int) -> Tensor:
    """(encode(2/n) g) (x - y)."""
    return run.chain(_scaled_difference, gradient, x, y, 2.0 / x.numel() if reduction == _MEAN else 2.0)
