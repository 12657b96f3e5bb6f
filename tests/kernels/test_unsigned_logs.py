"""Sums in unsigned 16-bit logs equal the reference: adders made of lines, by comparing or by looking up, and tables of
16-bit entries; and these tables where logs take 32 bits.

The kernels prove when they are made that they reproduce both tables; these tests look at every difference, at the ends
of the range, and at tables that are off a line by one unit.
"""

import numpy as np
import pytest
from arithmetics import wide
from differences import OffByOne, every_difference, plan_of
from operands import MODES, assert_bits, everywhere, operand, seed, tensor

from slipstick import LNS, Blocked, LogArithmetic, Sequential, Tree
from slipstick.kernels import native, products, reference
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

FINER = wide(LNS(7, 8), "designed")
LINES = [
    LogArithmetic(LNS(5, 6), "hamad2025"),
    LogArithmetic(LNS(5, 7), "designed"),
    LogArithmetic(LNS(5, 7), "hamad2025"),
    LogArithmetic(LNS(4, 7, "flush"), "designed"),
    LogArithmetic(LNS(5, 8), "designed"),
    LogArithmetic(LNS(5, 8), "hamad2025"),
    LogArithmetic(LNS(5, 7), "hamad2025-agnostic"),
    LogArithmetic(LNS(5, 4), "designed", accumulator=FINER),
    LogArithmetic(LNS(5, 5), "designed", accumulator=FINER),
]
LOADS = [
    LogArithmetic(LNS(5, 7), "exact"),
    LogArithmetic(LNS(5, 8), "exact"),
    LogArithmetic(LNS(4, 7, "flush"), "exact"),
    LogArithmetic(LNS(5, 5), "exact", accumulator=wide(LNS(7, 8))),
]
WIDE_LOADS = [
    LogArithmetic(LNS(4, 10), "exact"),
    LogArithmetic(LNS(4, 10, "flush"), "exact"),
    LogArithmetic(LNS(6, 9), "exact"),
    LogArithmetic(LNS(6, 8), "exact", accumulator=wide(LNS(9, 10))),
]
each_unsigned = pytest.mark.parametrize("arithmetic", [*LINES, *LOADS, *WIDE_LOADS], ids=str)


def ordered(arithmetic: LogArithmetic, order: Tree | Blocked | Sequential) -> LogArithmetic:
    return LogArithmetic(arithmetic.format, arithmetic.add, order, arithmetic.accumulator)


@each_unsigned
def test_every_difference_of_two_terms(arithmetic):
    a, b = every_difference(arithmetic)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@each_unsigned
@pytest.mark.parametrize("order", [Tree(16), Blocked(64), Sequential(), Tree(2), Blocked(7)], ids=str)
def test_sums_of_every_temper(arithmetic, order):
    """Lengths that end in the middle of trees, runs and settlements."""
    arithmetic = ordered(arithmetic, order)
    for mode in MODES:
        for rows, terms, columns in ((3, 1, 33), (2, 16, 5), (5, 37, 65), (1, 600, 3)):
            rng = seed(str(arithmetic), mode, terms)
            a = operand(arithmetic.format, (rows, terms), mode, rng)
            b = operand(arithmetic.format, (columns, terms), mode, rng).transpose(1, 0)
            if mode == "cancelling":
                b = LogArray(b.format, np.zeros_like(b.sign), b.log)
            expected = reference.matmul(a, b, arithmetic)
            for where in everywhere():
                assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)


@pytest.mark.skipif("avx2" not in native.available_isas(), reason="needs AVX2")
def test_these_adders_take_these_kernels():
    for arithmetic in LINES:
        assert plan_of(arithmetic, "avx2").startswith("lines"), arithmetic
        assert plan_of(ordered(arithmetic, Blocked(64)), "avx2").startswith("lines"), arithmetic
    for arithmetic in LOADS:
        assert plan_of(arithmetic, "avx2") == "loads", arithmetic
    for arithmetic in WIDE_LOADS:
        assert plan_of(arithmetic, "avx2") == "wide-loads", arithmetic


@pytest.mark.skipif("avx512" not in native.available_isas(), reason="needs AVX-512")
def test_these_adders_take_these_kernels_on_avx512():
    for arithmetic in LINES:
        assert plan_of(arithmetic, "avx512").startswith(("cells", "bytes-256")), arithmetic
    for arithmetic in LOADS:
        assert plan_of(arithmetic, "avx512").startswith(("loads", "bytes-256")), arithmetic
    for arithmetic in WIDE_LOADS:
        assert plan_of(arithmetic, "avx512") == "wide-loads", arithmetic


@pytest.mark.parametrize("format", [LNS(5, 7), LNS(5, 8)], ids=str)
@pytest.mark.parametrize("opposite", [False, True])
def test_a_table_off_its_line_by_one_takes_another_kernel_and_keeps_its_bits(format, opposite):
    base = LogArithmetic(format, "designed")
    n = len(base.tables[0]) - 1
    for distance in (1 if opposite else 0, 2, 17, 72, 130, 256, 511, 650, n - 1):
        for by in (1, -1):
            arithmetic = LogArithmetic(format, OffByOne(base.adder, opposite, distance, by))
            a, b = every_difference(arithmetic)
            expected = reference.matmul(a, b, arithmetic)
            assert (expected.log != reference.matmul(a, b, base).log).any()
            for where in everywhere():
                assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)
            if 17 <= distance <= 650:  # nearer to 0 a piece of D- may be a single distance
                assert not plan_of(arithmetic, native.current_isa()).startswith("lines"), (distance, by)


@pytest.mark.parametrize("by", [-70000, -20000])
def test_an_entry_that_does_not_fit_16_bits_takes_the_general_kernel(by):
    """Not as it is, or not twice it, which is what sums in 32 bits add."""
    base = LogArithmetic(LNS(5, 7), "designed")
    arithmetic = LogArithmetic(LNS(5, 7), OffByOne(base.adder, True, 3, by))
    a, b = every_difference(arithmetic)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)
        assert native.plan_name(kernel_spec(arithmetic).native) in ("checked", "unchecked")


@pytest.mark.parametrize("opposite", [False, True])
@pytest.mark.parametrize("lowest", [1 - (1 << 14), -(1 << 14)])
def test_the_lowest_entry_that_twice_fits_16_bits_and_the_one_below_it(lowest, opposite):
    base = LogArithmetic(LNS(4, 10), "exact")
    by = lowest - int(base.tables[opposite][5])
    arithmetic = LogArithmetic(LNS(4, 10), OffByOne(base.adder, opposite, 5, by))
    a, b = every_difference(arithmetic)
    expected = reference.matmul(a, b, arithmetic)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), kernel_spec(arithmetic)), expected, where)
        if native.current_isa() != "portable":
            assert (native.plan_name(kernel_spec(arithmetic).native) == "wide-loads") == (lowest > -(1 << 14))
