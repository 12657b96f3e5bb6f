"""Weight normalisation agrees with float64, forward and backward."""

import pytest
import torch
from wide import WIDE, assert_within, check, randn

import slipstick as ss


@pytest.mark.parametrize(("shape", "dim"), [((5, 4), 0), ((5, 4), 1), ((3, 2, 4), 0), ((3, 2, 4), 2)])
def test_the_weight_and_both_gradients(shape: tuple[int, ...], dim: int) -> None:
    sizes = [n if d == dim else 1 for d, n in enumerate(shape)]
    check(lambda v, g: torch._weight_norm(v, g, dim), randn(*shape), randn(*sizes, seed=3), roundings=12)


def test_one_norm_of_all() -> None:
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 3), dim=None)
    x = randn(5, 4)
    with ss.use(WIDE):
        y = layer(x)
        y.square().sum().backward()
    found = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    wanted = layer.double()
    result = wanted(x.double())
    result.square().sum().backward()
    assert_within(y, result, 40, float(result.abs().max()))
    for gradient, parameter in zip(found, wanted.parameters(), strict=True):
        assert_within(gradient, parameter.grad, 100, float(parameter.grad.abs().max()))
