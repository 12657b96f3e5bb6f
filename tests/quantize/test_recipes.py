import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from networks import ALL_ROLES, FORWARD, STORED, recipe

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.formats import E4M3, E5M2, FixedPoint, LogQuant, MultiBaseLNS
from slipstick.quantize import LayerRule, QuantizerSpec, Recipe, recipe_from, recipe_names

E4 = {"format": "E4M3"}
NAMES = [
    "fp8",
    "linear2016",
    "linear2016-inference",
    "lns-madam2021",
    "luq2021",
    "miyashita2016",
    "miyashita2016-inference",
    "miyashita2016-sqrt2",
    "wage",
]


def test_these_recipes_are_shipped() -> None:
    assert recipe_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_reads_back_from_its_own_data(name: str) -> None:
    shipped = ss.recipe(name)
    assert shipped.name == name
    assert Recipe.from_dict(shipped.to_dict()) == shipped
    assert hash(shipped) == hash(ss.recipe(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_shipped_recipe_is_given_and_comments_say_how_certain_it_is(name: str) -> None:
    text = files("slipstick.quantize").joinpath("recipes", f"{name}.toml").read_text(encoding="utf-8")
    assert all(mark in text for mark in ("arXiv", "Certainty:", "[recalled]", "[ours]"))
    for role, table in tomllib.loads(text).items():
        if isinstance(table, dict):
            assert "format" in table, role
            assert "range" in table, role


def test_what_the_recipes_of_the_papers_say() -> None:
    log, linear, madam = ss.recipe("miyashita2016"), ss.recipe("linear2016"), ss.recipe("lns-madam2021")
    assert log.weight.format == LogQuant(5, 0)
    assert log.activation.format == LogQuant(5, 0, signed=False)
    assert log.activation_gradient.format == LogQuant(5, 0)
    assert ss.recipe("miyashita2016-sqrt2").weight.format == LogQuant(5, 0, base="sqrt2")
    for role in ("weight", "activation", "activation_gradient"):
        a, b = getattr(log, role), getattr(linear, role)
        assert (a.format.width, a.format.signed) == (b.format.width, b.format.signed)
        assert a.range == replace(b.range, towards="nearest")
    assert log.keeps_master
    assert madam.weight.format == MultiBaseLNS(8, 8)
    assert madam.update.format == MultiBaseLNS(16, 2048)
    assert not madam.keeps_master
    fp8, luq, wage = (ss.recipe(name) for name in ("fp8", "luq2021", "wage"))
    assert (fp8.weight.format, fp8.activation.format, fp8.activation_gradient.format) == (E4M3, E4M3, E5M2)
    assert (luq.weight.format.width, luq.activation_gradient.format.width) == (4, 4)
    assert luq.activation_gradient.rounding == "stochastic"
    formats = [getattr(wage, role).format for role in ("weight", "activation", "update", "activation_gradient")]
    assert [format.width for format in formats] == [2, 8, 8, 8]
    assert all(format.symmetric for format in formats)


def test_a_recipe_may_be_changed_by_a_table() -> None:
    changes = {"recipe": "miyashita2016", "name": "3 bits", "seed": 4, "weight": {"format": {"bits": 3}}}
    base = ss.recipe("miyashita2016")
    expected = replace(base, name="3 bits", seed=4, weight=replace(base.weight, format=LogQuant(3, 0)))
    assert recipe_from(changes) == expected
    assert recipe_from("fp8") == ss.recipe("fp8")
    assert recipe_from(base.to_dict()) == base


def test_a_format_or_range_of_another_kind_replaces_the_recipes() -> None:
    changed = recipe_from(
        {
            "recipe": "miyashita2016",
            "weight": {"format": {"format": "FixedPoint", "int_bits": 0, "frac_bits": 5}},
            "activation": {"range": {"kind": "tensor"}},
            "activation_gradient": "full_precision",
            "layers": [],
        }
    )
    assert changed.weight == replace(ss.recipe("miyashita2016").weight, format=FixedPoint(0, 5))
    assert changed.activation.range == ss.Range()
    assert (changed.activation_gradient, changed.layers) == (None, ())


def test_a_recipe_of_ones_own_is_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[weight]\nformat = "E4M3"\n')
    assert ss.recipe(path) == Recipe("mine", weight=QuantizerSpec(E4M3))
    with pytest.raises(SpecificationError, match=r"none\.toml: no such recipe file"):
        ss.recipe(tmp_path / "none.toml")
    path.write_text("weight = ")
    with pytest.raises(SpecificationError, match=r"mine\.toml: cannot be read"):
        ss.recipe(path)


def test_the_later_of_two_rules_wins_role_by_role() -> None:
    eight = QuantizerSpec(E4M3)
    chosen = recipe(
        **ALL_ROLES,
        layers=(
            LayerRule("features.*", weight=eight, activation="full_precision"),
            LayerRule("features.1*", activation=eight),
            LayerRule("@last", full_precision=True),
        ),
    )
    assert chosen.for_layer("stem", 0, 4) == ALL_ROLES
    without = {role: spec for role, spec in ALL_ROLES.items() if role != "activation"}
    assert chosen.for_layer("features.0", 1, 4) == {**without, "weight": eight}
    assert chosen.for_layer("features.1", 2, 4) == {**ALL_ROLES, "weight": eight, "activation": eight}
    assert chosen.for_layer("head", 3, 4) == {}
    assert Recipe.from_dict(chosen.to_dict()) == chosen


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "recipe 'unnamed': names no role; give one of weight, activation"),
        ({"weigth": {}}, "recipe: unknown key 'weigth'; did you mean 'weight'?"),
        ({"weight": 8}, "recipe 'a': weight = 8: must be a table"),
        ({"weight": {}}, "recipe 'a': weight: the key 'format' is missing"),
        ({"weight": {"format": "E4M4"}}, "weight: format = 'E4M4': choose one of 'E4M3', 'E5M2', 'E3M0'"),
        ({"weight": {"format": 8}}, "weight: format = 8: write a table such as"),
        ({"weight": {"format": {"format": "Posit"}}}, "weight: format='Posit': choose"),
        ({"weight": {"format": {"format": "LogQuant", "bits": 5}}}, "weight: LogQuant: "),
        ({"weight": {"format": {"format": "LogQuant", "bits": 99, "fsr": 0}}}, "weight: LogQuant(bits=99)"),
        ({"weight": {"format": "E4M3", "rounding": "up"}}, "weight: rounding = 'up': choose one of 'nearest'"),
        ({"weight": {"format": "E4M3", "range": {"sort": 1}}}, "weight: range: unknown key 'sort'"),
        ({"weight": {"format": "E4M3", "range": {"kind": 1}}}, "weight: range kind = 1: choose one of"),
        ({"weight": {"format": "E4M3"}, "biases": "no"}, "recipe 'a': biases = 'no': choose one of"),
        ({"weight": {"format": "E4M3"}, "seed": -1}, "recipe 'a': seed = -1: must be an integer from 0"),
        ({"weight": {"format": "E4M3"}, "layers": 3}, "recipe 'a': layers = 3: must be a list of tables"),
        ({"weight": {"format": "E4M3"}, "layers": [{}]}, "layers[0]: the key 'match' is missing"),
        ({"weight": {"format": "E4M3"}, "layers": [{"match": "a"}]}, "match = 'a': changes nothing"),
        (
            {"weight": {"format": "E4M3"}, "layers": [{"match": "a", "weight": {"format": "E9"}}]},
            "recipe 'a': layers[0].weight: format = 'E9'",
        ),
        (
            {"weight": {"format": "E4M3"}, "layers": [{"match": "a", "full_precision": True, "weight": E4}]},
            "full_precision leaves no weight to change",
        ),
        ({"update": {"format": "E4M3"}}, "recipe 'a': update: there is a master copy; set keeps_master = false"),
        ({"activation": E4, "keeps_master": False}, "keeps_master = false: stored weights need a format"),
        ({"weight": {"format": "E4M3"}, "keeps_master": False}, "weight: stored weights need a grid that stays"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_recipe_is_one_line(data: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        Recipe.from_dict({"name": "a", **data} if data else {})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_recipes() -> None:
    with pytest.raises(SpecificationError, match=r"recipe = 'fp7': choose one of fp8, .*, or a \.toml file"):
        ss.recipe("fp7")
    with pytest.raises(SpecificationError, match="must be the name of a recipe"):
        recipe_from({"recipe": 8})


def test_recipes_are_values() -> None:
    assert recipe(weight=FORWARD) == recipe(weight=FORWARD)
    assert recipe(weight=FORWARD) != recipe(weight=STORED)
    assert str(FORWARD) == "FixedPoint(0,3) nearest, range tensor max"
