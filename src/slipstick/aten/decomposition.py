"""An operator as PyTorch itself decomposes it, or one that writes into its arguments as its functional twin."""

from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload

from slipstick.kernels.carriers import written


def decomposed(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of ``func`` by other operators; NotImplemented if PyTorch knows none."""
    if (twin := without_out(func)) is not None:
        return _written(twin, func, args, kwargs)
    result = func.decompose(*args, **kwargs)
    if result is NotImplemented and func in decomposition_table:
        result = decomposition_table[func](*args, **kwargs)
    if result is NotImplemented and (twin := functional_twin(func)) is not None:
        result = args[0].copy_(twin(*args, **kwargs))
    return result


def functional_twin(func: OpOverload) -> OpOverload | None:
    """What an in-place operator writes into its first argument."""
    name, overload = func.overloadpacket.__name__, func._overloadname
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") and func.namespace == "aten" else None
    return getattr(packet, overload) if packet is not None and overload in packet.overloads() else None


def without_out(func: OpOverload) -> OpOverload | None:
    """The overload whose results an ``out=`` overload writes: of all that take its other arguments, and need no more,
    the one that takes the fewest."""
    wanted = {(a.name, str(a.type)) for a in func._schema.arguments if not a.is_out}
    fits = []
    for name in func.overloadpacket.overloads() if len(wanted) < len(func._schema.arguments) else ():
        taken = getattr(func.overloadpacket, name)._schema
        others = [a for a in taken.arguments if (a.name, str(a.type)) not in wanted]
        has_all = len(taken.arguments) - len(others) == len(wanted)
        if has_all and not taken.is_mutable and all(a.has_default_value() for a in others):
            fits.append((len(others), name))
    return getattr(func.overloadpacket, min(fits)[1]) if fits else None


def _written(twin: OpOverload, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    outs = {a.name: kwargs[a.name] for a in func._schema.arguments if a.is_out}
    results = twin(*args, **{name: value for name, value in kwargs.items() if name not in outs})
    given = tuple(outs.values())
    result = written(results, given[0] if len(given) == 1 else given)
    return result if func._schema.returns else None
