"""Pools of one to three dimensions and their gradients equal, code for code, sums over windows in source order."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import constants, numbers, placed, stacked
from oracle import Number, Oracle

import slipstick as ss

aten = torch.ops.aten

SIZES = (5, 4, 6)
OUTPUTS = (3, 4, 4)  # windows of the first and the last axis overlap

Window = tuple[slice, ...]


def adaptive(sizes: tuple[int, ...], outputs: tuple[int, ...]) -> list[Window]:
    """Windows in row-major order: from floor(i n / m) to ceil((i + 1) n / m)."""
    axes = [[slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(sizes, outputs, strict=True)]
    return list(itertools.product(*axes))


def sliding(sizes: tuple[int, ...], kernel: int, stride: int, padding: int) -> list[Window]:
    """Windows in row-major order, clipped to the input."""
    axes = [
        [slice(max(s, 0), min(s + kernel, n)) for s in range(-padding, n + padding - kernel + 1, stride)] for n in sizes
    ]
    return list(itertools.product(*axes))


def sums(o: Oracle, x: Number, windows: list[Window]) -> Number:
    """[lead, windows]; the window's terms row by row."""
    lead, rank = x.a.shape[0], len(windows[0])
    terms = [x[(slice(None), *w)].sum(list(range(1, rank + 1)), True).reshape(lead, 1) for w in windows]
    return stacked(o, terms, 1)


def areas(windows: list[Window]) -> np.ndarray:
    return np.array([np.prod([s.stop - s.start for s in w]) for w in windows], np.float64)


def spread(o: Oracle, g: Number, windows: list[Window], sizes: tuple[int, ...]) -> Number:
    """Every output's number to each input of its window, in ascending output."""
    cells = np.arange(np.prod(sizes)).reshape(sizes)
    places = [cells[w].reshape(-1) for w in windows]
    source = np.repeat(np.arange(len(windows)), [len(p) for p in places])
    rows = Number(o, g.a.transpose(1, 0))[source]
    return Number(o, placed(o, rows, np.concatenate(places), cells.size).a.transpose(1, 0))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_means_and_their_gradients(rank: int, o: Oracle) -> None:
    sizes, outputs = SIZES[:rank], OUTPUTS[:rank]
    a = numbers(2, 1, *sizes).requires_grad_()
    g = numbers(2, 1, *outputs, seed=1)
    pool = getattr(F, f"adaptive_avg_pool{rank}d")
    with ss.use(o.arithmetic):
        y = pool(a, outputs)
        (gradient,) = torch.autograd.grad(y, a, g)
        with torch.inference_mode():
            inferred = pool(a.detach(), outputs)
    windows = adaptive(sizes, outputs)
    factors = constants(o, 1.0 / areas(windows))
    want = sums(o, o.numbers(a).reshape(2, *sizes), windows) * factors
    o.same(y.flatten(1), want)
    o.same(inferred.flatten(1), want)
    o.same(gradient.flatten(1), spread(o, o.numbers(g).reshape(2, -1) * factors, windows, sizes))


@pytest.mark.parametrize("include_pad", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_means_over_padded_windows_and_their_gradients(rank: int, include_pad: bool, o: Oracle) -> None:
    sizes, pool = SIZES[:rank], getattr(F, f"avg_pool{rank}d")
    a = numbers(2, 1, *sizes).requires_grad_()
    options = {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": include_pad}
    with ss.use(o.arithmetic):
        y = pool(a, **options)
        g = numbers(*y.shape, seed=1)
        (gradient,) = torch.autograd.grad(y, a, g)
        with torch.inference_mode():
            inferred = pool(a.detach(), **options)
    windows = sliding(sizes, 3, 2, 1)
    padded = F.pad(a.detach(), [1, 1] * rank)
    full = sliding(tuple(s + 2 for s in sizes), 3, 2, 0)
    factors = constants(o, 1.0 / (areas(full) if include_pad else areas(windows)))
    want = sums(o, o.numbers(padded).reshape(2, *padded.shape[2:]), full) * factors
    o.same(y.flatten(1), want)
    o.same(inferred.flatten(1), want)
    o.same(gradient.flatten(1), spread(o, o.numbers(g).reshape(2, -1) * factors, windows, sizes))


def test_a_divisor_of_ones_own(o: Oracle) -> None:
    a = numbers(1, 2, 4, 4)
    with ss.use(o.arithmetic):
        y = F.avg_pool2d(a, 2, divisor_override=3)
    windows = sliding((4, 4), 2, 2, 0)
    o.same(y.flatten(2)[0], sums(o, o.numbers(a[0]), windows) * constants(o, 1 / 3))


MAXIMA = {
    "2, overlapping": (2, lambda x: F.max_pool2d(x, 3, 1, 1, return_indices=True)),
    "2, apart": (2, lambda x: F.max_pool2d(x, 2, 2, return_indices=True)),
    "3, overlapping": (3, lambda x: F.max_pool3d(x, 2, 1, return_indices=True)),
    "3, apart": (3, lambda x: F.max_pool3d(x, 2, 2, return_indices=True)),
    "2, adaptive": (2, lambda x: F.adaptive_max_pool2d(x, (3, 4), return_indices=True)),
    "3, adaptive": (3, lambda x: F.adaptive_max_pool3d(x, (3, 4, 4), return_indices=True)),
    "2, fractional": (2, lambda x: _fractional(F.fractional_max_pool2d, x, (3, 3))),
    "3, fractional": (3, lambda x: _fractional(F.fractional_max_pool3d, x, (3, 2, 4))),
}


def _fractional(pool, x, size):
    return pool(x, 2, size, return_indices=True, _random_samples=torch.full((2, 1, len(size)), 0.3))


@pytest.mark.parametrize("name", MAXIMA)
def test_gradients_of_maxima_go_to_their_sources(name: str, o: Oracle) -> None:
    rank, pool = MAXIMA[name]
    a = numbers(2, 1, *SIZES[:rank]).requires_grad_()
    with ss.use(o.arithmetic):
        y, index = pool(a)
        g = numbers(*y.shape, seed=1)
        (gradient,) = torch.autograd.grad(y, a, g)
    x, d = o.numbers(a).reshape(2, -1), o.numbers(g).reshape(2, -1)
    for n in range(2):
        at = index[n].flatten().numpy()
        o.same(y[n].flatten(), x[n][at])
        o.same(gradient[n].flatten(), placed(o, d[n], at, a[0].numel()))
