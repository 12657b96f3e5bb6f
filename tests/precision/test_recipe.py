"""Training with an assignment: who rounds what, and that layers see exactly the numbers of the integers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment, LayerAssignment, Precision, Reason
from slipstick.precision.recipe import assignment_from, optimizer_of, parameter_groups, recipe_of, without_reasons


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Linear(3, 4)
        self.seen: dict[str, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in ("first", "last"):
            self.seen[name] = getattr(self, name).weight.detach().clone()
        return self.last(F.relu(self.norm(self.first(x))).mean((2, 3)))


def layer(name: str, weight: int = 8, signed: bool = True) -> LayerAssignment:
    held = Precision(weight, 1.0)
    return LayerAssignment(
        name,
        weight=held,
        activation=Precision(6, 4.0, signed=signed),
        weight_gradient=Precision(9, 2.0**-2),
        activation_gradient=Precision(10, 2.0**-3),
        accumulator=Precision(11, held.step / 2),
        reasons={"weight": Reason("EFQN", "why", "how")},
    )


def assignment(*layers: LayerAssignment) -> Assignment:
    return Assignment("network", layers or (layer("first"), layer("last", 7, False)), 4, 0.009, 0.01)


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network()


def train(model: Network, optimizer: torch.optim.Optimizer, steps: range = range(6)) -> None:
    for n in steps:
        generator = torch.Generator().manual_seed(n)
        x, y = torch.randn(8, 2, 5, 5, generator=generator), torch.randint(4, (8,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_recipe_has_the_formats_of_the_assignment_and_no_master_copy() -> None:
    recipe = recipe_of(assignment())
    assert not recipe.keeps_master
    first, last = (recipe.for_layer(name, i, 2) for i, name in enumerate(("first", "last")))
    assert {role: spec.format for role, spec in first.items()} == {
        "weight": ss.FixedPoint(0, 7),
        "activation": ss.FixedPoint(2, 3),
        "activation_gradient": ss.FixedPoint(-3, 12),
        "weight_gradient": ss.FixedPoint(-2, 10),
    }
    assert last["activation"].format == ss.FixedPoint(2, 4, signed=False)
    assert last["weight"].format == ss.FixedPoint(0, 6)
    specs = [*first.values(), *last.values()]
    assert {(spec.rounding, str(spec.range)) for spec in specs} == {("nearest", "the format's")}
    assert recipe.for_layer("other", 0, 2) == {}
    assert ss.Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize("order", ["recipe first", "optimiser first"])
def test_layers_see_the_numbers_of_the_integers_at_every_step(order: str) -> None:
    model, given = network(), assignment()
    if order == "recipe first":
        quantization = ss.quantize(model, recipe_of(given))
        optimizer = optimizer_of(given, model, 0.1)
    else:
        optimizer = optimizer_of(given, model, 0.1)
        quantization = ss.quantize(model, recipe_of(given))
    quantization.attach(optimizer)
    for n in range(6):
        integers = {name: optimizer.state[getattr(model, name).weight]["weight"] for name in ("first", "last")}
        train(model, optimizer, range(n, n + 1))
        for each in given.layers:
            assert torch.equal(model.seen[each.name], integers[each.name] * each.weight.step)
            assert torch.equal(model.seen[each.name], each.weight.format.quantize(model.seen[each.name]))
    assert any(not torch.equal(network().state_dict()[n], p) for n, p in bits(model).items())


def test_the_order_of_recipe_and_optimiser_and_attaching_change_no_bit() -> None:
    results = []
    for order in ("recipe", "optimiser", "not attached"):
        model, given = network(), assignment()
        if order == "optimiser":
            optimizer = optimizer_of(given, model, 0.1)
        quantization = ss.quantize(model, recipe_of(given))
        if order != "optimiser":
            optimizer = optimizer_of(given, model, 0.1)
        if order != "not attached":
            quantization.attach(optimizer)
        train(model, optimizer)
        results.append(bits(model))
    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_the_recipe_does_not_touch_what_the_optimiser_did() -> None:
    model, given = network(), assignment()
    optimizer = optimizer_of(given, model, 0.1)
    quantization = ss.quantize(model, recipe_of(given))
    train(model, optimizer)
    before = bits(model)
    quantization._after_step(optimizer, (), {})
    assert same(before, bits(model))


def test_weight_gradients_arrive_rounded_and_the_optimiser_reads_them_exactly() -> None:
    model, given = network(), assignment()
    quantization = ss.quantize(model, recipe_of(given))
    optimizer = optimizer_of(given, model, 0.1)
    quantization.attach(optimizer)
    train(model, optimizer, range(1))
    for each in given.layers:
        gradient = getattr(model, each.name).weight.grad
        assert bool(gradient.any())
        assert torch.equal(gradient, each.weight_gradient.format.quantize(gradient))


def test_a_layer_that_is_not_assigned_and_other_parameters_move_as_by_sgd() -> None:
    given = assignment(layer("first"))
    groups = optimizer_of(given, network(), 0.1, bound=1.0).param_groups
    assert [group["param_names"] for group in groups] == [
        ["first.weight"],
        ["norm.weight", "norm.bias", "last.weight", "last.bias"],
    ]
    assert groups[0]["formats"].weight == ss.FixedPoint(0, 7)
    assert groups[0]["formats"].gradient == ss.FixedPoint(-2, 10)
    assert groups[0]["formats"].accumulator == ss.FixedPoint(-8, 18)
    assert groups[1]["formats"] is None
    assert groups[1]["bound"] == 1.0


def test_all_weights_of_an_attention_layer_are_kept_alike() -> None:
    model = nn.ModuleDict({"mix": nn.MultiheadAttention(4, 2)})
    groups = parameter_groups(assignment(layer("mix")), model.named_parameters())
    assert [[name for name, _ in group["params"]] for group in groups] == [
        ["mix.in_proj_weight", "mix.out_proj.weight"],
        ["mix.in_proj_bias", "mix.out_proj.bias"],
    ]


def test_a_model_that_is_one_layer() -> None:
    model, given = nn.Linear(3, 2), assignment(layer(""))
    quantization = ss.quantize(model, recipe_of(given))
    optimizer = optimizer_of(given, model, 0.1)
    quantization.attach(optimizer)
    model(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["param_names"] == ["weight"]
    assert "no master copy" in str(quantization)


def test_an_interrupted_training_goes_on_in_the_same_bits() -> None:
    def made() -> tuple[Network, torch.optim.Optimizer]:
        model = network()
        quantization = ss.quantize(model, recipe_of(assignment()))
        optimizer = optimizer_of(assignment(), model, 0.07)
        quantization.attach(optimizer)
        return model, optimizer

    whole, first, second = made(), made(), made()
    train(*whole)
    train(*first, range(3))
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    train(*second, range(3, 6))
    assert same(bits(whole[0]), bits(second[0]))


def test_an_accumulator_of_another_range_is_refused() -> None:
    wrong = replace(layer("first"), accumulator=Precision(11, 2.0**-5))
    with pytest.raises(SpecificationError, match=r"^assignment: first: WeightFormats.*half a step of the weight"):
        optimizer_of(assignment(wrong), network(), 0.1)


def test_a_layer_that_the_model_has_not_is_named() -> None:
    given = assignment(layer("middle"))
    with pytest.raises(SpecificationError, match="no weight of a layer 'middle' that no other layer shares; give the"):
        optimizer_of(given, network(), 0.1)
    with pytest.raises(SpecificationError, match="matches no layer; there are: first, last"):
        ss.quantize(network(), recipe_of(given))


def test_a_shared_weight_is_refused() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    with pytest.raises(SpecificationError, match="no weight of a layer 'b' that no other layer shares"):
        optimizer_of(assignment(layer("a"), layer("b")), model, 0.1)


def test_an_assignment_is_read_from_its_file(tmp_path: Path) -> None:
    file, given = tmp_path / "a.json", assignment()
    file.write_text(json.dumps(given.to_dict()))
    assert assignment_from(str(file)) == given
    assert assignment_from(given.to_dict()) == given
    plain = without_reasons(given)
    assert not any(each.reasons for each in plain.layers)
    assert recipe_of(plain) == recipe_of(given)


def test_files_that_are_no_assignment_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"^\S*none\.json: no such file; slipstick assign writes one$"):
        assignment_from(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("layers: 3")
    with pytest.raises(SpecificationError, match=r"^\S*text\.json: cannot be read as JSON \(Expecting value"):
        assignment_from(tmp_path / "text.json")
    for content in ("[]", "{}", '{"layers": 3}'):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(SpecificationError, match=r"^\S*other\.json: assignment: .*; assign again$"):
            assignment_from(tmp_path / "other.json")


def test_a_file_with_offsets_has_so_many_bits_more(tmp_path: Path) -> None:
    path = tmp_path / "assignment.json"
    path.write_text(json.dumps(assignment().to_dict()))
    assert assignment_from({"file": str(path)}) == assignment()
    given = {"file": str(path), "offsets": {"weight": -1, "activation": 2}}
    assert assignment_from(given) == assignment().with_offset("weight", -1).with_offset("activation", 2)
    assert assignment_from({"file": str(path), "offsets": {"all": 1}}) == assignment().with_offset(None, 1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"offset": 1}, "has no 'offset'; give"),
        ({"offsets": 1}, "offsets = 1 is no table; give"),
        ({"offsets": {"weight": 0.5}}, "weight = 0.5: must be an integer number of bits"),
        ({"offsets": {"bias": 1}}, "'bias' is no kind of tensor; choose one of weight, activation"),
    ],
)
def test_offsets_that_are_none_are_refused_in_one_line(tmp_path: Path, more: dict[str, object], words: str) -> None:
    path = tmp_path / "assignment.json"
    path.write_text(json.dumps(assignment().to_dict()))
    with pytest.raises(SpecificationError, match=re.escape(words)) as caught:
        assignment_from({"file": str(path), **more})
    assert "\n" not in str(caught.value)
