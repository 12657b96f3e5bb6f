"""Weights without a full-precision copy: on their grid from the first moment on, whatever moves them."""

import copy
import math
import warnings

import pytest
import torch
from networks import FORWARD, STORED, images, network, numbers, recipe, step
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint, MultiBaseLNS
from slipstick.quantize import Quantization, QuantizerSpec, Range, Recipe, recipe_from

MASTERLESS = recipe(weight=FORWARD, update=STORED, keeps_master=False)
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw without foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=False),
    "madam": lambda p: ss.optim.Madam(p, lr=0.5, additive={"lr": 0.1}),
}


def stored(model: nn.Module) -> dict[str, torch.Tensor]:
    names = {"parametrizations.weight.original": "weight"}
    return {n: p for n, p in model.named_parameters() if n.partition(".")[2] in names or p.dim() > 1}


def scale_of(model: nn.Module, name: str) -> float:
    maximum = float(model[int(name[0])].quantizers.stored.weight.maximum)
    return 2.0 ** math.ceil(math.log2(maximum))


def is_on_grid(model: nn.Module) -> bool:
    return all(
        torch.equal(STORED.format.quantize(p, scale=scale_of(model, name)), p) for name, p in stored(model).items()
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_are_on_their_grid_before_and_after_every_step(name: str) -> None:
    model = network()
    quantization = ss.quantize(model, MASTERLESS)
    assert len(stored(model)) == 3
    assert is_on_grid(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    quantization.attach(optimizer)
    before = {n: p.detach().clone() for n, p in stored(model).items()}
    for i in range(4):
        step(model, optimizer, i)
        assert is_on_grid(model)
    assert not any(torch.equal(before[n], p) for n, p in stored(model).items())


def test_layers_use_the_stored_weight_rounded_again() -> None:
    model = network()
    ss.quantize(model, MASTERLESS)
    for name, parameter in stored(model).items():
        assert torch.equal(model[int(name[0])].weight, numbers(FORWARD, parameter.detach()))


def test_without_an_update_format_weights_are_stored_as_they_are_used() -> None:
    coarse = QuantizerSpec(FixedPoint(0, 3), range=STORED.range)
    model, plain = network(), network()
    ss.quantize(model, recipe(weight=coarse, keeps_master=False))
    for name, parameter in stored(model).items():
        assert parameter is model[int(name[0])].weight
        scale = 2.0 ** math.ceil(math.log2(4 * plain[int(name[0])].weight.abs().max().item()))
        assert torch.equal(parameter, coarse.format.quantize(plain[int(name[0])].weight, scale=scale))
    assert "weight  weight (stored)" in ss.quantization_table(model)
    assert "no master copy" in ss.quantization_table(model)


def test_an_optimiser_that_was_not_attached_is_noticed() -> None:
    model = network()
    quantization = ss.quantize(model, MASTERLESS)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    step(model, optimizer, 0)
    message = r"0\.weight: was changed to numbers off its grid \(FixedPoint\(0,7\)\); call attach\(optimizer\)"
    with pytest.raises(SpecificationError, match=message):
        model(images())
    model.eval()(images())  # looking at it is allowed
    with torch.no_grad():
        model.train()(images())
    other = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(SpecificationError, match=r"attach\(SGD\): holds none of the model's quantised weights"):
        quantization.attach(other)


def test_weights_that_are_loaded_are_looked_at_again() -> None:
    model, twin = network(), network(5)
    for one in (model, twin):
        ss.quantize(one, MASTERLESS)
    twin.load_state_dict(model.state_dict())
    twin(images())
    assert is_on_grid(twin)
    with torch.no_grad():
        next(iter(stored(twin).values())).mul_(1.01)
    with pytest.raises(SpecificationError, match="off its grid"):
        twin(images())


def test_a_copy_trains_by_itself() -> None:
    model = network()
    ss.quantize(model, MASTERLESS)
    twin = copy.deepcopy(model)
    for one in (model, twin):
        optimizer = OPTIMIZERS["sgd"](one.parameters())
        Quantization(one).attach(optimizer)
        for i in range(3):
            step(one, optimizer, i)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_handle_ends_the_rounding() -> None:
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    handle = ss.quantize(model, MASTERLESS).attach(optimizer)
    handle.remove()
    step(model, optimizer, 0)
    assert not is_on_grid(model)
    ss.dequantize(model)
    step(model, optimizer, 0)


def test_an_attached_optimiser_outlives_the_quantisation() -> None:
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    ss.quantize(model, MASTERLESS).attach(optimizer)
    ss.dequantize(model)
    step(model, optimizer, 0)


def test_a_recipe_with_a_master_copy_may_be_attached_too() -> None:
    model = network()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    ss.quantize(model, recipe(weight=FORWARD)).attach(optimizer)
    step(model, optimizer, 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stochastic_run_resumes_to_the_same_bits(optimizer: str) -> None:
    given = recipe(
        weight=FORWARD,
        activation=QuantizerSpec(FixedPoint(0, 4), "stochastic", Range("running")),
        update=QuantizerSpec(STORED.format, "stochastic", STORED.range),
        keeps_master=False,
    )

    def start(seed: int) -> tuple[nn.Module, Quantization, torch.optim.Optimizer]:
        model = network(seed)
        quantization = ss.quantize(model, given)
        made = OPTIMIZERS[optimizer](model.parameters())
        quantization.attach(made)
        return model, quantization, made

    model, quantization, made = start(0)
    losses = [step(model, made, i) for i in range(3)]
    saved = copy.deepcopy((model.state_dict(), quantization.state_dict(), made.state_dict()))
    losses = [step(model, made, i) for i in range(3, 6)]
    other, other_quantization, other_made = start(1)
    for thing, state in zip((other, other_quantization, other_made), saved, strict=True):
        thing.load_state_dict(state)
    assert [step(other, other_made, i) for i in range(3, 6)] == losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_madam_and_lns_madam2021_move_codes_exactly() -> None:
    """With lr 2^-7 and base factor 2048 a step is a multiple of 16 codes: rounding afterwards changes nothing."""
    model = network()
    quantization = ss.quantize(model, "lns-madam2021")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = ss.optim.Madam(model.parameters(), p_scale=None, additive={"lr": 0.01})
        quantization.attach(optimizer)
    format = MultiBaseLNS(16, 2048)

    def logs() -> dict[str, torch.Tensor]:
        return {n: format.encode(p, scale=scale_of_lns(model, n)) & 0x7FFF for n, p in stored(model).items()}

    before = logs()
    for i in range(5):
        step(model, optimizer, i)
    after = logs()
    moves = torch.cat([(after[n] - before[n]).flatten() for n in before])
    assert bool((moves != 0).any())
    assert not bool((moves % 16).any())


def scale_of_lns(model: nn.Module, name: str) -> float:
    maximum = float(model[int(name[0])].quantizers.stored.weight.maximum)
    return 2.0 ** math.ceil(math.log2(maximum / MultiBaseLNS(16, 2048).largest))


def test_madam_on_too_coarse_a_grid_is_warned_of() -> None:
    coarse = {"format": {"format": "MultiBaseLNS", "bits": 10, "base_factor": 32}}
    model = network()
    quantization = ss.quantize(model, recipe_from({"recipe": "lns-madam2021", "update": coarse}))
    optimizer = ss.optim.Madam(model.parameters(), additive={"lr": 0.01})
    with pytest.warns(UserWarning, match=r"a unit step is 0\.25 codes of MultiBaseLNS\(10,32\)"):
        quantization.attach(optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantization.attach(torch.optim.SGD(model.parameters(), lr=0.001))


@pytest.mark.parametrize(
    "spec",
    [
        QuantizerSpec(STORED.format, range=Range("tensor", scale="power_of_two")),
        QuantizerSpec(STORED.format, range=Range("running")),
        QuantizerSpec(STORED.format, range=Range("calibrated", rescale="none")),
    ],
)
def test_a_grid_that_moves_is_refused(spec: QuantizerSpec) -> None:
    for fields in ({"update": spec}, {"weight": spec}):
        with pytest.raises(SpecificationError, match="stored weights"):
            recipe(**fields, keeps_master=False)


def test_weights_of_zeros_have_no_range() -> None:
    model = network()
    nn.init.zeros_(model[6].weight)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with pytest.raises(SpecificationError, match=r"6\.weight: is all zero, which says nothing of the range of update"):
        ss.quantize(model, MASTERLESS)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_a_gradient_that_follows_the_update_needs_one() -> None:
    given = ss.recipe("wage").to_dict()
    given["layers"] = [{"match": "3", "weight": "full_precision", "update": "full_precision"}]
    with pytest.raises(SpecificationError, match="3: weight_gradient has rescale = 'update' and no stored format"):
        ss.quantize(network(), Recipe.from_dict(given))


def wage_error(rescale: str) -> Recipe:
    given = ss.recipe("wage").to_dict()
    given["activation_gradient"]["range"]["rescale"] = rescale
    given["activation"]["range"] = {"kind": "running"}
    return Recipe.from_dict(given)


def test_wage_moves_weights_alike_whether_errors_keep_their_magnitude_or_not() -> None:
    weights = []
    for rescale in ("own", "none"):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 8, bias=False),
            nn.ReLU(),
            nn.Linear(8, 5, bias=False),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=2**-4)
        ss.quantize(model, wage_error(rescale)).attach(optimizer)
        for i in range(4):
            step(model, optimizer, i)
        weights.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_wage_step_is_eta_g_over_shift_rounded_stochastically_in_units_of_the_grid() -> None:
    """dW = sigma(8) sgn(g_s) (floor|g_s| + Bernoulli(frac|g_s|)) with g_s = eta g / Shift(max|g|)."""
    torch.manual_seed(0)
    layer = nn.Linear(200, 50, bias=False)
    sigma, eta = 2.0**-7, 8
    given = ss.recipe("wage").to_dict()
    quantization = ss.quantize(
        layer, Recipe.from_dict({k: given[k] for k in ("name", "keeps_master", "weight_gradient", "update")})
    )
    scale = 2.0 ** round(math.log2(float(layer.quantizers.stored.weight.maximum)))
    optimizer = torch.optim.SGD(layer.parameters(), lr=eta * sigma)
    quantization.attach(optimizer)
    before = layer.weight.detach() / scale
    gradient = torch.randn(50, 200) * 1e-3
    (layer.weight * gradient).sum().backward()
    optimizer.step()
    after = layer.weight.detach() / scale
    assert torch.equal(after / sigma, (after / sigma).round())
    shift = 2.0 ** round(math.log2(float(gradient.abs().max())))
    wanted = -eta * gradient / shift
    inside = (before + sigma * wanted).abs() < 1 - 2 * sigma
    moved = (after - before) / sigma
    assert bool(((moved - wanted).abs() < 1)[inside].all())
    assert float((moved - wanted)[inside].mean().abs()) < 4 * 0.5 / math.sqrt(int(inside.sum()))
