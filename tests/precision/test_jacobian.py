"""The square-Jacobian's norm against the matrix itself."""

import pytest
import torch
from probed_networks import CASES, images, made
from torch import nn

from slipstick.precision.jacobian import SquareJacobian, largest_singular_value, mean_squares
from slipstick.precision.layer_calls import SampleNetwork, probed_layers

LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), (5,)),
    "positions": (lambda: nn.Linear(5, 3), (4, 5)),
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 5, 5)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 7, 7)),
    "circular": (lambda: nn.Conv1d(2, 3, 3, dilation=2, padding="same", padding_mode="circular"), (2, 9)),
    "volume": (lambda: nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1), (4, 3, 3)),
}


def square_jacobian(layer: nn.Module, samples: torch.Tensor) -> torch.Tensor:
    """The mean over samples of the squares of d vec(dW) / d vec(dY), column by column."""
    matrices = []
    for sample in samples:
        y = layer(sample[None])
        columns = [
            torch.autograd.grad(y, layer.weight, dy.reshape(y.shape), retain_graph=True)[0].flatten()
            for dy in torch.eye(y.numel(), dtype=y.dtype)
        ]
        matrices.append(torch.stack(columns, dim=1).square())
    return torch.stack(matrices).mean(dim=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_power_iteration_finds_the_largest_singular_value(kind: str) -> None:
    build, shape = LAYERS[kind]
    layer, samples = made(build), images(3, *shape).relu()
    exact = torch.linalg.svdvals(square_jacobian(layer, samples))[0].item()
    squares = samples[:, None].square().mean(dim=0)
    assert largest_singular_value(layer, [squares]) == pytest.approx(exact, rel=1e-6)


def test_of_a_linear_layer_it_is_the_norm_of_the_mean_squares() -> None:
    x = images(7, 5)
    expected = x.square().mean(dim=0).norm().item()
    assert largest_singular_value(nn.Linear(5, 3), [x.square().mean(dim=0)]) == pytest.approx(expected, rel=1e-12)


def test_it_takes_noise_variances_of_the_output_gradient_to_those_of_the_weight_gradient() -> None:
    layer, x = made(lambda: nn.Conv2d(2, 3, 2)), images(1, 2, 4, 4)
    y = layer(x)
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(y.shape, generator=generator, dtype=y.dtype)
    noise = torch.randn(4000, *y.shape, generator=generator, dtype=y.dtype) * v.sqrt()
    gradients = torch.stack([torch.autograd.grad(y, layer.weight, dy, retain_graph=True)[0] for dy in noise])
    expected = (square_jacobian(layer, x) @ v.flatten()).reshape(layer.weight.shape)
    assert torch.allclose(gradients.var(dim=0), expected, rtol=0.15)


def test_several_calls_of_a_layer_are_one_wider_matrix() -> None:
    layer, first, second = made(lambda: nn.Linear(4, 2)), images(1, 3, 4), images(1, 5, 4, seed=1)
    together = torch.cat([square_jacobian(layer, x) for x in (first, second)], dim=1)
    exact = torch.linalg.svdvals(together)[0].item()
    assert largest_singular_value(layer, [first.square(), second.square()]) == pytest.approx(exact, rel=1e-6)


def test_the_first_batch_starts_the_moving_average() -> None:
    jacobian = SquareJacobian(nn.Linear(3, 2))
    batches = [images(3, seed=seed).square() for seed in range(3)]
    for batch in batches:
        jacobian.add([batch])
    average = 0.9 * (0.9 * batches[0] + 0.1 * batches[1]) + 0.1 * batches[2]
    assert jacobian.largest_singular_value() == pytest.approx(average.norm().item(), rel=1e-12)
    assert jacobian.mean_square() == pytest.approx(average.mean().item(), rel=1e-12)


def test_inputs_that_are_all_zero_give_zero() -> None:
    assert largest_singular_value(nn.Conv2d(2, 3, 3), [torch.zeros(1, 2, 5, 5)]) == 0


@pytest.mark.parametrize("case", CASES)
def test_mean_squares_are_those_of_the_inputs_of_every_call(case: str) -> None:
    build, inputs = CASES[case]
    model = made(build).eval()
    layers = probed_layers(model)
    seen: list[torch.Tensor] = []
    hooks = [layer.module.register_forward_pre_hook(lambda m, args: seen.append(args[0])) for layer in layers]
    for sample in inputs:
        model(sample[None])
    for hook in hooks:
        hook.remove()
    found = mean_squares(SampleNetwork(model, layers, inputs[0]), inputs, at_once=2)
    for call, squares in enumerate(found):
        expected = torch.stack(seen[call :: len(found)]).square().mean(dim=0)
        assert torch.allclose(squares, expected)
