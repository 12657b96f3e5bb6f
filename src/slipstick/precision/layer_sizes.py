"""What costs ask of a network: the sizes of its layers' tensors. No number is computed for them."""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from slipstick.precision.layer_calls import CONVOLUTIONS, TRANSPOSED
from slipstick.quantize.layers import Layer, find_layers


@dataclass(frozen=True)
class LayerSizes:
    """Of a linear or convolution layer: shapes, of input and output those of one sample; macs: multiply-accumulates of
    one sample's forward pass, of all calls together."""

    name: str
    weight_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int


@dataclass(frozen=True)
class NetworkSizes:
    """Of the layers that were called, in the order of their first calls."""

    layers: tuple[LayerSizes, ...]


def network_sizes(model: nn.Module, inputs: torch.Tensor) -> NetworkSizes:
    """Run ``model`` once on ``inputs`` (N, ...), which may lie on the device "meta" as the model then does."""
    found: dict[str, LayerSizes] = {}
    layers = [x for x in find_layers(model)[0] if isinstance(x.module, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED))]
    hooks = [layer.module.register_forward_hook(partial(_measure, found, layer)) for layer in layers]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return NetworkSizes(tuple(found.values()))


def _measure(found: dict[str, LayerSizes], layer: Layer, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    input_shape, output_shape = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
    made = input_shape if isinstance(module, TRANSPOSED) else output_shape
    macs = prod(made) * weight[0].numel()
    before = found[layer.name].macs if layer.name in found else 0
    found[layer.name] = LayerSizes(layer.name, tuple(weight.shape), input_shape, output_shape, before + macs)
