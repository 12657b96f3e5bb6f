"""Tensors and modules on the grid, and the integer codes behind them."""

from typing import TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.arithmetic import Arithmetic
from slipstick.aten.grid import rounded
from slipstick.errors import SpecificationError
from slipstick.formats import LNS, FixedPoint

Target = TypeVar("Target", torch.Tensor, torch.nn.Module)


def snap_(target: Target, grid: Arithmetic | LNS | FixedPoint) -> Target:
    """Round a tensor, or every floating parameter and buffer of a module, to a grid, in place.

    grid: an arithmetic (its format counts) or a format. With ``ss.use(compute, update=wider)`` state lives on the grid
    of ``wider``. Raises NonFiniteError for NaN.
    """
    format = grid if isinstance(grid, LNS | FixedPoint) else grid.format
    tensors = [target] if isinstance(target, torch.Tensor) else [*target.parameters(), *target.buffers()]
    with torch.no_grad(), _disable_current_modes():
        for tensor in tensors:
            if tensor.dtype.is_floating_point:
                rounded(format, "snap_", tensor, out=tensor)
    return target


def codes(tensor: torch.Tensor, format: LNS) -> torch.Tensor:
    """The integer codes (int32) of ``tensor`` in ``format``; numbers off the grid are rounded as everywhere."""
    if not isinstance(format, LNS):
        raise SpecificationError(f"codes(format={format!r}): must be a format such as LNS(5, 5)")
    return format.encode(tensor)
