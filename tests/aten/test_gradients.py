"""Gradients that meet are added in the arithmetic; second derivatives are gradients like any other."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from wide import WIDE, assert_on_grid, assert_within, on_grid, positive, randn

import slipstick as ss

COARSE = ss.LogArithmetic(ss.LNS(5, 5), add="sanyal2019-bitshift")


def in_coarse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    with ss.use(COARSE):
        return a + b


def gradient_of(loss: Callable[[torch.Tensor], torch.Tensor], w: torch.Tensor) -> torch.Tensor:
    leaf = w.clone().requires_grad_()
    with ss.use(COARSE):
        loss(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad


def test_gradients_of_two_passes_accumulate_in_the_arithmetic() -> None:
    w, x, y = (ss.snap_(randn(4, 4, seed=seed), COARSE) for seed in range(3))
    one, other = (gradient_of(lambda w, x=x: (w @ x).sum(), w) for x in (x, y))
    leaf = w.clone().requires_grad_()
    with ss.use(COARSE):
        (leaf @ x).sum().backward()
        (leaf @ y).sum().backward()
    assert torch.equal(leaf.grad, in_coarse(one, other))
    assert not torch.equal(leaf.grad, one + other)


def test_gradients_of_a_shared_parameter_add_in_the_arithmetic() -> None:
    w, x, y = (ss.snap_(randn(4, 4, seed=seed), COARSE) for seed in range(3))
    one, other = (gradient_of(lambda w, x=x: (w @ x).sum(), w) for x in (x, y))
    shared = gradient_of(lambda w: torch.cat([w @ x, w @ y]).sum(), w)
    assert torch.equal(shared, in_coarse(one, other))


def test_tied_layers_share_one_gradient() -> None:
    torch.manual_seed(0)
    embedding, head = torch.nn.Embedding(6, 4), torch.nn.Linear(4, 6, bias=False)
    head.weight = embedding.weight
    apart = torch.nn.Embedding(6, 4), torch.nn.Linear(4, 6, bias=False)
    for each in apart:
        each.weight.data.copy_(head.weight.data)
    x = torch.tensor([0, 2, 2, 5])
    with ss.use(COARSE):
        head(embedding(x)).sum().backward()
        apart[1](apart[0](x)).sum().backward()
    expected = in_coarse(apart[1].weight.grad, apart[0].weight.grad)
    assert torch.equal(head.weight.grad, expected)


TWICE = {
    "cube": (lambda x: x**3, randn(5, 4)),
    "tanh": (torch.tanh, randn(5, 4)),
    "exp": (torch.exp, randn(5, 4)),
    "log": (torch.log, positive(5, 4)),
    "sigmoid": (torch.sigmoid, randn(5, 4)),
    "product": (lambda x: x @ x.t(), randn(4, 4)),
    "softmax": (lambda x: F.softmax(x, 1).square(), randn(4, 5)),
    "convolution": (lambda x: F.conv2d(x, x[:2, :, :2, :2]), randn(3, 2, 4, 4)),
    "norm": (lambda x: x.norm(dim=1) ** 3, randn(4, 5, low=0.2)),
}


def second(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The gradient of the squared gradient, as in a gradient penalty."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    (result,) = torch.autograd.grad(gradient.square().sum(), x)
    return result


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives_agree_with_float64(name: str) -> None:
    function, x = TWICE[name]
    x = on_grid(x)
    with ss.use(WIDE):
        found = second(function, x)
    wanted = second(function, x.double())
    assert_on_grid(found)
    assert_within(found, wanted, 60, float(wanted.abs().max()))


def test_a_vector_jacobian_product_by_torch_func() -> None:
    x, v = randn(5), randn(5, seed=1)
    with ss.use(WIDE):
        _, pull = torch.func.vjp(torch.tanh, x)
        (found,) = pull(v)
    assert_within(found, v.double() * (1 - torch.tanh(x.double()) ** 2), 10, 3.0)


def test_gradients_of_every_sample_by_vmap() -> None:
    w, x = randn(3, 4), randn(6, 4, seed=2)

    def loss(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(w @ x).sum()

    with ss.use(WIDE):
        found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(w, x)
    wanted = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(w.double(), x.double())
    assert_within(found, wanted, 40, float(wanted.abs().max()))
