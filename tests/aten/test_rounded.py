"""A RoundedArithmetic rounds operands and results of every operator that float32 computes."""

import pytest
import torch
import torch.nn.functional as F
from small import LNS12, batch, is_on, network, state, train
from torch import nn

import slipstick as ss

ROUNDED = ss.RoundedArithmetic(ss.LNS(5, 5))


def snap(x: torch.Tensor) -> torch.Tensor:
    return ss.snap_(x.clone(), LNS12)


def test_results_are_the_rounded_results_of_rounded_operands() -> None:
    a, b = torch.randn(30, 20), torch.randn(20, 30)
    with ss.use(ROUNDED):
        product, total, exponential = a @ b, a + b.t(), a.exp()
    assert torch.equal(product, snap(snap(a) @ snap(b)))
    assert torch.equal(total, snap(snap(a) + snap(b).t()))
    assert torch.equal(exponential, snap(snap(a).exp()))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: x.add_(y),
        lambda x, y: x.mul_(0.3),
        lambda x, y: x.t().add_(y),
        lambda x, y: x[::2].div_(3),
        lambda x, y: torch.add(x, y, out=x),
        lambda x, y: x.addcmul_(y, y),
        lambda x, y: torch._foreach_add_([x], [y]),
        lambda x, y: x.clamp_(-0.37, 0.41),
        lambda x, y: x.sub_(y),
        lambda x, y: x.relu_(),
        lambda x, y: x.normal_(),
    ],
)
def test_in_place_operators_leave_numbers_of_the_grid(change) -> None:
    x, y = snap(torch.randn(6, 6)), torch.randn(6, 6)
    before = x.data_ptr()
    with ss.use(ROUNDED):
        change(x, y)
    assert x.data_ptr() == before
    assert is_on(x, LNS12)


def test_an_in_place_operator_rounds_its_old_value_too() -> None:
    x = torch.full((3,), 1.2345)
    with ss.use(ROUNDED):
        x.mul_(1.0)
        total = torch.full((3,), 1.2345).add_(1.0)
    assert is_on(x, LNS12)
    assert torch.equal(total, snap(snap(torch.full((3,), 1.2345)) + 1))


def test_batch_norm_rounds_output_and_running_statistics() -> None:
    layer = nn.BatchNorm2d(3)
    with ss.use(ROUNDED):
        y = layer(torch.randn(4, 3, 5, 5))
        y.square().sum().backward()
    assert is_on(y, LNS12)
    for tensor in (layer.running_mean, layer.running_var, layer.weight.grad):
        assert is_on(tensor, LNS12)
    assert layer.num_batches_tracked.item() == 1
    assert not torch.equal(layer.running_mean, torch.zeros(3))


def test_linear_numbers_round_operands_and_results_to_their_grid() -> None:
    linear = ss.FixedPoint(3, 6)
    a, b = torch.randn(30, 20), torch.randn(20, 30)
    with ss.use(ss.RoundedArithmetic(linear)):
        product = a @ b
        x = torch.full((3,), 0.3).add_(100.0)
        with pytest.raises(ss.NonFiniteError, match=r"aten\.sqrt.*FixedPoint"):
            torch.tensor([-1.0]).sqrt()
    assert torch.equal(product, linear.quantize(linear.quantize(a) @ linear.quantize(b)))
    assert torch.equal(x, torch.full((3,), linear.largest))


def test_a_network_trains_in_linear_numbers() -> None:
    linear = ss.RoundedArithmetic(ss.FixedPoint(4, 11))
    model = ss.snap_(network(), linear)
    with ss.use(linear):
        train(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), steps=3)
    for tensor in state(model):
        assert not tensor.dtype.is_floating_point or torch.equal(tensor, linear.format.quantize(tensor))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_network_trains_on_the_grid(make) -> None:
    model = ss.snap_(network(), ROUNDED)
    start = [p.detach().clone() for p in model.parameters()]
    with ss.use(ROUNDED, audit=True) as run:
        loss = train(model, make(model.parameters(), lr=0.05), steps=3)
    for tensor in state(model):
        assert not tensor.dtype.is_floating_point or is_on(tensor, LNS12)
    assert is_on(loss, LNS12)
    assert not all(torch.equal(p, q) for p, q in zip(model.parameters(), start, strict=True))
    assert run.audit.totals()["defined"] > 50


def test_backward_outside_and_half_precision_are_refused_here_too() -> None:
    w = torch.ones(3, requires_grad=True)
    with ss.use(ROUNDED):
        y = (w * 2).sum()
        with pytest.raises(ss.UnsupportedOperation):
            torch.ones(3, dtype=torch.float16) + 1
        with pytest.raises(ss.NonFiniteError):
            torch.tensor([float("nan")]) + 1
        with pytest.raises(ss.NonFiniteError):
            torch.tensor([-1.0]).sqrt()
    with pytest.raises(ss.UnsupportedOperation):
        y.backward()


def test_an_update_arithmetic_is_refused() -> None:
    with pytest.raises(ss.SpecificationError):
        ss.use(ROUNDED, update=LNS12)
    with pytest.raises(ss.SpecificationError):
        ss.use(ss.LNS(5, 5))


def test_evaluation_is_the_same_in_inference_mode() -> None:
    model = network().eval()
    x, y = batch()
    with ss.use(ROUNDED):
        want = F.cross_entropy(model(x), y)
        with torch.inference_mode():
            got = F.cross_entropy(model(x), y)
    assert is_on(got, LNS12)
    assert torch.isclose(got, want, rtol=0.2)
