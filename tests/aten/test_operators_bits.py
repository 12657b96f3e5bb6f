"""Operators equal, code for code, their formula composed of the NumPy reference's primitives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import extremes, numbers
from oracle import Number, Oracle

import slipstick as ss
from slipstick.kernels import native, reference

PAIRS = [
    (numbers(40, 25), numbers(40, 25, seed=1)),
    (extremes(40, 25), extremes(40, 25, seed=1)),
    (numbers(40, 25).double(), numbers(40, 25, seed=1).double()),
]


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_add_sub_mul_and_scaled_sums(o: Oracle, pair: int) -> None:
    a, b = PAIRS[pair]
    x, y = o.numbers(a), o.numbers(b)
    with ss.use(o.arithmetic):
        o.same(a + b, x + y)
        o.same(a - b, x - y)
        o.same(a * b, x * y)
        o.same(torch.add(a, b, alpha=0.3), x + 0.3 * y)
        o.same(torch.sub(a, b, alpha=-0.7), x - (-0.7) * y)
        o.same(1.7 - a, 1.7 - x)
        o.same(a * 0.1, x * 0.1)
        o.same(a + 1e-8, x + 1e-8)
        o.same(torch.maximum(a, b), x.maximum(y))
        o.same(torch.minimum(a, b), x.minimum(y))
        o.same(a.relu(), x.maximum(0.0))
        o.same(a.clamp(-0.3, 0.7), x.maximum(-0.3).minimum(0.7))


@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_division_and_roots(o: Oracle, pair: int) -> None:
    a, b = PAIRS[pair]
    a, b = a.abs() + 1e-3, torch.where(o.arithmetic.format.encode(b) == o.arithmetic.format.encode(0 * b), 1.0, b)
    x, y = o.numbers(a), o.numbers(b)
    with ss.use(o.arithmetic):
        o.same(a / b, x / y)
        o.same(a / 3, x / 3)
        o.same(1 / b, y.call("reciprocal"))
        o.same(a.sqrt(), x.call("sqrt"))
        o.same(a.rsqrt(), x.call("rsqrt"))
        o.same(a.pow(2), x.call("power", 2.0))
        o.same(a**0.3, x.call("power", 0.3))
        o.same(b**3, y.call("power", 3.0))
        o.same(a / torch.zeros_like(a), x / o.numbers(torch.zeros_like(a)))


def test_functions(o: Oracle) -> None:
    a = torch.cat([numbers(30, 20), extremes(10, 20)])
    x = o.numbers(a)
    with ss.use(o.arithmetic):
        for name in ("exp", "tanh", "sigmoid"):
            o.same(getattr(torch, name)(a), x.call(name))
        o.same(a.abs().log(), x.call("absolute").call("log"))
        o.same(F.silu(a), x * x.call("sigmoid"))


@pytest.mark.parametrize("draw", [numbers, extremes])
def test_pointwise_compositions(o: Oracle, draw) -> None:
    a, b, c = (draw(30, 20, seed=i) for i in range(3))
    c = torch.where(torch.from_numpy(o.numbers(c).a.is_zero), 0.5, c)  # 0/0 has no code
    x, y, z = (o.numbers(t) for t in (a, b, c))
    with ss.use(o.arithmetic):
        o.same(torch.addcmul(a, b, c, value=0.3), x + 0.3 * (y * z))
        o.same(torch.addcdiv(a, b, c, value=-0.3), x + -0.3 * (y / z))
        for weight in (0.1, 0.6):
            o.same(torch.lerp(a, b, weight), x + weight * (y - x))
        o.same(torch.lerp(a, b, c), x + z * (y - x))
        positive = x.a.sign == 0
        o.same(F.leaky_relu(a, 0.1), x.where(positive & ~x.a.is_zero, 0.1 * x))
    leaf = a.clone().requires_grad_()
    for name in ("tanh", "sigmoid"):
        with ss.use(o.arithmetic):
            (gradient,) = torch.autograd.grad(getattr(torch, name)(leaf), leaf, b)
        v = x.call(name)
        o.same(gradient, y * (1.0 - v * v) if name == "tanh" else y * (v * (1.0 - v)))


def _variance(x: Number, axes: list[int], correction: int) -> tuple[Number, Number]:
    n = math.prod(x.a.shape[d] for d in axes)
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    return (1.0 / (n - correction)) * (centred * centred).sum(axes), mean


@pytest.mark.parametrize("axes", [[0], [1], [0, 2], [0, 1, 2]], ids=str)
def test_sums_means_and_variances(o: Oracle, axes: list[int]) -> None:
    a = numbers(7, 5, 19)
    x = o.numbers(a)
    with ss.use(o.arithmetic):
        o.same(a.sum(axes), x.sum(axes))
        o.same(a.mean(axes, keepdim=True), x.mean(axes, True))
        o.same(a.var(axes), _variance(x, axes, 1)[0])
        o.same(a.var(axes, unbiased=False), _variance(x, axes, 0)[0])
        o.same(a.std(axes), _variance(x, axes, 1)[0].call("sqrt"))
        o.same(torch.linalg.vector_norm(a, 2, axes), (x * x).sum(axes).call("sqrt"))
        o.same(a.transpose(0, 2).sum(0), x.sum([2]).reshape(7, 5)._new(x.sum([2]).a.transpose(1, 0)))


@pytest.mark.parametrize("isa", native.available_isas())
@pytest.mark.parametrize("terms", [1, 15, 16, 17, 18, 33, 180, 300])
def test_sums_that_are_mostly_zero_or_cancel(o: Oracle, terms: int, isa: str) -> None:
    zero, sparse, pairs = (torch.zeros(3, terms) for _ in range(3))
    sparse[0, -1], sparse[1, 0], sparse[2, terms // 2] = 2.0**-31.9, 1e-9, 1e12
    pairs[:, 0], pairs[:, -1] = 1.5, -1.5
    before = native.current_isa()
    native.set_isa(isa)
    try:
        for a in (zero, sparse, pairs):
            b = a.t().contiguous()
            x, y = o.numbers(a), o.numbers(b)
            with ss.use(o.arithmetic):
                o.same(a.sum(1), x.sum([1]))
                o.same(a.sum(), x.sum([0, 1]))
                o.same(a @ b, o.matmul(x, y))
                o.same(a @ torch.ones_like(b), o.matmul(x, o.numbers(torch.ones_like(b))))
    finally:
        native.set_isa(before)


def test_matrix_products_and_bias(o: Oracle) -> None:
    a, b, c = numbers(6, 37), numbers(37, 5, seed=1), numbers(5, seed=2)
    x, y, z = (o.numbers(t) for t in (a, b, c))
    with ss.use(o.arithmetic):
        o.same(a @ b, o.matmul(x, y))
        o.same(torch.addmm(c, a, b), z + o.matmul(x, y))
        o.same(torch.addmm(c, a, b, beta=0.5, alpha=0.3), 0.5 * z + 0.3 * o.matmul(x, y))
        o.same(F.linear(a, b.t(), c), z + o.matmul(x, y))


@pytest.mark.parametrize("shape", [(5, 3), (4, 37)], ids=str)
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_softmax_and_its_logarithm(o: Oracle, shape, spread: float) -> None:
    a, g = numbers(*shape, spread=spread).requires_grad_(), numbers(*shape, seed=1)
    x, d = o.numbers(a), o.numbers(g)
    shifted = x - x.largest(1)
    e = shifted.call("exp")
    total = e.sum([1], True)
    with ss.use(o.arithmetic):
        soft, log_soft = F.softmax(a, 1), F.log_softmax(a, 1)
        (soft_gradient,) = torch.autograd.grad(soft, a, g)
        (log_gradient,) = torch.autograd.grad(log_soft, a, g)
    y = e / total
    z = shifted - total.call("log")
    o.same(soft, y)
    o.same(log_soft, z)
    o.same(soft_gradient, (d - (d * y).sum([1], True)) * y)
    o.same(log_gradient, d - z.call("exp") * d.sum([1], True))


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_forward_and_backward(o: Oracle, weighted: bool) -> None:
    a = numbers(7, 5, spread=2.0).requires_grad_()
    target = torch.tensor([0, 4, 2, -100, 1, 1, 3])
    weight = torch.tensor([0.5, 2.0, 1.0, 0.3, 1.7]) if weighted else None
    with ss.use(o.arithmetic):
        loss = F.cross_entropy(a, target, weight)
        loss.backward()
    x = o.numbers(a)
    shifted = x - x.largest(1)
    z = shifted - shifted.call("exp").sum([1], True).call("log")
    counted = (target != -100).numpy()
    safe = target.clamp(min=0).numpy()
    zero = o.numbers(torch.zeros(7))
    picked = z[np.arange(7), safe].where(counted, zero)
    one_hot = np.eye(5, dtype=bool)[safe] & counted[:, None]
    upstream = o.numbers(torch.ones(()))
    if weight is None:
        want = (-picked).sum([0]) * (1 / 6)
        at_target = -(upstream * (1 / 6))
    else:
        w = o.numbers(weight)[safe].where(counted, zero)
        want = (-(picked * w)).sum([0]) / w.sum([0])
        at_target = (-((upstream / w.sum([0])) * o.numbers(weight)[safe])).reshape(7, 1)
    o.same(loss, want)
    g = at_target.where(one_hot, o.numbers(torch.zeros(7, 5)))
    o.same(a.grad, g - z.call("exp") * g.sum([1], True))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mean_squared_error(o: Oracle, reduction: str) -> None:
    a, b = numbers(6, 7).requires_grad_(), numbers(6, 7, seed=1)
    x, y = o.numbers(a), o.numbers(b)
    with ss.use(o.arithmetic):
        loss = F.mse_loss(a, b, reduction=reduction)
        loss.backward()
    d = x - y
    o.same(loss, (d * d).mean([0, 1]) if reduction == "mean" else (d * d).sum([0, 1]))
    one = o.numbers(torch.ones(()))
    o.same(a.grad, ((2.0 / 42 if reduction == "mean" else 2.0) * one) * (x - y))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5, 2)], ids=str)
def test_batch_norm_forward_backward_and_statistics(o: Oracle, shape, training: bool) -> None:
    layer = torch.nn.BatchNorm2d(3) if len(shape) == 4 else torch.nn.BatchNorm1d(3)
    layer.weight.data, layer.bias.data = torch.tensor([0.7, -1.3, 2.0]), torch.tensor([0.1, 0.0, -0.4])
    layer.running_mean, layer.running_var = torch.tensor([0.2, -0.1, 0.0]), torch.tensor([1.5, 0.8, 1.0])
    before = layer.running_mean.clone(), layer.running_var.clone()
    layer.train(training)
    a, cotangent = (numbers(*shape) * 2 + 0.5).requires_grad_(), numbers(*shape, seed=1)
    with ss.use(o.arithmetic):
        y = layer(a)
        y.backward(cotangent)
    axes = [0, *range(2, len(shape))]
    n = math.prod(shape[d] for d in axes)
    per_channel = (1, 3, *[1] * (len(shape) - 2))
    x, g = o.numbers(a), o.numbers(cotangent)
    w, b = (o.numbers(p).reshape(*per_channel) for p in (layer.weight, layer.bias))
    if training:
        variance, mean = _variance(x, axes, 0)
    else:
        mean, variance = (o.numbers(t) for t in before)
    inverse = (variance + layer.eps).call("rsqrt").reshape(*per_channel)
    mean = mean.reshape(*per_channel)
    hat = (x - mean) * inverse
    o.same(y, hat * w + b)
    db, dw = g.sum(axes), (g * hat).sum(axes)
    o.same(layer.bias.grad, db)
    o.same(layer.weight.grad, dw)
    if training:
        db, dw = (t.reshape(*per_channel) for t in (db, dw))
        o.same(a.grad, ((g - (1 / n) * db) - hat * ((1 / n) * dw)) * (inverse * w))
        m, v = (o.numbers(t) for t in before)
        o.same(layer.running_mean, 0.9 * m + 0.1 * mean.reshape(3))
        o.same(layer.running_var, 0.9 * v + 0.1 * ((n / (n - 1)) * variance))
    else:
        o.same(a.grad, g * (inverse * w))
        assert torch.equal(layer.running_mean, before[0])


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_and_weight_decay(o: Oracle, nesterov: bool, foreach: bool) -> None:
    p = torch.nn.Parameter(numbers(6, 5))
    lr, momentum, decay = 0.05, 0.9, 0.01
    optimizer = torch.optim.SGD([p], lr, momentum, weight_decay=decay, nesterov=nesterov, foreach=foreach)
    w, buffer = o.numbers(p), None
    for step in range(3):
        p.grad = numbers(6, 5, seed=10 + step)
        with ss.use(o.arithmetic):
            optimizer.step()
        g = o.numbers(numbers(6, 5, seed=10 + step)) + decay * w
        buffer = g if buffer is None else buffer * momentum + g
        direction = g + momentum * buffer if nesterov else buffer
        w = w + -lr * direction
        o.same(p, w)
        o.same(optimizer.state[p]["momentum_buffer"], buffer)


def test_adam(o: Oracle) -> None:
    p = torch.nn.Parameter(numbers(6, 5))
    optimizer = torch.optim.Adam([p], lr=0.05, betas=(0.9, 0.99), eps=1e-3, foreach=False)
    w, m, v = (o.numbers(t) for t in (p, torch.zeros(6, 5), torch.zeros(6, 5)))
    for step in range(1, 4):
        p.grad = numbers(6, 5, seed=10 + step)
        with ss.use(o.arithmetic):
            optimizer.step()
        g = o.numbers(numbers(6, 5, seed=10 + step))
        m = m + (1 - 0.9) * (g - m)
        v = v * 0.99 + (1 - 0.99) * (g * g)
        root = v.call("sqrt") / math.sqrt(1 - 0.99**step) + 1e-3
        w = w + -(0.05 / (1 - 0.9**step)) * (m / root)
        o.same(optimizer.state[p]["exp_avg"], m)
        o.same(optimizer.state[p]["exp_avg_sq"], v)
        o.same(p, w)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_overlapping_pools_add_gradients_in_source_order(o: Oracle, stride: int) -> None:
    a = numbers(2, 2, 6, 6).requires_grad_()
    with ss.use(o.arithmetic):
        y, index = F.max_pool2d(a, 3, stride, 1, return_indices=True)
    g = numbers(*y.shape, seed=3)
    with ss.use(o.arithmetic):
        z = F.max_pool2d(a, 3, stride, 1)
        (gradient,) = torch.autograd.grad(z, a, g)
        average = F.avg_pool2d(a, 3, stride, 1)
        (spread,) = torch.autograd.grad(average, a, g)
    assert torch.equal(z, y)
    d = o.numbers(g)
    factors = d * (1 / 9)
    size = y.shape[-1]
    windows = [
        (i * size + j, r * 6 + c)
        for i in range(size)
        for j in range(size)
        for r in range(max(i * stride - 1, 0), min(i * stride + 2, 6))
        for c in range(max(j * stride - 1, 0), min(j * stride + 2, 6))
    ]
    source, target = (np.array(column) for column in zip(*windows, strict=True))
    for n in range(2):
        for c in range(2):
            flat = d[n, c].reshape(-1).a
            want = reference.scatter_sum(flat, index[n, c].flatten().numpy(), 36, o.arithmetic)
            o.same(gradient[n, c].flatten(), d._new(want))
            flat = factors[n, c].reshape(-1).a[source]
            o.same(spread[n, c].flatten(), d._new(reference.scatter_sum(flat, target, 36, o.arithmetic)))
