"""Kernels that PyTorch fuses whole layers into: calls that would reach one are led to its separate operators."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

_nothing = nullcontext()


def unfused(func: Callable[..., Any]) -> AbstractContextManager[None]:
    """A context in which ``func``, a function of PyTorch, uses no fused kernel: an LSTM's would be oneDNN's."""
    return _without_onednn() if getattr(func, "__name__", "") == "lstm" else _nothing


@contextmanager
def _without_onednn() -> Iterator[None]:
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)
