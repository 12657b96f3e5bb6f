"""Convolutions and their gradients equal the reference, on every ISA, with one thread and with two."""

import pytest
import torch
from arithmetics import DEFAULTS, PLAIN
from operands import assert_bits, channels_last, everywhere, operand, seed, tensor

from slipstick import (
    LNS,
    Blocked,
    LogArithmetic,
    NonFiniteError,
    Sequential,
    SpecificationError,
    Tree,
)
from slipstick.kernels import convolutions, reference
from slipstick.kernels.convolutions import Geometry
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

CONVOLUTIONS = [
    # samples, channels, outputs, space, kernel, stride, padding, dilation, groups
    (2, 3, 4, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 5, 3, (7, 9), (3, 2), (2, 3), (1, 0), (1, 1), 1),
    (2, 4, 6, (8, 7), (3, 3), (2, 1), (2, 3), (2, 1), 2),
    (3, 6, 6, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 3, 6, (6, 6), (2, 2), (3, 3), (0, 0), (1, 1), 3),
    (2, 17, 9, (4, 4), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 2, 3, (5, 5), (1, 1), (2, 2), (1, 1), (1, 1), 1),
    (1, 2, 2, (4, 4), (4, 4), (1, 1), (3, 3), (1, 1), 1),
    (2, 3, 2, (11,), (4,), (3,), (2,), (2,), 1),
    (3, 4, 4, (20,), (5,), (1,), (2,), (1,), 4),
    (2, 2, 4, (5, 4, 6), (2, 3, 2), (2, 1, 1), (1, 1, 0), (1, 1, 2), 2),
    (1, 3, 2, (4, 5, 3), (3, 3, 3), (1, 2, 1), (1, 1, 1), (1, 1, 1), 1),
]
each_convolution = pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
CONVOLVED = [
    *DEFAULTS,
    LogArithmetic(PLAIN, "hamad2025", Sequential()),
    LogArithmetic(PLAIN, "hamad2025", Blocked(64)),
    LogArithmetic(LNS(5, 6), "hamad2025", Tree(4), "operand"),
]


def convolution_operands(case: tuple, format: LNS, *key: object) -> tuple[LogArray, LogArray, LogArray, tuple]:
    samples, channels, outputs, space, kernel, stride, padding, dilation, groups = case
    positions = reference.products.output_positions(space, kernel, stride, padding, dilation)
    rng = seed("convolution", case, key)
    shapes = (samples, channels, *space), (outputs, channels // groups, *kernel), (samples, outputs, *positions)
    x, w, g = (operand(format, shape, "close", rng) for shape in shapes)
    return x, w, g, (stride, padding, dilation, groups)


@each_convolution
@pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)
def test_convolution_equals_the_reference(case, arithmetic):
    x, w, _, options = convolution_operands(case, arithmetic.format, str(arithmetic))
    expected = reference.convolution(x, w, arithmetic, *options)
    for where in everywhere():
        got = convolutions.convolution(tensor(x), tensor(w), kernel_spec(arithmetic), Geometry(*options))
        assert_bits(got, expected, where)
        got = convolutions.convolution(
            channels_last(tensor(x)), channels_last(tensor(w)), kernel_spec(arithmetic), Geometry(*options)
        )
        assert_bits(got, expected, where)


@each_convolution
@pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)
def test_convolution_input_gradient_equals_the_reference(case, arithmetic):
    x, w, g, options = convolution_operands(case, arithmetic.format, str(arithmetic))
    expected = reference.convolution_input_gradient(g, w, arithmetic, x.shape, *options)
    for where in everywhere():
        spec, geometry = kernel_spec(arithmetic), Geometry(*options)
        got = convolutions.convolution_input_gradient(tensor(g), tensor(w), x.shape, spec, geometry)
        assert_bits(got, expected, where)
        got = convolutions.convolution_input_gradient(
            channels_last(tensor(g)), tensor(w), x.shape, spec, Geometry(*options)
        )
        assert_bits(got, expected, where)


@each_convolution
@pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)
def test_convolution_weight_gradient_equals_the_reference(case, arithmetic):
    x, w, g, options = convolution_operands(case, arithmetic.format, str(arithmetic))
    expected = reference.convolution_weight_gradient(g, x, arithmetic, w.shape, *options)
    for where in everywhere():
        spec, geometry = kernel_spec(arithmetic), Geometry(*options)
        got = convolutions.convolution_weight_gradient(tensor(g), tensor(x), w.shape, spec, geometry)
        assert_bits(got, expected, where)
        got = convolutions.convolution_weight_gradient(
            tensor(g), channels_last(tensor(x)), w.shape, spec, Geometry(*options)
        )
        assert_bits(got, expected, where)


def test_one_number_stands_for_every_axis():
    arithmetic = DEFAULTS[0]
    x, w, _, _ = convolution_operands(CONVOLUTIONS[0], arithmetic.format)
    spec = kernel_spec(arithmetic)
    long = convolutions.convolution(tensor(x), tensor(w), spec, Geometry((2, 2), (1, 1), (1, 1)))
    assert torch.equal(convolutions.convolution(tensor(x), tensor(w), spec, Geometry([2], [1], [1])), long)


@pytest.mark.parametrize(
    ("x", "w", "groups", "message"),
    [
        ((1, 3, 5, 5), (2, 4, 3, 3), 1, "do not fit groups=1"),
        ((1, 4, 5, 5), (3, 2, 3, 3), 2, "do not fit groups=2"),
        ((1, 3, 5), (2, 3, 3, 3), 1, "do not fit"),
        ((1, 3, 5, 5), (2, 3, 6, 3), 1, "larger than the padded input"),
    ],
)
def test_convolutions_that_do_not_fit_are_refused(x, w, groups, message):
    spec = kernel_spec(DEFAULTS[0])
    ones = [1] * (len(x) - 2)
    with pytest.raises(SpecificationError, match=message):
        convolutions.convolution(torch.ones(x), torch.ones(w), spec, Geometry(ones, [0] * len(ones), ones, groups))


def test_a_nan_in_a_convolution_raises():
    x, w, g = torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3), torch.ones(1, 3, 3, 3)
    spec = kernel_spec(DEFAULTS[0])
    options = (1, 1), (0, 0), (1, 1)
    for t in (x, w, g):
        t[0, 1, 2, 2] = float("nan")
    for _ in everywhere():
        with pytest.raises(NonFiniteError, match="convolution in"):
            convolutions.convolution(x, torch.ones_like(w), spec, Geometry(*options))
        with pytest.raises(NonFiniteError, match="convolution_backward in"):
            convolutions.convolution_input_gradient(g, torch.ones_like(w), x.shape, spec, Geometry(*options))
        with pytest.raises(NonFiniteError, match="convolution_backward in"):
            convolutions.convolution_weight_gradient(torch.ones_like(g), x, w.shape, spec, Geometry(*options))
