"""Multi-layer perceptron: 784-100-K of Sanyal et al. 2019 (arXiv 1910.09876) by default."""

from torch import nn

from slipstick.train.config import MLP

_LEAK = 2.0**-7  # a constant added to the log, in Sanyal's hardware


def build_mlp(model: MLP, inputs: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for hidden in model.hidden:
        layers += [nn.Linear(inputs, hidden), nn.LeakyReLU(_LEAK) if model.activation == "leaky" else nn.ReLU()]
        inputs = hidden
    return nn.Sequential(*layers, nn.Linear(inputs, classes))
