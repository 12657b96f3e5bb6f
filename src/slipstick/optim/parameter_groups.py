"""Parameter groups with a rule each: what moves by factors, and what moves by terms."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from slipstick.errors import SpecificationError

RULES = ("madam", "sgd")
SGD_OPTIONS = ("lr", "momentum", "weight_decay")


def split_groups(params: Iterable[Any], additive: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """Groups for ``torch.optim.Optimizer``: those given, each with a ``rule``.

    With ``additive``, parameters of fewer than two dimensions (biases, scales and shifts of normalisation) leave every
    group that names no rule for one with rule "sgd" and these options.
    """
    given = list(params)
    groups = [dict(g) for g in given] if given and isinstance(given[0], Mapping) else [{"params": given}]
    result: list[dict[str, Any]] = []
    for group in groups:
        if group.get("rule", "madam") not in RULES:
            raise SpecificationError(f"Madam group rule={group['rule']!r}: choose one of 'madam', 'sgd'")
        if additive is None or "rule" in group:
            result.append({"rule": "madam", **group})
            continue
        members = _members(group["params"])
        vectors = [member for member in members if _tensor(member).dim() < 2]
        others = [member for member in members if _tensor(member).dim() >= 2]
        result += [{**group, "rule": "madam", "params": others}] if others else []
        result += [{"rule": "sgd", **additive, "params": vectors}] if vectors else []
    return result


def check_additive(additive: Mapping[str, float]) -> None:
    """Raise SpecificationError unless these are options of the rule "sgd", the learning rate among them."""
    unknown = sorted(set(additive) - set(SGD_OPTIONS))
    if unknown:
        raise SpecificationError(f"Madam(additive): unknown option {unknown[0]!r}; known are {', '.join(SGD_OPTIONS)}")
    if "lr" not in additive:
        raise SpecificationError("Madam(additive): needs a learning rate of its own, e.g. {'lr': 0.01}")
    for name, value in additive.items():
        if not value >= 0:
            raise SpecificationError(f"Madam(additive): {name} = {value!r}: must be at least 0")


def parameter_name(group: Mapping[str, Any], index: int, group_index: int) -> str:
    """What to call a parameter in a message: its name, where ``named_parameters()`` was given to the optimiser."""
    names = group.get("param_names")
    if names:
        return str(names[index])
    shape = "x".join(map(str, group["params"][index].shape))
    return f"group {group_index} parameter {index} ({shape or 'scalar'})"


def _members(params: Any) -> list[Any]:
    return [params] if isinstance(params, torch.Tensor) else list(params)


def _tensor(member: Any) -> torch.Tensor:
    tensor: torch.Tensor = member[1] if isinstance(member, tuple) else member
    return tensor
