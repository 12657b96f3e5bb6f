import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.watch import Look

LNS12 = ss.LogArithmetic(ss.LNS(5, 5), "designed")
COARSE = ss.LogArithmetic(ss.LNS(3, 2))


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Flatten()),
        *(nn.Linear(64, 12), nn.Linear(12, 5)),
    )


def batches(number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    for _ in range(number):
        yield torch.randn(8, 1, 6, 6, generator=generator), torch.randint(5, (8,), generator=generator)


def trained(
    steps: int,
    arithmetic: ss.LogArithmetic | None = LNS12,
    update: ss.LogArithmetic | None = None,
    every: int = 0,
    recipe: str | None = None,
    make: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    lr: float = 0.05,
) -> tuple[nn.Module, torch.optim.Optimizer, list[Look]]:
    """A short training, watched where ``every`` is not 0."""
    model = network()
    quantization = None if recipe is None else ss.quantize(model, recipe)
    if arithmetic is not None:
        ss.snap_(model, update or arithmetic)
    optimizer = make(model.parameters(), lr=lr)
    if quantization is not None:
        quantization.attach(optimizer)
    looks: list[Look] = []
    watch = ss.Watch(model, optimizer, every=every, on_look=looks.append) if every else None
    torch.manual_seed(3)
    for x, y in batches(steps):
        if watch:
            watch.reference(lambda net, x=x, y=y: F.cross_entropy(net(x), y))
        if arithmetic is None:
            step(model, optimizer, x, y)
        else:
            with ss.use(arithmetic, update=update):
                step(model, optimizer, x, y)
    return model, optimizer, looks


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[bytes]:
    tensors = [*model.state_dict().values()]
    tensors += [t for s in optimizer.state_dict()["state"].values() for t in s.values() if isinstance(t, torch.Tensor)]
    return [t.numpy().tobytes() for t in tensors]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"update": ss.LogArithmetic(ss.LNS(5, 10))},
        {"make": torch.optim.Adam},
        {"arithmetic": None},
        {"arithmetic": None, "recipe": "luq2021"},
        {"arithmetic": None, "recipe": "wage"},
        {"arithmetic": None, "recipe": "lns-madam2021", "make": ss.optim.Madam},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_watching_changes_no_bit_and_no_generator(how: dict[str, object]) -> None:
    alone = bits(*trained(5, **how)[:2])  # type: ignore[arg-type]
    after_alone = torch.get_rng_state()
    *run, looks = trained(5, every=2, **how)  # type: ignore[arg-type]
    assert bits(*run) == alone
    assert torch.equal(torch.get_rng_state(), after_alone)
    assert [look.step for look in looks] == [1, 2, 4]


def test_watching_is_outside_of_the_audit_and_leaves_nothing_behind() -> None:
    def counts(watched: bool) -> dict[str, dict[str, int]]:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = ss.Watch(model, optimizer, every=1) if watched else None
        (batch,) = batches(1)
        with ss.use(LNS12, audit=True) as run:
            if watch:
                watch.reference(lambda net: F.cross_entropy(net(batch[0]), batch[1]))
            step(model, optimizer, *batch)
        assert run.audit is not None
        if watch:
            watch.remove()
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        return run.audit.counts

    assert counts(True) == counts(False)


def test_every_role_of_every_layer_is_counted_as_its_codes_are() -> None:
    """Against the network taken apart by hand, in the same arithmetic."""
    model = network().eval()  # no dropout, no moving statistics
    ss.snap_(model, COARSE)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    looks: list[Look] = []
    ss.Watch(model, optimizer, every=1, on_look=looks.append)
    ((x, y),) = batches(1)
    with ss.use(COARSE):
        step(model, optimizer, x, y)
        conv = twin[0](x)
        norm = twin[1](conv)
        hidden = twin[5](F.relu(norm).flatten(1))
        logits = twin[6](hidden)
        outputs = {"0": conv, "1": norm, "5": hidden, "6": logits}
        back = torch.autograd.grad(F.cross_entropy(logits, y), [*outputs.values(), *twin.parameters()])
    expected = {(name, "activation"): [t] for name, t in outputs.items()}
    expected |= {(name, "activation_gradient"): [g] for name, g in zip(outputs, back, strict=False)}
    names = [name.split(".")[0] for name, _ in twin.named_parameters()]
    for name, parameter, gradient in zip(names, twin.parameters(), back[4:], strict=True):
        expected.setdefault((name, "weight"), []).append(parameter)
        expected.setdefault((name, "weight_gradient"), []).append(gradient)
    (look,) = looks
    assert {(t.layer, t.role) for t in look.tensors} == set(expected)
    for tensor in look.tensors:
        tensors = expected[tensor.layer, tensor.role]
        codes = torch.cat([ss.codes(t.detach(), COARSE.format).flatten() for t in tensors])
        sign, log = COARSE.format.split(codes.numpy())
        top, zero = COARSE.format.max_log, COARSE.format.zero_log
        live = log[log != zero] >> COARSE.format.frac_bits
        assert tensor.counts.zero == int((log == zero).sum())
        assert tensor.counts.saturated == int((log == top).sum())
        assert tensor.counts.underflow == int((log == -top).sum())
        assert tensor.counts.octaves == {k: int((live == k).sum()) for k in set(live.tolist())}
        assert tensor.counts.count == len(sign)
    assert any(t.counts.underflow for t in look.tensors)


def test_unchanged_updates_are_counted_on_codes() -> None:
    model = nn.Linear(6, 4)
    ss.snap_(model, LNS12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    looks: list[Look] = []
    ss.Watch(model, optimizer, every=1, on_look=looks.append)
    x = torch.randn(3, 6)
    x[:, 2] = 0.0  # the weights of this input get no gradient: no update is lost there
    before = [ss.codes(p.detach(), LNS12.format) for p in model.parameters()]
    with ss.use(LNS12):
        model(x).square().mean().backward()
        optimizer.step()
    after = [ss.codes(p.detach(), LNS12.format) for p in model.parameters()]
    asked = [p.grad != 0 for p in model.parameters() if p.grad is not None]
    unchanged = sum(int(((a == b) & g).sum()) for a, b, g in zip(before, after, asked, strict=True))
    (update,) = looks[0].updates
    assert (update.layer, update.count, update.unchanged) == ("Linear", 28, unchanged)
    assert 0 < unchanged < looks[0].asked("Linear") == 24


def test_numbers_off_the_grid_that_keep_their_code_count_as_unchanged() -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.001)  # the code of 1
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    looks: list[Look] = []
    ss.Watch(model, optimizer, every=1, on_look=looks.append)
    with ss.use(LNS12):
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
    assert model.weight.item() == 1.0
    assert looks[0].updates[0].unchanged == 1


def test_gradient_noise_is_that_of_the_same_step_in_float32() -> None:
    """The float32 step taken separately, from the same weights and the same random numbers, dropout among them."""
    model = network()
    ss.snap_(model, LNS12)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    looks: list[Look] = []
    watch = ss.Watch(model, optimizer, every=1, on_look=looks.append)
    ((x, y),) = batches(1)
    torch.manual_seed(5)
    with ss.use(LNS12):
        watch.reference(lambda net: F.cross_entropy(net(x), y))
        step(model, optimizer, x, y)
    torch.manual_seed(5)
    F.cross_entropy(twin(x), y).backward()
    for look, name in zip(looks[0].gradients, ("0", "1", "5", "6"), strict=True):
        parameters = zip(model[int(name)].parameters(), twin[int(name)].parameters(), strict=True)
        pairs = [(p.grad, q.grad) for p, q in parameters]
        signal = sum(float(r.double().square().sum()) for _, r in pairs)
        noise = sum(float((g.double() - r.double()).square().sum()) for g, r in pairs)
        assert look.layer == name
        assert look.sqnr_db == pytest.approx(10 * torch.tensor(signal / noise).log10().item(), abs=0.01)
        assert look.sqnr_db > 5  # of another dropout mask it would be about 0


def test_references_of_several_passes_add_up_as_gradients_do() -> None:
    looks: list[Look] = []
    model = network().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    watch = ss.Watch(model, optimizer, every=1, on_look=looks.append)
    for x, y in batches(2):
        watch.reference(lambda net, x=x, y=y: F.cross_entropy(net(x), y))
        with ss.use(LNS12):
            F.cross_entropy(model(x), y).backward()
    with ss.use(LNS12):
        optimizer.step()
    assert all(g.sqnr_db is not None and g.sqnr_db > 5 for g in looks[0].gradients)


def test_the_reference_finds_overridden_modules_in_the_network_itself() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    override = {"0": ss.LogArithmetic(ss.LNS(5, 5), "hamad2025")}

    def gradients(watched: bool) -> list[torch.Tensor]:
        watch = ss.Watch(model, optimizer, every=1) if watched else None
        ((x, y),) = batches(1)
        torch.manual_seed(5)
        model.zero_grad()
        with ss.use(LNS12, override=override):
            if watch:
                watch.reference(lambda net: F.cross_entropy(net(x), y))
            F.cross_entropy(model.eval()(x), y).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    assert all(map(torch.equal, gradients(False), gradients(True)))


def test_a_recipe_is_watched_where_it_rounds() -> None:
    _, _, looks = trained(2, None, recipe="fp8", every=1)
    conv = {role: looks[-1].of("0", role) for role in ("weight", "activation", "activation_gradient")}  # type: ignore[arg-type]
    assert all(counts is not None for counts in conv.values())
    assert conv["activation"].count == 8 * 36  # type: ignore[union-attr]  # its rounded inputs
    assert conv["weight"].saturated >= 1  # type: ignore[union-attr]  # the range is that of the largest weight
    assert looks[-1].gradients


def test_recipes_that_change_the_unit_of_gradients_have_no_noise() -> None:
    assert trained(1, None, recipe="wage", every=1)[2][0].gradients == ()


def test_in_float32_nothing_is_at_the_ends_of_a_format() -> None:
    _, _, looks = trained(1, None, every=1)
    assert all(t.counts.saturated == t.counts.underflow == 0 for t in looks[0].tensors)
    biases = 4  # before batch normalisation: their gradients are what rounding leaves of zero
    assert sum(update.unchanged for update in looks[0].updates) <= biases
    assert all(gradient.sqnr_db is None for gradient in looks[0].gradients)  # no noise at all


def test_evaluation_between_steps_is_not_counted() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    looks: list[Look] = []
    ss.Watch(model, optimizer, every=1, on_look=looks.append)
    for x, y in batches(2):
        with ss.use(LNS12), torch.no_grad():
            model(x)
        with ss.use(LNS12):
            step(model, optimizer, x, y)
    counts = looks[-1].of("5", "activation")
    assert counts is not None
    assert counts.count == 8 * 12


def test_a_look_survives_json() -> None:
    import json

    look = trained(1, every=1)[2][0]
    assert Look.from_dict(json.loads(json.dumps(look.to_dict()))) == look


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_coarse_grid_is_warned_of_in_plain_words() -> None:
    model = network().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    ss.Watch(model, optimizer, every=1)

    def run() -> None:
        for x, y in batches(3):
            with ss.use(LNS12):
                step(model, optimizer, x, y)

    with pytest.warns(RuntimeWarning, match=r"5: \d+ % of updates change no bit, .*; try a finer update format"):
        run()


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_the_interval_is_a_number_of_steps(every: object) -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(SpecificationError, match=r"every=.*must be a positive number of steps"):
        ss.Watch(model, torch.optim.SGD(model.parameters(), lr=1.0), every=every)  # type: ignore[arg-type]
