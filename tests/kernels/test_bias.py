"""A bias is added in the operand arithmetic after the sum is rounded, by the kernel or beside it."""

from itertools import product

import numpy as np
import pytest
import torch
from arithmetics import PLAIN, each_arithmetic, each_default
from operands import MODES, assert_bits, everywhere, operand, seed, tensor

from slipstick import LNS, LinearAccumulate, LogArithmetic, MultiBaseLNS, NonFiniteError, SpecificationError
from slipstick.kernels import convolutions, products, reference
from slipstick.kernels.convolutions import Geometry
from slipstick.kernels.linear_spec import ScaledSums, linear_spec
from slipstick.kernels.observation import ChainCall, Contraction, observing
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

SPEC = kernel_spec(LogArithmetic(PLAIN, "hamad2025"))


class Seen:
    """An observer that lists what it is shown."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def contraction(self, seen: Contraction) -> None:
        self.calls.append(type(seen))

    def chain(self, seen: ChainCall) -> None:
        self.calls.append(type(seen))


def bias_for(sums: LogArray, rng: np.random.Generator, axis: int) -> LogArray:
    """Numbers that cancel some of the sums of the first lines along ``axis``, zeros and any others."""
    count = sums.shape[axis]
    any_ = operand(sums.format, (count,), "any", rng)
    lines = [np.moveaxis(part, axis, 0).reshape(count, -1)[:, 0] for part in (1 - sums.sign, sums.log, sums.is_zero)]
    cancelling = rng.random(count) < 0.4
    sign, log, zero = (
        np.where(cancelling, *both) for both in zip(lines, (any_.sign, any_.log, any_.is_zero), strict=True)
    )
    return reference.rounded(sign, log, zero.astype(bool) | (rng.random(count) < 0.1), sums.format)


@each_arithmetic
@pytest.mark.parametrize("mode", MODES)
def test_a_bias_of_columns_equals_the_reference(arithmetic, mode):
    rng = seed("bias", str(arithmetic), mode)
    for rows, terms, columns in ((3, 17, 5), (40, 20, 33), (1, 64, 2)):
        a, b = (operand(arithmetic.format, shape, mode, rng) for shape in ((rows, terms), (terms, columns)))
        sums = reference.matmul(a, b, arithmetic)
        c = bias_for(sums, rng, 1)
        expected = reference.add(c, sums, arithmetic)
        for where in everywhere():
            assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic), bias=tensor(c)), expected, where)


SIZES = [
    (1, 1, 1),
    (1, 0, 3),
    (0, 4, 3),
    (3, 4, 0),
    (130, 3, 129),
    (9, 16, 300),
    (300, 5, 1),
    (300, 5, 9),
    (257, 2, 64),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@each_default
def test_products_of_any_size_take_a_bias(arithmetic, size):
    rows, terms, columns = size
    rng = seed("bias", size)
    a, b = (operand(arithmetic.format, shape, "close", rng) for shape in ((rows, terms), (terms, columns)))
    sums = reference.matmul(a, b, arithmetic)
    c = operand(arithmetic.format, (columns,), "close", rng)
    expected = reference.add(c, sums, arithmetic)
    spread = torch.stack([tensor(c), torch.ones(columns)], -1)[:, 0]
    for where in everywhere():
        for bias in (tensor(c), spread):
            assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic), bias=bias), expected, where)


def test_every_batch_is_given_the_same_bias():
    rng = seed("bias of batches")
    a, b, c = (operand(PLAIN, shape, "close", rng) for shape in ((3, 5, 17), (3, 17, 40), (40,)))
    expected = reference.add(c, reference.matmul(a, b, SPEC.arithmetic), SPEC.arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), SPEC, bias=tensor(c)), expected, where)


def test_one_number_may_stand_for_all_columns():
    a, b = torch.ones(3, 4), torch.ones(4, 50)
    assert products.matmul(a, b, SPEC, bias=torch.tensor(2.0).expand(50)).unique().tolist() == [
        products.matmul(a, b, SPEC, bias=torch.full((50,), 2.0))[0, 0].item()
    ]


@pytest.mark.parametrize("via", [None, LNS(5, 9)], ids=str)
def test_a_bias_off_the_grid_is_rounded_as_operands_are(via):
    rng = seed("bias off the grid")
    a, b, c = rng.standard_normal((6, 20)), rng.standard_normal((20, 30)), rng.standard_normal(30)
    spec = kernel_spec(SPEC.arithmetic, via)
    for dtype, bias_dtype in product((np.float32, np.float64), repeat=2):
        x, y = a.astype(dtype), b.astype(dtype)
        z = c.astype(bias_dtype)
        sums = reference.matmul(*(reference.encode(n, PLAIN, via) for n in (x, y)), SPEC.arithmetic)
        expected = reference.add(reference.encode(z, PLAIN, via), sums, SPEC.arithmetic)
        for where in everywhere():
            got = products.matmul(torch.from_numpy(x), torch.from_numpy(y), spec, bias=torch.from_numpy(z))
            assert got.numpy().dtype == dtype
            assert_bits(got.float(), expected, where)


CASES = {
    "groups": ((2, 4, 9, 8), (6, 2, 3, 3), Geometry((1, 2), (1, 0), (1, 1), 2)),
    "many pixels": ((3, 3, 12, 13), (5, 3, 3, 3), Geometry([1], [1], [1])),
    "more filters than pixels": ((1, 3, 3, 3), (70, 3, 2, 2), Geometry([1], [0], [1])),
    "one dimension": ((2, 3, 30), (4, 3, 5), Geometry([2], [2], [1])),
}


@pytest.mark.parametrize("name", CASES)
@each_default
def test_a_bias_of_channels_equals_the_reference(arithmetic, name):
    shape, kernel, geometry = CASES[name]
    rank = len(kernel) - 2
    rng = seed("bias of channels", name)
    options = (*geometry.per_axis(rank), geometry.groups)
    x, w = (operand(arithmetic.format, s, "close", rng) for s in (shape, kernel))
    sums = reference.convolution(x, w, arithmetic, *options)
    c = bias_for(sums, rng, 1)
    expected = reference.add(c.reshape(-1, *(1,) * rank), sums, arithmetic)
    gradient = operand(arithmetic.format, sums.shape, "close", rng)
    back = reference.convolution_input_gradient(gradient, w, arithmetic, shape, *options)
    d = bias_for(back, rng, 1)
    transposed = reference.add(d.reshape(-1, *(1,) * rank), back, arithmetic)
    spec = kernel_spec(arithmetic)
    for where in everywhere():
        assert_bits(convolutions.convolution(tensor(x), tensor(w), spec, geometry, bias=tensor(c)), expected, where)
        got = convolutions.convolution_input_gradient(
            tensor(gradient), tensor(w), shape, spec, geometry, bias=tensor(d)
        )
        assert_bits(got, transposed, where)


def test_an_observer_is_shown_the_sum_and_then_the_bias():
    a, b, c = torch.rand(5, 6), torch.rand(6, 7), torch.rand(7)
    image, kernel, channels = torch.rand(2, 3, 6, 6), torch.rand(4, 3, 3, 3), torch.rand(4)
    geometry = Geometry([1], [1], [1])
    alone = (
        products.matmul(a, b, SPEC, bias=c),
        convolutions.convolution(image, kernel, SPEC, geometry, bias=channels),
    )
    seen = Seen()
    with observing(seen):
        watched = (
            products.matmul(a, b, SPEC, bias=c),
            convolutions.convolution(image, kernel, SPEC, geometry, bias=channels),
        )
    assert seen.calls == [Contraction, ChainCall] * 2
    assert all(torch.equal(x, y) for x, y in zip(alone, watched, strict=True))


def test_a_nan_in_a_bias_raises():
    c = torch.ones(4)
    c[2] = float("nan")
    for _ in everywhere():
        with pytest.raises(NonFiniteError, match=r"addmm in LNS\(5,5\): NaN"):
            products.matmul(torch.ones(2, 3), torch.ones(3, 4), SPEC, "addmm", c)
        with pytest.raises(NonFiniteError, match=r"convolution in LNS\(5,5\): NaN"):
            convolutions.convolution(torch.ones(1, 2, 5), torch.ones(4, 2, 3), SPEC, Geometry([1], [0], [1]), bias=c)


@pytest.mark.parametrize(
    "bias", [torch.ones(3), torch.ones(1), torch.ones(4, 1), torch.tensor(1.0)], ids=lambda t: str(tuple(t.shape))
)
def test_a_bias_that_does_not_fit_is_refused(bias):
    with pytest.raises(SpecificationError, match=r"mm: a bias .* does not fit 4 outputs"):
        products.matmul(torch.ones(2, 3), torch.ones(3, 4), SPEC, bias=bias)
    with pytest.raises(SpecificationError, match=r"convolution: a bias .* does not fit 4 outputs"):
        convolutions.convolution(torch.ones(1, 2, 5), torch.ones(4, 2, 3), SPEC, Geometry([1], [0], [1]), bias=bias)


def test_sums_of_integers_take_no_bias():
    sums = ScaledSums(linear_spec(LinearAccumulate(MultiBaseLNS(8, 8))), torch.ones(()))
    with pytest.raises(SpecificationError, match="take no bias"):
        products.matmul(torch.ones(2, 3), torch.ones(3, 4), sums, bias=torch.ones(4))
