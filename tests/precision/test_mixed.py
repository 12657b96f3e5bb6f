"""Fixed point mixed with logarithms: the joint level against brute force, each criterion, and a training with it."""

import itertools
import json
import math
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_statistics import changed, layer, linear, network, networks
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.formats import ScaledLNS
from slipstick.precision import criteria
from slipstick.precision.assignment import Assignment, LogPrecision, Precision
from slipstick.precision.criteria import PAPER, RELEASED, gradient_range
from slipstick.precision.explanation import KINDS
from slipstick.precision.figure import save_figure
from slipstick.precision.lns import UNDERFLOW_SHARE
from slipstick.precision.mixed import assign_mixed
from slipstick.precision.recipe import optimizer_of, recipe_of
from slipstick.precision.search import assign
from slipstick.precision.statistics import Spread
from slipstick.precision.table import assignment_table

LN2 = math.log(2)

PEAKED = {"activation_maximum": 30.0, "activation_mean_square": 0.01, "activation_has_signs": True}
"""Signed, and the largest magnitude 300 times the root mean square."""


@st.composite
def peaked_networks(draw):
    """Whose activations are up to 2^9 times their root mean square large."""
    statistics = draw(networks())
    for i, each in enumerate(statistics.layers):
        mean_square = each.activation_maximum**2 * 4.0 ** -draw(st.floats(0, 9))
        statistics = changed(statistics, i, activation_mean_square=mean_square)
    return statistics


def fixed_ways(known, kind):
    """Every way to make the tensor of fixed point: (bits, log or not, from which level on, term)."""
    maximum, gain = getattr(known, f"{kind}_maximum"), getattr(known, f"{kind}_gain")
    signed = kind == "weight" or known.activation_has_signs
    for bits in range(1 + signed, 25):
        term = Precision(bits, criteria.holding_range("t", maximum), signed).step ** 2 * gain
        yield bits, 0, term, term


def log_ways(known):
    mean_square = known.activation_mean_square
    mean_square = known.activation_maximum**2 if mean_square is None else mean_square
    for int_bits, frac_bits in itertools.product(range(7), range(17)):
        reach = 2.0 ** (math.floor(math.log2(known.activation_maximum) + 0.5 * 2.0**-frac_bits) + 1)
        smallest = reach * 2.0 ** -(2 ** (int_bits + 1)) * 2.0 ** (2.0**-frac_bits)
        underflow = 12 * smallest**2 * known.activation_gain
        term = (LN2 * 2.0**-frac_bits) ** 2 * mean_square * known.activation_gain + underflow
        bits = 1 + int_bits + frac_bits + known.activation_has_signs
        yield bits, 1, max(term, underflow / UNDERFLOW_SHARE), term


def fewest_by_brute_force(statistics, target):
    """(bits, log or not) of every tensor, at the largest level at which the terms meet the target."""
    tensors = []
    for known in statistics.layers:
        tensors.append([*fixed_ways(known, "weight")])
        tensors.append([*fixed_ways(known, "activation"), *log_ways(known)])
    for level in sorted({way[2] for ways in tensors for way in ways}, reverse=True):
        chosen = []
        for ways in tensors:
            allowed = [way for way in ways if way[2] <= level] or [max(w for w in ways if not w[1])]
            chosen.append(min(allowed, key=lambda way: (way[:2], way[2])))
        if math.fsum(way[3] for way in chosen) <= target:
            return [way[:2] for way in chosen]
    raise AssertionError


@settings(deadline=None, max_examples=25)
@given(peaked_networks(), st.floats(1e-3, 0.5))
def test_the_joint_level_gives_the_fewest_bits_of_both_kinds(statistics, target):
    found = assign_mixed(statistics, target)
    assert found.predicted_mismatch <= target
    got = []
    for each in found.layers:
        got.append((each.weight.bits, 0))
        got.append((each.activation.bits, int(isinstance(each.activation, LogPrecision))))
    assert got == fewest_by_brute_force(statistics, target)
    assert found.minimum_bits == min(bits for bits, _ in got)


@settings(deadline=None, max_examples=50)
@given(networks(), st.floats(1e-3, 0.5))
def test_where_numbers_fill_their_range_all_is_fixed_point_and_never_more_than_by_the_released_rule(statistics, target):
    """networks() has no mean squares, and the squared maximum stands in."""
    found, released = assign_mixed(statistics, target), assign(statistics, target)
    assert not any(isinstance(each.activation, LogPrecision) for each in found.layers)
    bits = [sum(each.weight.bits + each.activation.bits for each in of.layers) for of in (found, released)]
    assert bits[0] <= bits[1]
    for a, b in zip(found.layers, released.layers, strict=True):
        assert (a.weight_gradient, a.weight.range) == (b.weight_gradient, b.weight.range)


@settings(deadline=None, max_examples=25)
@given(peaked_networks(), st.floats(1e-3, 0.5), st.floats(1e-3, 0.5))
def test_a_larger_target_never_gives_more_bits(statistics, one, other):
    wide, narrow = (assign_mixed(statistics, target) for target in (min(one, other), max(one, other)))
    for a, b in zip(narrow.layers, wide.layers, strict=True):
        assert a.weight.bits <= b.weight.bits
        assert a.activation.bits <= b.activation.bits


def test_a_peaked_activation_by_hand():
    statistics = network(
        layer(
            weight_gain=1e-9,
            activation_gain=2.0**-6,
            activation_maximum=30.0,
            activation_mean_square=2.0**-6,
            activation_has_signs=True,
        )
    )
    found = assign_mixed(statistics, target=0.0015).layers[0].activation
    # fixed point: (64 2^-B)^2 2^-6 = 2^-8 with 7 bits, 2^-10 = 0.00098 with 8.
    # logarithms: (ln 2 2^-F)^2 2^-12 = 0.00012 with F = 0. Underflow 12 m^2 2^-6, r = 64 as 30 is nearer to 32 than to
    # 16: with I = 2 m = 2^-1, 0.047; with I = 3 m = 2^-9, 0.0000007: 1 + 3 + 0 and a sign.
    assert found == LogPrecision(3, 0, 64.0)
    assert found.bits == 5
    assert found.format == ScaledLNS(3, 0, -2)
    assert (found.format.largest, found.format.smallest) == (32.0, 2.0**-9)
    without_signs = changed(statistics, 0, activation_has_signs=False)
    assert assign_mixed(without_signs, target=0.0015).layers[0].activation == LogPrecision(3, 0, 64.0, signed=False)


@pytest.mark.parametrize("maximum", [1.0, 0.99, 0.7, 0.71, 0.5, 3.0])
@pytest.mark.parametrize("target", [0.3, 0.01, 1e-4])
def test_the_largest_activation_is_rounded_not_clipped(maximum, target):
    statistics = network(
        layer(activation_gain=1e3, activation_maximum=maximum, activation_mean_square=1e-5 * maximum**2)
    )
    found = assign_mixed(statistics, target).layers[0].activation
    assert isinstance(found, LogPrecision)
    rounded = found.format.quantize(torch.tensor(maximum)).item()
    assert abs(math.log2(rounded / maximum)) <= 2.0**-found.frac_bits / 2 * (1 + 1e-6)
    assert found.format.quantize(torch.tensor([1.0, 0.0])).tolist()[1] == 0.0
    if maximum == 1.0:
        assert rounded == 1.0


@settings(deadline=None, max_examples=50)
@given(peaked_networks(), st.integers(1, 256), st.sampled_from([PAPER, RELEASED]))
def test_gradients_meet_gc_and_bqn_in_either_kind(statistics, batch, constants):
    statistics = replace(statistics, batch=batch)
    fixed, mixed = (find(statistics, constants=constants) for find in (assign, assign_mixed))
    for old, new, known in zip(fixed.layers, mixed.layers, statistics.layers, strict=True):
        a, sigma = new.activation_gradient, known.activation_gradient.largest
        reach = gradient_range("g", sigma, constants.activation_gradient_sigmas, constants.ema_correction)
        assert a.range == reach
        assert a.bits <= old.activation_gradient.bits
        if isinstance(a, Precision):
            assert a == old.activation_gradient
            continue
        noise = batch * known.jacobian * (a.relative_step * sigma) ** 2
        assert noise <= new.weight_gradient.step**2 * (1 + 1e-9)
        assert a.smallest <= old.activation_gradient.step / 2 * (1 + 1e-9)
        assert a.bits < old.activation_gradient.bits


def test_a_gradient_by_hand():
    found = assign_mixed(network(), constants=RELEASED)
    # Of sigma_max = 2^-12 ranges hold 25.3: 2^-7. Steps: 2^-12 of the weight gradient, 2^-14 of fixed point, 8 bits.
    # N lambda (ln 2 2^-12 / 2^-12)^2 = 7.7 is at most 4^2; from 2^-7 down to 2^-15 are 8 octaves, of which I = 2 has 8
    # without the number below 2^-7 that is its first, I = 3 has 16: 1 + 3 + 2 and a sign.
    assert found.layers[0].activation_gradient == LogPrecision(3, 2, 2.0**-7)
    text = found.explain("layer.activation_gradient")
    assert "7 bits, LNS(3,2), magnitudes 2^-23 to 2^-7" in text
    assert "down to 2^-15, half of fixed point's step" in text
    assert "N lambda = 16; fixed point would take 8" in text


def test_weights_stay_in_fixed_point_and_accumulators_go_on_below_them():
    statistics = network(layer("a", **PEAKED, weight_mean_square=1e-6), linear("b", 48, 10, weight_mean_square=1e-6))
    found = assign_mixed(statistics, constants=RELEASED)
    for each in found.layers:
        for kind in ("weight", "weight_gradient", "accumulator"):
            assert isinstance(each.precision(kind), Precision)
        assert each.accumulator.range == each.weight.step / 2
        assert each.accumulator.step <= statistics.smallest_lr * each.weight_gradient.step
    assert found.is_mixed
    assert not assign(statistics).is_mixed


@pytest.mark.parametrize("bits", [1, 2, 5, 9, 24])
def test_a_given_minimum_is_the_bits_of_the_tensor_that_needs_fewest(bits):
    statistics = network(layer("a", **PEAKED), linear("b", 48, 10, weight_gain=77.0))
    found = assign_mixed(statistics, minimum_bits=bits)
    assert found.minimum_bits == bits
    assert min(each.precision(kind).bits for each in found.layers for kind in ("weight", "activation")) >= bits


@settings(deadline=None, max_examples=25)
@given(peaked_networks())
def test_an_assignment_survives_json(statistics):
    for constants in (PAPER, RELEASED):
        found = assign_mixed(statistics, constants=constants)
        assert Assignment.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("kind", [*KINDS, None])
def test_an_offset_moves_fraction_bits_of_logarithms(kind):
    before = assign_mixed(network(layer("a", **PEAKED)), constants=RELEASED)
    assert isinstance(before.layers[0].activation, LogPrecision)
    after = before.with_offset(kind, 1)
    for each in KINDS:
        more = int(kind in (each, None))
        old, new = before.layers[0].precision(each), after.layers[0].precision(each)
        assert new.bits == old.bits + more
        if isinstance(old, LogPrecision):
            assert new == replace(old, frac_bits=old.frac_bits + more)
    if kind == "activation":
        assert after.layers[0].activation_mismatch == before.layers[0].activation_mismatch / 4
    assert after.with_offset(kind, -1) == before


def test_explanations_name_what_the_other_kind_would_take():
    found = assign_mixed(network(layer("a", **PEAKED), layer("b", jacobian=1e-3)), constants=PAPER)
    text = found.explain("a.activation")
    number = found.layers[0].activation
    assert text.startswith(
        f"a.activation: {number.bits} bits, LNS({number.int_bits},{number.frac_bits}), magnitudes 2^"
    )
    assert "largest magnitude 30, rounded, is below 2^6" in text
    assert re.search(r"EFQN: a term of \S+, at most \S+ for any tensor, for a relative noise gain of 0\.01; ", text)
    assert re.search(r"; fixed point would take \d+\n", text)
    assert re.search(
        r"for noise gain 1 and an interval 2 wide; LNS\(\d,\d+\) would take \d+", found.explain("b.activation")
    )
    assert "; weights stay in fixed point" in found.explain("b.weight")
    assert re.search(r"BQN: .*; LNS\(\d,\d+\) would take \d+", found.explain("a.activation_gradient"))


@pytest.mark.parametrize(
    ("statistics", "arguments", "message"),
    [
        (network(layer("conv")), {"target": 1e-14}, r"target 1e-14: .* 24 bits everywhere; conv.weight alone .* raise"),
        (network(), {"target": 0.0}, "target=0.0: a probability"),
        (network(), {"minimum_bits": 0}, "minimum_bits=0: must be an integer from 1 to 24"),
        (replace(network(), layers=()), {}, "net: statistics of no layer"),
        (network(layer("conv", weight_gain=0.0)), {}, "conv.weight: noise gain 0: .*never reached"),
        (network(layer("conv", activation_gain=math.nan)), {}, "conv.activation: noise gain nan: must be positive"),
        (network(layer("conv", activation_maximum=0.0)), {}, "conv.activation: the largest magnitude seen is 0"),
        (network(layer("conv", weight_gradient=Spread(0.0, 0.0))), {}, "conv.weight_gradient: zero throughout"),
        (network(layer("conv", activation_gradient=Spread(0.0, 0.0))), {}, "conv.activation_gradient: zero throughout"),
        (network(layer("conv", jacobian=1e15)), {}, "conv.activation_gradient: BQN asks for .* raise Constants"),
        (network(smallest_lr=1e-9), {}, "layer.accumulator: AS asks for 3. bits, 24 .*pass smallest_lr"),
    ],
)
def test_what_cannot_be_assigned_is_named_in_one_line(statistics, arguments, message):
    with pytest.raises(SpecificationError, match=message) as caught:
        assign_mixed(statistics, **arguments)
    assert "\n" not in str(caught.value)


def test_a_tensor_stays_at_the_limit_while_the_others_meet_the_target():
    found = assign_mixed(network(layer(weight_gain=1e9, activation_gain=1e-2)), target=1.6e-5)
    assert found.layers[0].weight.bits == 24
    assert found.layers[0].reasons["weight"].criterion == "limit"
    assert "24 bits, the most, give" in found.explain("layer.weight")
    assert found.predicted_mismatch <= 1.6e-5


def test_table_and_figure_mark_logarithms(tmp_path):
    found = assign_mixed(network(layer("a", **PEAKED), linear("b", 48, 10)), constants=PAPER)
    rows = assignment_table(found).splitlines()
    number = found.layers[0].activation
    assert f"{number.bits} ({number.int_bits},{number.frac_bits})" in rows[2]
    assert "(" not in rows[3]
    assert rows[-1] == ("ranges are [-r, r), with + [0, r); bits with (I,F) are of LNS(I,F), its magnitudes below r")
    save_figure(tmp_path / "bits.svg", found)
    assert "hollow: logarithms" in (tmp_path / "bits.svg").read_text()
    save_figure(tmp_path / "fixed.svg", assign(network()))
    assert "hollow" not in (tmp_path / "fixed.svg").read_text()


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def assignment_of_two_layers():
    shared = {"weight_maximum": 1.0, "activation_gradient": Spread(1e-3, 0.02), "weight_gradient": Spread(0.01, 0.2)}
    found = assign_mixed(
        network(
            linear("0", 6, 8, **shared, **PEAKED),
            linear("2", 8, 3, **shared, activation_maximum=30.0, activation_mean_square=0.01),
            smallest_lr=0.05,
        ),
        constants=RELEASED,
    )
    assert all(isinstance(each.activation, LogPrecision) for each in found.layers)
    return found


def test_the_recipe_rounds_to_the_logarithms_and_the_training_learns():
    found, model = assignment_of_two_layers(), two_layers()
    recipe = recipe_of(found)
    assert ss.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.for_layer("2", 1, 2)["activation"].format == found.layers[1].activation.format
    quantization = ss.quantize(model, recipe)
    optimizer = optimizer_of(found, model, 0.2)
    quantization.attach(optimizer)
    seen = {}
    for i, name in enumerate(("0", "2")):
        model[int(name)].register_forward_pre_hook(lambda m, args, i=i: seen.update({i: args[0].detach()}))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 6, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    for i, each in enumerate(found.layers):
        assert torch.equal(each.activation.format.quantize(seen[i]), seen[i])
        state = optimizer.state[model[2 * i].weight]
        assert torch.equal(model[2 * i].weight, state["weight"] * each.weight.step)


def test_negative_numbers_in_logarithms_without_signs_are_refused_by_name():
    model = two_layers()
    ss.quantize(model, recipe_of(assignment_of_two_layers()))
    with pytest.raises(
        SpecificationError, match=r"^activation of 2: has negative numbers, ScaledLNS\(.*unsigned\) none"
    ):
        model[2](torch.tensor([[-1.0] * 8]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"range": 0.75}, "range must be a power of two"),
        ({"range": 0.0}, "range must be a power of two"),
        ({"int_bits": 7}, r"LogPrecision\(int_bits=7\): must be an integer from 0 to 6"),
        ({"int_bits": -1}, r"LogPrecision\(int_bits=-1\)"),
        ({"frac_bits": 17}, r"ScaledLNS\(frac_bits=17\)"),
        ({"range": 2.0**-120}, r"ScaledLNS\(exponent=-128\): must be an integer from -118"),
    ],
)
def test_a_log_precision_that_cannot_exist_is_refused(fields, message):
    with pytest.raises(SpecificationError, match=message):
        LogPrecision(**{"int_bits": 3, "frac_bits": 2, "range": 1.0, **fields})


@pytest.mark.parametrize(("int_bits", "frac_bits"), [(0, 0), (2, 1), (4, 3)])
def test_a_log_precision_is_a_scaled_lns(int_bits, frac_bits):
    number = LogPrecision(int_bits, frac_bits, 0.25, signed=False)
    assert number.bits == number.format.width == 1 + int_bits + frac_bits
    assert number.format.largest == pytest.approx(0.25 * 2.0 ** -(2.0**-frac_bits))
    assert number.smallest == pytest.approx(number.format.smallest)
    assert (number.widened(-50).frac_bits, number.widened(50).frac_bits) == (0, 16)
