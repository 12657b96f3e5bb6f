"""Which tensors carry codes."""

import torch

from slipstick.errors import UnsupportedOperation

CARRIERS = (torch.float32, torch.float64)
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
