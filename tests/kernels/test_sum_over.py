"""Sums over axes equal the reference: in every order, accumulator, ISA and thread count."""

import pytest
import torch
from arithmetics import DEFAULTS, each_arithmetic, each_default
from operands import MODES, assert_bits, channels_last, everywhere, operand, seed, tensor

from slipstick import (
    NonFiniteError,
)
from slipstick.kernels import products, reference
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

REDUCTIONS = [
    ((5,), [0]), ((300,), [0]), ((4097,), [-1]), ((3, 40), [1]), ((40, 3), [0]), ((6, 7), [0, 1]), ((6, 7), [1, 0]),
    ((5, 6, 7), [1]), ((5, 6, 7), [0, 2]), ((5, 6, 7), [-1, 0]), ((2, 9, 5, 4), [0, 2, 3]), ((2, 3, 4, 5), [1, 3]),
    ((1, 1, 1), [1]), ((3, 0, 4), [1]), ((0, 4), [1]), ((130, 20), [0]), ((20, 130), [1]),
]  # fmt: skip


@each_arithmetic
def test_sums_equal_the_reference_in_every_arithmetic(arithmetic):
    spec = kernel_spec(arithmetic)
    for mode in MODES:
        x = operand(arithmetic.format, (21, 70), mode, seed("sum", str(arithmetic), mode))
        for axis in (0, 1):
            expected = reference.sum_over(x, [axis], False, arithmetic)
            for where in everywhere():
                assert_bits(products.sum_over(tensor(x), [axis], False, spec), expected, f"{mode}, {where}")


@each_default
@pytest.mark.parametrize(("shape", "dims"), REDUCTIONS, ids=str)
@pytest.mark.parametrize("keepdim", [False, True])
def test_sums_over_any_axes_equal_the_reference(arithmetic, shape, dims, keepdim):
    x = operand(arithmetic.format, shape, "close", seed("axes", shape, str(arithmetic)))
    expected = reference.sum_over(x, dims, keepdim, arithmetic)
    for where in everywhere():
        assert_bits(products.sum_over(tensor(x), dims, keepdim, kernel_spec(arithmetic)), expected, where)


@each_default
def test_no_axes_mean_all_axes(arithmetic):
    x = operand(arithmetic.format, (4, 5, 6), "close", seed("all"))
    expected = reference.sum_over(x, [0, 1, 2], False, arithmetic)
    spec = kernel_spec(arithmetic)
    for where in everywhere():
        for dims in (None, []):
            assert_bits(products.sum_over(tensor(x), dims, False, spec), expected, where)
    scalar = operand(arithmetic.format, (), "close", seed("scalar"))
    assert_bits(products.sum_over(tensor(scalar), None, False, spec), scalar, "a sum of one term")


@each_default
def test_the_order_of_a_sum_is_logical_whatever_the_strides(arithmetic):
    x = operand(arithmetic.format, (6, 40, 9), "close", seed("logical", str(arithmetic)))
    spec = kernel_spec(arithmetic)
    for dims in ([0], [1], [0, 2], [0, 1, 2]):
        expected = reference.sum_over(x, dims, False, arithmetic)
        for t in (tensor(x), channels_last(tensor(x)), tensor(x).permute(2, 1, 0).contiguous().permute(2, 1, 0)):
            for where in everywhere():
                assert_bits(products.sum_over(t, dims, False, spec), expected, where)
    row = operand(arithmetic.format, (1, 40), "close", seed("row", str(arithmetic)))
    repeated = LogArray(row.format, row.sign.repeat(30, 0), row.log.repeat(30, 0))
    for dims in ([0], [1], [0, 1]):
        expected = reference.sum_over(repeated, dims, False, arithmetic)
        for where in everywhere():
            assert_bits(products.sum_over(tensor(row).expand(30, 40), dims, False, spec), expected, where)


def test_a_nan_in_a_sum_raises():
    x = torch.ones(100, 30)
    x[99, 29] = float("nan")
    for _ in everywhere():
        for dims in ([0], [1], None):
            with pytest.raises(NonFiniteError, match=r"aten\.sum in LNS\(5,5\): NaN"):
                products.sum_over(x, dims, False, kernel_spec(DEFAULTS[0]), "aten.sum")
