"""Kernels that PyTorch fuses whole layers into: calls that would reach one are led to its separate operators."""

from collections.abc import Callable
from typing import Any

import torch


def is_fused(func: Callable[..., Any]) -> bool:
    """Whether ``func``, a function of PyTorch, may use a fused kernel: an LSTM's would be oneDNN's."""
    return getattr(func, "__name__", "") == "lstm"


def unfused(func: Callable[..., Any]) -> Callable[..., Any]:
    """``func`` without its fused kernel."""

    def separately(*args: Any, **kwargs: Any) -> Any:
        before = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        try:
            return func(*args, **kwargs)
        finally:
            torch._C._set_mkldnn_enabled(before)

    return separately
