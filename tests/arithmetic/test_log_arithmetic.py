"""LogArithmetic and its orders: validation, defaults, value semantics."""

import numpy as np
import pytest
from hypothesis import given

from slipstick import (
    LNS,
    Blocked,
    Exact,
    LogArithmetic,
    RoundedArithmetic,
    Sequential,
    SlipstickError,
    SpecificationError,
    Tree,
)
from slipstick.arithmetic import arithmetic_from_dict
from strategies import arithmetics, log_arithmetics, operand_formats, orders


@pytest.mark.parametrize("radix", [0, 1, 3, 12, -16, 8192, 16.0, "16", None])
def test_a_tree_radix_must_be_a_power_of_two(radix):
    with pytest.raises(SpecificationError, match=r"^Tree\(radix=.*\): must be a power of two from 2 to 4096$"):
        Tree(radix)


@pytest.mark.parametrize("length", [0, -1, 65537, 64.0, "64", None])
def test_a_block_must_have_a_length(length):
    with pytest.raises(SpecificationError, match=r"^Blocked\(length=.*\): must be an integer from 1 to 65536$"):
        Blocked(length)


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_block_length(value):
    with pytest.raises(SpecificationError):
        Blocked(value)


@given(orders)
def test_orders_describe_themselves(order):
    assert order.to_dict()["kind"] == order.kind == type(order).__name__.lower()
    assert str(order).startswith(type(order).__name__)


def test_the_defaults_are_exact_addition_in_a_tree_with_two_guard_bits():
    arithmetic = LogArithmetic(LNS(5, 5))
    assert arithmetic.adder == Exact()
    assert arithmetic.order == Tree(16)
    assert arithmetic.accumulator_format == LNS(7, 5)


@given(operand_formats)
def test_guard_and_operand_accumulators_keep_the_adder_and_the_policy(format):
    guard, operand = LogArithmetic(format), LogArithmetic(format, accumulator="operand")
    assert guard.accumulator_format == LNS(format.int_bits + 2, format.frac_bits, format.underflow)
    assert operand.accumulator_format == format
    for arithmetic in (guard, operand):
        for wide, narrow in zip(arithmetic.accumulator_tables, arithmetic.tables, strict=True):
            np.testing.assert_array_equal(wide, narrow)


def test_a_nested_accumulator_gives_its_format_and_adder():
    wide = LogArithmetic(LNS(8, 8), "hamad2025")
    arithmetic = LogArithmetic(LNS(5, 5), "exact", accumulator=wide)
    assert arithmetic.accumulator_format == LNS(8, 8)
    for mine, its in zip(arithmetic.accumulator_tables, wide.tables, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "LNS(5,5)"}, r"LogArithmetic\(format='LNS\(5,5\)'\): must be an LNS"),
        ({"add": "exakt"}, "add='exakt': no such adder"),
        ({"add": 3}, r"LogArithmetic\(add=3\): must be an adder"),
        ({"order": "tree"}, r"LogArithmetic\(order='tree'\): use Sequential"),
        ({"accumulator": "wide"}, r"LogArithmetic\(accumulator='wide'\): use 'guard', 'operand' or a LogArithmetic"),
        ({"accumulator": LNS(7, 5)}, "use 'guard', 'operand' or a LogArithmetic"),
        ({"accumulator": LogArithmetic(LNS(5, 4))}, r"LNS\(5,4\)\): has fewer fraction bits"),
        ({"format": LNS(5, 4), "add": "hamad2025"}, "no table for frac_bits=4"),
        ({"format": LNS(5, 0), "add": "sanyal2019-lut"}, "finer than the step"),
    ],
    ids=lambda value: None,
)
def test_an_impossible_arithmetic_is_refused_in_one_line(fields, message):
    with pytest.raises(SpecificationError, match=message) as raised:
        LogArithmetic(**({"format": LNS(5, 5)} | fields))
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, SlipstickError)


def test_a_rounded_arithmetic_needs_a_float32_format():
    with pytest.raises(SpecificationError, match=r"RoundedArithmetic\(format=LNS\(7,5\)\): needs int_bits <= 6"):
        RoundedArithmetic(LNS(7, 5))


@given(arithmetics)
def test_equal_arithmetics_hash_alike(arithmetic):
    twin = arithmetic_from_dict(arithmetic.to_dict())
    assert twin == arithmetic
    assert hash(twin) == hash(arithmetic)


@given(log_arithmetics(), log_arithmetics())
def test_arithmetics_are_equal_exactly_when_their_descriptions_agree(a, b):
    assert (a == b) == (a.to_dict() == b.to_dict())


@pytest.mark.parametrize("field", ["format", "add", "order", "accumulator"])
def test_arithmetics_are_immutable(field):
    arithmetic = LogArithmetic(LNS(5, 5))
    with pytest.raises(AttributeError):
        setattr(arithmetic, field, getattr(arithmetic, field))


def test_orders_and_adders_are_immutable():
    with pytest.raises(AttributeError):
        Tree(16).radix = 8
    with pytest.raises(AttributeError):
        Blocked(64).length = 8
    with pytest.raises(AttributeError):
        LogArithmetic(LNS(5, 5), "hamad2025").adder.frac_bits = 6


@given(log_arithmetics())
def test_an_arithmetic_prints_its_format_and_what_differs_from_the_default(arithmetic):
    text = str(arithmetic)
    assert text.startswith(str(arithmetic.format))
    assert (str(arithmetic.order) in text) == (arithmetic.order != Tree()) or arithmetic.order == Tree()
    assert ("accumulator" in text) == (arithmetic.accumulator != "guard")


def test_different_orders_are_different_arithmetics():
    arithmetics = [LogArithmetic(LNS(5, 5), order=o) for o in (Sequential(), Tree(), Tree(4), Blocked(), Blocked(16))]
    assert len(set(arithmetics)) == len(arithmetics)
