"""The three costs, against counts made by hand and dot product by dot product."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_statistics import layer, linear, network, networks

from slipstick.errors import SpecificationError
from slipstick.precision.cost import (
    FLOAT32,
    Cost,
    Design,
    Width,
    binarised,
    cost,
    dot_products,
    fixed_point,
    float32,
    logarithmic,
    ternary_gradients,
    uniform,
)
from slipstick.precision.criteria import RELEASED
from slipstick.precision.lns import assign_lns
from slipstick.precision.mixed import assign_mixed
from slipstick.precision.search import assign
from slipstick.precision.table import cost_table

widths = st.builds(Width, st.integers(1, 24))


def released(terms: int, x: int, y: int) -> int:
    """Full adders of one dot product as the companion repository counts them."""
    return terms * x * y + (terms - 1) * (x + y + math.ceil(math.log2(terms)) - 1)


def test_a_dot_product_by_hand():
    assert dot_products(1, 4, Width(3), Width(2)) == 4 * 6 + 3 * (3 + 2 + 2 - 1)
    assert dot_products(1, 1, Width(3), Width(2)) == 6
    assert dot_products(1, 5, Width(1), Width(1)) == 5 + 4 * (1 + 1 + 3 - 1)


@given(st.integers(1, 50), st.integers(1, 5000), widths, widths)
def test_fixed_point_dot_products_cost_what_the_released_formula_says(count, terms, x, y):
    assert dot_products(count, count * terms, x, y) == count * released(terms, x.bits, y.bits)
    assert dot_products(count, count * terms, x, y) == dot_products(count, count * terms, y, x)


def test_float_dot_products_by_hand():
    assert dot_products(1, 4, FLOAT32, FLOAT32) == 4 * (24 * 24 + 8) + 3 * (24 + 8)
    assert dot_products(1, 4, FLOAT32, Width(1)) == 4 * 24 + 3 * (24 + 8)


def test_a_linear_network_by_hand():
    statistics = network(linear("a", 6, 4), linear("b", 4, 2))
    got = cost(statistics, uniform(8))
    a, b = got.layers
    assert a.representational == 6 * 8 + 4 * 8 + 24 * (8 + 8 + 8)
    assert b.representational == 4 * 8 + 2 * 8 + 8 * (8 + 8 + 8)
    assert (a.communication, b.communication) == (24 * 8, 8 * 8)
    assert a.forward == 4 * released(6, 8, 8)
    assert a.input_gradient == 0
    assert a.weight_gradient == 24 * released(1, 8, 8)
    assert b.forward == 2 * released(4, 8, 8)
    assert b.input_gradient == 4 * released(2, 8, 8)
    assert b.weight_gradient == 8 * released(1, 8, 8)
    assert got.representational == a.representational + b.representational
    assert got.computational == a.computational + b.computational
    assert got.communication == 32 * 8


def test_a_convolution_by_hand():
    first, second = cost(network(layer("a"), layer("b")), uniform(4)).layers
    assert first.forward == second.forward == 48 * released(18, 4, 4)
    assert second.input_gradient == 32 * released(27, 4, 4)
    assert second.weight_gradient == 54 * released(16, 4, 4)
    assert second.representational == 32 * 4 + 48 * 4 + 54 * 12


def test_a_batch_multiplies_what_is_per_sample_and_lengthens_the_sums_of_weight_gradients():
    statistics = network(layer("a"), layer("b"))
    one, eight = (cost(statistics, uniform(4), batch=batch).layers[1] for batch in (1, 8))
    assert eight.forward == 8 * one.forward
    assert eight.input_gradient == 8 * one.input_gradient
    assert eight.weight_gradient == 54 * released(8 * 16, 4, 4)
    assert eight.communication == one.communication
    assert eight.representational - one.representational == 7 * (32 + 48) * 4


def test_each_layer_costs_what_its_own_precisions_do():
    statistics = network(layer("a", weight_gain=300.0), linear("b", 48, 10))
    assignment = assign(statistics)
    a, b = assignment.layers
    got = cost(statistics, fixed_point(assignment)).layers
    assert got[0].forward == 48 * released(18, a.weight.bits, a.activation.bits)
    assert got[1].forward == 10 * released(48, b.weight.bits, b.activation.bits)
    assert got[1].input_gradient == 48 * released(10, b.weight.bits, b.activation_gradient.bits)
    assert got[1].weight_gradient == 480 * released(1, b.activation.bits, b.activation_gradient.bits)
    stored = b.weight.bits + b.weight_gradient.bits + b.accumulator.bits
    assert got[1].representational == 48 * b.activation.bits + 10 * b.activation_gradient.bits + 480 * stored
    assert got[1].communication == 480 * b.weight_gradient.bits


def test_the_baselines_differ_from_float32_where_they_should():
    statistics = network(layer("a"), linear("b", 48, 10))
    fp32, binary, ternary = (cost(statistics, design) for design in (float32(), binarised(), ternary_gradients()))
    weights, inputs = 54 + 480, 32 + 48
    assert fp32.representational == 32 * (inputs + 48 + 10) + 96 * weights
    assert fp32.communication == binary.communication == 32 * weights
    assert ternary.communication == 2 * weights
    assert ternary.computational == fp32.computational
    assert fp32.representational - ternary.representational == 30 * weights
    assert fp32.representational - binary.representational == 31 * (weights + inputs)
    assert binary.layers[1].forward == 10 * released(48, 1, 1)
    assert binary.layers[1].input_gradient == 48 * (10 * 24 + 9 * 32)


@settings(deadline=None, max_examples=50)
@given(networks(), st.sampled_from(["weight", "activation", "weight_gradient", "activation_gradient", "accumulator"]))
def test_a_bit_more_never_costs_less(statistics, kind):
    assignment = assign(statistics)
    before, after = (cost(statistics, fixed_point(each)) for each in (assignment, assignment.with_offset(kind, 1)))
    assert after.representational >= before.representational
    assert after.computational >= before.computational
    assert after.communication >= before.communication


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform(0), r"uniform\(0\): bits must be a positive integer"),
        (lambda: cost(network(), uniform(8), batch=0), r"cost\(batch=0\): must be a positive integer"),
        (lambda: cost(network(), fixed_point(assign(network(layer("other"))))), "assigned: knows no layer 'layer'"),
        (lambda: cost(network(), Design("empty")), "empty: knows no layer"),
    ],
)
def test_what_has_no_cost_is_named(call, message):
    with pytest.raises(SpecificationError, match=message):
        call()


def test_the_data_of_a_cost_has_its_totals():
    got = cost(network(), uniform(8))
    data = got.to_dict()
    assert data["computational"] == got.computational == sum(each["computational"] for each in data["layers"])
    assert data["layers"][0]["name"] == "layer"


def test_the_table_compares_with_the_first_design():
    statistics = network(layer("a"), linear("b", 48, 10))
    rows = cost_table([cost(statistics, design) for design in (float32(), ternary_gradients())]).splitlines()
    assert rows[0] == "a training step of 1 sample; in brackets times less than fp32"
    assert rows[2].startswith("fp32")
    assert rows[2].count("(1.00)") == 3
    assert rows[3].endswith("(16.00)")
    assert cost_table([]) == "no designs"
    assert cost_table([Cost("none", 4, ())]).startswith("a training step of 4 samples")


def test_a_product_of_logarithms_is_one_addition_of_them():
    logs, finer, integers = Width(8, log=(3, 3)), Width(9, log=(2, 5)), Width(8)
    assert dot_products(1, 4, logs, finer) == dot_products(1, 4, finer, logs) == 4 * (1 + 3 + 5)
    assert dot_products(1, 4, logs, integers) == dot_products(1, 4, FLOAT32, logs) == 0


def test_logarithms_cost_their_bits_and_of_full_adders_what_is_defined():
    statistics = network(layer("a"), linear("b", 48, 10))
    assignment = assign_lns(statistics)
    got = cost(statistics, logarithmic(assignment), batch=2)
    b = assignment.layers[1]
    held = b.weight_gradient.width + b.accumulator.width  # the accumulator is the weight, with more bits
    assert (
        got.layers[1].representational == 2 * (48 * b.activation.width + 10 * b.activation_gradient.width) + 480 * held
    )
    assert got.layers[1].communication == 480 * b.weight_gradient.width
    bits = 1 + max(b.weight.int_bits, b.activation.int_bits) + max(b.weight.frac_bits, b.activation.frac_bits)
    assert got.layers[1].forward == 2 * 480 * bits
    assert not got.complete
    assert got.to_dict()["complete"] is False
    assert cost(statistics, fixed_point(assign(statistics))).complete


def test_of_a_mixed_assignment_the_layers_in_fixed_point_alone_are_complete():
    peaked = {"activation_maximum": 30.0, "activation_mean_square": 0.01}
    statistics = network(layer("a", jacobian=1e-3), linear("b", 48, 10, **peaked), linear("c", 10, 10, **peaked))
    assignment = assign_mixed(statistics, constants=RELEASED)
    got = cost(statistics, fixed_point(assignment))
    logs = [
        [each.log is not None for each in (widths.activation, widths.activation_gradient)]
        for widths in (fixed_point(assignment).widths(name) for name in "abc")
    ]
    assert logs[1][0]
    assert [each.complete for each in got.layers] == [not any(each) for each in logs]
    assert got.layers[1].forward == 0
    b = assignment.layers[1]
    assert got.layers[1].representational == 48 * b.activation.bits + 10 * b.activation_gradient.bits + 480 * (
        b.weight.bits + b.weight_gradient.bits + b.accumulator.bits
    )


def test_the_table_says_where_full_adders_are_not_defined():
    statistics = network(layer("a"), linear("b", 48, 10))
    designs = (float32(), logarithmic(assign_lns(statistics)), uniform(8))
    rows = cost_table([cost(statistics, design) for design in designs]).splitlines()
    assert rows[3].split()[3] == ">"
    assert rows[3].count("(") == 2
    assert rows[4].count("(") == 3
    assert rows[-1] == (
        ">: without sums of logarithms and products of a logarithm and an integer, which take what their tables take"
    )
