"""How often fixed point decides otherwise than float: measured, beside the bound that an assignment is made by.

As in ``criteria.mismatch_bound`` only weights and inputs of layers are rounded; nothing is trained again.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment
from slipstick.precision.layer_calls import in_evaluation
from slipstick.precision.recipe import recipe_of
from slipstick.quantize import Recipe, quantize


@dataclass(frozen=True)
class Mismatch:
    """Of one level of precision. minimum_bits: B_min there; weights and activations have as many more as assigned.

    predicted: the bound, which may exceed 1. measured: the fraction of decisions that differ from float's.
    accuracy: of the rounded network.
    """

    minimum_bits: int
    predicted: float
    measured: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def forward_recipe(assignment: Assignment) -> Recipe:
    """Rounds weights and activations as assigned, and nothing else."""
    recipe = recipe_of(assignment)
    rules = tuple(replace(rule, activation_gradient=None, weight_gradient=None) for rule in recipe.layers)
    return replace(recipe, keeps_master=True, layers=rules)


def mismatches(
    model: nn.Module,
    assignment: Assignment,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    offsets: Iterable[int],
    done: Callable[[int], None] = lambda _: None,
) -> list[Mismatch]:
    """The mismatch for each of ``offsets``, over batches (inputs, targets), in evaluation mode.

    model: in float32; it is not changed. done: told how many samples have passed through one of the networks, of which
    there are one more than offsets. Bits stay within what a format can have, see ``Assignment.with_offset``.
    Raises SpecificationError for no samples, and for a layer that the model has not.
    """
    kept = list(batches)
    if not kept:
        raise SpecificationError("mismatch: no samples to decide on; give batches of inputs and targets")
    targets = torch.cat([labels.flatten() for _, labels in kept])
    exact = _decisions(model, kept, done)
    found = []
    for offset in offsets:
        moved = assignment.with_offset("weight", offset).with_offset("activation", offset)
        rounded = copy.deepcopy(model)
        quantize(rounded, forward_recipe(moved))
        decided = _decisions(rounded, kept, done)
        differing, right = decided != exact, decided == targets
        measured, accuracy = (float(each.double().mean()) for each in (differing, right))
        found.append(Mismatch(assignment.minimum_bits + offset, moved.predicted_mismatch, measured, accuracy))
    return found


@torch.no_grad()
def _decisions(
    model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], done: Callable[[int], None]
) -> torch.Tensor:
    decided = []
    with in_evaluation(model):
        for inputs, _ in batches:
            decided.append(model(inputs).argmax(dim=-1).flatten())
            done(len(inputs))
    return torch.cat(decided)
