"""Pooling. A maximum selects; a mean sums its window (row, column) and multiplies by encode(1/n).

Where windows overlap, gradients add in ascending source index, sequentially.
"""

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from slipstick.aten import elementary
from slipstick.aten.registry import defined
from slipstick.aten.scatter import scatter_sum
from slipstick.aten.signatures import Ints
from slipstick.kernels import products

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


def _pair(value: float) -> torch.Tensor:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * 2 if len(values) == 1 else values


def _windows(size: int, output: torch.Tensor, kernel: torch.Tensor, stride: Ints, padding: Ints) -> torch.Tensor:
    """First and one-past-last index of every window along one axis, clipped to the input."""
    starts = [o * stride - padding for o in range(output)]
    return [(max(s, 0), min(s + kernel, size)) for s in starts], [min(s + kernel, size + padding) - s for s in starts]


def _counts(
    x: torch.Tensor,
    output: torch.Tensor,
    kernel: torch.Tensor,
    stride: Ints,
    padding: Ints,
    include_padding: torch.Tensor,
) -> torch.Tensor:
    """encode(1/n) factors: n of every window, as a tensor [rows, columns]."""
    per_axis = []
    for axis in (0, 1):
        size = x.shape[axis - 2]
        inside, padded = _windows(size, output[axis], kernel[axis], stride[axis], padding[axis])
        per_axis.append(padded if include_padding else [stop - start for start, stop in inside])
    rows, columns = (torch.tensor(n, dtype=torch.float64) for n in per_axis)
    return 1.0 / (rows[:, None] * columns[None, :])


def _output_size(size: int, kernel: torch.Tensor, stride: Ints, padding: Ints, ceil_mode: bool) -> torch.Tensor:
    span = size + 2 * padding - kernel
    output = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    return output - 1 if ceil_mode and (output - 1) * stride >= size + padding else output


def _window_sums(
    run: "use", x: torch.Tensor, output: torch.Tensor, kernel: torch.Tensor, stride: Ints, padding: Ints
) -> torch.Tensor:
    """Sums over windows of the zero-padded input, terms row by row."""
    needed = [(o - 1) * s + k for o, s, k in zip(output, stride, kernel, strict=True)]
    after = [n - size - p for n, size, p in zip(needed, x.shape[-2:], padding, strict=True)]
    padded = F.pad(x, (padding[1], max(after[1], 0), padding[0], max(after[0], 0)))
    windows = padded.unfold(-2, kernel[0], stride[0]).unfold(-2, kernel[1], stride[1])
    windows = windows[..., : output[0], : output[1], :, :]
    return products.sum_over(windows, [windows.dim() - 2, windows.dim() - 1], False, run.spec)


def _average_geometry(x: torch.Tensor, kernel_size: Ints, stride: Ints, padding: Ints, ceil_mode: bool) -> torch.Tensor:
    kernel, padding = _pair(kernel_size), _pair(padding)
    stride = _pair(stride) if stride is not None and stride != [] else kernel
    shape = [_output_size(x.shape[a - 2], kernel[a], stride[a], padding[a], ceil_mode) for a in (0, 1)]
    return shape, kernel, stride, padding


def _average_factors(
    x: torch.Tensor, geometry: torch.Tensor, count_include_pad: bool, divisor_override: int | None
) -> torch.Tensor:
    shape, kernel, stride, padding = geometry
    if divisor_override is not None:
        return torch.full(shape, 1.0 / divisor_override, dtype=torch.float64)
    return _counts(x, shape, kernel, stride, padding, count_include_pad)


@defined(aten.avg_pool2d.default)
def avg_pool2d(
    run: "use",
    x: torch.Tensor,
    kernel_size: Ints,
    stride: Ints = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> torch.Tensor:
    geometry = _average_geometry(x, kernel_size, stride, padding, ceil_mode)
    factors = _average_factors(x, geometry, count_include_pad, divisor_override)
    sums = _window_sums(run, x, *geometry)
    return run.chain(elementary.mul, sums, factors, out=sums)


@defined(aten.avg_pool2d_backward.default)
def avg_pool2d_backward(
    run: "use",
    gradient: torch.Tensor,
    x: torch.Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> torch.Tensor:
    geometry = _average_geometry(x, kernel_size, stride, padding, ceil_mode)
    factors = _average_factors(x, geometry, count_include_pad, divisor_override)
    shape, kernel, stride, padding = geometry
    spans = [_windows(x.shape[a - 2], shape[a], kernel[a], stride[a], padding[a])[0] for a in (0, 1)]
    return _spread(run, run.chain(elementary.mul, gradient, factors), spans, x.shape)


def _adaptive_spans(x: torch.Tensor, output_size: list[int]) -> torch.Tensor:
    spans = []
    for axis, output in zip((-2, -1), output_size, strict=True):
        size = x.shape[axis]
        spans.append([((o * size) // output, -((-(o + 1) * size) // output)) for o in range(output)])
    return spans


def _adaptive_factors(spans: torch.Tensor) -> torch.Tensor:
    rows, columns = (torch.tensor([b - a for a, b in axis], dtype=torch.float64) for axis in spans)
    return 1.0 / (rows[:, None] * columns[None, :])


@defined(aten._adaptive_avg_pool2d.default, aten.adaptive_avg_pool2d.default)
def adaptive_avg_pool2d(run: "use", x: torch.Tensor, output_size: list[int]) -> torch.Tensor:
    """The mean over each window of ceil- and floor-rounded bounds."""
    spans = _adaptive_spans(x, output_size)
    rows = [
        torch.stack(
            [products.sum_over(x[..., a:b, c:d], [x.dim() - 2, x.dim() - 1], False, run.spec) for c, d in spans[1]], -1
        )
        for a, b in spans[0]
    ]
    sums = torch.stack(rows, -2)
    return run.chain(elementary.mul, sums, _adaptive_factors(spans), out=sums)


@defined(aten._adaptive_avg_pool2d_backward.default)
def adaptive_avg_pool2d_backward(run: "use", gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    spans = _adaptive_spans(x, gradient.shape[-2:])
    return _spread(run, run.chain(elementary.mul, gradient, _adaptive_factors(spans)), spans, x.shape)


def _spread(run: "use", gradient: torch.Tensor, spans: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """Give each output's number to every input in its window; inputs in several windows sum them in source order."""
    if all(b <= c for axis in spans for (_, b), (c, _) in itertools.pairwise(axis)):
        result = gradient.new_zeros(shape)
        rows, columns = (_owner(axis, size) for axis, size in zip(spans, shape[-2:], strict=True))
        (r, from_r), (c, from_c) = rows, columns
        result[..., r[:, None], c[None, :]] = gradient[..., from_r[:, None], from_c[None, :]]
        return result
    h, w = shape[-2:]
    sources, targets = [], []
    for i, (a, b) in enumerate(spans[0]):
        for j, (c, d) in enumerate(spans[1]):
            cells = (torch.arange(a, b)[:, None] * w + torch.arange(c, d)[None, :]).reshape(-1)
            targets.append(cells)
            sources.append(torch.full_like(cells, i * len(spans[1]) + j))
    flat = gradient.reshape(*gradient.shape[:-2], -1)[..., torch.cat(sources)]
    return scatter_sum(run, flat, torch.cat(targets), h * w).reshape(shape)


def _owner(spans: torch.Tensor, size: int) -> torch.Tensor:
    """Input indices covered by disjoint windows, and the window of each."""
    inputs = [i for a, b in spans for i in range(a, b)]
    owners = [o for o, (a, b) in enumerate(spans) for _ in range(a, b)]
    return torch.tensor(inputs, dtype=torch.long), torch.tensor(owners, dtype=torch.long)


@defined(aten.max_pool2d_with_indices_backward.default)
def max_pool2d_with_indices_backward(
    run: "use",
    gradient: torch.Tensor,
    x: torch.Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
    indices: Any,
) -> torch.Tensor:
    """Each gradient goes to the input it was taken from."""
    kernel = _pair(kernel_size)
    stride = _pair(stride) if stride else kernel
    size = x.shape[-2] * x.shape[-1]
    flat, index = gradient.flatten(-2), indices.flatten(-2)
    if stride[0] >= kernel[0] and stride[1] >= kernel[1] and _pair(dilation) == [1, 1]:
        result = gradient.new_zeros(*x.shape[:-2], size)
        return result.scatter_(-1, index, run.snap(flat)).reshape(x.shape)
    return scatter_sum(run, flat, index, size).reshape(x.shape)
