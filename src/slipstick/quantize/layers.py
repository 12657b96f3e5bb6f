"""Which modules can be quantised, and where their weights, inputs and outputs are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class LayerKind:
    """One family of modules.

    weights, biases: parameters by their path from the module. inputs: the leading arguments of ``forward`` that are
    activations. channel: the output dimension of a weight.
    """

    types: tuple[type[nn.Module], ...]
    weights: tuple[str, ...] = ("weight",)
    biases: tuple[str, ...] = ("bias",)
    inputs: tuple[str, ...] = ("input",)
    channel: int = 0


KINDS = (
    # Its output projection is applied without calling out_proj, so the projection's input cannot be reached.
    LayerKind(
        (nn.MultiheadAttention,),
        weights=("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"),
        biases=("in_proj_bias", "out_proj.bias"),
        inputs=("query", "key", "value"),
    ),
    LayerKind((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)),
    LayerKind((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), channel=1),
    LayerKind((nn.Embedding, nn.EmbeddingBag), biases=(), inputs=()),
    LayerKind((nn.Bilinear,), inputs=("input1", "input2")),
)


@dataclass(frozen=True)
class Layer:
    """A module of the model that can be quantised."""

    name: str
    module: nn.Module
    kind: LayerKind

    @property
    def title(self) -> str:
        return self.name or "the model itself"

    def parameters(self, biases: bool) -> Iterator[str]:
        """Paths of the parameters that are there: weights, then, if asked for, biases."""
        for path in self.kind.weights + (self.kind.biases if biases else ()):
            owner, attribute = owner_of(self.module, path)
            if getattr(owner, attribute, None) is not None:
                yield path


def owner_of(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds the parameter at ``path``, and its attribute there."""
    prefix, _, attribute = path.rpartition(".")
    return module.get_submodule(prefix), attribute


def find_layers(model: nn.Module) -> tuple[list[Layer], list[tuple[str, nn.Module]]]:
    """The quantisable layers of ``model`` in order of registration, and the other modules with parameters."""
    layers: list[Layer] = []
    others: list[tuple[str, nn.Module]] = []
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in inside:
            continue
        kind = next((kind for kind in KINDS if isinstance(module, kind.types)), None)
        if kind is not None:
            layers.append(Layer(name, module, kind))
            inside.update(owner_of(module, path)[0] for path in kind.weights)
        elif next(module.parameters(recurse=False), None) is not None:
            others.append((name, module))
    return layers, others


def with_inputs(
    kind: LayerKind, args: tuple[Any, ...], kwargs: dict[str, Any], change: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``forward`` with every activation replaced by ``change(activation)``, equal ones by equal."""
    changed: dict[int, torch.Tensor] = {}

    def replace(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        if id(value) not in changed:
            changed[id(value)] = change(value)
        return changed[id(value)]

    count = len(kind.inputs)
    new_args = tuple(replace(value) if i < count else value for i, value in enumerate(args))
    return new_args, {name: replace(value) if name in kind.inputs else value for name, value in kwargs.items()}
