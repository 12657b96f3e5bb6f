"""Training with an assignment: as a recipe what every tensor is rounded to, as an optimiser how weights are kept.

    quantization = ss.quantize(model, recipe_of(assignment))
    optimizer = optimizer_of(assignment, model, lr=0.01)

After Sakr & Shanbhag 2019 (arXiv 1812.11732). Each tensor is rounded once:
activations           by the recipe, as a layer's inputs. Straight-through: the derivative is 1 beyond the range too,
                      where the paper clips; a range that holds the largest number seen is hardly ever left.
activation gradients  by the recipe, as the gradient of a layer's output. These two may be logarithms (``mixed``).
weight gradients      by the recipe, in every backward pass; the optimiser reads their integers.
weights               by the optimiser. The recipe keeps no master copy: it stores them on the same grid, where rounding
                      again changes nothing, and layers use them as they are stored.
accumulators          by the optimiser, whose state they are.
All other parameters, biases and batch normalisation among them, stay in float32.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any

from torch import nn

from slipstick.errors import SpecificationError
from slipstick.optim import AccumulatorSGD, WeightFormats
from slipstick.precision.assignment import Assignment, LayerAssignment, LogPrecision, Precision
from slipstick.quantize import LayerRule, QuantizerSpec, Range, Recipe
from slipstick.quantize.layers import KINDS

_EVERY_KIND = "all"

_WEIGHTS = tuple(dict.fromkeys(path for kind in KINDS for path in kind.weights))


def assignment_from(given: str | Path | Mapping[str, Any]) -> Assignment:
    """An assignment from its JSON file, or from what one holds; or from ``{"file": path, "offsets": {"weight": -1}}``.

    offsets: bits more or fewer of the kinds that it names, see ``Assignment.with_offset``; "all" is every kind.
    Raises SpecificationError where there is no such file, where it is no assignment, or for an offset of what is none.
    """
    if isinstance(given, Mapping):
        return _with_offsets(given) if "file" in given else Assignment.from_dict(given)
    try:
        data = json.loads(Path(given).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecificationError(f"{given}: no such file; slipstick assign writes one") from None
    except (OSError, ValueError) as error:
        raise SpecificationError(f"{given}: cannot be read as JSON ({str(error).splitlines()[0]})") from None
    try:
        return Assignment.from_dict(data)
    except SpecificationError as error:
        raise SpecificationError(f"{given}: {error}") from None


def _with_offsets(given: Mapping[str, Any]) -> Assignment:
    unknown = sorted(set(given) - {"file", "offsets"})
    offsets = given.get("offsets", {})
    if unknown or not isinstance(offsets, Mapping):
        wrong = f"has no {unknown[0]!r}" if unknown else f"offsets = {offsets!r} is no table"
        raise SpecificationError(f"precision: {wrong}; give {{file = PATH, offsets = {{weight = -1}}}}")
    assignment = assignment_from(given["file"])
    for kind, bits in offsets.items():
        if type(bits) is not int:
            raise SpecificationError(f"precision: offsets: {kind} = {bits!r}: must be an integer number of bits")
        assignment = assignment.with_offset(None if kind == _EVERY_KIND else kind, bits)
    return assignment


def without_reasons(assignment: Assignment) -> Assignment:
    """What determines the training, without the explanations."""
    return replace(assignment, layers=tuple(replace(layer, reasons={}) for layer in assignment.layers))


def recipe_of(assignment: Assignment) -> Recipe:
    """A rule for each layer of the assignment; formats have its bits and ranges. Ties of fixed point round away from
    zero; logarithms have none."""
    rules = tuple(
        LayerRule(
            escape(layer.name),
            weight=_quantizer(layer.weight),
            activation=_quantizer(layer.activation),
            activation_gradient=_quantizer(layer.activation_gradient),
            weight_gradient=_quantizer(layer.weight_gradient),
        )
        for layer in assignment.layers
    )
    return Recipe(f"assigned B_min {assignment.minimum_bits}", keeps_master=False, layers=rules)


def optimizer_of(assignment: Assignment, model: nn.Module, lr: float, *, bound: float | None = None) -> AccumulatorSGD:
    """The optimiser of ``model``, before or after the recipe is attached. bound: see AccumulatorSGD.

    It rounds the weights to their grid. Raises SpecificationError for a layer that has no weight of its own.
    """
    return AccumulatorSGD(parameter_groups(assignment, model.named_parameters()), lr, bound=bound)


def parameter_groups(assignment: Assignment, parameters: Iterable[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """A group for the weights of each layer of the assignment, with its formats, and one for all the others.

    parameters: with their names, as ``model.named_parameters()`` gives them.
    """
    left = dict(parameters)
    groups: list[dict[str, Any]] = []
    for layer in assignment.layers:
        names = [name for path in _WEIGHTS if (name := f"{layer.name}.{path}".lstrip(".")) in left]
        if not names:
            raise SpecificationError(
                f"assignment: the parameters have no weight of a layer {layer.name!r} that no other layer shares; "
                "give the assignment of this model"
            )
        groups.append({"params": [(name, left.pop(name)) for name in names], "formats": weight_formats(layer)})
    return [*groups, {"params": list(left.items())}] if left else groups


def weight_formats(layer: LayerAssignment) -> WeightFormats:
    """How the weights of a layer are kept and moved. Raises SpecificationError where the accumulator does not fit."""
    try:
        return WeightFormats(layer.weight.format, layer.weight_gradient.format, layer.accumulator.format)
    except SpecificationError as error:
        raise SpecificationError(f"assignment: {layer.name or 'the model itself'}: {error}") from None


def _quantizer(precision: Precision | LogPrecision) -> QuantizerSpec:
    return QuantizerSpec(precision.format, "nearest", Range("fixed"))
