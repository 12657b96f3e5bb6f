"""Attention, normalisation, prefixes and products equal, code for code, compositions of the NumPy reference."""

import math

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import constants, numbers, real, stacked
from oracle import Number, Oracle

import slipstick as ss
from slipstick.kernels.reference import LogArray

aten = torch.ops.aten


def transposed(x: Number) -> Number:
    """The last two axes."""
    return Number(x.o, LogArray(x.a.format, np.swapaxes(x.a.sign, -1, -2), np.swapaxes(x.a.log, -1, -2)))


def softmax(x: Number) -> Number:
    axis = len(x.a.shape) - 1
    e = (x - x.largest(axis)).call("exp")
    return e / e.sum([axis], True)


@pytest.mark.parametrize("kind", ["plain", "causal", "mask", "flags", "scale"])
def test_attention_and_its_gradients(kind: str, o: Oracle) -> None:
    q, k, v = (numbers(1, 2, 5, 4, seed=i).requires_grad_() for i in range(3))
    g = numbers(1, 2, 5, 4, seed=3)
    keep = torch.ones(5, 5, dtype=torch.bool).tril()
    mask = {"mask": numbers(5, 5, seed=4), "flags": keep}.get(kind)
    scale = 0.3 if kind == "scale" else None
    with ss.use(o.arithmetic):
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=kind == "causal", scale=scale)
        gradients = torch.autograd.grad(y, (q, k, v), g)
    factor = math.sqrt(scale if scale is not None else 1 / math.sqrt(4))
    query, key, value, d = o.numbers(q) * factor, o.numbers(k) * factor, o.numbers(v), o.numbers(g)
    scores = o.matmul(query, transposed(key))
    if kind == "mask":
        scores = scores + o.numbers(mask)
    elif kind in ("causal", "flags"):
        scores = scores + constants(o, torch.where(keep, 0.0, -math.inf))
    weights = softmax(scores)
    o.same(y, o.matmul(weights, value))
    of_weights = o.matmul(d, transposed(value))
    of_scores = (of_weights - (of_weights * weights).sum([3], True)) * weights
    o.same(gradients[0], o.matmul(of_scores, key) * factor)
    o.same(gradients[1], transposed(o.matmul(transposed(query), of_scores)) * factor)
    o.same(gradients[2], o.matmul(transposed(weights), d))


def test_softmax_of_rows_that_are_masked_or_saturated(o: Oracle) -> None:
    a = numbers(5, 7, spread=20.0)
    a[0], a[1, :3], a[2, 0], a[3] = -math.inf, -math.inf, math.inf, 0
    with ss.use(o.arithmetic):
        o.same(F.softmax(a, 1), softmax(o.numbers(a)))
        o.same(aten._safe_softmax(a, 1), softmax(o.numbers(a)))


def normalised(x: Number, axes: list[int], eps: float) -> tuple[Number, Number, Number]:
    """(x - mean) inverse, mean, inverse."""
    mean = x.mean(axes, True)
    centred = x - mean
    inverse = ((centred * centred).mean(axes, True) + eps).call("rsqrt")
    return centred * inverse, mean, inverse


def test_batch_normalisation_in_its_other_forms(o: Oracle) -> None:
    a = numbers(3, 4, 2, 2)
    w, b, mean = (numbers(4, seed=i) for i in (1, 2, 3))
    variance = numbers(4, seed=4).abs() + 0.1
    x = o.numbers(a)
    p = [o.numbers(t).reshape(1, 4, 1, 1) for t in (w, b, mean, variance)]
    inverse = (p[3] + 1e-3).call("rsqrt")
    trained, own_mean, own_inverse = normalised(x, [0, 2, 3], 1e-3)
    with ss.use(o.arithmetic):
        evaluated = aten._native_batch_norm_legit_no_training(a, w, b, mean, variance, 0.1, 1e-3)[0]
        y, saved_mean, saved_inverse = aten._native_batch_norm_legit.no_stats(a, w, b, True, 0.1, 1e-3)
        running = mean.clone(), variance.clone()
        z, *_ = aten._native_batch_norm_legit(a, w, b, *running, True, 0.1, 1e-3)
    o.same(evaluated, ((x - p[2]) * inverse) * p[0] + p[1])
    for result in (y, z):
        o.same(result, trained * p[0] + p[1])
    o.same(saved_mean, own_mean.reshape(4))
    o.same(saved_inverse, own_inverse.reshape(4))
    o.same(running[0], 0.9 * o.numbers(mean) + 0.1 * own_mean.reshape(4))


def test_instance_normalisation_is_batch_normalisation_of_every_sample(o: Oracle) -> None:
    a = numbers(2, 3, 4, 4)
    with ss.use(o.arithmetic):
        o.same(F.instance_norm(a, eps=1e-3), normalised(o.numbers(a), [2, 3], 1e-3)[0])


def test_layer_and_group_normalisation_of_constant_rows(o: Oracle) -> None:
    """The variance is zero, and its inverse root comes from eps alone."""
    a, g = torch.full((3, 4, 2), 0.7), numbers(3, 4, 2, seed=1)
    a[1] = numbers(4, 2)
    a.requires_grad_()
    x, d = o.numbers(a), o.numbers(g)
    for function, axes, n in ((lambda: F.layer_norm(a, (2,), eps=1e-3), [2], 2), (_groups(a), [2, 3], 4)):
        with ss.use(o.arithmetic):
            y = function()
            (gradient,) = torch.autograd.grad(y, a, g)
        shape = (3, 4, 2) if n == 2 else (3, 2, 2, 2)
        h, _, inverse = normalised(x.reshape(*shape), axes, 1e-3)
        back = d.reshape(*shape)
        total, along = back.sum(axes, True), (back * h).sum(axes, True)
        o.same(y, h.reshape(3, 4, 2))
        want = ((back - (1 / n) * total) - h * ((1 / n) * along)) * inverse
        o.same(gradient, want.reshape(3, 4, 2))


def _groups(a):
    return lambda: F.group_norm(a, 2, eps=1e-3)


def test_root_mean_square_normalisation_in_inference(o: Oracle) -> None:
    a, w = numbers(6, 9), numbers(9, seed=1)
    x = o.numbers(a)
    with torch.inference_mode(), ss.use(o.arithmetic):
        y = F.rms_norm(a, (9,), w, 1e-3)
    inverse = ((x * x).mean([1], True) + 1e-3).call("rsqrt")
    o.same(y, (x * inverse) * o.numbers(w))


def test_weight_normalisation_and_its_gradients(o: Oracle) -> None:
    v, g, cotangent = numbers(4, 6).requires_grad_(), numbers(4, 1, seed=1).requires_grad_(), numbers(4, 6, seed=2)
    with ss.use(o.arithmetic):
        w = torch._weight_norm(v, g, 0)
        of_v, of_g = torch.autograd.grad(w, (v, g), cotangent)
    x, y, d = o.numbers(v), o.numbers(g), o.numbers(cotangent)
    length = (x * x).sum([1], True).call("sqrt")
    along = (d * x).sum([1], True)
    o.same(w, x * (y / length))
    o.same(of_v, (d - x * (along / (length * length))) * (y / length))
    o.same(of_g, along / length)


def test_logarithms_of_sums_of_exponentials_of_every_prefix(o: Oracle) -> None:
    a = numbers(3, 18, spread=3.0)
    x = o.numbers(a)

    def prefix(n: int) -> Number:
        largest = x[:, :n].largest(1)
        return largest + real((x[:, :n] - largest).call("exp").sum([1], True), "log", mpmath.log)

    with ss.use(o.arithmetic):
        o.same(torch.logcumsumexp(a, 1), stacked(o, [prefix(n) for n in range(1, 19)], 1))


def suffix_sums(o: Oracle, x: Number) -> Number:
    """Every suffix is a sum of its own, from the last number to the first."""
    turned = x[:, ::-1]
    n = x.a.shape[1]
    return stacked(o, [turned[:, : i + 1].sum([1], True) for i in range(n)], 1)[:, ::-1]


def test_gradients_of_prefix_sums_and_products(o: Oracle) -> None:
    a, g = numbers(3, 9), numbers(3, 9, seed=1)
    a = torch.where(a == 0, 0.5, a).requires_grad_()
    x, d = o.numbers(a), o.numbers(g)
    running = [x[:, :1]]
    for i in range(1, 9):
        running.append(running[-1] * x[:, i : i + 1])
    with ss.use(o.arithmetic):
        (of_sums,) = torch.autograd.grad(a.cumsum(1), a, g)
        (of_products,) = torch.autograd.grad(a.cumprod(1), a, g)
    o.same(of_sums, suffix_sums(o, d))
    o.same(of_products, suffix_sums(o, stacked(o, running, 1) * d) / x)


def test_the_gradient_of_prefix_products_with_a_zero(o: Oracle) -> None:
    """Before the first zero as above; at it, the product before it times the sum of what follows; after it, zero."""
    a, g = torch.tensor([[1.5, 0.5, 0.0, 3.0, 0.0, -2.0]]).requires_grad_(), numbers(1, 6, seed=5)
    x, d = o.numbers(a), o.numbers(g)
    with ss.use(o.arithmetic):
        (gradient,) = torch.autograd.grad(a.cumprod(1), a, g)
    outputs = stacked(o, [x[:, :1], x[:, :1] * x[:, 1:2], *[constants(o, [[0.0]])] * 4], 1)
    before = suffix_sums(o, outputs * d)[:, :2] / x[:, :2]
    # The product of what lies between the zero and every place, 1 at the zero itself, 0 from the next zero on.
    between = stacked(o, [constants(o, [[0.0, 0.0, 1.0]]), x[:, 3:4], constants(o, [[0.0, 0.0]])], 1)
    at_zero = (d * between).sum([1], True) * outputs[:, 1:2]
    o.same(gradient, stacked(o, [before, at_zero, constants(o, [[0.0, 0.0, 0.0]])], 1))


def folded(x: Number) -> Number:
    """Factors i and i + n/2 rounded up, until one is left."""
    while (n := x.a.shape[1]) > 1:
        half = (n + 1) // 2
        product = x[:, : n - half] * x[:, half:]
        x = product if n % 2 == 0 else stacked(x.o, [product, x[:, half - 1 : half]], 1)
    return x


def test_products_fold_by_halves_and_their_gradient_divides(o: Oracle) -> None:
    a, g = numbers(4, 11), numbers(4, seed=1)
    a = torch.where(a == 0, 0.5, a).requires_grad_()
    x = o.numbers(a)
    with ss.use(o.arithmetic):
        y = a.prod(1)
        (gradient,) = torch.autograd.grad(y, a, g)
        whole = a.detach().prod()
        prims = torch.ops.prims.prod(a.detach(), [0, 1])
    o.same(y, folded(x).reshape(4))
    o.same(gradient, o.numbers(g).reshape(4, 1) * (folded(x) / x))
    for result in (whole, prims):
        o.same(result, folded(x.reshape(1, 44)).reshape())


def test_variance_and_mean_together_and_the_gradient_of_the_deviation(o: Oracle) -> None:
    a, g = numbers(4, 7), numbers(4, seed=1)
    a[1] = 0.5
    a.requires_grad_()
    x = o.numbers(a)
    mean = x.mean([1], True)
    centred = x - mean
    variance = (1 / 6) * (centred * centred).sum([1], True)
    deviation = variance.call("sqrt")
    with ss.use(o.arithmetic):
        found = torch.var_mean(a.detach(), 1)
        (gradient,) = torch.autograd.grad(a.std(1), a, g)
    o.same(found[0], variance.reshape(4))
    o.same(found[1], mean.reshape(4))
    nothing = deviation.a.is_zero
    one, zero = constants(o, np.ones((4, 1))), constants(o, np.zeros((4, 1)))
    upstream = o.numbers(g).reshape(4, 1) / (one.where(nothing, deviation) * 2)
    # autograd: (2 / (n - 1)) g (x - mean)
    o.same(gradient, ((2 / 6) * zero.where(nothing, upstream)) * centred)


def test_writing_into_places_moves_values(o: Oracle) -> None:
    a, values, index = numbers(5), numbers(2, seed=1), torch.tensor([3, 1])
    want = a.clone()
    want[index] = values
    with ss.use(o.arithmetic):
        for result in (a.index_put((index,), values), aten._index_put_impl_(a.clone(), [index], values)):
            assert torch.equal(result, want)
        accumulated = aten._index_put_impl_(a.clone(), [index], values, True)
    sums = o.numbers(a)[index.numpy()] + o.numbers(values)
    o.same(accumulated[index], sums)
