"""Pooling. A maximum selects; a mean sums its window (row, column) and multiplies by encode(1/n).

Where windows overlap, gradients add in ascending source index, sequentially.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from slipstick.aten import elementary
from slipstick.aten.registry import defined
from slipstick.aten.scatter import scatter_sum
from slipstick.aten.signatures import Ints
from slipstick.kernels import products

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


Spans = list[tuple[int, int]]
"""First and one-past-last input index of every window along one axis."""


@dataclass(frozen=True)
class _Windows:
    """Where windows lie on the zero-padded input: [rows, columns] of each."""

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


def _pair(value: Ints) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _output_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    span = size + 2 * padding - kernel
    output = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    return output - 1 if ceil_mode and (output - 1) * stride >= size + padding else output


def _average_windows(x: Tensor, kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool) -> _Windows:
    kernel, pad = _pair(kernel_size), _pair(padding)
    step = kernel if stride is None or stride == [] else _pair(stride)
    output = [_output_size(x.shape[a - 2], kernel[a], step[a], pad[a], ceil_mode) for a in (0, 1)]
    return _Windows(output, kernel, step, pad)


def _average_factors(x: Tensor, windows: _Windows, count_include_pad: bool, divisor_override: int | None) -> Tensor:
    """encode(1/n) factors: n of every window, as a tensor [rows, columns]."""
    if divisor_override is not None:
        return torch.full(windows.output, 1.0 / divisor_override, dtype=torch.float64)
    sizes = x.shape[-2:]
    if count_include_pad:
        return _inverse_areas(*(windows.padded_lengths(axis, size) for axis, size in enumerate(sizes)))
    return _inverse_areas(*(_lengths(windows.spans(axis, size)) for axis, size in enumerate(sizes)))


def _lengths(spans: Spans) -> list[int]:
    return [stop - start for start, stop in spans]


def _inverse_areas(heights: list[int], widths: list[int]) -> Tensor:
    rows, columns = (torch.tensor(n, dtype=torch.float64) for n in (heights, widths))
    return 1.0 / (rows[:, None] * columns[None, :])


def _window_sums(run: "use", x: Tensor, windows: _Windows) -> Tensor:
    """Sums over windows of the zero-padded input, terms row by row."""
    (height, width), (row_step, column_step) = windows.kernel, windows.stride
    (rows, columns), (above, left) = windows.output, windows.padding
    below = (rows - 1) * row_step + height - x.shape[-2] - above
    right = (columns - 1) * column_step + width - x.shape[-1] - left
    padded = F.pad(x, (left, max(right, 0), above, max(below, 0)))
    patches = padded.unfold(-2, height, row_step).unfold(-2, width, column_step)[..., :rows, :columns, :, :]
    return products.sum_over(patches, [patches.dim() - 2, patches.dim() - 1], False, run.spec, run.operator)


@defined(aten.avg_pool2d.default)
def avg_pool2d(
    run: "use",
    x: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    windows = _average_windows(x, kernel_size, stride, padding, ceil_mode)
    factors = _average_factors(x, windows, count_include_pad, divisor_override)
    sums = _window_sums(run, x, windows)
    return run.chain(elementary.mul, sums, factors, out=sums)


@defined(aten.avg_pool2d_backward.default)
def avg_pool2d_backward(
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
    windows = _average_windows(x, kernel_size, stride, padding, ceil_mode)
    factors = _average_factors(x, windows, count_include_pad, divisor_override)
    spans = [windows.spans(axis, size) for axis, size in enumerate(x.shape[-2:])]
    return _spread(run, run.chain(elementary.mul, gradient, factors), spans, x.shape)


def _adaptive_spans(x: Tensor, output_size: Sequence[int]) -> list[Spans]:
    spans: list[Spans] = []
    for axis, output in zip((-2, -1), output_size, strict=True):
        size = x.shape[axis]
        spans.append([((o * size) // output, -((-(o + 1) * size) // output)) for o in range(output)])
    return spans


def _adaptive_factors(spans: list[Spans]) -> Tensor:
    return _inverse_areas(*map(_lengths, spans))


@defined(aten._adaptive_avg_pool2d.default, aten.adaptive_avg_pool2d.default)
def adaptive_avg_pool2d(run: "use", x: Tensor, output_size: list[int]) -> Tensor:
    """The mean over each window of ceil- and floor-rounded bounds."""
    spans = _adaptive_spans(x, output_size)
    axes = [x.dim() - 2, x.dim() - 1]

    def window_sum(rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        window = x[..., slice(*rows), slice(*columns)]
        return products.sum_over(window, axes, False, run.spec, run.operator)

    rows = [torch.stack([window_sum(r, c) for c in spans[1]], -1) for r in spans[0]]
    sums = torch.stack(rows, -2)
    return run.chain(elementary.mul, sums, _adaptive_factors(spans), out=sums)


@defined(aten._adaptive_avg_pool2d_backward.default)
def adaptive_avg_pool2d_backward(run: "use", gradient: Tensor, x: Tensor) -> Tensor:
    spans = _adaptive_spans(x, gradient.shape[-2:])
    return _spread(run, run.chain(elementary.mul, gradient, _adaptive_factors(spans)), spans, x.shape)


def _spread(run: "use", gradient: Tensor, spans: list[Spans], shape: torch.Size) -> Tensor:
    """Give each output's number to every input in its window; inputs in several windows sum them in source order."""
    if all(b <= c for axis in spans for (_, b), (c, _) in itertools.pairwise(axis)):
        result = gradient.new_zeros(shape)
        (rows, from_row), (columns, from_column) = (_owner(axis) for axis in spans)
        owned = gradient[..., from_row[:, None], from_column[None, :]]
        result[..., rows[:, None], columns[None, :]] = owned
        return result
    h, w = shape[-2:]
    sources: list[Tensor] = []
    targets: list[Tensor] = []
    for i, (a, b) in enumerate(spans[0]):
        for j, (c, d) in enumerate(spans[1]):
            cells = (torch.arange(a, b)[:, None] * w + torch.arange(c, d)[None, :]).reshape(-1)
            targets.append(cells)
            sources.append(torch.full_like(cells, i * len(spans[1]) + j))
    flat = gradient.reshape(*gradient.shape[:-2], -1)[..., torch.cat(sources)]
    return scatter_sum(run, flat, torch.cat(targets), h * w).reshape(shape)


def _owner(spans: Spans) -> tuple[Tensor, Tensor]:
    """Input indices covered by disjoint windows, and the window of each."""
    inputs = [i for a, b in spans for i in range(a, b)]
    owners = [o for o, (a, b) in enumerate(spans) for _ in range(a, b)]
    return torch.tensor(inputs, dtype=torch.long), torch.tensor(owners, dtype=torch.long)


@defined(aten.max_pool2d_with_indices_backward.default)
def max_pool2d_with_indices_backward(
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
    """Each gradient goes to the input it was taken from."""
    kernel = _pair(kernel_size)
    step = _pair(stride) if stride else kernel
    size = x.shape[-2] * x.shape[-1]
    flat, index = gradient.flatten(-2), indices.flatten(-2)
    if step[0] >= kernel[0] and step[1] >= kernel[1] and _pair(dilation) == [1, 1]:
        result = gradient.new_zeros(*x.shape[:-2], size)
        return result.scatter_(-1, index, run.snap(flat)).reshape(x.shape)
    return scatter_sum(run, flat, index, size).reshape(x.shape)
