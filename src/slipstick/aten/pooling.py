"""Pooling. A maximum selects; a mean sums its window (row, column) and multiplies by encode(1/n).

Where windows overlap, gradients add in ascending source index, sequentially.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slipstick.aten.registry import defined
from slipstick.aten.scatter import scatter_sum
from slipstick.aten.signatures import Ints
from slipstick.kernels import elementary, products

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


Spans = list[tuple[int, int]]
"""First and one-past-last input index of every window along one axis."""


@dataclass(frozen=True)
class _Windows:
    """Where windows lie on the zero-padded input, a number for each spatial axis."""

    output: list[int]
    kernel: list[int]
    stride: list[int]
    padding: list[int]

    def spans(self, axis: int, size: int) -> Spans:
        """The windows along one axis, clipped to the input."""
        return [(max(s, 0), min(s + self.kernel[axis], size)) for s in self._starts(axis)]

    def padded_lengths(self, axis: int, size: int) -> list[int]:
        """Window lengths along one axis, padding included."""
        return [min(s + self.kernel[axis], size + self.padding[axis]) - s for s in self._starts(axis)]

    def _starts(self, axis: int) -> list[int]:
        return [o * self.stride[axis] - self.padding[axis] for o in range(self.output[axis])]


def _per_axis(value: Ints, rank: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def _output_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    span = size + 2 * padding - kernel
    output = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    return output - 1 if ceil_mode and (output - 1) * stride >= size + padding else output


def _average_windows(
    sizes: Sequence[int], kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool
) -> _Windows:
    rank = len(sizes)
    kernel, pad = _per_axis(kernel_size, rank), _per_axis(padding, rank)
    step = kernel if stride is None or stride == [] else _per_axis(stride, rank)
    output = [_output_size(*axis, ceil_mode) for axis in zip(sizes, kernel, step, pad, strict=True)]
    return _Windows(output, kernel, step, pad)


def _average_factors(
    sizes: Sequence[int], windows: _Windows, count_include_pad: bool, divisor_override: int | None
) -> Tensor:
    """encode(1/n) factors: n of every window, as a tensor of the output's shape."""
    if divisor_override is not None:
        return torch.full(windows.output, 1.0 / divisor_override, dtype=torch.float64)
    if count_include_pad:
        return _inverse_areas([windows.padded_lengths(axis, size) for axis, size in enumerate(sizes)])
    return _inverse_areas([_lengths(windows.spans(axis, size)) for axis, size in enumerate(sizes)])


def _lengths(spans: Spans) -> list[int]:
    return [stop - start for start, stop in spans]


def _inverse_areas(lengths: list[list[int]]) -> Tensor:
    areas = torch.ones((), dtype=torch.float64)
    for along in lengths:
        areas = areas[..., None] * torch.tensor(along, dtype=torch.float64)
    return 1.0 / areas


def _window_sums(run: "use", x: Tensor, windows: _Windows) -> Tensor:
    """Sums over windows of the zero-padded input, terms row by row."""
    rank = len(windows.kernel)
    margins: list[int] = []
    for axis in range(rank):
        before, needed = windows.padding[axis], (windows.output[axis] - 1) * windows.stride[axis] + windows.kernel[axis]
        margins = [before, max(needed - x.shape[axis - rank] - before, 0), *margins]
    patches = F.pad(x, margins)
    for axis in range(rank):
        patches = patches.unfold(x.dim() - rank + axis, windows.kernel[axis], windows.stride[axis])
        patches = patches.narrow(x.dim() - rank + axis, 0, windows.output[axis])
    return products.sum_over(patches, range(x.dim(), x.dim() + rank), False, run.spec, run.operator)


def _average(
    run: "use",
    x: Tensor,
    rank: int,
    kernel_size: Ints,
    stride: Ints | None,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    windows = _average_windows(x.shape[-rank:], kernel_size, stride, padding, ceil_mode)
    factors = _average_factors(x.shape[-rank:], windows, count_include_pad, divisor_override)
    if not x.numel():
        return x.new_zeros([*x.shape[:-rank], *windows.output])
    sums = _window_sums(run, x, windows)
    return run.chain(elementary.mul, sums, factors, out=sums)


def _define_average(rank: int) -> None:
    @defined(getattr(aten, f"avg_pool{rank}d").default)
    def avg_pool(
        run: "use",
        x: Tensor,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        return _average(run, x, rank, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _define_average_gradient(rank: int) -> None:
    @defined(getattr(aten, f"avg_pool{rank}d_backward").default)
    def avg_pool_backward(
        run: "use",
        gradient: Tensor,
        x: Tensor,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> Tensor:
        sizes = x.shape[-rank:]
        windows = _average_windows(sizes, kernel_size, stride, padding, ceil_mode)
        factors = _average_factors(sizes, windows, count_include_pad, divisor_override)
        spans = [windows.spans(axis, size) for axis, size in enumerate(sizes)]
        return _spread(run, run.chain(elementary.mul, gradient, factors), spans, x.shape)


def _adaptive_spans(sizes: Sequence[int], output_size: Sequence[int]) -> list[Spans]:
    return [
        [((o * size) // output, -((-(o + 1) * size) // output)) for o in range(output)]
        for size, output in zip(sizes, output_size, strict=True)
    ]


def _adaptive_average(run: "use", x: Tensor, output_size: Sequence[int]) -> Tensor:
    """The mean over each window of ceil- and floor-rounded bounds."""
    rank = len(output_size)
    spans = _adaptive_spans(x.shape[-rank:], output_size)
    if not x.numel():
        return x.new_zeros([*x.shape[:-rank], *output_size])
    axes = range(x.dim() - rank, x.dim())

    def window_sum(window: tuple[tuple[int, int], ...]) -> Tensor:
        at: Any = (..., *(slice(*span) for span in window))
        return products.sum_over(x[at], axes, False, run.spec, run.operator)

    sums = [window_sum(window) for window in itertools.product(*spans)]
    stacked = torch.stack(sums, -1).reshape(*x.shape[:-rank], *output_size)
    return run.chain(elementary.mul, stacked, _inverse_areas([_lengths(s) for s in spans]), out=stacked)


@defined(aten.adaptive_avg_pool1d.default)
def adaptive_avg_pool1d(run: "use", x: Tensor, output_size: Ints) -> Tensor:
    return _adaptive_average(run, x, _per_axis(output_size, 1))


def _define_adaptive_average(rank: int) -> None:
    name = f"adaptive_avg_pool{rank}d"

    @defined(getattr(aten, f"_{name}").default, getattr(aten, name).default)
    def adaptive_avg_pool(run: "use", x: Tensor, output_size: list[int]) -> Tensor:
        return _adaptive_average(run, x, _per_axis(output_size, rank))

    @defined(getattr(aten, f"_{name}_backward").default)
    def adaptive_avg_pool_backward(run: "use", gradient: Tensor, x: Tensor) -> Tensor:
        spans = _adaptive_spans(x.shape[-rank:], gradient.shape[-rank:])
        factors = _inverse_areas([_lengths(s) for s in spans])
        return _spread(run, run.chain(elementary.mul, gradient, factors), spans, x.shape)


for _rank in (1, 2, 3):
    _define_average(_rank)
for _rank in (2, 3):
    _define_average_gradient(_rank)
    _define_adaptive_average(_rank)


def _spread(run: "use", gradient: Tensor, spans: list[Spans], shape: torch.Size) -> Tensor:
    """Give each output's number to every input in its window; inputs in several windows sum them in source order."""
    rank = len(spans)
    if not gradient.numel():
        return gradient.new_zeros(shape)
    if all(b <= c for axis in spans for (_, b), (c, _) in itertools.pairwise(axis)):
        result = gradient.new_zeros(shape)
        inputs, owners = zip(*map(_owner, spans), strict=True)
        to: Any = (..., *torch.meshgrid(*inputs, indexing="ij"))
        source: Any = (..., *torch.meshgrid(*owners, indexing="ij"))
        result[to] = gradient[source]
        return result
    cells = torch.arange(shape[-rank:].numel()).reshape(shape[-rank:])
    windows = [cells[tuple(slice(*span) for span in window)].reshape(-1) for window in itertools.product(*spans)]
    sources = torch.arange(len(windows)).repeat_interleave(torch.tensor([len(w) for w in windows]))
    flat = gradient.reshape(*gradient.shape[:-rank], -1)[..., sources]
    return scatter_sum(run, flat, torch.cat(windows), cells.numel()).reshape(shape)


def _owner(spans: Spans) -> tuple[Tensor, Tensor]:
    """Input indices covered by disjoint windows, and the window of each."""
    inputs = [i for a, b in spans for i in range(a, b)]
    owners = [o for o, (a, b) in enumerate(spans) for _ in range(a, b)]
    return torch.tensor(inputs, dtype=torch.long), torch.tensor(owners, dtype=torch.long)


def _to_sources(run: "use", gradient: Tensor, x: Tensor, indices: Tensor, rank: int, overlap: bool = True) -> Tensor:
    """Each gradient goes to the input it was taken from."""
    size = x.shape[-rank:].numel()
    flat, index = gradient.flatten(-rank), indices.flatten(-rank)
    if not overlap:
        result = gradient.new_zeros(*x.shape[:-rank], size)
        return result.scatter_(-1, index, run.snap(flat)).reshape(x.shape)
    return scatter_sum(run, flat, index, size).reshape(x.shape)


def _define_maximum_gradients(rank: int) -> None:
    @defined(getattr(aten, f"max_pool{rank}d_with_indices_backward").default)
    def max_pool_backward(
        run: "use",
        gradient: Tensor,
        x: Tensor,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        ceil_mode: bool,
        indices: Tensor,
    ) -> Tensor:
        kernel = _per_axis(kernel_size, rank)
        step = _per_axis(stride, rank) if stride else kernel
        apart = all(s >= k for s, k in zip(step, kernel, strict=True)) and set(_per_axis(dilation, rank)) == {1}
        return _to_sources(run, gradient, x, indices, rank, overlap=not apart)

    @defined(getattr(aten, f"adaptive_max_pool{rank}d_backward").default)
    def adaptive_max_pool_backward(run: "use", gradient: Tensor, x: Tensor, indices: Tensor) -> Tensor:
        return _to_sources(run, gradient, x, indices, rank)

    @defined(getattr(aten, f"fractional_max_pool{rank}d_backward").default)
    def fractional_max_pool_backward(
        run: "use", gradient: Tensor, x: Tensor, kernel_size: Ints, output_size: Ints, indices: Tensor
    ) -> Tensor:
        return _to_sources(run, gradient, x, indices, rank)


for _rank in (2, 3):
    _define_maximum_gradients(_rank)
