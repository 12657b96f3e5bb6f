"""Single modules in arithmetics of their own: the bits of every layer run by itself, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import slipstick as ss

EXACT = ss.LogArithmetic(ss.LNS(5, 5), add="exact")
CRUDE = ss.LogArithmetic(ss.LNS(5, 5), add="sanyal2019-bitshift")
NARROW, WIDE = ss.LogArithmetic(ss.LNS(4, 3)), ss.LogArithmetic(ss.LNS(5, 7))
UPDATE = ss.LogArithmetic(ss.LNS(5, 9))


def exact() -> ss.use:
    return ss.use(EXACT)


def crude() -> ss.use:
    return ss.use(CRUDE)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(12, 10)
        self.head = nn.Sequential(nn.Linear(10, 8), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.first(x)))


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 12, generator=generator), torch.randn(6, 4, generator=generator)


def trained(run: ss.use) -> tuple[Net, torch.Tensor]:
    """A network after one backward pass, and its output."""
    net = Net()
    x, gradient = inputs()
    with run:
        y = net(x)
        y.backward(gradient)
    return net, y.detach()


def by_hand(base, of_first, of_head_0, of_head_1) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The same by one operator after the other; arguments make the arithmetic, of no layer and of every one."""
    net = Net()
    x, gradient = inputs()
    layers = ((net.first, of_first), (net.head[0], of_head_0), (net.head[1], of_head_1))
    taken = []
    with torch.no_grad():
        for number, (layer, make) in enumerate(layers):
            taken.append(x)
            with make():
                x = F.linear(x, layer.weight, layer.bias)
            if number == 0:
                before = x
                with base():
                    x = torch.relu(x)
        found = {}
        names = ("first", "head.0", "head.1")
        for number in (2, 1, 0):
            layer, make = layers[number]
            if number == 0:
                with base():
                    gradient = torch.ops.aten.threshold_backward(gradient, torch.relu(before), 0)
            with make():
                found[f"{names[number]}.weight"] = gradient.t() @ taken[number]
                found[f"{names[number]}.bias"] = gradient.sum(0)
                gradient = gradient @ layer.weight
    return x, found


def assert_same(net: Net, y: torch.Tensor, by_hands: tuple[torch.Tensor, dict[str, torch.Tensor]]) -> None:
    expected, gradients = by_hands
    assert torch.equal(y, expected)
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter.grad, gradients[name]), name


def test_a_named_module_and_all_in_it_run_in_its_arithmetic():
    expected = by_hand(exact, exact, crude, crude)
    net, y = trained(ss.use(EXACT, override={"head": CRUDE}))
    assert_same(net, y, expected)
    plain, plain_y = trained(ss.use(EXACT))
    assert not torch.equal(plain_y, y)
    assert not torch.equal(plain.first.weight.grad, net.first.weight.grad)


def test_the_innermost_counts():
    expected = by_hand(exact, exact, exact, crude)
    assert_same(*trained(ss.use(EXACT, override={"head": CRUDE, "head.0": EXACT})), expected)
    expected = by_hand(crude, exact, crude, exact)
    assert_same(*trained(ss.use(CRUDE, override={"first": EXACT, "head.1": EXACT})), expected)


def test_formats_may_differ_where_an_update_holds_them_all():
    wide, narrow = (lambda: ss.use(WIDE, update=UPDATE)), (lambda: ss.use(NARROW, update=UPDATE))
    expected = by_hand(narrow, wide, narrow, wide)
    assert_same(*trained(ss.use(NARROW, update=UPDATE, override={"first": WIDE, "head.1": WIDE})), expected)


def test_a_module_itself_may_be_the_key():
    net, twin = Net(), Net()
    x, gradient = inputs()
    with ss.use(EXACT, override={net.head: CRUDE}):
        y = net(x)
        y.backward(gradient)
    with ss.use(EXACT, override={"head": CRUDE}):
        twin(x).backward(gradient)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(net.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_are_of_the_same_arithmetic(reentrant):
    def step(net: Net, x: torch.Tensor) -> torch.Tensor:
        x.requires_grad_()
        return net.head(checkpoint(lambda x: torch.relu(net.first(x)), x, use_reentrant=reentrant))

    net, other = Net(), Net()
    x, gradient = inputs()
    with ss.use(EXACT, override={net.first: CRUDE}):
        step(net, x).backward(gradient)
    with ss.use(EXACT, override={other.first: CRUDE}):
        other(inputs()[0]).backward(gradient)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_two_graphs_backward_in_any_order():
    nets = [Net(), Net()]
    x, gradient = inputs()
    expected = [p.grad for p in trained(ss.use(EXACT, override={"head": CRUDE}))[0].parameters()]
    run = ss.use(EXACT, override={nets[0].head: CRUDE, nets[1].head: CRUDE})
    with run:
        results = [net(x) for net in nets]
        for y in results:
            y.backward(gradient)
    for net in nets:
        assert all(torch.equal(p.grad, e) for p, e in zip(net.parameters(), expected, strict=True))


def test_weights_are_updated_in_the_update():
    net = Net()
    x, gradient = inputs()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with ss.use(NARROW, update=UPDATE, override={"head": WIDE}):
        net(x).backward(gradient)
        before = [p.detach().clone() for p in net.parameters()]
        gradients = [p.grad.clone() for p in net.parameters()]
        optimizer.step()
    for p, old, g in zip(net.parameters(), before, gradients, strict=True):
        with ss.use(UPDATE):
            assert torch.equal(p.detach(), torch.add(old, g, alpha=-0.1))


def test_mistakes_are_one_line():
    with pytest.raises(ss.SpecificationError, match=r"override 'heat': no module of Net, .* modules are first, head"):
        trained(ss.use(EXACT, override={"heat": CRUDE}))
    with pytest.raises(ss.SpecificationError, match="say with update= in which arithmetic they are updated"):
        ss.use(NARROW, override={"head": WIDE})
    with pytest.raises(ss.SpecificationError, match="must be a LogArithmetic"):
        ss.use(EXACT, override={"head": "LNS(5,5) exact"})
    rounded = ss.RoundedArithmetic(ss.FixedPoint(4, 8))
    with pytest.raises(ss.SpecificationError, match="rounded baseline"):
        ss.use(rounded, override={"head": EXACT})
