"""Where autograd divides 0 by 0 and overwrites the quotient, gradients are PyTorch's: of a norm at zero, zero."""

import math

import pytest
import torch
import torch.nn.functional as F
from small import LNS12
from torch import Tensor

import slipstick as ss

FLUSH = ss.LogArithmetic(ss.LNS(5, 5, "flush"), "hamad2025")
ROWS = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
ORDERS = (-math.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf)


def gradient(function, x: Tensor, cotangent: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf), leaf, cotangent, allow_unused=True, materialize_grads=True)
    return found


def assert_as_in_pytorch(function, x: Tensor, cotangent: Tensor) -> None:
    """Zeros are exactly PyTorch's; the rest is within the roundings of few bits."""
    for arithmetic in (LNS12, FLUSH):
        with ss.use(arithmetic):
            got = gradient(function, x, cotangent)
        want = gradient(function, x, cotangent)
        assert want.isfinite().all()
        assert torch.equal(got == 0, want == 0)
        assert torch.allclose(got, want, rtol=0.1)


@pytest.mark.parametrize("cotangent", [1.0, 0.0])
@pytest.mark.parametrize("order", ORDERS)
def test_the_gradient_of_a_norm_of_every_order(order: float, cotangent: float) -> None:
    given = torch.full((4,), cotangent)
    assert_as_in_pytorch(lambda x: torch.linalg.vector_norm(x, order, 1), ROWS[[0, 3, 0, 3]], given)
    if order >= 0:  # a negative order of a row with some zeros is 1 / infinity
        assert_as_in_pytorch(lambda x: torch.linalg.vector_norm(x, order, 1), ROWS, given)
        assert_as_in_pytorch(lambda x: x.norm(order, dim=1), ROWS, given)


PROGRAMS = {
    "norm of everything": lambda x: torch.norm(x * 0),
    "Frobenius": lambda x: torch.linalg.matrix_norm(x * 0),
    "foreach": lambda x: torch._foreach_norm([x[0], x[3]])[1],
    "pairwise": lambda x: F.pairwise_distance(x, x.detach(), eps=0.0).sum(),
    "triplet": lambda x: F.triplet_margin_loss(x, x.detach(), x * 0, eps=0.0),
    "renorm": lambda x: torch.renorm(x, 2, 0, 1.0).sum(),
    "std": lambda x: torch.cat([x[0].std(0, keepdim=True), torch.std_mean(x[3])[0][None]]).sum(),
    "cumprod": lambda x: x.cumprod(1).sum(),
    "sinc": lambda x: torch.sinc(x).sum(),
}


@pytest.mark.parametrize("cotangent", [1.0, 0.0])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_made_of_norms_deviations_and_prefix_products(name: str, cotangent: float) -> None:
    assert_as_in_pytorch(PROGRAMS[name], ROWS, torch.tensor(cotangent))


def test_under_functional_transforms() -> None:
    one = torch.func.grad(torch.linalg.vector_norm)
    with ss.use(LNS12):
        assert not one(torch.zeros(3)).any()
        assert torch.equal(torch.func.vmap(one)(ROWS)[[0, 2, 3]], torch.tensor([[0.0] * 3, [0, 0, 1], [0] * 3]))


QUOTIENTS = (lambda x: x / x, lambda x: x.div(x.detach()), lambda x: torch.hypot(x, x), lambda x: x.norm() / x.norm())


@pytest.mark.parametrize("function", QUOTIENTS)
def test_any_other_division_of_zero_by_zero_still_raises(function) -> None:
    with ss.use(LNS12), pytest.raises(ss.NonFiniteError, match="0/0"):
        gradient(function, torch.zeros(()), torch.ones(()))
