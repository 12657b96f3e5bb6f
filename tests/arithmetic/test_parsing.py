"""Arithmetics survive JSON, TOML and text; what cannot exist is refused in one line that names it."""

import json
import tomllib

import pytest
from hypothesis import given

from slipstick import (
    LNS,
    Blocked,
    Exact,
    FixedPoint,
    LogArithmetic,
    RoundedArithmetic,
    Sequential,
    SpecificationError,
    Table,
    Tree,
)
from slipstick.arithmetic import arithmetic_from_dict, parse_arithmetic
from slipstick.arithmetic.parsing import parse_format, parse_order
from strategies import arithmetics, log_arithmetics, operand_formats, orders


def toml(value):
    """An inline TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@given(arithmetics)
def test_arithmetics_survive_json(arithmetic):
    assert arithmetic_from_dict(json.loads(json.dumps(arithmetic.to_dict()))) == arithmetic


@given(arithmetics)
def test_arithmetics_survive_toml(arithmetic):
    document = "\n".join(f"{key} = {toml(value)}" for key, value in arithmetic.to_dict().items())
    assert arithmetic_from_dict(tomllib.loads(document)) == arithmetic


def test_linear_numbers_are_rounded_ones():
    given = parse_arithmetic("FixedPoint(4, 11) rounded")
    assert given == RoundedArithmetic(FixedPoint(4, 11))
    assert arithmetic_from_dict(json.loads(json.dumps(given.to_dict()))) == given
    assert str(given) == "FixedPoint(4,11) rounded float32"
    with pytest.raises(SpecificationError, match=r"linear numbers are rounded; write 'FixedPoint\(4,11\) rounded'"):
        parse_arithmetic("FixedPoint(4,11) exact")
    with pytest.raises(SpecificationError, match="must be an LNS or a FixedPoint"):
        RoundedArithmetic(3)


@given(arithmetics)
def test_from_dict_leaves_its_argument_alone(arithmetic):
    data = arithmetic.to_dict()
    before = json.dumps(data)
    arithmetic_from_dict(data)
    assert json.dumps(data) == before


@given(operand_formats)
def test_formats_survive_text(format):
    assert parse_format(str(format)) == format
    assert parse_format(f"  {format}  ") == format


@given(orders)
def test_orders_survive_text(order):
    assert parse_order(str(order)) == order
    assert parse_order(str(order).lower()) == order


@given(log_arithmetics(nested=False))
def test_arithmetics_with_named_adders_survive_text(arithmetic):
    name = arithmetic.add if isinstance(arithmetic.add, str) else "exact"
    arithmetic = LogArithmetic(arithmetic.format, name, arithmetic.order, arithmetic.accumulator)
    text = f"{arithmetic.format} {name} {arithmetic.order} {arithmetic.accumulator}"
    assert parse_arithmetic(text) == arithmetic
    assert parse_arithmetic(f"{arithmetic.format} {arithmetic.accumulator} {arithmetic.order} {name}") == arithmetic


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("LNS(5,5) hamad2025", LogArithmetic(LNS(5, 5), "hamad2025")),
        ("LNS(5,5)", LogArithmetic(LNS(5, 5))),
        ("LNS( 5 , 5 ) exact", LogArithmetic(LNS(5, 5), "exact")),
        ("LNS(5,5,flush) exact Blocked operand", LogArithmetic(LNS(5, 5, "flush"), "exact", Blocked(64), "operand")),
        ("LNS(5,5) exact Tree(4)", LogArithmetic(LNS(5, 5), "exact", Tree(4))),
        ("LNS(5,5) sequential", LogArithmetic(LNS(5, 5), order=Sequential())),
        ("LNS(4,3) rounded", RoundedArithmetic(LNS(4, 3))),
    ],
)
def test_text_means(text, meaning):
    assert parse_arithmetic(text) == meaning


def test_a_toml_table_may_use_text_for_its_parts():
    document = """
    format = "LNS(5,5)"
    add = {kind = "table", step = 0.5, d_max = 8.0}
    order = "Blocked(32)"
    accumulator = "LNS(7,8) hamad2025"
    """
    expected = LogArithmetic(LNS(5, 5), Table(0.5, 8.0), Blocked(32), LogArithmetic(LNS(7, 8), "hamad2025"))
    assert arithmetic_from_dict(tomllib.loads(document)) == expected


def test_adders_may_be_given_by_kind():
    assert arithmetic_from_dict({"format": "LNS(5,5)", "add": {"kind": "exact"}}).add == Exact()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^arithmetic '': write a format"),
        ("LNS", r"^format 'LNS': write LNS\(int_bits,frac_bits\)"),
        ("LNS(5)", r"^format 'LNS\(5\)'"),
        ("FP8(4,3)", r"^format 'FP8\(4,3\)'"),
        ("LNS(5,5,round)", r"underflow='round'"),
        ("LNS(5,99)", r"frac_bits=99"),
        ("LNS(5,5) exact hamad2025", r"'hamad2025' is neither an adder, an order nor an accumulator"),
        ("LNS(5,5) exakt", r"add='exakt'"),
        ("LNS(5,5) Tree(5)", r"Tree\(radix=5\)"),
        ("LNS(5,5) Blocked(0)", r"Blocked\(length=0\)"),
    ],
)
def test_text_that_means_nothing_is_refused(text, message):
    with pytest.raises(SpecificationError, match=message) as raised:
        parse_arithmetic(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"add": "exact"}, "'format' is missing"),
        ({"format": "LNS(5,5)", "kind": "linear"}, r"kind='linear': choose 'log' or 'rounded'"),
        ({"format": "LNS(5,5)", "adder": "exact"}, "unknown key 'adder'; known are accumulator, add, format, order"),
        ({"format": "LNS(5,5)", "kind": "rounded", "add": "exact"}, "unknown key 'add'"),
        ({"format": {"int_bits": 5}}, "format = .*frac_bits"),
        ({"format": {"int_bits": 5, "frac_bits": 5, "sign": 1}}, "format = .*sign"),
        ({"format": {"int_bits": 5, "frac_bits": "5"}}, r"frac_bits='5'"),
        ({"format": "LNS(5,5)", "add": {"kind": "lut"}}, "add kind='lut': choose one of"),
        ({"format": "LNS(5,5)", "add": {"kind": "table", "steps": 1}}, "add = .*steps"),
        ({"format": "LNS(5,5)", "add": {"kind": "piecewise-linear", "frac_bits": 5}}, "add = .*plus"),
        ({"format": "LNS(5,5)", "order": {"kind": "pairwise"}}, "order kind='pairwise'"),
        ({"format": "LNS(5,5)", "order": {"kind": "tree", "length": 5}}, "order = .*length"),
        ({"format": "LNS(5,5)", "order": "Pairwise"}, "order 'Pairwise'"),
        ({"format": "LNS(5,5)", "accumulator": "wide"}, "'wide'"),
    ],
    ids=lambda value: None,
)
def test_data_that_means_nothing_is_refused(data, message):
    with pytest.raises(SpecificationError, match=message) as raised:
        arithmetic_from_dict(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "data",
    [
        {"format": 5},
        {"format": [5, 5]},
        {"format": None},
        {"format": "LNS(5,5)", "add": 5},
        {"format": "LNS(5,5)", "order": 5},
        {"format": "LNS(5,5)", "accumulator": 5},
    ],
)
def test_data_of_the_wrong_type_is_refused(data):
    with pytest.raises(SpecificationError):
        arithmetic_from_dict(data)
