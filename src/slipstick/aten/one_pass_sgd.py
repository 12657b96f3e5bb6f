"""SGD with weight decay and momentum in one pass over each weight; the bits are the single-tensor form's."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from slipstick.aten.registry import DEFINED
from slipstick.errors import UnsupportedOperation
from slipstick.kernels.carriers import CARRIERS
from slipstick.kernels.elementwise import Chain, Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


def has_one_pass(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    """Whether the weights of ``group``, whose gradients are there, can be updated so."""
    if type(optimizer) is not SGD or group["foreach"] or group["differentiable"] or isinstance(group["lr"], Tensor):
        return False
    updated = [p for p in group["params"] if p.grad is not None]
    if any(t.dtype not in CARRIERS or t.layout != torch.strided for p in updated for t in (p, p.grad)):
        return False
    # PyTorch's fused form takes the first step of all momenta at once.
    begun = {optimizer.state.get(p, {}).get("momentum_buffer") is not None for p in updated}
    return group["momentum"] == 0 or len(begun) < 2


@lru_cache
def _update(maximize: bool, decays: bool, momentum: str, nesterov: bool) -> Chain:
    """momentum: "none", "first" or "later" step. The buffer comes last in arguments and results, if at all."""

    def gradient(weight: Value, g: Value, decay: Value) -> Value:
        g = -g if maximize else g
        return g + decay * weight if decays else g

    def without(weight: Value, g: Value, rate: Value, decay: Value) -> Value:
        return weight + rate * gradient(weight, g, decay)

    def moved(weight: Value, g: Value, buffer: Value, rate: Value, factor: Value) -> tuple[Value, Value]:
        return weight + rate * (g + factor * buffer if nesterov else buffer), buffer

    def first(weight: Value, g: Value, rate: Value, decay: Value, factor: Value) -> tuple[Value, Value]:
        g = gradient(weight, g, decay)
        return moved(weight, g, g, rate, factor)

    def later(
        weight: Value, g: Value, rate: Value, decay: Value, factor: Value, share: Value, buffer: Value
    ) -> tuple[Value, Value]:
        g = gradient(weight, g, decay)
        return moved(weight, g, buffer * factor + share * g, rate, factor)

    forms: dict[str, Callable[..., Any]] = {"none": without, "first": first, "later": later}
    return chain(forms[momentum])


def fused_sgd_(
    run: "use",
    weights: list[Tensor],
    gradients: list[Tensor],
    buffers: list[Tensor],
    *,
    weight_decay: float,
    momentum: float,
    lr: float,
    dampening: float,
    nesterov: bool,
    maximize: bool,
    is_first_step: bool,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
) -> None:
    """g = ±g + decay w; b = b momentum + (1 - dampening) g, at first g; w = w - lr b, with Nesterov g + momentum b."""
    if grad_scale is not None or found_inf is not None:
        raise UnsupportedOperation(f"{run.operator}: takes no gradient scaler; scale the loss by a power of two")
    kind = "none" if momentum == 0 else "first" if is_first_step else "later"
    update = _update(maximize, weight_decay != 0, kind, nesterov)
    for i, (weight, g) in enumerate(zip(weights, gradients, strict=True)):
        if kind == "none":
            update(run.spec, run.operator, weight, g, -lr, weight_decay, out=weight)
        elif kind == "first":
            update(run.spec, run.operator, weight, g, -lr, weight_decay, momentum, out=[weight, buffers[i]])
        else:
            numbers = -lr, weight_decay, momentum, 1.0 - dampening
            update(run.spec, run.operator, weight, g, *numbers, buffers[i], out=[weight, buffers[i]])


DEFINED[aten._fused_sgd_.default] = fused_sgd_
