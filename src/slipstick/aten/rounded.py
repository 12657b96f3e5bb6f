"""Operators of a RoundedArithmetic: float32 by PyTorch, operands and results rounded to the format."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_iter, tree_map

from slipstick.arithmetic import RoundedArithmetic
from slipstick.aten.grid import rounded

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten

_OVERWRITING = (aten.normal_, aten.uniform_, aten.exponential_, aten.log_normal_, aten.copy_)
_UNDECLARED = ("running_mean", "running_var")
"""Arguments that batch normalisation writes although its schema does not say so."""


def run_rounded(run: "use", func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Round every floating operand, run ``func`` in floating point, round every floating result.

    Operands that are written are rounded in place, before (unless they are only overwritten) and after.
    """
    if _counts_steps(run, func, args):
        return func(*args, **kwargs)
    assert isinstance(run.arithmetic, RoundedArithmetic)
    format, name = run.arithmetic.format, str(func)

    def snap(x: Any) -> Any:
        return rounded(format, name, x) if _is_floating(x) else x

    def snap_in_place(x: Any) -> None:
        for tensor in tree_iter(x):
            if _is_floating(tensor):
                rounded(format, name, tensor, out=tensor)

    written, overwritten = _written(func, args, kwargs)
    snap_in_place(written)
    kept = {id(x) for x in tree_iter((written, overwritten))}
    operands, named = tree_map(lambda x: x if id(x) in kept else snap(x), (args, kwargs))
    result = func(*operands, **named)
    snap_in_place((written, overwritten))
    return tree_map(lambda x: x if id(x) in kept else snap(x), result)


def _written(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The operands that ``func`` changes, and those that it overwrites without reading."""
    written: list[Any] = []
    overwritten: list[Any] = []
    for i, argument in enumerate(func._schema.arguments):
        value = args[i] if i < len(args) else kwargs.get(argument.name)
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        if is_written and (argument.is_out or func.overloadpacket in _OVERWRITING):
            overwritten.append(value)
        elif is_written or argument.name in _UNDECLARED:
            written.append(value)
    return written, overwritten


def _is_floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def _counts_steps(run: "use", func: OpOverload, args: tuple[Any, ...]) -> bool:
    """Whether ``func`` advances step counters of an optimiser, which count exactly."""
    if func.overloadpacket not in (aten.add_, aten._foreach_add_):
        return False
    counters = args[0] if isinstance(args[0], list | tuple) else [args[0]]
    return all(run.counts_steps(tensor) for tensor in counters)
