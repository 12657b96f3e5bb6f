"""PyTorch with exp by a table design: bit for bit the oracle's composition, wherever exp is used."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import Oracle

import slipstick as ss
from grid import every_code
from slipstick.arithmetic import ExpSegments
from slipstick.kernels import native, reference

COARSE_EXP = ExpSegments(5, 120, ss.Segments((20, 60, 200), (4, 2, 0), (-700, -300, -210)))
ARITHMETICS = [
    ss.LogArithmetic(ss.LNS(3, 3), exp="designed"),
    ss.LogArithmetic(ss.LNS(5, 3, "flush"), exp="designed"),
    ss.LogArithmetic(ss.LNS(5, 5), "hamad2025", exp="designed"),
    ss.LogArithmetic(ss.LNS(5, 5, "flush"), accumulator="operand", exp="designed"),
    ss.LogArithmetic(ss.LNS(5, 5), exp=COARSE_EXP),
    ss.LogArithmetic(ss.LNS(6, 8), exp="designed"),
]
each_arithmetic = pytest.mark.parametrize("o", [Oracle(a) for a in ARITHMETICS], ids=lambda o: str(o.arithmetic))


def numbers(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


FORMATS = [(3, 3), (5, 3), (5, 5)]


@pytest.mark.parametrize("isa", native.available_isas())
@pytest.mark.parametrize("underflow", ["saturate", "flush"])
@pytest.mark.parametrize("bits", FORMATS, ids=str)
def test_exp_of_every_code(bits, underflow, isa: str) -> None:
    format = ss.LNS(*bits, underflow)
    o = Oracle(ss.LogArithmetic(format, exp="designed"))
    x = torch.from_numpy(reference.from_codes(every_code(format), format).numbers())
    before = native.current_isa()
    native.set_isa(isa)
    try:
        with ss.use(o.arithmetic):
            got = x.exp()
    finally:
        native.set_isa(before)
    o.same(got, o.numbers(x).call("exp", o.arithmetic))


@each_arithmetic
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_softmax_and_its_logarithm(o: Oracle, spread: float) -> None:
    a, g = numbers(5, 37, spread=spread).requires_grad_(), numbers(5, 37, seed=1)
    x, d = o.numbers(a), o.numbers(g)
    shifted = x - x.largest(1)
    e = shifted.call("exp", o.arithmetic)
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
    o.same(log_gradient, d - z.call("exp", o.arithmetic) * d.sum([1], True))


@each_arithmetic
def test_other_functions_stay_correctly_rounded(o: Oracle) -> None:
    a = numbers(30, 20, spread=2.0)
    x = o.numbers(a)
    with ss.use(o.arithmetic):
        o.same(a.sigmoid(), x.call("sigmoid"))
        o.same(a.tanh(), x.call("tanh"))


def test_the_optimizers_arithmetic_has_its_own_exp() -> None:
    compute = ss.LogArithmetic(ss.LNS(5, 5), exp="designed")
    update = ss.LogArithmetic(ss.LNS(5, 8))
    x = numbers(500, spread=3.0)
    narrow, wide = Oracle(compute, via=update.format), Oracle(update)
    with ss.use(compute, update=update):
        narrow.same(x.exp(), narrow.numbers(x).call("exp", compute))
        with ss.update_phase():
            wide.same(x.exp(), wide.numbers(x).call("exp"))


def test_a_network_trains_with_it_and_differs_from_exact() -> None:
    images, labels = numbers(16, 8), torch.arange(16) % 3
    weights = {}
    for exp in ("exact", "designed"):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.125)
        arithmetic = ss.LogArithmetic(ss.LNS(5, 5), "hamad2025", exp=exp)
        ss.snap_(model, arithmetic)
        losses = []
        with ss.use(arithmetic):
            for _ in range(30):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]
        weights[exp] = torch.cat([p.detach().ravel() for p in model.parameters()])
    assert not torch.equal(weights["exact"], weights["designed"])
    assert np.isclose(weights["exact"].norm(), weights["designed"].norm(), rtol=0.1)
