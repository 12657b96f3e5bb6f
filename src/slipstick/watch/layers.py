"""The layers of a network that are watched, and the grid of each of their tensors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from slipstick.arithmetic import RoundedArithmetic
from slipstick.aten.mode import live_run
from slipstick.quantize.layer_quantizers import LayerQuantizers, is_quantized, parameter_at, quantizers_of
from slipstick.quantize.quantizer import TensorQuantizer
from slipstick.watch.counting import Ends, Grid


@dataclass(eq=False)
class Layer:
    """A module with parameters of its own.

    format: of the arithmetic that the layer last ran in; None for float32.
    """

    name: str
    module: nn.Module
    weights: tuple["Weight", ...]
    format: Ends | None = None

    @property
    def quantizers(self) -> LayerQuantizers | None:
        return quantizers_of(self.module) if is_quantized(self.module) else None


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter. used, stored, gradient: what a recipe rounds it with: in products, as it is kept, its gradient."""

    parameter: nn.Parameter
    used: TensorQuantizer | None = None
    stored: TensorQuantizer | None = None
    gradient: TensorQuantizer | None = None


def find_layers(model: nn.Module) -> list[Layer]:
    """In order of registration; a parameter that several share belongs to the first."""
    quantized = _quantized_parameters(model)
    taken: set[int] = set()
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList):
            continue
        own = [p for p in _own_parameters(module) if id(p) not in taken]
        taken.update(map(id, own))
        if own:
            weights = tuple(Weight(p, **quantized.get(id(p), {})) for p in own)
            layers.append(Layer(name or type(module).__name__, module, weights))
    return layers


def _own_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    yield from (p for p in module._parameters.values() if p is not None)
    if parametrize.is_parametrized(module):
        for each in module.parametrizations.values():  # type: ignore[operator]
            yield from each.parameters(recurse=False)


def _quantized_parameters(model: nn.Module) -> dict[int, dict[str, TensorQuantizer]]:
    """The quantisers of a recipe by the id of the parameter that they round."""
    found: dict[int, dict[str, TensorQuantizer]] = {}
    for _, module in model.named_modules():
        if not is_quantized(module):
            continue
        quantizers = quantizers_of(module)
        for role, path, quantizer in quantizers.entries(module):
            if path:
                kept = "used" if path in quantizers.orders else "stored"
                kind = {"weight": kept, "update": "stored", "weight_gradient": "gradient"}[role]
                found.setdefault(id(parameter_at(module, path)), {})[kind] = quantizer
    return found


def changes_units(layer: Layer) -> bool:
    """Whether a recipe leaves out the scale of one of the layer's tensors, so that gradients are multiples of it."""
    quantizers = layer.quantizers
    return quantizers is not None and any(spec.range.rescale != "own" for spec in quantizers.specs.values())


def format_in_force() -> Ends | None:
    """Of the results of operators here and now; None for float32."""
    run = live_run()
    if run is None:
        return None
    return run.arithmetic.format if isinstance(run.arithmetic, RoundedArithmetic) else run.spec.format


def update_format() -> Any:
    """Of weights, which the optimiser steps in: an LNS, a FixedPoint, or None for float32."""
    run = live_run()
    return None if run is None else (run.update or run.arithmetic).format


def grid_of(format: Ends | None) -> Grid | None:
    return None if format is None else Grid.of(format)


def rounded_grid(quantizer: TensorQuantizer) -> Grid | None:
    """Of the tensor that ``quantizer`` has rounded last; None where its numbers are on no grid known beforehand."""
    spec = quantizer.spec
    if spec.format is None or spec.range.rescale == "update":
        return None
    return Grid.of(spec.format, quantizer.used_scale if spec.range.rescale == "own" else None)


def carriers(result: Any) -> Iterator[torch.Tensor]:
    """The floating tensors in what a module returned."""
    if isinstance(result, torch.Tensor):
        if result.dtype in (torch.float32, torch.float64) and result.layout == torch.strided:
            yield result
    elif isinstance(result, tuple | list):
        for each in result:
            yield from carriers(each)
