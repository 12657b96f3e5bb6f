"""Which ATen operators there are, and how each is executed, read from PyTorch's schemas and the registry."""

from collections.abc import Iterator

import torch
from torch._decomp import decomposition_table
from torch._ops import OpOverload, OpOverloadPacket

from slipstick.aten.decomposition import functional_twin, without_out
from slipstick.aten.registry import DEFINED, MOVES, REFUSED, SELECTIONS

aten = torch.ops.aten


def packets() -> Iterator[OpOverloadPacket]:
    """Every ATen operator of this PyTorch, by name."""
    names = {name.removeprefix("aten::").split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    for name in sorted(names):
        if (packet := getattr(aten, name, None)) is not None:
            yield packet


def core_operators() -> list[OpOverload]:
    """The overloads of PyTorch's core opset: tagged ``torch.Tag.core``."""
    overloads = [getattr(packet, name) for packet in packets() for name in packet.overloads()]
    return [overload for overload in overloads if torch.Tag.core in overload.tags]


def asks_for_metadata(overload: OpOverload) -> bool:
    """Whether ``overload`` answers with a shape, a stride or a flag: neither a tensor nor a number of one."""
    return not any("Tensor" in str(r.type) or str(r.type) in ("Scalar", "number") for r in overload._schema.returns)


def execution(overload: OpOverload) -> str:
    """ "defined", "move", "selection", "refused", "decomposed" (if its decomposition has a definition) or "read"."""
    if overload is aten._local_scalar_dense.default:
        return "read"
    for how, table in (("move", MOVES), ("defined", DEFINED), ("selection", SELECTIONS), ("refused", REFUSED)):
        if overload in table:
            return how
    if overload in decomposition_table or overload._can_decompose():
        return "decomposed"
    twin = functional_twin(overload) or without_out(overload)
    return "decomposed" if twin is not None and execution(twin) != "refused" else "refused"
