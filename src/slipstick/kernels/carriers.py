"""Which tensors carry codes."""

from typing import Any

import torch

from slipstick.errors import UnsupportedOperation
from slipstick.kernels import native

CARRIERS = (torch.float32, torch.float64)
TORCH = native.Torch(
    torch.Tensor,
    torch.float32,
    torch.float64,
    torch.bool,
    torch.empty_like,
    torch.empty_strided,
    getattr(torch.Tensor, "__dlpack_c_exchange_api__", None),  # a PyTorch without it takes longer to call a kernel
)
"""What the native code knows of PyTorch."""

CODES, CODELESS = 1, 2
"""Bits of ``floats_among``."""


def floats_among(arguments: tuple[Any, ...]) -> int:
    """Whether tensors that carry codes, and floating ones that carry none, are among an operator's arguments, in lists
    and tuples too. (Faster than PyTorch's walk over any structure.)"""
    found: int = TORCH.floats(arguments)
    return found


USE_A_CARRIER = "use float32 or float64, without torch.autocast"


def check_device(x: torch.Tensor, operator: str) -> None:
    """Raises UnsupportedOperation for a tensor that the kernels cannot reach."""
    if x.device.type != "cpu":
        raise UnsupportedOperation(f"{operator}: no kernel for {x.device.type} tensors; move them to the CPU")


def check_carrier(x: torch.Tensor, operator: str) -> None:
    """Raises UnsupportedOperation unless ``x`` is a float32 or float64 tensor on the CPU."""
    check_device(x, operator)
    if x.dtype not in CARRIERS:
        raise UnsupportedOperation(f"{operator}: {x.dtype} carries no codes; {USE_A_CARRIER}")


def written(results: Any, out: Any) -> Any:
    """``out``, a tensor or as many as ``results`` has, after taking shape and numbers from them."""
    listed = ([x] if isinstance(x, torch.Tensor) else x for x in (results, out))
    for result, to in zip(*listed, strict=True):
        if to.shape != result.shape:
            to.resize_(result.shape)
        to.copy_(result)
    return out
