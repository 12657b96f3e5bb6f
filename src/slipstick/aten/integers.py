"""Which operators on integer tensors make floating-point ones, known before they run."""

from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._pytree import tree_any

_ALWAYS = frozenset(
    {"div", "mean", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log1p"}
    | {"tanh", "sigmoid", "silu", "softmax", "_softmax", "_log_softmax"}
)
_NEVER = frozenset(["gt", "ge", "lt", "le", "eq", "ne"])


def makes_floats(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether ``func``, whose tensors are all integers or booleans, gives floats."""
    name = func.overloadpacket.__name__.rstrip("_")
    if name in _NEVER:
        return False
    if name in _ALWAYS:
        return kwargs.get("rounding_mode") is None
    return tree_any(_asks_for_floats, (args, kwargs))


def _asks_for_floats(argument: Any) -> bool:
    return isinstance(argument, float) or (isinstance(argument, torch.dtype) and argument.is_floating_point)
