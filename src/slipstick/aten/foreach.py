"""``_foreach_*`` operators: the single-tensor operator, tensor after tensor."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import torch

from slipstick.aten.registry import DEFINED

aten = torch.ops.aten

_VALUED = (aten.addcmul, aten.addcmul_, aten.addcdiv, aten.addcdiv_)
_SINGLE = {"norm": "linalg_vector_norm", "zero": "zero"}


def _register(packet_name):
    packet = getattr(aten, packet_name)
    in_place = packet_name.endswith("_")
    base = packet_name.removeprefix("_foreach_").rstrip("_")
    single = getattr(aten, _SINGLE.get(base, base) + ("_" if in_place else ""), None)
    if single is None:
        return
    for name in packet.overloads():
        if not name.endswith("out"):
            DEFINED[getattr(packet, name)] = _loop(single, in_place)


def _loop(single, in_place):
    def run_each(run, tensors, *args, **kwargs):
        def at(i, argument):
            return argument[i] if isinstance(argument, list | tuple) else argument

        results = []
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


def _copy_each(run, targets, sources, non_blocking=False):
    for target, source in zip(targets, sources, strict=True):
        run.call(aten.copy_, target, source)


DEFINED[aten._foreach_copy_.default] = _copy_each
