"""Operators of the core opset equal, code for code, their formula composed of the NumPy reference's primitives."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import numbers, real, stacked
from oracle import Number, Oracle

import slipstick as ss
from slipstick.kernels import reference


def test_trigonometric_error_and_rounding_functions(o: Oracle) -> None:
    a = torch.cat([numbers(200), numbers(100, seed=1, spread=1e4), numbers(100, seed=2, spread=1e-4)])
    x = o.numbers(a)
    everywhere = {
        torch.sin: mpmath.sin,
        torch.cos: mpmath.cos,
        torch.atan: mpmath.atan,
        torch.sinh: mpmath.sinh,
        torch.asinh: mpmath.asinh,
        torch.erf: mpmath.erf,
        torch.erfc: mpmath.erfc,
        torch.floor: mpmath.floor,
        torch.ceil: mpmath.ceil,
        torch.round: mpmath.nint,
        F.gelu: lambda v: v * mpmath.ncdf(v),
        torch.exp2: lambda v: mpmath.power(2, v),
    }
    with ss.use(o.arithmetic):
        for function, f in everywhere.items():
            o.same(function(a), real(x, function.__name__, f))
        o.same(3.0**a, real(x, "3^x", lambda v: mpmath.power(3, v)))
        o.same(a.round(decimals=1), real(x, "round", lambda v: mpmath.nint(10 * v) / 10))


def test_the_gradient_of_gelu_is_the_gradient_times_the_derivative(o: Oracle) -> None:
    a, g = numbers(100).requires_grad_(), numbers(100, seed=1)
    with ss.use(o.arithmetic):
        (gradient,) = torch.autograd.grad(F.gelu(a), a, g)
    derivative = real(o.numbers(a), "gelu'", lambda v: mpmath.ncdf(v) + v * mpmath.npdf(v))
    o.same(gradient, o.numbers(g) * derivative)


def test_softplus_and_the_soft_margin_stay_in_range(o: Oracle) -> None:
    a, sign = numbers(100, spread=30.0), numbers(100, seed=1).sign()
    x, t = o.numbers(a), o.numbers(sign)

    def smooth(z: Number) -> Number:
        exponential = real(-z.call("absolute"), "exp", mpmath.exp)
        return z.maximum(0.0) + real(exponential, "log1p", mpmath.log1p)

    with ss.use(o.arithmetic):
        o.same(F.softplus(a), x.where((o.numbers(a) - 20.0).a.sign == 0, smooth(x)))
        o.same(F.soft_margin_loss(a, sign, reduction="sum"), smooth(-(t * x)).sum([0]))
        o.same(F.soft_margin_loss(torch.tensor([-60.0]), torch.ones(1)), o.numbers(torch.tensor(60.0)))


def test_remainders_angles_and_powers(o: Oracle) -> None:
    a, b = numbers(200, spread=20.0), numbers(200, seed=1)
    b = torch.where(b.abs() < 1e-3, 0.7, b)
    x, y = o.numbers(a), o.numbers(b)
    floor = real(x / y, "floor", mpmath.floor)
    trunc = real(x / y, "trunc", lambda v: mpmath.floor(v) if v > 0 else mpmath.ceil(v))
    with ss.use(o.arithmetic):
        o.same(torch.div(a, b, rounding_mode="floor"), floor)
        o.same(torch.remainder(a, b), x - y * floor)
        o.same(torch.fmod(a, b), x - y * trunc)
        o.same(torch.hypot(a, b), (x * x + y * y).call("sqrt"))
        turned = real(x / y, "atan", mpmath.atan)
        pi = o.numbers(torch.where(a >= 0, torch.tensor(math.pi), torch.tensor(-math.pi)))
        o.same(torch.atan2(a, b), turned.where((b > 0).numpy(), turned + pi))
        base = a.abs() + 0.01
        log2 = real(o.numbers(base), "log2", lambda v: mpmath.log(v, 2))
        o.same(base**b, real(y * log2, "exp2", lambda v: mpmath.power(2, v)))


@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm_forward_and_backward(o: Oracle, affine: bool) -> None:
    a, g = numbers(6, 19).requires_grad_(), numbers(6, 19, seed=1)
    w = (numbers(19, seed=2) + 1).requires_grad_() if affine else None
    b = numbers(19, seed=3).requires_grad_() if affine else None
    with ss.use(o.arithmetic):
        y = F.layer_norm(a, (19,), w, b, 1e-3)
        y.backward(g)
    x, d = o.numbers(a), o.numbers(g)
    centred = x - x.mean([1], True)
    inverse = ((centred * centred).mean([1], True) + 1e-3).call("rsqrt")
    h = centred * inverse
    scaled = d
    if affine:
        scaled = d * o.numbers(w)
        o.same(w.grad, (d * h).sum([0]))
        o.same(b.grad, d.sum([0]))
    o.same(y, h * o.numbers(w) + o.numbers(b) if affine else h)
    total, along = scaled.sum([1], True), (scaled * h).sum([1], True)
    o.same(a.grad, ((scaled - (1 / 19) * total) - h * ((1 / 19) * along)) * inverse)


def test_group_norm_forward_and_backward(o: Oracle) -> None:
    a, g = numbers(2, 4, 3, 3).requires_grad_(), numbers(2, 4, 3, 3, seed=1)
    w, b = (numbers(4, seed=2) + 1).requires_grad_(), numbers(4, seed=3).requires_grad_()
    with ss.use(o.arithmetic):
        y = F.group_norm(a, 2, w, b, 1e-3)
        y.backward(g)
    x, d = o.numbers(a).reshape(2, 2, 18), o.numbers(g)
    weight, bias = (o.numbers(p).reshape(1, 4, 1, 1) for p in (w, b))
    centred = x - x.mean([2], True)
    inverse = ((centred * centred).mean([2], True) + 1e-3).call("rsqrt")
    h = centred * inverse
    o.same(y, h.reshape(2, 4, 3, 3) * weight + bias)
    o.same(w.grad, (d * h.reshape(2, 4, 3, 3)).sum([0, 2, 3]))
    o.same(b.grad, d.sum([0, 2, 3]))
    scaled = (d * weight).reshape(2, 2, 18)
    total, along = scaled.sum([2], True), (scaled * h).sum([2], True)
    want = ((scaled - (1 / 18) * total) - h * ((1 / 18) * along)) * inverse
    o.same(a.grad, want.reshape(2, 4, 3, 3))


def test_rms_norm_forward_and_backward(o: Oracle) -> None:
    a, g, w = numbers(6, 19), numbers(6, 19, seed=1), numbers(19, seed=2) + 1
    fused = torch.ops.aten._fused_rms_norm, torch.ops.aten._fused_rms_norm_backward
    with ss.use(o.arithmetic):
        y, inverse_root = fused[0](a, [19], w, 1e-3)
        of_x, of_weight = fused[1](g, a, [19], inverse_root, w, [True, True])
    x, d, weight = o.numbers(a), o.numbers(g), o.numbers(w)
    inverse = ((x * x).mean([1], True) + 1e-3).call("rsqrt")
    h, scaled = x * inverse, d * weight
    o.same(y, h * weight)
    o.same(of_weight, (d * h).sum([0]))
    o.same(of_x, (scaled - h * ((1 / 19) * (scaled * h).sum([1], True))) * inverse)


def test_prefix_sums_are_sums_and_prefix_products_multiply_in_turn(o: Oracle) -> None:
    a = numbers(5, 37)
    x = o.numbers(a)
    with ss.use(o.arithmetic):
        sums, products, product = a.cumsum(1), a.cumprod(1), a.prod(1)
    o.same(sums, stacked(o, [x[:, : i + 1].sum([1], True) for i in range(37)], 1))
    running = [x[:, :1]]
    for i in range(1, 37):
        running.append(running[-1] * x[:, i : i + 1])
    o.same(products, stacked(o, running, 1))
    folded = x
    while (n := folded.a.shape[1]) > 1:
        half = (n + 1) // 2
        parts = [folded[:, : n - half] * folded[:, half:], folded[:, n - half : half]]
        folded = stacked(o, parts, 1)
    o.same(product, folded.reshape(5))


def _added(o: Oracle, own: Number, places: np.ndarray, values: Number) -> Number:
    """Own number first, then contributions in ascending index, sequentially; untouched places stay."""
    size = own.a.shape[0]
    terms = stacked(o, [own, values], 0)
    index = np.concatenate([np.arange(size), places])
    return Number(o, reference.scatter_sum(terms.a, index, size, o.arithmetic))


def test_scattered_sums_add_in_ascending_source_index(o: Oracle) -> None:
    a, values = numbers(9), numbers(60, seed=1)
    index = torch.randint(0, 9, (60,), generator=torch.Generator().manual_seed(0))
    x, v = o.numbers(a), o.numbers(values)
    want = _added(o, x, index.numpy(), v)
    with ss.use(o.arithmetic):
        o.same(a.scatter_add(0, index, values), want)
        o.same(a.index_add(0, index, values), want)
        o.same(a.index_put((index,), values, accumulate=True), want)
        o.same(a.put(index, values, accumulate=True), want)
        o.same(a.scatter_reduce(0, index, values, "sum"), want)
        o.same(a.index_add(0, index, values, alpha=0.3), _added(o, x, index.numpy(), 0.3 * v))
        counts = 1 + np.bincount(index.numpy(), minlength=9)
        o.same(a.scatter_reduce(0, index, values, "mean"), want * o.numbers(torch.from_numpy(1.0 / counts)))


def test_the_gradient_of_an_embedding_adds_in_the_order_of_the_indices(o: Oracle) -> None:
    table = numbers(7, 3).requires_grad_()
    index = torch.randint(0, 7, (5, 9), generator=torch.Generator().manual_seed(0))
    g = numbers(5, 9, 3, seed=1)
    with ss.use(o.arithmetic):
        F.embedding(index, table, padding_idx=2).backward(g)
    kept = (index != 2).flatten().numpy()
    rows = o.numbers(g).reshape(45, 3)[kept]
    o.same(table.grad, Number(o, reference.scatter_sum(rows.a, index.flatten().numpy()[kept], 7, o.arithmetic)))


def test_embedding_bags(o: Oracle) -> None:
    table, offsets = numbers(7, 3), torch.tensor([0, 2, 2, 6])
    index = torch.tensor([1, 4, 4, 0, 6, 2, 3, 3, 1])
    x = o.numbers(table)[index.numpy()]
    bags = np.array([0, 0, 2, 2, 2, 2, 3, 3, 3])
    sums = Number(o, reference.scatter_sum(x.a, bags, 4, o.arithmetic))
    with ss.use(o.arithmetic):
        o.same(F.embedding_bag(index, table, offsets, mode="sum"), sums)
        factors = torch.tensor([[1 / 2], [1.0], [1 / 4], [1 / 3]], dtype=torch.float64)
        o.same(F.embedding_bag(index, table, offsets, mode="mean"), sums * o.numbers(factors))


def test_averages_over_windows_of_one_and_three_dimensions(o: Oracle) -> None:
    a, b = numbers(2, 3, 11), numbers(1, 2, 4, 5, 4)
    with ss.use(o.arithmetic):
        line, block = F.avg_pool1d(a, 3, 2), F.avg_pool3d(b, 2)
    x, y = o.numbers(a), o.numbers(b)
    o.same(line, stacked(o, [(1 / 3) * x[:, :, s : s + 3].sum([2], True) for s in range(0, 9, 2)], 2))
    windows = [
        (1 / 8) * y[:, :, i : i + 2, j : j + 2, k : k + 2].sum([2, 3, 4], True).reshape(1, 2, 1)
        for i, j, k in itertools.product((0, 2), (0, 2), (0, 2))
    ]
    o.same(block.reshape(1, 2, 8), stacked(o, windows, 2))


def test_bilinear_interpolation_weighs_columns_then_rows_and_its_gradient_adds(o: Oracle) -> None:
    a, g = numbers(1, 2, 3, 4).requires_grad_(), numbers(1, 2, 6, 8, seed=1)
    with ss.use(o.arithmetic):
        y = F.interpolate(a, scale_factor=2, mode="bilinear")
        (gradient,) = torch.autograd.grad(y, a, g)

    def taps(size: int) -> tuple[np.ndarray, torch.Tensor]:
        at = np.maximum((np.arange(2 * size) + 0.5) / 2 - 0.5, 0)
        low = np.floor(at).astype(int)
        index = np.stack([low, np.minimum(low + 1, size - 1)], 1)
        return index, torch.from_numpy(np.stack([1 - (at - low), at - low], 1))

    x, d = o.numbers(a), o.numbers(g)
    rows, columns = taps(3), taps(4)
    wide = (x[:, :, :, columns[0]] * o.numbers(columns[1])).sum([4])
    o.same(y, (wide[:, :, rows[0]] * o.numbers(rows[1][:, :, None])).sum([3]))
    terms = d.a.transpose(0, 1, 3, 2)
    weighed = Number(o, terms).reshape(1, 2, 8, 6, 1) * o.numbers(rows[1])
    narrow = Number(o, weighed.a.reshape(16, 12).transpose(1, 0))
    narrow = Number(o, reference.scatter_sum(narrow.a, rows[0].reshape(-1), 3, o.arithmetic))
    back = Number(o, narrow.a.reshape(3, 2, 8).transpose(1, 0, 2)).reshape(2, 3, 8, 1) * o.numbers(columns[1])
    back = Number(o, back.a.reshape(6, 16).transpose(1, 0))
    back = Number(o, reference.scatter_sum(back.a, columns[0].reshape(-1), 4, o.arithmetic))
    o.same(gradient, Number(o, back.a.transpose(1, 0)).reshape(1, 2, 3, 4))
