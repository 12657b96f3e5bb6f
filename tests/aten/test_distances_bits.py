"""Norms, distances between rows and their gradients equal, code for code, compositions of the NumPy reference."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import constants, extremes, numbers, placed
from oracle import Number, Oracle
from torch import Tensor

import slipstick as ss

ORDERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf)


def norm(o: Oracle, x: Number, order: float) -> Number:
    """Over the last axis."""
    last = len(x.a.shape) - 1
    size = x.call("absolute")
    if order == 2:
        return (x * x).sum([last]).call("sqrt")
    if order == 1:
        return size.sum([last])
    if abs(order) == math.inf:
        picked = size[..., 0]
        for i in range(1, x.a.shape[last]):
            picked = picked.maximum(size[..., i]) if order > 0 else picked.minimum(size[..., i])
        return picked
    if order == 0:
        return constants(o, (~x.a.is_zero).sum(last))
    return size.call("power", order).sum([last]).call("power", 1.0 / order)


def power(x: Number, exponent: float) -> Number:
    """As ``torch.pow`` has it: roots are roots."""
    names = {0.5: "sqrt", -0.5: "rsqrt"}
    return x.call(names[exponent]) if exponent in names else x.call("power", exponent)


def signed(x: Number, like: Number) -> Number:
    """x with the sign of ``like``; zero where that is zero."""
    zero = constants(x.o, np.zeros(x.a.shape))
    return zero.where(like.a.is_zero, (-x).where(like.a.sign == 1, x))


@pytest.mark.parametrize("draw", [numbers, extremes])
@pytest.mark.parametrize("order", [*ORDERS, -1.0, -math.inf])
def test_vector_norms(order: float, draw, o: Oracle) -> None:
    a = draw(6, 18)
    a[1] = 0
    with ss.use(o.arithmetic):
        o.same(torch.linalg.vector_norm(a, order, 1), norm(o, o.numbers(a), order))


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_of_vector_norms(order: float, o: Oracle) -> None:
    """As autograd writes them; a row of zeros has the gradient zero."""
    a, g = numbers(6, 9), numbers(6, seed=1)
    a[1], a[2, :4], g[3] = 0, 0.5, 0
    a.requires_grad_()
    with ss.use(o.arithmetic):
        y = torch.linalg.vector_norm(a, order, 1)
        (gradient,) = torch.autograd.grad(y, a, g, allow_unused=True, materialize_grads=True)
    x, d = o.numbers(a), o.numbers(g).reshape(6, 1)
    length = norm(o, x, order).reshape(6, 1)
    zero, nothing = constants(o, np.zeros((6, 9))), length.a.is_zero
    divisor = constants(o, np.ones((6, 1))).where(nothing, length)
    unit = signed(constants(o, np.ones((6, 9))), x)
    if order == 0:
        want = zero
    elif order == 1:
        want = unit * d
    elif order == 2:
        want = d * zero.where(nothing, x / divisor)
    elif order == math.inf:
        at = x.call("absolute").a.log == length.a.log
        want = unit * ((d / constants(o, at.sum(1, keepdims=True))) * constants(o, at))
    elif order < 1:
        steep = zero.where(x.a.is_zero, power(x.call("absolute"), order - 1))
        want = ((unit * steep) * d) * power(length, 1 - order)
    else:
        grown = power(x.call("absolute"), order - (1 if order < 2 else 2))
        scaled = (unit if order < 2 else x) * grown
        want = scaled * zero[:, :1].where(nothing, d / power(divisor, order - 1))
    o.same(gradient, want)


def _gradient(o: Oracle, g: Number, d: Number, order: float, distance: Number) -> Number:
    """Of the difference d, zero where the distance is."""
    zero = constants(o, np.zeros(d.a.shape))
    if order == 0:
        return zero
    wide = zero + g
    if order == 1:
        return signed(wide, d)
    if order == math.inf:
        return signed(wide, d).where((d.a.log == distance.a.log) | (distance.a.is_zero & d.a.is_zero), zero)
    nothing = distance.a.is_zero
    divisor = constants(o, np.ones(distance.a.shape)).where(nothing, distance)
    if order == 2:
        return zero.where(nothing, (g / divisor) * d)
    one = constants(o, np.ones(d.a.shape))
    steep = zero.where(d.a.is_zero, one.where(d.a.is_zero, d.call("absolute")).call("power", order - 1))
    return zero.where(nothing, signed((g / divisor.call("power", order - 1)) * steep, d))


def rows(seed: int, equal: Tensor | None = None) -> Tensor:
    a = numbers(4, 5, seed=seed)
    if equal is not None:
        a[0] = equal
    return a


@pytest.mark.parametrize("order", ORDERS)
def test_distances_of_every_pair_of_two_sets(order: float, o: Oracle) -> None:
    a = rows(0).requires_grad_()
    b = rows(1, a[1].detach()).requires_grad_()
    g = numbers(4, 4, seed=2)
    with ss.use(o.arithmetic):
        y = torch.cdist(a, b, order)
        of_a, of_b = torch.autograd.grad(y, (a, b), g)
    x, z = o.numbers(a).reshape(4, 1, 5), o.numbers(b).reshape(1, 4, 5)
    d = x - z
    distance = norm(o, d, order)
    o.same(y, distance)
    back = o.numbers(g).reshape(4, 4, 1)
    o.same(of_a, _gradient(o, back, d, order, distance.reshape(4, 4, 1)).sum([1]))
    turned = Number(o, back.a.transpose(1, 0, 2))
    of_difference = Number(o, (z - x).a.transpose(1, 0, 2))
    lengths = Number(o, distance.a.transpose(1, 0)).reshape(4, 4, 1)
    o.same(of_b, _gradient(o, turned, of_difference, order, lengths).sum([1]))


@pytest.mark.parametrize("order", ORDERS)
def test_distances_of_every_pair_of_one_set(order: float, o: Oracle) -> None:
    a = rows(0)
    a[2] = a[0]
    a.requires_grad_()
    g = numbers(6, seed=1)
    with ss.use(o.arithmetic):
        y = F.pdist(a, order)
        (gradient,) = torch.autograd.grad(y, a, g)
    first, second = np.array(list(itertools.combinations(range(4), 2))).T
    x = o.numbers(a)
    d = x[first] - x[second]
    distance = norm(o, d, order)
    o.same(y, distance)
    moved = _gradient(o, o.numbers(g).reshape(6, 1), d, order, distance.reshape(6, 1))
    signs = constants(o, np.repeat([1.0, -1.0], 6)[:, None])
    both = moved[np.tile(np.arange(6), 2)] * signs
    o.same(gradient, placed(o, both, np.concatenate([first, second]), 4))
