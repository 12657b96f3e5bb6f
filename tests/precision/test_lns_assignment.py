"""The five questions for logarithmic numbers: the noise model against the format's own rounding, and each answer."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_statistics import changed, layer, linear, network, networks

from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.precision.criteria import RELEASED, Constants, gradient_range
from slipstick.precision.explanation import KINDS
from slipstick.precision.figure import save_figure
from slipstick.precision.lns import LNSAssignment, assign_lns
from slipstick.precision.statistics import Spread
from slipstick.precision.table import lns_table

LN2 = math.log(2)


def rounded(numbers: torch.Tensor, format: LNS) -> torch.Tensor:
    return format.decode(format.encode(numbers.float())).double()


@pytest.mark.parametrize("frac_bits", [0, 1, 2, 4])
def test_rounding_has_the_relative_variance_and_the_bias_of_the_model(frac_bits):
    logs = torch.linspace(-6, 6, 200001, dtype=torch.float64)[:-1]
    numbers = torch.exp2(logs)
    error = rounded(numbers, LNS(5, frac_bits)) / numbers - 1
    step = LN2 * 2.0**-frac_bits
    tolerance = 0.1 if frac_bits == 0 else 0.03  # e ln 2 for 2^e - 1
    assert float(error.square().mean()) == pytest.approx(step**2 / 12, rel=tolerance)
    assert float(error.mean()) == pytest.approx(step**2 / 24, rel=tolerance)


def test_the_relative_gain_predicts_the_noise_of_a_dot_product():
    """Of z = x . w with w rounded: variance sum (x w)^2 s^2 / 12, near ||x||^2 mean(w^2) s^2 / 12 for unrelated w."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    w = torch.randn(4000, 300, generator=generator, dtype=torch.float64) * 0.1
    noise = (x * (rounded(w, LNS(5, 4)) - w)).sum(0)
    predicted = x.square().sum() * w.square().mean() * (LN2 / 16) ** 2 / 12
    assert float(noise.square().mean()) == pytest.approx(float(predicted), rel=0.2)


def test_the_search_by_hand():
    statistics = network(
        layer(weight_gain=16.0, weight_mean_square=0.25, activation_gain=0.25, activation_mean_square=1.0)
    )
    found = assign_lns(statistics, target=0.01)
    # relative gains 4 and 1/4: two fraction bits apart, both terms (ln 2 2^-F)^2 / 4, underflow at most 0.001
    assert found.minimum_frac_bits == 3  # 2 (ln 2)^2 / 4 4^-F: 0.015 with 2, 0.00375 with 3
    assert found.layers[0].weight.frac_bits == 5
    assert found.layers[0].activation.frac_bits == 3
    # smallest that matter: sqrt(0.0005 / 12 / 16) = 2^-9.28 and sqrt(0.0005 / 12 / 0.25) = 2^-6.3: within 2^-16, 2^-8
    assert (found.layers[0].weight.int_bits, found.layers[0].activation.int_bits) == (4, 3)
    underflow = 12 * (16 * LNS(4, 5).smallest ** 2 + 0.25 * LNS(3, 3).smallest ** 2)
    assert found.predicted_mismatch == pytest.approx(2 * LN2**2 / 4 / 64 + underflow)
    # GC: 2 * 3.16 * 2^-7 is below 2^-4; half the RQB step is 2^-13: within 2^-16. RQB: ln 2 / 4 is below 1/4.
    assert found.layers[0].weight_gradient == LNS(4, 2)
    # half the BQN step is 2^-15; lambda = 16 and sigma_A / sigma_W = 2^-4 or 2^-5: 2^(2 - 4)
    assert found.layers[0].activation_gradient == LNS(4, 0)
    # the smallest update is 0.001 * 2^-12 = 2^-22: within 2^-32
    assert found.layers[0].accumulator == LNS(5, 16)
    assert found.compute == LNS(4, 5)
    assert found.update == LNS(5, 16)


@settings(deadline=None, max_examples=50)
@given(networks(), st.floats(1e-3, 0.5), st.floats(1e-3, 0.5))
def test_a_larger_target_never_gives_more_bits(statistics, one, other):
    narrow, wide = (assign_lns(statistics, target) for target in (max(one, other), min(one, other)))
    assert narrow.predicted_mismatch <= narrow.target
    for a, b in zip(narrow.layers, wide.layers, strict=True):
        for kind in KINDS:
            assert a.format(kind).frac_bits <= b.format(kind).frac_bits
            assert a.format(kind).int_bits <= b.format(kind).int_bits


@settings(deadline=None, max_examples=50)
@given(networks())
def test_formats_reach_from_the_smallest_that_matters_to_the_largest(statistics):
    for found, known in zip(assign_lns(statistics, constants=RELEASED).layers, statistics.layers, strict=True):
        assert found.weight.largest >= known.weight_maximum
        assert found.activation.largest >= known.activation_maximum
        step = 0.25 * known.weight_gradient.smallest
        assert found.weight_gradient.smallest <= step / 2
        assert found.weight_gradient.largest >= gradient_range(
            "g", known.weight_gradient.largest, 2.0, RELEASED.ema_correction
        )
        assert found.activation_gradient.largest >= 8 * RELEASED.ema_correction * known.activation_gradient.largest
        assert found.accumulator.smallest <= statistics.smallest_lr * step
        assert found.accumulator.int_bits >= found.weight.int_bits
        assert found.accumulator.frac_bits >= found.weight.frac_bits


@settings(deadline=None, max_examples=50)
@given(networks(), st.integers(-3, 3))
def test_fraction_bits_do_not_depend_on_the_units_of_a_layer(statistics, exponent):
    first = statistics.layers[0]
    scaled = changed(
        statistics,
        0,
        weight_maximum=math.ldexp(first.weight_maximum, exponent),
        weight_gain=math.ldexp(first.weight_gain, -2 * exponent),
        weight_gradient=Spread(
            math.ldexp(first.weight_gradient.smallest, -exponent), math.ldexp(first.weight_gradient.largest, -exponent)
        ),
        jacobian=math.ldexp(first.jacobian, -2 * exponent),
    )
    before, after = (assign_lns(each, minimum_frac_bits=2).layers[0] for each in (statistics, scaled))
    for kind in ("weight", "activation", "weight_gradient", "activation_gradient"):
        assert before.format(kind).frac_bits == after.format(kind).frac_bits


def test_the_squared_maximum_stands_in_for_an_unknown_mean_square():
    unknown = assign_lns(network(layer(weight_maximum=0.9, activation_maximum=1.9)))
    bound = assign_lns(network(layer(weight_mean_square=0.9**2, activation_mean_square=1.9**2)))
    assert [unknown.layers[0].format(kind) for kind in KINDS] == [bound.layers[0].format(kind) for kind in KINDS]
    assert "a bound by the squared maximum" in unknown.explain("layer.weight")
    assert "bound" not in bound.explain("layer.weight").splitlines()[2]


@pytest.mark.parametrize(("fraction", "bits"), [(0.25, 2), (0.49, 1), (0.7, 0), (0.05, 4)])
def test_weight_gradients_need_fraction_bits_for_their_bias_alone(fraction, bits):
    for smallest, largest in ((1e-6, 1e-6), (1e-6, 1e-2), (0.1, 10.0)):
        statistics = network(layer(weight_gradient=Spread(smallest, largest)))
        found = assign_lns(statistics, constants=Constants(bias_fraction=fraction)).layers[0].weight_gradient
        assert found.frac_bits == bits
        assert LN2 * 2.0**-bits <= max(fraction, 0.0)


@pytest.mark.parametrize(
    ("jacobian", "ratio", "bits"), [(1.0, 1.0, 2), (1.0, 1.01, 3), (4.0, 1.0, 3), (4.0, 0.5, 2), (300.0, 0.02, 1)]
)
def test_activation_gradients_need_as_many_as_their_noise_is_amplified(jacobian, ratio, bits):
    gradients = Spread(ratio * 2.0**-10, ratio * 2.0**-7)
    found = assign_lns(network(layer(jacobian=jacobian, activation_gradient=gradients))).layers[0]
    assert found.activation_gradient.frac_bits == bits
    assert found.weight_gradient.frac_bits == 2
    of_a_batch = replace(network(layer(jacobian=jacobian, activation_gradient=gradients)), batch=64)
    assert assign_lns(of_a_batch).layers[0].activation_gradient.frac_bits == bits + 3


@settings(deadline=None, max_examples=50)
@given(st.floats(0.3, 0.9), st.floats(-9, -4))
def test_the_smallest_update_moves_the_largest_weight_and_with_a_bit_less_it_does_not(maximum, exponent):
    """Downwards; upwards log2(1 + x) is a little less than x / ln 2."""
    lr = 2.0**exponent
    statistics = network(
        layer(weight_maximum=maximum, weight_gradient=Spread(0.25, 0.25), weight_gain=1e-3), smallest_lr=lr
    )
    found = assign_lns(statistics, target=0.5).layers[0].accumulator
    assert found.frac_bits < 16
    for frac_bits, moves in ((found.frac_bits, True), (found.frac_bits - 1, False)):
        format = LNS(found.int_bits, frac_bits)
        weight = rounded(torch.tensor([maximum]), format)
        # the update of a weight that lies on the grid, in proportion
        update = lr * 2.0**-4 * weight / maximum
        assert (
            bool(rounded(weight - update, format) != weight) == moves
            or abs(_steps(update / weight, format) - 0.5) < 0.01
        )


def _steps(share: torch.Tensor, format: LNS) -> float:
    return float(-torch.log2(1 - share)) * 2.0**format.frac_bits


def test_an_accumulator_at_the_limit_says_what_is_lost():
    found = assign_lns(network(layer("conv")))
    assert found.layers[0].accumulator.frac_bits == 16
    assert found.layers[0].reasons["accumulator"].criterion == "limit"
    text = found.explain("conv.accumulator")
    assert "AS asks for 21" in text  # ln 2 * 0.9 / (2 * 0.001 * 2^-12) = 2^20.3
    assert "gradients below 0.0048 leave the largest weight where it is" in text
    assert pytest.approx(LN2 * 0.9 / 2 / 0.001 * 2.0**-16, rel=0.02) == 0.0048


@settings(deadline=None, max_examples=50)
@given(networks())
def test_an_assignment_survives_json(statistics):
    found = assign_lns(statistics)
    assert LNSAssignment.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_what_is_no_assignment_is_refused():
    with pytest.raises(SpecificationError, match="assign again"):
        LNSAssignment.from_dict({"layers": [{"weight": {}}]})


@pytest.mark.parametrize(
    ("statistics", "arguments", "message"),
    [
        (network(layer("conv", weight_gain=1e9)), {"target": 1e-6}, "16 fraction bits everywhere; conv.weight alone"),
        (network(), {"target": 0.0}, "target=0.0"),
        (network(), {"minimum_frac_bits": 17}, "minimum_frac_bits=17: must be an integer from 0 to 16"),
        (network(layer("conv", weight_gain=0.0)), {}, "conv.weight: noise gain 0"),
        (network(layer("conv", activation_maximum=0.0)), {}, "conv.activation: the largest magnitude seen is 0"),
        (network(layer("conv", weight_gradient=Spread(1e-30, 1.0))), {}, "conv.weight_gradient: .*int_bits=7, 6 are"),
        (network(layer("conv", weight_gradient=Spread(0.0, 0.0))), {}, "conv.weight_gradient: all zero"),
        (network(layer("conv", activation_gradient=Spread(0.0, 0.0))), {}, "conv.activation_gradient: zero throughout"),
        (network(layer("conv", jacobian=1e16)), {}, "conv.activation_gradient: BQN asks for 2. fraction bits, 16 are"),
        (network(smallest_lr=0.0), {}, "layer.accumulator: smallest learning rate 0.0"),
    ],
)
def test_what_cannot_be_assigned_is_named_in_one_line(statistics, arguments, message):
    with pytest.raises(SpecificationError, match=message) as caught:
        assign_lns(statistics, **arguments)
    assert "\n" not in str(caught.value)


def test_table_and_figure_show_every_layer(tmp_path):
    found = assign_lns(network(layer("a"), linear("b", 48, 10)))
    rows = lns_table(found).splitlines()
    assert rows[0].startswith("net: F_min")
    assert rows[1].split() == ["layer", "W", "A", "G(W)", "G(A)", "update"]
    assert [row.split()[0] for row in rows[2:4]] == ["a", "b"]
    assert rows[-1] == f"one format for all tensors: {found.compute}, updates in {found.update}"
    save_figure(tmp_path / "bits.svg", found, title="formats")
    assert "formats" in (tmp_path / "bits.svg").read_text()
