"""The search for B_min, the five precisions of each layer, and what is said of them."""

import json
import math
from dataclasses import replace

import pytest
import sakr2019
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_statistics import changed, layer, linear, network, networks

from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint
from slipstick.precision.assignment import Assignment, Precision
from slipstick.precision.criteria import PAPER, RELEASED
from slipstick.precision.explanation import KINDS
from slipstick.precision.figure import save_figure
from slipstick.precision.search import assign
from slipstick.precision.statistics import Spread, Statistics
from slipstick.precision.table import assignment_table


def published() -> Statistics:
    """A ResNet with spreads from the middle of what the published ranges and steps allow, lambda 1 throughout."""
    least = min(sakr2019.ACTIVATION_GAINS)
    image = least * 4.0 ** (sakr2019.ACTIVATION_BITS[0] - sakr2019.MINIMUM_BITS)
    gains = (image, *sakr2019.ACTIVATION_GAINS)
    layers = []
    for i in range(22):
        reach = sakr2019.WEIGHT_GRADIENT_RANGES[i]
        step = reach * 2.0 ** (1 - sakr2019.WEIGHT_GRADIENT_BITS[i])
        layers.append(
            layer(
                f"layer{i}",
                weight_gain=sakr2019.WEIGHT_GAINS[i],
                activation_gain=gains[sakr2019.INPUTS[i]],
                weight_maximum=1.0,
                activation_maximum=2.0,
                weight_gradient=Spread(6 * step, 0.75 * reach / 2 / RELEASED.ema_correction),
                jacobian=1.0,
            )
        )
    return network(*layers, smallest_lr=sakr2019.SMALLEST_LR)


def test_the_published_network_gets_the_published_precisions():
    assignment = assign(published(), minimum_bits=sakr2019.MINIMUM_BITS, constants=RELEASED)
    for i, got in enumerate(assignment.layers):
        assert got.weight == Precision(sakr2019.WEIGHT_BITS[i], 1.0)
        assert got.activation == Precision(sakr2019.ACTIVATION_BITS[sakr2019.INPUTS[i]], 2.0, signed=False)
        reach = sakr2019.WEIGHT_GRADIENT_RANGES[i]
        assert got.weight_gradient == Precision(sakr2019.WEIGHT_GRADIENT_BITS[i], reach)
        assert got.accumulator == Precision(sakr2019.ACCUMULATOR_BITS[i], 2.0 ** -sakr2019.WEIGHT_BITS[i])


def test_every_bit_of_b_min_divides_the_predicted_mismatch_by_four():
    predictions = [assign(published(), minimum_bits=bits).predicted_mismatch for bits in range(1, 8)]
    for wider, narrower in zip(predictions[1:], predictions, strict=False):
        assert wider == pytest.approx(narrower / 4)


@pytest.mark.parametrize(
    ("precision", "format", "step"),
    [
        (Precision(8, 1.0), FixedPoint(0, 7), 2.0**-7),
        (Precision(8, 2.0, signed=False), FixedPoint(1, 7, signed=False), 2.0**-7),
        (Precision(5, 2.0**-12), FixedPoint(-12, 16), 2.0**-16),
        (Precision(2, 8.0), FixedPoint(3, -2), 4.0),
        (Precision(1, 2.0, signed=False), FixedPoint(1, 0, signed=False), 1.0),
        (Precision(24, 1.0), FixedPoint(0, 23), 2.0**-23),
    ],
)
def test_a_precision_is_a_fixed_point_format(precision, format, step):
    assert precision.format == format
    assert precision.step == format.step == step
    assert format.width == precision.bits
    assert format.largest == precision.range - step


@pytest.mark.parametrize(
    ("bits", "range", "signed"),
    [
        (1, 1.0, True),
        (0, 1.0, False),
        (25, 1.0, True),
        (8, 0.75, True),
        (8, 0.0, True),
        (8, math.inf, True),
        (8.0, 1.0, True),
    ],
)
def test_a_precision_that_cannot_exist_is_refused(bits, range, signed):
    with pytest.raises(SpecificationError, match="must be"):
        Precision(bits, range, signed)


@settings(deadline=None, max_examples=50)
@given(networks(), st.floats(1e-4, 0.5))
def test_the_search_gives_the_fewest_bits_that_meet_the_target(statistics, target):
    found = assign(statistics, target)
    assert found.predicted_mismatch <= target
    if found.minimum_bits > 1:
        assert assign(statistics, target, minimum_bits=found.minimum_bits - 1).predicted_mismatch > target


@settings(deadline=None, max_examples=50)
@given(networks(), st.floats(1e-4, 0.5), st.floats(1e-4, 0.5))
def test_a_larger_target_never_gives_more_bits(statistics, one, other):
    narrow, wide = (assign(statistics, target) for target in (max(one, other), min(one, other)))
    for a, b in zip(narrow.layers, wide.layers, strict=True):
        assert a.weight.bits <= b.weight.bits
        assert a.activation.bits <= b.activation.bits
        assert a.accumulator.bits >= b.accumulator.bits
        assert a.weight_gradient == b.weight_gradient
        assert a.activation_gradient == b.activation_gradient


@settings(deadline=None, max_examples=50)
@given(networks())
def test_every_precision_meets_its_criterion(statistics):
    for constants in (PAPER, RELEASED):
        check_criteria(statistics, constants)


def check_criteria(statistics, constants):
    for found, known in zip(assign(statistics, constants=constants).layers, statistics.layers, strict=True):
        assert known.weight_maximum <= found.weight.range < 2 * known.weight_maximum
        assert known.activation_maximum <= found.activation.range < 2 * known.activation_maximum
        assert found.activation.signed == known.activation_has_signs
        weight_sigma, sigma = (spread.largest for spread in (known.weight_gradient, known.activation_gradient))
        assert found.weight_gradient.range >= 2 * constants.ema_correction * weight_sigma
        assert found.activation_gradient.range >= (
            constants.activation_gradient_sigmas * constants.ema_correction * sigma
        )
        assert found.weight_gradient.step <= 0.25 * known.weight_gradient.smallest
        gradient_noise = found.activation_gradient.step**2 * known.jacobian
        assert gradient_noise <= found.weight_gradient.step**2 * (1 + 1e-12)
        assert found.accumulator.step <= statistics.smallest_lr * found.weight_gradient.step
        assert found.accumulator.range == found.weight.step / 2


@settings(deadline=None, max_examples=50)
@given(networks(), st.integers(-6, 6))
def test_a_layer_in_other_units_gets_the_same_bits(statistics, exponent):
    """2^e times the weights: gains are 4^e times less, intervals 2^e times wider."""
    first = statistics.layers[0]
    scaled = changed(
        statistics,
        0,
        weight_maximum=math.ldexp(first.weight_maximum, exponent),
        weight_gain=math.ldexp(first.weight_gain, -2 * exponent),
    )
    before, after = assign(statistics), assign(scaled)
    assert after.predicted_mismatch == before.predicted_mismatch
    assert after.layers[0].weight == replace(
        before.layers[0].weight, range=math.ldexp(before.layers[0].weight.range, exponent)
    )


def test_equal_criteria_are_worked_out_by_hand():
    found = assign(network(layer(weight_gain=16.0, activation_gain=1.0)), target=0.03, constants=PAPER).layers[0]
    # 3 bits: (2 * 2^-5)^2 * 16 + (2 * 2^-3)^2 = 0.0625 + 0.0625; a bit more divides by 4: 0.03125 > 0.03, then 0.0078
    assert found.weight == Precision(7, 1.0)
    assert found.activation == Precision(5, 2.0, signed=False)
    assert found.weight_gradient == Precision(7, 2.0**-6)  # 2 * 2^-7; a quarter of 2^-10 is 2^-12
    assert found.activation_gradient == Precision(5, 2.0**-10)  # 4 * 2^-12; 2^-12 / 4 is 2^-14
    assert found.accumulator == Precision(16, 2.0**-7)  # 0.001 * 2^-12 is above 2^-22
    of_a_batch = assign(replace(network(), batch=64), constants=PAPER).layers[0].activation_gradient
    assert of_a_batch == Precision(8, 2.0**-10)  # 2^-12 / 4 / 8 is 2^-17


def test_without_room_below_its_range_a_tensor_keeps_the_fewest_bits():
    found = assign(network(layer(jacobian=1e-12)))
    assert found.layers[0].activation_gradient.bits == 2
    assert found.layers[0].reasons["activation_gradient"].criterion == "limit"
    assert "the fewest bits are 2" in found.explain("layer.activation_gradient")


def test_a_tensor_stays_at_the_limit_while_the_others_meet_the_target():
    found = assign(network(layer(weight_gain=1e9, activation_gain=1e-9)))
    assert found.layers[0].weight.bits == 24
    assert found.layers[0].reasons["weight"].criterion == "limit"
    assert "EFQN asks for 31" in found.explain("layer.weight")
    assert found.predicted_mismatch <= 0.01


@settings(deadline=None, max_examples=50)
@given(networks())
def test_an_assignment_survives_json(statistics):
    found = assign(statistics)
    assert Assignment.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert Statistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics


@pytest.mark.parametrize("data", [{}, {"layers": [{}]}, {"layers": 3}, {"layers": [], "constants": {"sigmas": 1}}])
def test_what_is_no_assignment_is_refused(data):
    with pytest.raises(SpecificationError, match="assign again"):
        Assignment.from_dict(data)


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("delta", [-1, 1])
def test_an_offset_moves_the_bits_of_its_kinds_alone(kind, delta):
    before = assign(network(layer("a"), linear("b", 18, 4)))
    after = before.with_offset(kind, delta)
    for old, new in zip(before.layers, after.layers, strict=True):
        for each in KINDS:
            assert new.precision(each).bits == old.precision(each).bits + delta * (kind in (each, None))
            assert new.reasons[each].offset == delta * (kind in (each, None))
            if each != "accumulator":
                assert new.precision(each).range == old.precision(each).range
        assert new.accumulator.range == new.weight.step / 2
    parts = [part for new in after.layers for part in (new.weight_mismatch, new.activation_mismatch)]
    assert after.predicted_mismatch == pytest.approx(sum(parts))
    if kind is None:
        assert after.predicted_mismatch == pytest.approx(before.predicted_mismatch * 4.0**-delta)
    if kind in ("weight_gradient", "activation_gradient", "accumulator"):
        assert after.predicted_mismatch == before.predicted_mismatch
    assert after.with_offset(kind, -delta) == before


def test_an_offset_ends_at_what_a_format_can_have():
    before = assign(network())
    assert {before.with_offset(None, -50).layers[0].precision(kind).bits for kind in KINDS} == {1, 2}
    assert {before.with_offset(None, 50).layers[0].precision(kind).bits for kind in KINDS} == {24}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.b.weight", ("EFQN", "noise gain 2500", "largest magnitude 0.9", "B_min")),
        ("a.b.activation", ("EFQN", "[0, 2^1)", "of the predicted")),
        ("a.b.weight_gradient", ("RQB", "sigma_min = 0.0009766", "GC: 2 sigma_max", "sigma_max = 0.007812")),
        ("a.b.activation_gradient", ("BQN", "lambda = 16", "GC: 4 sigma_max, sigma_max = 0.0002441")),
        ("a.b.accumulator", ("AS", "lr_min = 0.001", "the weight's step")),
    ],
)
def test_an_explanation_names_the_criterion_and_its_numbers(name, words):
    text = assign(network(layer("a.b", weight_gain=2500.0), layer("weight")), constants=PAPER).explain(name)
    assert text.startswith(name)
    for word in words:
        assert word in text


def test_a_layer_is_explained_by_its_five_tensors():
    found = assign(network(layer(""), layer("weight")))
    for name in ("weight", "(model)"):
        text = found.explain(name)
        assert [f"{name}.{kind}: " in text for kind in KINDS] == [True] * 5
    assert found.explain("(model).weight").splitlines()[0].startswith("(model).weight: ")
    assert found.with_offset("weight", 1).explain("weight.weight").count("+1 bits by with_offset") == 1


@pytest.mark.parametrize("name", ["layer9", "layer9.weight", "layer9.bias"])
def test_a_name_that_does_not_exist_is_answered_with_those_that_do(name):
    with pytest.raises(SpecificationError, match=r"no layer of net; there are layer, .*accumulator$"):
        assign(network()).explain(name)


def test_a_tensor_that_does_not_exist_is_answered_with_those_of_its_layer():
    with pytest.raises(SpecificationError, match=r"^layer.wieght: .* no tensor 'wieght'; did you mean layer.weight\?$"):
        assign(network()).explain("layer.wieght")
    with pytest.raises(SpecificationError, match=r"^layer.bias: layer layer has no .*; there are weight, .*lator$"):
        assign(network()).explain("layer.bias")


@pytest.mark.parametrize(
    ("statistics", "arguments", "message"),
    [
        (
            network(layer("conv")),
            {"target": 1e-14},
            r"target 1e-14: .* 24 bits everywhere; conv.weight alone .* raise the",
        ),
        (
            network(layer("conv", activation_gain=1e9)),
            {"target": 1e-7},
            r"conv.activation alone gives .* times the target",
        ),
        (network(), {"target": 0.0}, "target=0.0: a probability"),
        (network(), {"target": 1.5}, "target=1.5: a probability"),
        (network(), {"minimum_bits": 0}, "minimum_bits=0: must be an integer from 1 to 24"),
        (replace(network(), layers=()), {}, "net: statistics of no layer"),
        (network(layer("conv", weight_gain=0.0)), {}, "conv.weight: noise gain 0: .*never reached"),
        (network(layer("conv", activation_maximum=0.0)), {}, "conv.activation: the largest magnitude seen is 0"),
        (network(layer("conv", weight_gradient=Spread(0.0, 0.0))), {}, "conv.weight_gradient: zero throughout"),
        (network(layer("conv", weight_gradient=Spread(0.0, 1.0))), {}, "conv.weight_gradient: all zero at some time"),
        (
            network(layer("conv", weight_gradient=Spread(1e-9, 1.0))),
            {},
            "conv.weight_gradient: RQB asks for 3. bits, 24 ",
        ),
        (network(layer("conv", activation_gradient=Spread(0.0, 0.0))), {}, "conv.activation_gradient: zero throughout"),
        (network(layer("conv", jacobian=1e15)), {}, "conv.activation_gradient: BQN asks for .* raise Constants"),
        (network(layer("conv", jacobian=math.nan)), {}, "conv.activation_gradient: largest singular value"),
        (network(smallest_lr=0.0), {}, "layer.accumulator: smallest learning rate 0.0"),
        (network(smallest_lr=1e-9), {}, "layer.accumulator: AS asks for 3. bits, 24 .*pass smallest_lr"),
    ],
)
def test_what_cannot_be_assigned_is_named_in_one_line(statistics, arguments, message):
    with pytest.raises(SpecificationError, match=message) as caught:
        assign(statistics, **arguments)
    assert "\n" not in str(caught.value)


def test_a_given_smallest_rate_takes_the_place_of_the_schedules():
    found = assign(network(smallest_lr=1e-9), smallest_lr=0.001)
    assert found.layers == assign(network()).layers


def test_the_table_has_a_row_for_each_layer():
    rows = assignment_table(assign(published(), minimum_bits=3, constants=RELEASED)).splitlines()
    assert rows[0].startswith("net: B_min 3, predicted mismatch 0.00")
    assert rows[1].split() == ["layer", "B_W", "B_A", "B_G(W)", "B_G(A)", "B_Acc"] + [
        f"r_{each}" for each in ("W", "A", "G(W)", "G(A)", "Acc")
    ]
    assert rows[2].split() == ["layer0", "14", "8", "11", "6", "9", "2^0", "2^1+", "2^-2", "2^-7", "2^-14"]
    assert len(rows) == 25
    assert max(map(len, rows)) <= 120


def test_the_figure_is_written(tmp_path):
    save_figure(tmp_path / "bits.svg", assign(published(), minimum_bits=3, constants=RELEASED))
    text = (tmp_path / "bits.svg").read_text()
    assert "activation gradients" in text
    assert "layer21" in text
