"""Operators of a RoundedArithmetic: float32 by PyTorch, operands and results rounded to the format."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_map

from slipstick.arithmetic import LogArithmetic
from slipstick.aten import elementary
from slipstick.kernels.spec import kernel_spec

if TYPE_CHECKING:
    from slipstick.aten.mode import use


def run_rounded(run: "use", func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Round every floating operand, run ``func`` in floating point, round every floating result."""
    if _counts_steps(run, func, args):
        return func(*args, **kwargs)
    spec = kernel_spec(LogArithmetic(run.arithmetic.format))
    written = [a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments]

    def snap(x: Any) -> Any:
        floating = isinstance(x, Tensor) and x.dtype.is_floating_point
        return elementary.identity(spec, str(func), x) if floating else x

    operands = [a if is_written else tree_map(snap, a) for a, is_written in zip(args, written, strict=False)]
    kwargs = {k: v if k == "out" else tree_map(snap, v) for k, v in kwargs.items()}
    result = func(*operands, **kwargs)
    for argument, is_written in zip(operands, written, strict=False):
        if is_written and isinstance(argument, Tensor) and argument.dtype.is_floating_point:
            elementary.identity(spec, str(func), argument, out=argument)
    if any(result is operand for operand in operands):
        return result
    return tree_map(snap, result)


def _counts_steps(run: "use", func: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether ``func`` advances step counters of an optimiser, which count exactly."""
    if func.overloadpacket not in (torch.ops.aten.add_, torch.ops.aten._foreach_add_):
        return False
    counters = args[0] if isinstance(args[0], list | tuple) else [args[0]]
    return all(run.counts_steps(tensor) for tensor in counters)
