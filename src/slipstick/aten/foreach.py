"""``_foreach_*`` operators: the single-tensor operator, tensor after tensor."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverloadPacket

from slipstick.aten.registry import DEFINED, Implementation

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten

_VALUED = (aten.addcmul, aten.addcmul_, aten.addcdiv, aten.addcdiv_)
_SINGLE = {"norm": "linalg_vector_norm", "maximum": "clamp_min", "minimum": "clamp_max"}


def _register(packet_name: str) -> None:
    packet = getattr(aten, packet_name)
    in_place = packet_name.endswith("_")
    base = packet_name.removeprefix("_foreach_").rstrip("_")
    single = getattr(aten, _SINGLE.get(base, base) + ("_" if in_place else ""), None)
    if single is None:
        return
    for name in packet.overloads():
        if not name.endswith("out"):
            DEFINED[getattr(packet, name)] = _loop(single, in_place)


def _loop(single: OpOverloadPacket, in_place: bool) -> Implementation:
    def run_each(run: "use", tensors: list[Tensor], *args: Any, **kwargs: Any) -> list[Tensor] | None:
        def at(i: int, argument: Any) -> Any:
            return argument[i] if isinstance(argument, list | tuple) else argument

        results: list[Tensor] = []
        for i, tensor in enumerate(tensors):
            chosen = [at(i, a) for a in args]
            named = {k: at(i, v) for k, v in kwargs.items()}
            if single in _VALUED and len(chosen) > 2:
                named["value"] = chosen.pop()
            results.append(run.call(single, tensor, *chosen, **named))
        return None if in_place else results

    return run_each


_NAMES = {name.removeprefix("aten::").split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
for _name in sorted(_NAMES):
    if _name.startswith("_foreach_") and not _name.startswith("_foreach_copy"):
        _register(_name)


def _copy_each(run: "use", targets: list[Tensor], sources: list[Tensor], non_blocking: bool = False) -> None:
    for target, source in zip(targets, sources, strict=True):
        run.call(aten.copy_, target, source)


DEFINED[aten._foreach_copy_.default] = _copy_each
