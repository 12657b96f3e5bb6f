"""The gradients of a step in float32: of the same weights, inputs and random numbers, on a copy of the network.

Nothing of the network is touched: the copy has buffers, hooks and generators of its own, its gradients go nowhere, and
PyTorch's generators are put back.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.aten.mode import exact
from slipstick.errors import SpecificationError
from slipstick.quantize import dequantize
from slipstick.quantize.layer_quantizers import is_quantized

LossOf = Callable[[nn.Module], torch.Tensor]


def float_gradients(model: nn.Module, loss: LossOf, parameters: Iterable[nn.Parameter]) -> dict[int, torch.Tensor]:
    """d ``loss(model)`` / d parameter in float32, by the id of the parameter; without those that it does not reach."""
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    devices = sorted({p.device.index for p in wanted if p.device.type == "cuda"})
    with ExitStack() as stack:
        stack.enter_context(exact())
        stack.enter_context(_disable_current_modes())
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.enable_grad())
        twin, copies = _copy(model, wanted)
        result = loss(twin)
        if not isinstance(result, torch.Tensor) or not result.requires_grad:
            raise SpecificationError("Watch.reference(loss): loss(model) must be a tensor that depends on the model")
        gradients = torch.autograd.grad(result.sum(), copies, allow_unused=True)
    return {id(p): g for p, g in zip(wanted, gradients, strict=True) if g is not None and g.layout == torch.strided}


def _copy(model: nn.Module, parameters: list[nn.Parameter]) -> tuple[nn.Module, list[nn.Parameter]]:
    """A copy without a recipe, and those parameters in it."""
    made: dict[int, object] = {}
    try:
        twin = copy.deepcopy(model, made)
    except (RuntimeError, TypeError) as error:
        raise SpecificationError(
            f"Watch.reference: {type(model).__name__} cannot be copied ({str(error).splitlines()[0]}); do without"
        ) from None
    copies = [made[id(parameter)] for parameter in parameters]
    if any(is_quantized(module) for module in twin.modules()):
        dequantize(twin)
    return twin, copies  # type: ignore[return-value]
