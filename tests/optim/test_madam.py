import copy
import itertools
import math
import warnings

import pytest
import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.optim import Madam

LNS16 = MultiBaseLNS(16, 2048)


def tensors(seed: int, count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(5, 7 + i, generator=generator) for i in range(count)]


def gradients(steps: int) -> list[list[torch.Tensor]]:
    """Of changing size, with zeros in them."""
    return [[g * 10.0 ** (s % 5 - 3) * (g.abs() > 0.1) for g in tensors(100 + s)] for s in range(steps)]


def train(
    weights: list[torch.Tensor], steps: list[list[torch.Tensor]], **options: object
) -> tuple[list[nn.Parameter], Madam]:
    parameters = [nn.Parameter(w.clone()) for w in weights]
    optimizer = Madam(parameters, **options)
    apply(parameters, optimizer, steps)
    return parameters, optimizer


def apply(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: list[list[torch.Tensor]]) -> None:
    for step in steps:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


def released_rule(
    weight: torch.Tensor, steps: list[torch.Tensor], lr: float, decay: float | None = None
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The released LNS-Madam, written down anew: weight, second moment and bound after all steps."""
    bound = 3.0 * (weight * weight).mean().sqrt().item()
    moment = torch.zeros_like(weight)
    for t, gradient in enumerate(steps, start=1):
        moment = 0.999 * moment + 0.001 * gradient**2
        g = gradient / (moment / (1 - 0.999**t)).sqrt()
        g = torch.where(g.isnan(), torch.zeros_like(g), g).clamp(-10.0, 10.0).round()
        if decay is None:
            factor = 2.0 ** (-lr * g * torch.sign(weight))
        else:
            factor = torch.exp(-lr * g * torch.sign(weight) - lr * decay)
        weight = (weight * factor).clamp(-bound, bound)
    return weight, moment, bound


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize(("lr", "decay"), [(2**-7, None), (0.03, None), (2**-7, 0.05)])
def test_the_defaults_are_the_released_rule_to_the_bit(steps: int, lr: float, decay: float | None) -> None:
    start, given = tensors(1), gradients(steps)
    parameters, optimizer = train(start, given, lr=lr, weight_decay=decay)
    for i, parameter in enumerate(parameters):
        weight, moment, bound = released_rule(start[i], [step[i] for step in given], lr, decay)
        assert torch.equal(parameter, weight)
        state = optimizer.state[parameter]
        assert torch.equal(state["exp_avg_sq"], moment)
        assert (state["max"], state["step"]) == (bound, steps)


def test_one_step_by_hand() -> None:
    weight, gradient = torch.tensor([[0.5, -2.0, 1.0, 0.0]]), torch.tensor([[3.0, 3.0, 0.0, -1.0]])
    (parameter,), _ = train([weight], [[gradient]], p_scale=None)
    # at the first step the normalised gradient is the sign; 0/0 counts as 0
    expected = torch.tensor([[0.5 * 2 ** (-1 / 128), -2.0 * 2 ** (1 / 128), 1.0, 0.0]])
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-7, atol=0)


def test_the_papers_form_neither_corrects_nor_rounds() -> None:
    start, given = tensors(2, 1), [[g] for (g, *_) in gradients(3)]
    options = {"round_gradient": False, "bias_correction": False, "g_bound": math.inf, "p_scale": None}
    (parameter,), _ = train(start, given, **options)
    weight, moment = start[0].double(), torch.zeros_like(start[0]).double()
    for (gradient,) in given:
        moment = 0.999 * moment + 0.001 * gradient.double() ** 2
        unit = torch.nan_to_num(gradient.double() / moment.sqrt(), nan=0.0)
        weight = weight * 2 ** (-unit * weight.sign() / 128)
    torch.testing.assert_close(parameter.detach().double(), weight, rtol=1e-5, atol=0)


def test_the_original_madam_has_base_e_and_does_not_round() -> None:
    start, given = tensors(3, 1), [[g] for (g, *_) in gradients(2)]
    (parameter,), _ = train(start, given, lr=0.01, round_gradient=False, base=math.e)
    weight, moment = start[0].double(), torch.zeros_like(start[0]).double()
    bound = 3 * weight.square().mean().sqrt()
    for t, (gradient,) in enumerate(given, start=1):
        moment = 0.999 * moment + 0.001 * gradient.double() ** 2
        unit = torch.nan_to_num(gradient.double() / (moment / (1 - 0.999**t)).sqrt(), nan=0.0).clamp(-10, 10)
        weight = (weight * torch.exp(-0.01 * unit * weight.sign())).clamp(-bound, bound)
    torch.testing.assert_close(parameter.detach().double(), weight, rtol=1e-5, atol=0)


def test_signs_stay_and_zeros_stay_zero() -> None:
    start = [w * (w.abs() > 0.3) for w in tensors(4)]
    parameters, _ = train(start, gradients(50), lr=0.5)
    assert all(torch.equal(p.sign(), w.sign()) for p, w in zip(parameters, start, strict=True))


@pytest.mark.parametrize("bits", [12, 16])
def test_held_weights_are_the_released_rule_rounded_by_q_u(bits: int) -> None:
    format = MultiBaseLNS(bits, 8 << (bits - 8))
    start, given = tensors(5), gradients(40)
    parameters, optimizer = train(start, given, update_format=format)
    for i, parameter in enumerate(parameters):
        scale, bound = (optimizer.state[parameter][key] for key in ("scale", "max"))
        assert math.frexp(scale)[0] == 0.5
        weight = format.quantize(start[i], scale=scale)
        moment = torch.zeros_like(weight)
        for t, step in enumerate(given, start=1):
            moment = 0.999 * moment + 0.001 * step[i] ** 2
            g = torch.nan_to_num(step[i] / (moment / (1 - 0.999**t)).sqrt(), nan=0.0).clamp(-10, 10).round()
            moved = (weight * 2.0 ** (-(2**-7) * g * weight.sign())).clamp(-bound, bound)
            weight = format.quantize(moved, scale=scale)
        assert torch.equal(parameter, weight)


def test_held_weights_are_on_their_grid_before_and_after_every_step() -> None:
    parameters = [nn.Parameter(w) for w in tensors(6)]
    optimizer = Madam(parameters, update_format=LNS16)
    for step in [None, *gradients(20)]:
        if step is not None:
            apply(parameters, optimizer, [step])
        for parameter in parameters:
            scale = optimizer.state[parameter]["scale"]
            assert torch.equal(LNS16.decode(LNS16.encode(parameter, scale=scale), scale=scale), parameter)


def test_a_unit_step_is_lr_times_base_factor_codes() -> None:
    parameter = nn.Parameter(torch.tensor([[0.3, -0.7]]))
    optimizer = Madam([parameter], update_format=LNS16)
    scale = optimizer.state[parameter]["scale"]
    before = LNS16.encode(parameter, scale=scale)
    apply([parameter], optimizer, [[torch.tensor([[1.0, 1.0]])]])
    assert (LNS16.encode(parameter, scale=scale) - before).tolist() == [[-16, 16]]


@pytest.mark.parametrize("format", [MultiBaseLNS(8, 128), MultiBaseLNS(8, 128, zero=True)])
def test_held_weights_saturate_at_both_ends(format: MultiBaseLNS) -> None:
    start = [torch.tensor([[0.7, 0.7, -0.7, 0.0]])]
    given = [[torch.tensor([[1.0, -1.0, -1.0, 1.0]])]] * 300
    (parameter,), optimizer = train(start, given, update_format=format, p_scale=None)
    scale = optimizer.state[parameter]["scale"]
    smallest, largest = format.smallest * scale, format.largest * scale
    torch.testing.assert_close(parameter.detach(), torch.tensor([[smallest, largest, -smallest, 0.0]]))


def test_held_weights_obey_the_bound() -> None:
    (parameter,), optimizer = train(
        [torch.tensor([[0.5, 0.4]])], [[torch.tensor([[-1.0, -1.0]])]] * 300, update_format=LNS16
    )
    state = optimizer.state[parameter]
    nearest = LNS16.quantize(torch.tensor(state["max"]), scale=state["scale"])
    assert torch.equal(parameter.detach(), nearest.expand(1, 2))


@pytest.mark.parametrize("options", [{}, {"update_format": LNS16}, {"additive": {"lr": 0.01, "momentum": 0.9}}])
def test_a_run_resumes_to_the_same_bits(options: dict[str, object]) -> None:
    given = [[*step, step[0][0]] for step in gradients(12)]
    start = [*tensors(7), torch.linspace(1, 2, 7)]
    whole, _ = train(start, given, **options)
    first, optimizer = train(start, given[:5], **options)
    saved = copy.deepcopy(optimizer.state_dict())
    second = [nn.Parameter(p.detach().clone()) for p in first]
    resumed = Madam(second, **options)
    resumed.load_state_dict(saved)
    apply(second, resumed, given[5:])
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_additive_parameters_move_as_under_sgd() -> None:
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    start, given = [torch.linspace(-1, 1, 7), torch.zeros(8)], [[g[0], h[0]] for g, h, _ in gradients(10)]
    parameters, optimizer = train([*tensors(8, 1), *start], [[torch.zeros(5, 7), *g] for g in given], additive=options)
    assert [group["rule"] for group in optimizer.param_groups] == ["madam", "sgd"]
    references = [nn.Parameter(w.clone()) for w in start]
    apply(references, torch.optim.SGD(references, **options), given)
    assert all(torch.equal(a, b) for a, b in zip(parameters[1:], references, strict=True))


def test_groups_may_choose_their_rule() -> None:
    layer = nn.Linear(3, 2)
    groups = [{"params": [layer.weight], "lr": 0.25}, {"params": [layer.bias], "rule": "sgd", "lr": 0.5}]
    optimizer = Madam(groups)
    assert [(g["rule"], g["lr"]) for g in optimizer.param_groups] == [("madam", 0.25), ("sgd", 0.5)]
    bias = layer.bias.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.ones(2, 3), torch.ones(2)
    optimizer.step()
    assert torch.equal(layer.bias, bias - 0.5)


def test_a_group_added_later_has_the_rule_of_the_optimiser() -> None:
    parameters = [nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    optimizer = Madam(parameters[:1])
    optimizer.add_param_group({"params": parameters[1:]})
    apply(parameters, optimizer, [[torch.ones(2, 2)] * 2])
    assert torch.equal(parameters[0], parameters[1])


def test_zero_parameters_are_named_in_one_warning() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    nn.init.zeros_(model[0].bias)
    with pytest.warns(
        UserWarning, match=r"zero to begin with, so no factor moves them: 0\.bias, 1\.bias; give"
    ) as caught:
        Madam(model.named_parameters())
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"group 0 parameter 1 \(3\), group 0 parameter 3 \(3\)"):
        Madam(model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Madam(model.named_parameters(), additive={"lr": 0.01})


def test_a_step_below_one_code_is_a_warning_that_says_what_fixes_it() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    message = r"a unit step is 0\.25 codes of MultiBaseLNS\(10,32\) .* use lr >= 0\.03125 or base_factor >= 128"
    with pytest.warns(UserWarning, match=rf"Madam\(lr=0\.007812\): {message}"):
        optimizer = Madam([parameter], update_format=MultiBaseLNS(10, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        apply([parameter], optimizer, [[torch.ones(2, 2)]] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = Madam([parameter], lr=2**-5, update_format=MultiBaseLNS(10, 32))
        Madam([parameter], update_format=MultiBaseLNS(12, 128))
        optimizer.param_groups[0]["lr"] = 0.0  # the end of a schedule moves nothing on purpose
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 2**-6
    with pytest.warns(UserWarning, match="0.5 codes"):
        optimizer.step()


def test_a_closure_gives_the_loss() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    optimizer = Madam([parameter])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (parameter * 3).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 12
    assert bool((parameter < 1).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, r"Madam\(lr=0.0\): out of range"),
        ({"beta2": 1.0}, r"Madam\(beta2=1.0\)"),
        ({"g_bound": 0.0}, r"Madam\(g_bound=0.0\)"),
        ({"base": 1.0}, r"Madam\(base=1.0\)"),
        ({"update_format": "LNS"}, r"Madam\(update_format='LNS'\): must be a MultiBaseLNS"),
        ({"additive": {"momentum": 0.9}}, r"needs a learning rate of its own"),
        ({"additive": {"lr": 0.1, "nesterov": True}}, r"unknown option 'nesterov'; known are lr, momentum"),
        ({"additive": {"lr": -0.1}}, r"lr = -0.1: must be at least 0"),
    ],
)
def test_impossible_options_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message) as error:
        Madam([nn.Parameter(torch.ones(2, 2))], **options)
    assert "\n" not in str(error.value)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(SpecificationError, match=r"rule='adam': choose one of 'madam', 'sgd'"):
        Madam([{"params": [nn.Parameter(torch.ones(2))], "rule": "adam"}])


def test_steps_do_not_depend_on_how_parameters_are_given() -> None:
    start, given = tensors(9), gradients(5)
    as_list, _ = train(start, given)
    named = [(f"w{i}", nn.Parameter(w.clone())) for i, w in enumerate(start)]
    apply([p for _, p in named], Madam(iter(named)), given)
    assert all(torch.equal(a, b) for a, (_, b) in zip(as_list, named, strict=True))
    assert len(list(itertools.chain(*(g["params"] for g in Madam(named).param_groups)))) == 3
