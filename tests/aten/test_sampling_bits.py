"""Interpolation and sampling equal, code for code, sums of samples times weights, an axis at a time, the last first."""

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import constants, numbers, placed, real
from oracle import Number, Oracle

import slipstick as ss
from slipstick.kernels.reference import LogArray

Taps = tuple[np.ndarray, np.ndarray | None]
"""[output, taps] indices into one axis, and weights; None for one tap of weight one."""


def nearest(size: int, output: int) -> Taps:
    return np.floor(np.arange(output) * (size / output)).astype(int)[:, None], None


def nearest_exact(size: int, output: int) -> Taps:
    return np.floor((np.arange(output) + 0.5) * (size / output)).astype(int)[:, None], None


def centres(size: int, output: int, corners: bool) -> np.ndarray:
    if corners:
        return np.arange(output) * ((size - 1) / (output - 1))
    return (np.arange(output) + 0.5) * (size / output) - 0.5


def linear(size: int, output: int, corners: bool = False) -> Taps:
    at = np.maximum(centres(size, output, corners), 0)
    low = np.floor(at).astype(int)
    return np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack([1 - (at - low), at - low], 1)


def keys(d: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel at a distance (Keys 1981, eq. 15, with a for -1/2)."""
    d = np.abs(d)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def cubic(size: int, output: int, corners: bool = False) -> Taps:
    at = centres(size, output, corners)
    low = np.floor(at)
    offsets = np.arange(-1, 3)
    weight = keys((at - low)[:, None] - offsets, -0.75)
    return np.clip(low.astype(int)[:, None] + offsets, 0, size - 1), weight


def smoothed(kernel: Callable[[np.ndarray], np.ndarray], radius: float) -> Callable[..., Taps]:
    """Antialiased: the kernel is as wide as an output pixel, and its weights are normalised."""

    def taps(size: int, output: int) -> Taps:
        step = size / output
        wide = max(step, 1.0)
        centre = step * (np.arange(output) + 0.5)
        first = np.maximum((centre - radius * wide + 0.5).astype(int), 0)
        last = np.minimum((centre + radius * wide + 0.5).astype(int), size)
        index = first[:, None] + np.arange((last - first).max())
        weight = np.where(index < last[:, None], kernel((index - centre[:, None] + 0.5) / wide), 0.0)
        return np.minimum(index, size - 1), weight / weight.sum(1, keepdims=True)

    return taps


def corners(taps: Callable[..., Taps]) -> Callable[..., Taps]:
    return lambda size, output: taps(size, output, True)


CASES: dict[str, tuple[Callable[..., Taps], int, dict]] = {
    "nearest 1": (nearest, 1, {"mode": "nearest"}),
    "nearest 2": (nearest, 2, {"mode": "nearest"}),
    "nearest 3": (nearest, 3, {"mode": "nearest"}),
    "nearest-exact 1": (nearest_exact, 1, {"mode": "nearest-exact"}),
    "nearest-exact 2": (nearest_exact, 2, {"mode": "nearest-exact"}),
    "nearest-exact 3": (nearest_exact, 3, {"mode": "nearest-exact"}),
    "linear": (linear, 1, {"mode": "linear"}),
    "linear, corners": (corners(linear), 1, {"mode": "linear", "align_corners": True}),
    "bilinear": (linear, 2, {"mode": "bilinear"}),
    "bilinear, corners": (corners(linear), 2, {"mode": "bilinear", "align_corners": True}),
    "trilinear": (linear, 3, {"mode": "trilinear"}),
    "bicubic": (cubic, 2, {"mode": "bicubic"}),
    "bicubic, corners": (corners(cubic), 2, {"mode": "bicubic", "align_corners": True}),
    "bilinear, smoothed": (
        smoothed(lambda d: np.maximum(1 - abs(d), 0), 1.0), 2, {"mode": "bilinear", "antialias": True}
    ),
    "bicubic, smoothed": (smoothed(lambda d: keys(d, -0.5), 2.0), 2, {"mode": "bicubic", "antialias": True}),
}  # fmt: skip
SIZES = ((4, 3, 5), (6, 2, 8))  # the second axis shrinks


def first_axis(o: Oracle, x: Number, axis: int) -> Number:
    """[axis, rest]."""
    return Number(o, LogArray(x.a.format, *(np.moveaxis(field, axis, 0) for field in (x.a.sign, x.a.log))))


def resampled(o: Oracle, x: Number, axis: int, taps: Taps) -> Number:
    index, weight = taps
    lines = first_axis(o, x, axis)[index]  # [output, taps, rest]
    if weight is None:
        result = lines[:, 0]
    else:
        result = (lines * constants(o, weight.reshape(*weight.shape, *[1] * (x.a.sign.ndim - 1)))).sum([1])
    return Number(o, LogArray(x.a.format, *(np.moveaxis(f, 0, axis) for f in (result.a.sign, result.a.log))))


def gathered_back(o: Oracle, g: Number, axis: int, taps: Taps, size: int) -> Number:
    """Ascending output index, then tap, sequentially."""
    index, weight = taps
    lines = first_axis(o, g, axis)
    lines = lines.reshape(lines.a.shape[0], 1, *lines.a.shape[1:])
    if weight is not None:
        lines = lines * constants(o, weight.reshape(*weight.shape, *[1] * (g.a.sign.ndim - 1)))
    flat = lines.reshape(index.size, *lines.a.shape[2:])
    result = placed(o, flat, index, size)
    return Number(o, LogArray(g.a.format, *(np.moveaxis(f, 0, axis) for f in (result.a.sign, result.a.log))))


@pytest.mark.parametrize("name", CASES)
def test_interpolation_and_its_gradient(name: str, o: Oracle) -> None:
    taps, rank, options = CASES[name]
    sizes, outputs = (s[:rank] for s in SIZES)
    a = numbers(1, 2, *sizes).requires_grad_()
    with ss.use(o.arithmetic):
        y = F.interpolate(a, outputs, **options)
        g = numbers(*y.shape, seed=1)
        (gradient,) = torch.autograd.grad(y, a, g)
    want, back = o.numbers(a), o.numbers(g)
    for axis in reversed(range(rank)):
        want = resampled(o, want, 2 + axis, taps(sizes[axis], outputs[axis]))
    for axis in range(rank):
        back = gathered_back(o, back, 2 + axis, taps(sizes[axis], outputs[axis]), sizes[axis])
    o.same(y, want)
    o.same(gradient, back)


def whole(o: Oracle, x: Number) -> np.ndarray:
    """The whole number whose code each number is, else what lies toward zero."""
    value = x.a.numbers().astype(np.float64)
    nearest = o.numbers(torch.from_numpy(np.rint(value))).a
    same = (nearest.log == x.a.log) & (nearest.sign == x.a.sign)
    return np.where(same, np.rint(value), np.trunc(value)).astype(int)


def test_sampling_at_given_places_and_the_gradient_of_the_image(o: Oracle) -> None:
    """Places are numbers of the arithmetic: 1 below and 1 above each floor, weights by products of distances."""
    n, channels, height, width = 2, 3, 4, 5
    a, grid = numbers(n, channels, height, width).requires_grad_(), numbers(n, 3, 4, 2, seed=1, spread=0.7)
    grid[0, 0] = 0.2  # one place, four times
    g = numbers(n, channels, 3, 4, seed=2)
    with ss.use(o.arithmetic):
        y = F.grid_sample(a, grid, align_corners=False)
        (gradient,) = torch.autograd.grad(y, a, g)
    x, d = o.numbers(a), o.numbers(g)
    zero = constants(o, np.zeros((n, 3, 4)))
    u, v = (o.numbers(grid[..., i]) * (s * 0.5) + (s * 0.5 - 0.5) for i, s in ((0, width), (1, height)))
    left, top = (real(z, "floor", mpmath.floor) for z in (u, v))
    right, bottom = left + 1.0, top + 1.0
    corners = (
        (left, top, (right - u) * (bottom - v)),
        (right, top, (u - left) * (bottom - v)),
        (left, bottom, (right - u) * (v - top)),
        (right, bottom, (u - left) * (v - top)),
    )
    samples, parts = [], []
    at = np.arange(n)[:, None, None, None], np.arange(channels)[None, :, None, None]
    for column, row, weight in corners:
        values = column.a.numbers(), row.a.numbers()
        limits = (o.numbers(torch.tensor(float(s))).a.numbers() for s in (width, height))
        inside = np.logical_and.reduce([(z >= 0) & (z < limit) for z, limit in zip(values, limits, strict=True)])
        i, j = (np.where(inside, whole(o, z), 0)[:, None] for z in (row, column))
        factor = weight.where(inside, zero).reshape(n, 1, 3, 4)
        samples.append(x[at[0], at[1], i, j] * factor)
        places = ((at[0] * channels + at[1]) * height + i) * width + j
        parts.append(placed(o, (d * factor).reshape(-1), places, a.numel()).reshape(*a.shape))
    o.same(y, ((samples[0] + samples[1]) + samples[2]) + samples[3])
    o.same(gradient, ((parts[3] + parts[2]) + parts[1]) + parts[0])  # as autograd adds: the last used first
