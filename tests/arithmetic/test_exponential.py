"""exp by a table design: its value for every code, its validation, and its way through text and data."""

import json
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid import every_code
from slipstick import LNS, LogArithmetic, Segments, SpecificationError
from slipstick.arithmetic import ExpSegments, arithmetic_from_dict, parse_arithmetic
from slipstick.arithmetic.exponential import OUT_OF_RANGE, load_exponential, named_exponential
from slipstick.arithmetic.functions import function_names, function_table, table_in
from slipstick.kernels import reference
from slipstick.train.naming import tables_hash

# By hand at F = 3: 2^(4 - 3) = 2 LSBs of log a LSB of L at the top, then 1, 1/2, 1/8.
BY_HAND = ExpSegments(3, 32, Segments((7, 15, 30, 50), (4, 3, 1, -3), (-240, -200, -70, -7)))
FORMATS = [LNS(3, 3), LNS(5, 3), LNS(5, 5), LNS(6, 5), LNS(1, 4), LNS(6, 8)]
FORMATS += [LNS(f.int_bits, f.frac_bits, "flush") for f in FORMATS]


def arithmetics():
    return [LogArithmetic(f, exp="designed") for f in FORMATS] + [
        LogArithmetic(LNS(i, 3, u), exp=BY_HAND) for i in (2, 3, 5) for u in ("saturate", "flush")
    ]


@pytest.mark.parametrize("arithmetic", arithmetics(), ids=str)
def test_every_code_gets_the_value_of_the_reference(arithmetic):
    a = reference.from_codes(every_code(arithmetic.format), arithmetic.format)
    entries = table_in(arithmetic, "exp")[2 * a.log + a.sign + 2 * (arithmetic.format.max_log + 1)].astype(np.int64)
    expected = reference.exp(a, arithmetic)
    np.testing.assert_array_equal(entries >> 1, expected.log)
    np.testing.assert_array_equal(entries & 1, expected.sign)


@pytest.mark.parametrize("arithmetic", arithmetics(), ids=str)
def test_the_exponential_of_minus_x_is_the_reciprocal(arithmetic):
    a = reference.from_codes(every_code(arithmetic.format), arithmetic.format)
    up, down = reference.exp(a, arithmetic), reference.exp(reference.negate(a), arithmetic)
    inside = (np.abs(up.log) < a.format.max_log) & (np.abs(down.log) < a.format.max_log)
    np.testing.assert_array_equal(up.log[inside], -down.log[inside])
    assert inside.sum() > len(a.log) // 8


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_ends_of_the_table(format):
    exp = LogArithmetic(format, exp="designed").exponential
    logs = dict(zip(range(format.zero_log, format.max_log + 1), exp.logs(format).tolist(), strict=True))
    assert logs.pop(format.zero_log) == 0
    last = exp.origin - exp.segments.bound[-1]
    for log, value in logs.items():
        assert (value == OUT_OF_RANGE) == (log > exp.origin)
        assert log >= last or value == 0


def test_the_rule_by_hand():
    logs = BY_HAND.logs(LNS(5, 3))
    at = {log: int(logs[log + 256]) for log in range(-256, 256)}
    assert at[33] == OUT_OF_RANGE
    assert at[32] == -240  # d = 0
    assert at[25] == -240 + 7 * 16
    assert at[24] == -200 + 8 * 8
    assert at[16] == -70 + 16 * 2
    assert (at[1], at[0], at[-7]) == (-7 + (31 >> 3), -7 + (32 >> 3), -7 + (39 >> 3))
    assert at[-18] == -7 + (50 >> 3)
    assert at[-19] == 0


@pytest.mark.parametrize(("underflow", "smallest"), [("saturate", 2.0 ** -(255 / 8)), ("flush", 0.0)])
def test_beyond_the_table_the_underflow_policy_decides(underflow, smallest):
    format = LNS(5, 3, underflow)
    x = reference.encode(np.array([-(2.0**5), 2.0**5, 0.0, -(2.0**-20)]), format)
    result = reference.exp(x, LogArithmetic(format, exp=BY_HAND)).numbers()
    np.testing.assert_array_equal(result, np.array([smallest, format.largest, 1, 1], np.float32))


@pytest.mark.parametrize("name", [n for n in function_names() if n != "exp"])
def test_other_functions_stay_correctly_rounded(name):
    arithmetic = LogArithmetic(LNS(3, 3), exp="designed")
    np.testing.assert_array_equal(table_in(arithmetic, name), function_table(name, arithmetic.format))


def test_by_default_exp_is_correctly_rounded():
    arithmetic = LogArithmetic(LNS(5, 5))
    assert arithmetic.exponential is None
    for name, parameter in (("exp", 0.0), ("pow", 3.0)):
        assert table_in(arithmetic, name, parameter) is function_table(name, arithmetic.format, parameter)


def test_the_default_leaves_no_trace():
    """Checkpoints and folders of runs made before exp could be chosen must still be theirs."""
    arithmetic = LogArithmetic(LNS(5, 5), "hamad2025", exp="exact")
    assert arithmetic == LogArithmetic(LNS(5, 5), "hamad2025")
    assert set(arithmetic.to_dict()) == {"kind", "format", "add", "order", "accumulator"}
    assert str(arithmetic) == "LNS(5,5) hamad2025"
    assert tables_hash(arithmetic) == "8dcd4768b3e23b6974e050dffd5f3dcabc094a746b21bf0c47424cdb9dd3e471"


def test_tables_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        table_in(LogArithmetic(LNS(3, 3), exp=BY_HAND), "exp")[0] = 1


@pytest.mark.parametrize("exp", ["designed", BY_HAND])
def test_an_exponential_survives_json_toml_and_text(exp):
    arithmetic = LogArithmetic(LNS(5, 3), "exact", exp=exp)
    data = arithmetic.to_dict()
    assert arithmetic_from_dict(json.loads(json.dumps(data))) == arithmetic
    document = f'format = "LNS(5,3)"\nexp = {json.dumps(data["exp"]).replace(":", " =")}'
    if not isinstance(exp, str):
        document = document.replace('"kind"', "kind")
        for key in ("frac_bits", "origin", "bound", "exponent", "offset"):
            document = document.replace(f'"{key}"', key)
    assert arithmetic_from_dict(tomllib.loads(document)) == arithmetic
    assert hash(arithmetic_from_dict(data)) == hash(arithmetic)


def test_the_text_form():
    arithmetic = LogArithmetic(LNS(5, 5), "hamad2025", accumulator="operand", exp="designed")
    assert parse_arithmetic("LNS(5,5) hamad2025 exp=designed operand") == arithmetic
    assert str(arithmetic) == "LNS(5,5) hamad2025, accumulator operand, exp=designed"
    with pytest.raises(SpecificationError, match=r"^exp='tayler': no such exponential"):
        parse_arithmetic("LNS(5,5) exp=tayler")
    assert parse_arithmetic("LNS(5,5) exp=exact") == LogArithmetic(LNS(5, 5))
    assert str(LogArithmetic(LNS(5, 3), exp=BY_HAND)) == "LNS(5,3) exact, exp(4 segments, F=3)"


def test_the_hash_of_a_runs_tables_tells_exponentials_apart():
    hashes = {tables_hash(LogArithmetic(LNS(5, 3), exp=exp)) for exp in ("exact", "designed", BY_HAND)}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frac_bits": 17}, r"ExpSegments\(frac_bits=17\): must be an integer from 0 to 16"),
        ({"frac_bits": True}, r"ExpSegments\(frac_bits=True\)"),
        ({"origin": 2.5}, r"ExpSegments\(origin=2.5\): must be an integer below 2\^26"),
        ({"origin": 1 << 26}, r"origin=67108864"),
        ({"segments": "flat"}, r"ExpSegments\(segments='flat'\): must be a Segments"),
        ({"segments": Segments((5,), (0,), (-4,))}, r"at L=27 is 1; it must lie in -67108864 to 0"),
        ({"segments": Segments((5, 9), (0, 0), (-9, -(1 << 27)))}, r"at L=26 is -134217722; it must lie in"),
    ],
    ids=lambda value: None,
)
def test_an_impossible_table_is_refused_in_one_line(fields, message):
    given = {"frac_bits": 3, "origin": 32, "segments": BY_HAND.segments} | fields
    with pytest.raises(SpecificationError, match=message) as raised:
        ExpSegments(**given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("exp", "message"),
    [
        ("exakt", r"^exp='exakt': no such exponential; choose one of exact, designed, or a file"),
        (5, r"^LogArithmetic\(exp=5\): use 'exact', 'designed' or an ExpSegments$"),
        (None, r"^LogArithmetic\(exp=None\)"),
        (BY_HAND, r"^exp\(4 segments, F=3\): designed for frac_bits=3, used with LNS\(5,5\); choose LNS\(5,3\)"),
    ],
)
def test_an_exponential_that_does_not_fit_is_refused(exp, message):
    with pytest.raises(SpecificationError, match=message):
        LogArithmetic(LNS(5, 5), exp=exp)


def test_widths_without_a_design_name_those_with_one():
    with pytest.raises(SpecificationError, match=r"no table for frac_bits=2; it exists for \[3, 4, 5, 6, 7, 8\]"):
        LogArithmetic(LNS(5, 2), exp="designed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": 1}, "exp: unknown key 'slope'; known are kind, frac_bits, origin, bound, exponent, offset"),
        ({"origin": None}, "exp: the key 'origin' is missing"),
        ({"kind": "cubic"}, "exp kind='cubic': must be 'piecewise-linear'"),
        ({"offset": 5}, "exp offset=5: must be a list of integers"),
        ({"offset": [-240, "x", -70, -7]}, "exp offset=.*'x'.*: must be a list of integers"),
        ({"offset": [-240, -200, -70]}, "Segments: bound, exponent and offset need one equal length"),
        ({"frac_bits": "3"}, r"frac_bits='3'"),
    ],
    ids=lambda value: None,
)
def test_data_of_another_shape_is_refused_in_one_line(change, message):
    data = {key: value for key, value in (BY_HAND.to_dict() | change).items() if value is not None}
    with pytest.raises(SpecificationError, match=message) as raised:
        arithmetic_from_dict({"format": "LNS(5,3)", "exp": data})
    assert "\n" not in str(raised.value)


@given(st.integers(-40, 60), st.lists(st.tuples(st.integers(1, 30), st.integers(-6, 4), st.integers(-900, 0))))
def test_any_table_that_is_accepted_equals_the_reference(origin, pieces):
    if not pieces:
        return
    lengths, exponent, offset = zip(*pieces, strict=True)
    segments = Segments(tuple(np.cumsum(lengths).tolist()), exponent, offset)
    try:
        table = ExpSegments(3, origin, segments)
    except SpecificationError:
        return
    arithmetic = LogArithmetic(LNS(3, 3, "flush"), exp=table)
    a = reference.from_codes(every_code(arithmetic.format), arithmetic.format)
    entries = table_in(arithmetic, "exp")[2 * a.log + a.sign + 2 * (arithmetic.format.max_log + 1)].astype(np.int64)
    np.testing.assert_array_equal(entries >> 1, reference.exp(a, arithmetic).log)


def test_a_file_gives_the_table_it_holds(tmp_path):
    table = named_exponential("designed", LNS(5, 4))
    path = tmp_path / "exp.json"
    path.write_text(json.dumps({"exp": table.to_dict(), "command": "any"}))
    assert load_exponential(path) == table
    assert LogArithmetic(LNS(5, 4), exp=str(path)).exponential == table
    assert parse_arithmetic(f"LNS(5,4) exact exp={path}").exponential == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("[", "is no design of an exponential"),
        ('{"adder": {}}', "the key 'exp' is missing"),
        ('{"exp": {"frac_bits": 4, "origin": 9}}', "the key 'bound' is missing"),
    ],
)
def test_files_that_hold_no_table_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "exp.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecificationError, match=message) as error:
        load_exponential(path)
    assert str(path) in str(error.value)
