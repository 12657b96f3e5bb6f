"""Sums by adders of a few steps: Sanyal's, too wide for 16 bits in LNS(4,10), and where zeros reach their end."""

import pytest
from differences import OffByOne, every_difference, plan_of
from operands import MODES, assert_bits, everywhere, operand, seed, tensor

from slipstick import LNS, Blocked, LogArithmetic, Sequential, Tree
from slipstick.kernels import native, products, reference
from slipstick.kernels.spec import kernel_spec

ADDERS = ["sanyal2019-lut", "sanyal2019-bitshift"]
ARITHMETICS = [
    *(LogArithmetic(LNS(4, 10), adder) for adder in ADDERS),
    *(LogArithmetic(LNS(5, frac_bits), "sanyal2019-bitshift") for frac_bits in (6, 7)),
]


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
def test_every_difference_of_two_terms(arithmetic):
    a, b = every_difference(arithmetic)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
@pytest.mark.parametrize("order", [Tree(16), Blocked(64), Sequential()], ids=str)
def test_sums_of_every_temper(arithmetic, order):
    arithmetic = LogArithmetic(arithmetic.format, arithmetic.add, order)
    for mode in MODES:
        for rows, terms, columns in ((3, 1, 33), (5, 37, 65), (1, 600, 3)):
            rng = seed(str(arithmetic), mode, terms)
            a = operand(arithmetic.format, (rows, terms), mode, rng)
            b = operand(arithmetic.format, (columns, terms), mode, rng).transpose(1, 0)
            expected = reference.matmul(a, b, arithmetic)
            for where in everywhere():
                assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@pytest.mark.skipif("avx512" not in native.available_isas(), reason="needs AVX-512")
@pytest.mark.parametrize("adder", ADDERS)
def test_which_kernel(adder):
    assert plan_of(LogArithmetic(LNS(4, 10), adder), "avx512") == "wide-steps"
    assert plan_of(LogArithmetic(LNS(4, 10), "exact"), "avx512") == "wide-loads"


@pytest.mark.parametrize("opposite", [False, True])
@pytest.mark.parametrize("distance", [300, 767, 768, 9983])
def test_a_table_off_its_step_by_one_takes_another_kernel_and_keeps_its_bits(opposite, distance):
    base = LogArithmetic(LNS(4, 10), "sanyal2019-lut")
    arithmetic = LogArithmetic(LNS(4, 10), OffByOne(base.adder, opposite, distance))
    a, b = every_difference(arithmetic)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)
        assert native.plan_name(kernel_spec(arithmetic).native) != "wide-steps"
