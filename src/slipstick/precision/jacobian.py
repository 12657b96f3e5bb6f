"""How noise of a layer's output gradient reaches its weight gradient: the square-Jacobian, and its norm.

The weight gradient dW of one sample is linear in the gradient dY of the layer's output, so independent noise of
variances v on dY gives dW noise of variances S v, with S the square-Jacobian (entry by entry the square of
d vec(dW) / d vec(dY)). A layer that multiplies its input x by weights makes dW of dY by products with elements of x,
so S is the same map made of x^2:

    linear, x of P positions and F features:  S = (x^2)^t (x) I_outputs, (x^2)^t of F x P; for P = 1 its norm is ||x^2||
    convolution:                              S = patches of x^2 (numbers under the kernel x positions) (x) I_outputs
    in general:   S v = d/dw <v, layer(x^2; w)>,   S^t u = layer(x^2; u), without bias

and neither S nor a patch is ever formed. Outputs that see the same inputs make equal blocks, of which one is kept. S is
linear in x^2, so its mean over samples is that of the mean square m of the input, and so is its moving average.

Its largest singular value comes from power iteration. S has no negative element, so by Perron and Frobenius one of its
first singular vectors has none either: starting from ones always has a part of it.

Theirs (Sakr & Shanbhag 2019, arXiv 1812.11732, BQN; text as recalled): lambda is the largest singular value of the
square-Jacobian of a layer's weight gradient with respect to its output gradient. Their released script averages
by an EMA .9/.1 that starts at zero, one batch an epoch in evaluation mode, and takes the singular value of another
matrix, inputs x outputs: the squared *mean* over samples and positions of d activation / d w, averaged over the kernel,
with batch normalisation and activation function inside. Ours: the matrix of the text, of the layer itself, averaged
over samples; the EMA .9/.1 over batches starts at the first; the map in place of the matrix.

S is of one sample's gradient. Where dY belongs to a loss that is a mean over a batch of N, its noise is that of N
such tensors, and adds up: N S v in place of S v.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.func import vjp

from slipstick.precision.layer_calls import TRANSPOSED, SampleNetwork, product

_DECAY = 0.9
_TOLERANCE = 1e-9
_MOST_ITERATIONS = 1000


def mean_squares(network: SampleNetwork, inputs: torch.Tensor, at_once: int) -> list[torch.Tensor]:
    """Of the input of every call (float64), over samples (N, ...), of which ``at_once`` are run together."""
    totals = [torch.zeros(call.input_shape, dtype=torch.float64, device=network.device) for call in network.calls]
    with torch.no_grad():
        for few in inputs.split(at_once):
            _, seen = network.run(few.to(network.device))
            for total, x in zip(totals, seen, strict=True):
                total += x.double().square().sum(dim=0)
    return [total / len(inputs) for total in totals]


class SquareJacobian:
    """S of one layer, as a moving average over batches."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._mean_squares: list[torch.Tensor] = []

    def add(self, mean_squares: Sequence[torch.Tensor]) -> None:
        """One batch. mean_squares: over its samples, of the input of every call of the layer."""
        old, new = self._mean_squares, list(mean_squares)
        self._mean_squares = [_DECAY * m + (1 - _DECAY) * n for m, n in zip(old, new, strict=True)] if old else new

    def mean_square(self) -> float:
        """Of the layer's inputs, over their elements."""
        return float(torch.cat([m.flatten() for m in self._mean_squares]).mean())

    def largest_singular_value(self) -> float:
        """0 where all inputs were."""
        return largest_singular_value(self._module, self._mean_squares)


def largest_singular_value(module: nn.Module, mean_squares: Sequence[torch.Tensor]) -> float:
    """Of S of a layer whose inputs have these mean squares, one for each call; to about 1e-6 of its value.

    Every iteration gives a lower bound that does not fall; the last one is returned when a thousand were not enough.
    """
    squares = [m.double() for m in mean_squares]
    u = torch.ones(_block_shape(module), dtype=torch.float64, device=squares[0].device)
    u /= u.norm()
    value = 0.0
    for _ in range(_MOST_ITERATIONS):
        outputs, back = vjp(partial(_products, module, squares), u)[:2]
        now = float(torch.stack([y.norm() for y in outputs]).norm())
        if now <= value * (1 + _TOLERANCE):
            return now
        value = now
        (u,) = back([y / now for y in outputs])
        u = u / u.norm()
    return value


def _products(module: nn.Module, inputs: Sequence[torch.Tensor], weight: torch.Tensor) -> list[torch.Tensor]:
    return [product(module, x, weight) for x in inputs]


def _block_shape(module: nn.Module) -> torch.Size:
    """Of a weight with one output for each group of inputs; of a transposed convolution, where they differ, all."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if isinstance(module, TRANSPOSED):
        return weight.shape
    return torch.Size((getattr(module, "groups", 1), *weight.shape[1:]))
