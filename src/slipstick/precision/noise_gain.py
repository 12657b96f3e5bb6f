"""How much quantisation noise of a tensor disturbs the decision: the noise gain of Sakr & Shanbhag 2019.

With z the logits of a sample and y the index of the largest, rounding T with step D makes the decision another one with
a probability of at most (summed over all weights and activations T; arXiv 1812.11732, arXiv 1607.00485)

    p_m <= sum_T D_T^2 E_T,    E_T = mean over samples of sum_{i != y} ||d(z_i - z_y)/dT||^2 / (24 (z_i - z_y)^2).

The norm is over all elements of T; of a weight, the gradient is that of one sample. A layer's input is a tensor of its
own for each layer that it enters, as ``slipstick.quantize`` rounds it; the gradient is what comes back through that
layer. Where a layer is called several times its weight's gradients add before the norm, its inputs' norms after it.

Theirs is the expression, and pairs with z_i = z_y taken out of it in effect (their script divides by 1 there; we skip
and count them). Ours is how it is computed: the gradients d(z_i - z_y)/dY of every layer's output, for many samples and
logits at once, give the norm of the weight's gradient without the gradient itself, where that is shorter
(||B A^t||^2 = sum over positions p, q of (B^t B)_pq (A^t A)_pq); and the estimate by random signs: with
s_i = +-1 independent,

    E_s || d/dT sum_i s_i (z_i - z_y) / (z_i - z_y)_0 ||^2 = sum_i ||d(z_i - z_y)/dT||^2 / (z_i - z_y)^2,

so a few draws take the place of all logits. It is unbiased; the mean over samples takes the spread away.

Memory. With b bytes a number (4), chunk pairs of a sample and a logit differentiated at once, X and Y the numbers of a
layer's input and output (of one sample), P its output positions, weights of groups x a x b, V = groups P^2 where
P (a + b) < a b and else all weights, and U its unfolded input (P times the numbers that meet at one position), the peak
beyond the model itself stays below

    b (chunk + 1) (4 sum of X + Y over the calls of layers + max over layers of V) + 2 b s max over layers of U,

s = max(1, chunk // pairs) samples, where pairs = (classes - 1) positions of the output, or the number of draws. The
factor 4 leaves room for what the model computes between its layers (measured: 2 to 3 of it are used).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vjp, vmap
from torch.nn.modules.conv import _ConvNd

from slipstick.errors import SpecificationError
from slipstick.precision.layer_calls import TRANSPOSED, SampleNetwork

CHUNK = 64
"""Pairs of a sample and a logit that are differentiated at once."""


@dataclass(frozen=True)
class NoiseGains:
    """E by index of the layer. samples: decisions that they are the mean over. ties: pairs with z_i = z_y, left out."""

    weights: tuple[float, ...]
    activations: tuple[float, ...]
    samples: int
    ties: int


class NoiseGainSum:
    """Noise gains of the layers of ``network``, over the batches that it is given.

    draws: estimate with that many random signs a sample, of a generator seeded with ``seed``; None is exact.
    chunk: bounds the memory, see above.
    """

    def __init__(
        self,
        network: SampleNetwork,
        *,
        chunk: int = CHUNK,
        draws: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, value in (("chunk", chunk), ("draws", draws)):
            if value is not None and (type(value) is not int or value < 1):
                raise SpecificationError(f"noise gain: {name} = {value!r} must be a positive integer")
        self._network, self._chunk, self._draws = network, chunk, draws
        pairs = draws or prod(network.positions) * (network.classes - 1)
        self.samples_at_once = max(1, chunk // pairs)
        self._generator = torch.Generator().manual_seed(seed)
        count = len(network.layers)
        self._weights = torch.zeros(count, dtype=torch.float64)
        self._activations = torch.zeros(count, dtype=torch.float64)
        self._samples = self._ties = 0

    def add(self, inputs: torch.Tensor) -> None:
        """Inputs (N, ...) of the model."""
        with torch.no_grad():
            for few in inputs.split(self.samples_at_once):
                self._add(few.to(self._network.device))

    def _add(self, inputs: torch.Tensor) -> None:
        logits, _ = self._network.run(inputs)
        if not bool(logits.isfinite().all()):
            raise SpecificationError("noise gain: the model's logits are not finite; train it again with a lower lr")
        margins = _Margins(logits)
        self._samples += margins.largest.numel()
        self._ties += int((margins.differences == 0).sum())
        signs = None if self._draws is None else self._signs(margins.differences.shape)
        count = margins.pairs if self._draws is None else self._draws
        for start in range(0, count, self._chunk):
            stop = min(start + self._chunk, count)
            if signs is None:
                rows, factors = margins.rows(start, stop)
            else:
                rows, factors = margins.mixed_rows(signs[:, start:stop])
            norms = self._squared_norms(inputs, rows).double()
            weights, activations = torch.einsum("rlnk,nk->rl", norms, factors).cpu()
            self._weights += weights
            self._activations += activations

    def result(self) -> NoiseGains:
        """Raises SpecificationError where there was no sample, or all pairs were ties."""
        if self._samples == 0:
            raise SpecificationError("noise gain: no samples; give batches of inputs")
        if self._ties == self._samples * (self._network.classes - 1):
            raise SpecificationError("noise gain: all logits of every sample are equal; train the model first")
        weights, activations = self._weights / self._samples, self._activations / self._samples
        if self._draws is not None:
            weights, activations = weights / self._draws, activations / self._draws
        return NoiseGains(tuple(weights.tolist()), tuple(activations.tolist()), self._samples, self._ties)

    def _signs(self, shape: torch.Size) -> torch.Tensor:
        """+-1 of shape (N, draws, ..., classes - 1)."""
        assert self._draws is not None
        bits = torch.randint(2, (shape[0], self._draws, *shape[1:]), generator=self._generator)
        return (2 * bits - 1).to(self._network.device)

    def _squared_norms(self, inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """||d(row . logits)/dT||^2 for each sample, (2, layers, N, k): T a weight, T an input. rows: (N, k, ...)."""
        network = self._network
        _, back, xs = vjp(partial(network.run, inputs), *network.zeros(len(inputs)), has_aux=True)  # type: ignore[misc]
        dxs, dys = vmap(back)(rows.transpose(0, 1))
        weights, activations = [], []
        for index, layer in enumerate(network.layers):
            calls = network.calls_of(index)
            norms = partial(_weight_gradient_norms, layer.module)
            weights.append(vmap(norms, in_dims=(0, 1))([xs[i] for i in calls], [dys[i] for i in calls]))
            activations.append(sum(torch.linalg.vector_norm(dxs[i].flatten(2), dim=2).square().t() for i in calls))
        return torch.stack([torch.stack(weights), torch.stack(activations)])


class _Margins:
    """z_i - z_y of every decision, and the rows of which ``row . logits`` is such a difference or a mix of them."""

    def __init__(self, logits: torch.Tensor) -> None:
        """``logits``: (N, ..., classes)."""
        self._shape, self._dtype = logits.shape, logits.dtype
        z = logits.double().reshape(len(logits), -1, logits.shape[-1])
        self.largest = z.argmax(dim=-1, keepdim=True)
        order = torch.arange(z.shape[-1] - 1, device=z.device)
        self.others = order + (order >= self.largest)
        self.differences = z.gather(-1, self.others) - z.gather(-1, self.largest)

    @property
    def pairs(self) -> int:
        """Of one sample."""
        return self.differences[0].numel()

    def rows(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (N, k, ..., classes) of some pairs of every sample, and 1 / (24 (z_i - z_y)^2), 0 for ties (N, k)."""
        pair = torch.arange(start, stop, device=self.others.device)
        classes = self._shape[-1]
        position, rank = pair // (classes - 1), pair % (classes - 1)
        rows = self._zeros(stop - start).flatten(2)
        rows.scatter_(2, (position * classes + self.others[:, position, rank])[..., None], 1)
        rows.scatter_(2, (position * classes + self.largest[:, position, 0])[..., None], -1)
        difference = self.differences[:, position, rank]
        factors = torch.where(difference == 0, 0.0, 1 / (24 * difference.square()))
        return self._shaped(rows), factors

    def mixed_rows(self, signs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and factors of the sums over all pairs with these signs (N, k, positions, classes - 1).

        Weights are relative to those of the sample's closest pair, so that they are in the range of a float.
        """
        magnitude = self.differences.abs()
        magnitude = torch.where(magnitude == 0, torch.inf, magnitude)
        closest = magnitude.flatten(1).amin(dim=1)
        closest = torch.where(closest.isinf(), 1.0, closest)
        mix = signs * (closest[:, None, None] / magnitude)[:, None]
        rows = self._zeros(signs.shape[1])
        rows.scatter_(3, self.others[:, None].expand(mix.shape), mix.to(self._dtype))
        largest = self.largest[:, None].expand(*mix.shape[:3], 1)
        rows.scatter_(3, largest, -mix.sum(dim=3, keepdim=True).to(self._dtype))
        return self._shaped(rows), (1 / (24 * closest.square()))[:, None].expand(mix.shape[:2])

    def _zeros(self, rows: int) -> torch.Tensor:
        shape = (len(self.others), rows, self.others.shape[1], self._shape[-1])
        return torch.zeros(shape, dtype=self._dtype, device=self.others.device)

    def _shaped(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.reshape(*rows.shape[:2], *self._shape[1:])


def _weight_gradient_norms(module: nn.Module, xs: list[torch.Tensor], dys: list[torch.Tensor]) -> torch.Tensor:
    """||dW||^2 (k) of one sample, of the input and gradients (k, ...) of the output of every call of the layer."""
    calls = [_weight_gradient_factors(module, x, dy) for x, dy in zip(xs, dys, strict=True)]
    return _squared_product_norms(*(torch.cat(each, dim=-1) for each in zip(*calls, strict=True)))


def _weight_gradient_factors(module: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A (groups, a, P) and B (k, groups, b, P) of which B A^t are the gradients of the weight in some order.

    x: a layer's input. dy: (k, ...) gradients of its output.
    """
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1]).t()[None], dy.reshape(len(dy), 1, -1, dy.shape[-1]).transpose(2, 3)
    assert isinstance(module, _ConvNd)
    if x.dim() == module.weight.dim() - 1:  # without a batch axis
        x, dy = x[None], dy[:, None]
    if isinstance(module, TRANSPOSED):
        positions = x.shape[2:]
        return _grouped(module.groups, x), vmap(lambda each: _unfolded(module, each, positions))(dy)
    return _unfolded(module, x, dy.shape[3:]), vmap(partial(_grouped, module.groups))(dy)


def _grouped(groups: int, x: torch.Tensor) -> torch.Tensor:
    """(N, channels, ...) to (groups, channels / groups, positions)."""
    return x.transpose(0, 1).reshape(groups, x.shape[1] // groups, -1)


def _unfolded(module: _ConvNd, x: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """The numbers that meet each element of the kernel: (N, channels, ...) to (groups, channels / groups * kernel, P).

    positions: of the kernel, for each axis.
    """
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    rank = x.dim() - 2
    for axis, (kernel, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True)
    ):
        x = x.unfold(2 + axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        x = x.narrow(2 + axis, 0, positions[axis])
    kernel_first = x.permute(1, *range(2 + rank, 2 + 2 * rank), 0, *range(2, 2 + rank))
    return kernel_first.reshape(module.groups, -1, x.shape[0] * prod(positions))


def _squared_product_norms(still: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """||B A^t||^2 (k) of A = still (groups, a, P) and B = moving (k, groups, b, P), by the shorter way."""
    groups, a, positions = still.shape
    count, _, b, _ = moving.shape
    if positions * (a + b) < a * b:
        gram = still.transpose(1, 2) @ still
        grams = moving.transpose(2, 3) @ moving
        return (grams * gram).sum(dim=(1, 2, 3)).clamp_min(0)
    products = moving.transpose(0, 1).reshape(groups, count * b, positions) @ still.transpose(1, 2)
    norms: torch.Tensor = torch.linalg.vector_norm(products.reshape(groups, count, b * a), dim=2)
    return norms.square().sum(dim=0)
