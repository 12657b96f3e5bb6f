"""Matrix products in all their forms, and convolutions, equal the NumPy reference code for code."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from bits import numbers
from oracle import Number, Oracle
from torch import Tensor

import slipstick as ss
from slipstick.kernels import reference

aten = torch.ops.aten


def test_products_of_batches_rows_and_vectors(o: Oracle) -> None:
    a, b, c, v = numbers(3, 4, 19), numbers(3, 19, 5, seed=1), numbers(3, 4, 5, seed=2), numbers(19, seed=3)
    x, y, z, w = (o.numbers(t) for t in (a, b, c, v))
    product = o.matmul(x, y)
    column = o.matmul(x[0], w.reshape(19, 1)).reshape(4)
    with ss.use(o.arithmetic):
        o.same(torch.bmm(a, b), product)
        o.same(torch.baddbmm(c, a, b), z + product)
        o.same(torch.baddbmm(c, a, b, beta=0.5, alpha=0.3), 0.5 * z + 0.3 * product)
        o.same(torch.mv(a[0], v), column)
        o.same(torch.addmv(c[0, :, 0], a[0], v, beta=0.5), 0.5 * z[0, :, 0] + 1.0 * column)
        o.same(torch.dot(v, a[0, 0]), o.matmul(w.reshape(1, 19), x[0, 0].reshape(19, 1)).reshape())
        o.same(torch.vdot(v, a[0, 0]), o.matmul(w.reshape(1, 19), x[0, 0].reshape(19, 1)).reshape())
        with torch.inference_mode():
            o.same(F.linear(a, b[0].t(), c[0, 0]), o.matmul(x, y[0]) + z[0, 0])


def test_a_sum_of_products_has_one_row_of_terms(o: Oracle) -> None:
    a, b, c = numbers(3, 4, 7), numbers(3, 7, 5, seed=1), numbers(4, 5, seed=2)
    x, y = (o.numbers(t).a for t in (a, b))
    rows = Number(o, x.transpose(1, 0, 2).reshape(4, 21))
    with ss.use(o.arithmetic):
        o.same(torch.addbmm(c, a, b), o.numbers(c) + o.matmul(rows, Number(o, y.reshape(21, 5))))


def test_a_bilinear_form_multiplies_from_the_left_and_sums(o: Oracle) -> None:
    a, w, b = numbers(6, 3), numbers(4, 3, 5, seed=1), numbers(6, 5, seed=2)
    x, y, z = o.numbers(a), o.numbers(w), o.numbers(b)
    terms = (x.reshape(6, 1, 3, 1) * y.reshape(1, 4, 3, 5)) * z.reshape(6, 1, 1, 5)
    with ss.use(o.arithmetic):
        o.same(F.bilinear(a, b, w), terms.sum([2, 3]))


@dataclass(frozen=True)
class Case:
    """Of x, then of the weight: shapes; and geometry, a number for each spatial axis."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


CASES = {
    "one dimension": Case((2, 3, 9), (4, 3, 3), (2,), (1,), (1,)),
    "two": Case((2, 3, 6, 5), (4, 3, 3, 2), (1, 2), (1, 0), (1, 1)),
    "groups and dilation": Case((1, 4, 7, 7), (6, 2, 3, 3), (2, 1), (2, 1), (2, 1), 2),
    "three": Case((1, 2, 4, 3, 4), (3, 2, 2, 2, 2), (1, 1, 2), (0, 1, 0), (1, 1, 1)),
}


def _convolved(case: Case, x: Tensor, w: Tensor, b: Tensor | None, transposed: bool) -> Tensor:
    rank = len(case.stride)
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    options = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation, "groups": case.groups}
    result: Tensor = getattr(F, name)(x, w, b, **options)
    return result


@pytest.mark.parametrize("name", CASES)
def test_convolutions_and_their_gradients(name: str, o: Oracle) -> None:
    case = CASES[name]
    x, w = numbers(*case.x).requires_grad_(), numbers(*case.weight, seed=1).requires_grad_()
    b = numbers(case.weight[0], seed=2).requires_grad_()
    with ss.use(o.arithmetic):
        y = _convolved(case, x, w, b, False)
        g = numbers(*y.shape, seed=3)
        gradients = torch.autograd.grad(y, (x, w, b), g)
    u, v, d = o.numbers(x), o.numbers(w), o.numbers(g)
    geometry = (case.stride, case.padding, case.dilation, case.groups)
    rank = len(case.stride)
    plain = Number(o, reference.convolution(u.a, v.a, o.arithmetic, *geometry))
    o.same(y, plain + o.numbers(b).reshape(-1, *[1] * rank))
    of_x = reference.convolution_input_gradient(d.a, v.a, o.arithmetic, case.x, *geometry)
    of_w = reference.convolution_weight_gradient(d.a, u.a, o.arithmetic, case.weight, *geometry)
    o.same(gradients[0], Number(o, of_x))
    o.same(gradients[1], Number(o, of_w))
    o.same(gradients[2], d.sum([0, *range(2, 2 + rank)]))


@pytest.mark.parametrize("name", CASES)
def test_a_transposed_convolution_is_the_gradient_of_an_input(name: str, o: Oracle) -> None:
    case = CASES[name]
    w = numbers(*case.weight, seed=1).requires_grad_()
    forward = _convolved(case, torch.zeros(case.x), w.detach(), None, False)
    x = numbers(*forward.shape, seed=4).requires_grad_()
    b = numbers(case.weight[1] * case.groups, seed=5)
    with ss.use(o.arithmetic):
        y = _convolved(case, x, w, None, True)
        g = numbers(*y.shape, seed=3)
        gradients = torch.autograd.grad(y, (x, w), g)
        biased = _convolved(case, x, w, b, True)
    u, v, d = o.numbers(x), o.numbers(w), o.numbers(g)
    geometry = (case.stride, case.padding, case.dilation, case.groups)
    plain = Number(o, reference.convolution_input_gradient(u.a, v.a, o.arithmetic, y.shape, *geometry))
    o.same(y, plain)
    o.same(biased, plain + o.numbers(b).reshape(-1, *[1] * len(case.stride)))
    o.same(gradients[0], Number(o, reference.convolution(d.a, v.a, o.arithmetic, *geometry)))
    of_w = reference.convolution_weight_gradient(u.a, d.a, o.arithmetic, case.weight, *geometry)
    o.same(gradients[1], Number(o, of_w))
