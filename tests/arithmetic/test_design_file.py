"""Design files: what was designed comes back, and whatever was changed by hand is refused where it first differs."""

import copy
import json

import pytest

from slipstick import LNS, LogArithmetic, SpecificationError
from slipstick.arithmetic import (
    BitShift,
    Exact,
    IndexedTable,
    IndexForm,
    PiecewiseLinear,
    Segments,
    Table,
    load_adder,
    parse_arithmetic,
)
from slipstick.design import DesignRequest, design_adder, design_record

PLUS = [8, 8, 7, 4, 3, 3, 3, 0]
MINUS = [0, -16, -5, -5, -4, -4, -3, 0]
ADDER = PiecewiseLinear(3, Segments((2, 6), (-1, -2), (8, 4)), Segments((1, 6), (2, -1), (-20, -6)))
"""Few enough values to follow by hand: D+ = 8 - (d >> 1) up to 2, 4 - (d >> 2) up to 6; D- likewise. F = 3."""


def record():
    return {"frac_bits": 3, "adder": ADDER.to_dict(), "tables": {"plus": list(PLUS), "minus": list(MINUS)}}


def written(folder, data):
    path = folder / "x.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def edited(path, value):
    """A record with the entry at ``path`` replaced."""
    data = record()
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


def refusal(folder, data):
    path = written(folder, data)
    with pytest.raises(SpecificationError) as caught:
        load_adder(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_file_gives_its_adder(tmp_path):
    assert load_adder(written(tmp_path, record())) == ADDER
    assert load_adder(str(written(tmp_path, record()))) == ADDER


REQUESTS = [
    DesignRequest(3, segments=5, exact_through=1),
    DesignRequest(3, segments=5, exact_through=1, weights="mixed", swamping=0.03, bound_bits=4),
    DesignRequest(4, form="indexed-table", index_bits=6),
    DesignRequest(4, form="table"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=["segments", "conditions", "indexed-table", "table"])
def test_a_design_comes_back_from_its_file(tmp_path, request_):
    adder = design_adder(request_)
    path = written(tmp_path, design_record(request_, adder))
    assert load_adder(path) == adder
    arithmetic = LogArithmetic(LNS(5, request_.frac_bits), add=str(path))
    for table, expected in zip(arithmetic.tables, adder.tables(arithmetic.format), strict=True):
        assert table.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "adder",
    [
        Exact(),
        BitShift(),
        Table(0.5, 4.0),
        IndexedTable(3, IndexForm(1, 1, 3), (8, 5, 2, 0), (0, -9, -3, 0)),
    ],
    ids=str,
)
def test_every_kind_of_adder_comes_back(tmp_path, adder):
    tables = {name: t.tolist() for name, t in zip(("plus", "minus"), adder.tables(LNS(5, 3)), strict=True)}
    assert load_adder(written(tmp_path, {"frac_bits": 3, "adder": adder.to_dict(), "tables": tables})) == adder


def test_an_arithmetic_takes_the_path_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, record())
    expected = LogArithmetic(LNS(5, 3), add=ADDER)
    assert LogArithmetic(LNS(5, 3), add="x.json") == expected
    assert parse_arithmetic("LNS(5,3) x.json") == expected
    assert parse_arithmetic("LNS(5,3) x.json Blocked(64) operand").add == ADDER


def test_an_arithmetic_stays_as_it_is_when_the_file_goes(tmp_path):
    path = written(tmp_path, record())
    arithmetic = LogArithmetic(LNS(5, 3), add=str(path))
    path.unlink()
    assert arithmetic.tables[0].tolist() == PLUS
    assert arithmetic.to_dict()["add"] == ADDER.to_dict()


def test_another_width_than_the_designs_is_refused(tmp_path):
    path = written(tmp_path, record())
    with pytest.raises(SpecificationError, match=r"designed for frac_bits=3, used with LNS\(5,4\)"):
        LogArithmetic(LNS(5, 4), add=str(path))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        # bounds
        (("adder", "plus", "bound", 0), 3, "D+(3) is 4 in 'tables', and 7 by 'adder'"),
        (("adder", "plus", "bound", 1), 9, "D+(7) is 0 in 'tables', and 3 by 'adder'"),
        (("adder", "plus", "bound", 1), 4, "D+(5) is 3 in 'tables', and 0 by 'adder'"),
        (("adder", "minus", "bound", 0), 2, "D-(2) is -5 in 'tables', and -12 by 'adder'"),
        # intercepts and slopes
        (("adder", "plus", "offset", 0), 9, "D+(0) is 8 in 'tables', and 9 by 'adder'"),
        (("adder", "plus", "offset", 1), 5, "D+(3) is 4 in 'tables', and 5 by 'adder'"),
        (("adder", "minus", "offset", 0), -21, "D-(1) is -16 in 'tables', and -17 by 'adder'"),
        (("adder", "minus", "exponent", 1), 0, "D-(2) is -5 in 'tables', and -4 by 'adder'"),
        (("adder", "plus", "exponent", 1), -1, "D+(3) is 4 in 'tables', and 3 by 'adder'"),
        # entries
        (("tables", "plus", 5), 4, "D+(5) is 4 in 'tables', and 3 by 'adder'"),
        (("tables", "plus", 0), 7, "D+(0) is 7 in 'tables', and 8 by 'adder'"),
        (("tables", "minus", 6), -2, "D-(6) is -2 in 'tables', and -3 by 'adder'"),
        (("tables", "plus"), PLUS[:6], "D+(6) is 0 in 'tables', and 3 by 'adder'"),
        (("tables", "plus"), [*PLUS, 0, 1], "D+(9) is 1 in 'tables', and 0 by 'adder'"),
        (("tables", "minus"), [], "D-(1) is 0 in 'tables', and -16 by 'adder'"),
        # the format
        (("frac_bits",), 4, "designed for frac_bits=3, used with LNS(5,4)"),
        (("adder", "frac_bits"), 4, "designed for frac_bits=4, used with LNS(5,3)"),
        (("frac_bits",), 40, "frac_bits=40"),
        (("frac_bits",), "3", "frac_bits"),
    ],
)
def test_an_edit_by_hand_is_refused_where_it_first_differs(tmp_path, path, value, message):
    assert message in refusal(tmp_path, edited(path, value))


def test_an_edited_format_is_refused_where_the_adder_has_none(tmp_path):
    plus, minus = (table.tolist() for table in Exact().tables(LNS(5, 3)))
    data = {"frac_bits": 4, "adder": {"kind": "exact"}, "tables": {"plus": plus, "minus": minus}}
    assert "D+(0) is 8 in 'tables', and 16 by 'adder'" in refusal(tmp_path, data)


def test_what_does_not_change_a_value_is_no_disagreement(tmp_path):
    for path, value in (
        (("tables", "minus", 0), -(1 << 30)),  # D-(0) is not used
        (("tables", "plus"), [*PLUS, 0, 0]),
        (("tables", "plus"), PLUS[:7]),
        (("adder", "plus", "exponent", 0), -1),
    ):
        assert load_adder(written(tmp_path, edited(path, value))) == ADDER


@pytest.mark.parametrize("entry", [3.0, 3.5, "3", True, None, [3], 10**30])
def test_entries_are_integers(tmp_path, entry):
    assert "'tables' must hold the lists of integers" in refusal(tmp_path, edited(("tables", "plus", 4), entry))


def test_a_missing_file_says_how_to_make_one(tmp_path):
    path = tmp_path / "none.json"
    for ask in (load_adder, lambda p: LogArithmetic(LNS(5, 3), add=str(p))):
        with pytest.raises(SpecificationError, match=r"no such design file; make one with: slipstick design --out"):
            ask(path)


@pytest.mark.parametrize("text", ["", "{", "not JSON", "\udcff", '{"frac_bits": 3,'])
def test_what_is_not_json_is_no_design_file(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecificationError, match="is no design file"):
        load_adder(path)


def test_a_folder_is_no_design_file(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(SpecificationError, match="is no design file"):
        load_adder(tmp_path / "x.json")


@pytest.mark.parametrize("key", ["frac_bits", "adder", "tables"])
def test_a_missing_key_is_named(tmp_path, key):
    data = record()
    del data[key]
    assert refusal(tmp_path, data) == f"is no design file: the key {key!r} is missing"


@pytest.mark.parametrize("data", [[], 7, "text", None])
def test_json_of_another_shape_is_no_design_file(tmp_path, data):
    assert "is no design file" in refusal(tmp_path, json.dumps(data))


def test_an_unknown_adder_is_named(tmp_path):
    assert "add kind='spline': choose one of exact, " in refusal(tmp_path, edited(("adder", "kind"), "spline"))


def places(data, path=()):
    """The path of every entry, at every depth."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


JUNK = (None, True, "x", "", -1, 10**30, 1.5, float("nan"), [], {}, [1, 2], [[1]], {"kind": "exact"})


def test_junk_anywhere_is_refused_or_makes_no_difference(tmp_path):
    for path in list(places(record())):
        for junk in JUNK:
            data = edited(path, copy.deepcopy(junk))
            file = written(tmp_path, data)
            message, adder = "", None
            try:
                adder = load_adder(file)
            except SpecificationError as error:
                message = str(error)
            if adder is None:
                assert message.startswith(f"{file}: ")
                assert "\n" not in message
            else:
                plus, minus = adder.tables(LNS(5, 3))
                assert (plus.tolist(), minus[1:].tolist()) == (PLUS, MINUS[1:]), (path, junk)
