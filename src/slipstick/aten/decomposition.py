"""An operator as PyTorch itself decomposes it, or an in-place one as its functional twin."""

from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload


def decomposed(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of ``func`` by other operators; NotImplemented if PyTorch knows none."""
    result = func.decompose(*args, **kwargs)
    if result is NotImplemented and func in decomposition_table:
        result = decomposition_table[func](*args, **kwargs)
    twin = functional_twin(func)
    if result is NotImplemented and twin is not None:
        result = args[0].copy_(twin(*args, **kwargs))
    return result


def functional_twin(func: OpOverload) -> OpOverload | None:
    """What an in-place operator writes into its first argument."""
    name, overload = func.overloadpacket.__name__, func._overloadname
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") and func.namespace == "aten" else None
    return getattr(packet, overload) if packet is not None and overload in packet.overloads() else None
