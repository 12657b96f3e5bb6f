"""Every adder is its two integer tables: checked against the formulas, entry by entry."""

import json
from importlib.resources import files

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstick import LNS, BitShift, Exact, LogArithmetic, PiecewiseLinear, Segments, SpecificationError, Table
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import NAMES, named_adder
from strategies import adders_for, formats, operand_formats, segments


def nearest_gaussian_logarithm(sign, d, frac_bits):
    """Nearest integer to 2^F log2(1 + sign 2^(-d/2^F)) with 80 digits."""
    with mpmath.workdps(80):
        ratio = mpmath.power(2, -mpmath.mpf(d) / (1 << frac_bits))
        real = (1 << frac_bits) * mpmath.log(1 + sign * ratio, 2)
        nearest = int(mpmath.nint(real))
        assert abs(abs(real - nearest) - mpmath.mpf("0.5")) > mpmath.mpf("1e-40"), "a tie has no nearest integer"
    return nearest


def entries(table, count):
    """The first ``count`` values of a table that stays at its last entry, 0."""
    padded = np.zeros(count, np.int64)
    padded[: len(table)] = table[:count]
    return padded


@pytest.mark.parametrize("frac_bits", range(7))
def test_exact_is_correctly_rounded_for_every_difference(frac_bits):
    plus, minus = Exact().tables(LNS(5, frac_bits))
    count = 16 << frac_bits
    assert list(entries(plus, count)) == [nearest_gaussian_logarithm(1, d, frac_bits) for d in range(count)]
    assert list(entries(minus, count)[1:]) == [nearest_gaussian_logarithm(-1, d, frac_bits) for d in range(1, count)]


@pytest.mark.parametrize("frac_bits", range(7, 17))
def test_exact_is_correctly_rounded_for_sampled_differences(frac_bits):
    plus, minus = Exact().tables(LNS(6, frac_bits))
    n = len(plus) - 1
    sampled = np.unique(np.r_[1:20, n - 20 : n + 20, np.geomspace(20, n, 60).astype(int)])
    for d in map(int, sampled):
        assert plus[min(d, n)] == nearest_gaussian_logarithm(1, d, frac_bits)
        assert minus[min(d, n)] == nearest_gaussian_logarithm(-1, d, frac_bits)


@given(st.data(), operand_formats)
def test_tables_end_at_the_first_difference_from_which_both_are_zero(data, format):
    adder = data.draw(adders_for(format))
    plus, minus = LogArithmetic(format, adder).tables
    assert plus.dtype == minus.dtype == np.int32
    assert len(plus) == len(minus) >= 1
    if len(plus) > 1:
        assert plus[-1] == minus[-1] == 0
        assert plus[-2] != 0 or minus[-2] != 0


@given(st.data(), operand_formats)
def test_tables_cannot_be_written(data, format):
    for table in LogArithmetic(format, data.draw(adders_for(format))).tables:
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 7


def test_sanyal_table_has_twenty_entries():
    plus, minus = named_adder("sanyal2019-lut", LNS(5, 10)).tables(LNS(5, 10))
    step = 1 << 9
    samples = [nearest_gaussian_logarithm(1, i * step, 10) for i in range(20)]
    assert sorted(set(plus.tolist()) - {0}) == sorted(set(samples))
    assert len(samples) == len(set(samples)) == 20
    assert set(minus.tolist()) - {0, CANCEL} == {nearest_gaussian_logarithm(-1, i * step, 10) for i in range(1, 20)}
    assert list(np.flatnonzero(minus == CANCEL)) == list(range(step // 2))


@pytest.mark.parametrize("frac_bits", range(1, 9))
@pytest.mark.parametrize(("step", "d_max"), [(0.5, 10.0), (1.0, 6.0), (0.25, 8.0), (2.0, 4.0)])
def test_table_index_is_the_nearest_sample(frac_bits, step, d_max):
    h = frac_bits + int(np.log2(step))
    if h < 0:
        with pytest.raises(SpecificationError, match="finer than the step"):
            Table(step, d_max).tables(LNS(5, frac_bits))
        return
    plus, minus = Table(step, d_max).tables(LNS(5, frac_bits))
    count = int(d_max * 2**frac_bits) + 40
    for d in range(count):
        index = int(np.floor((d + 2.0 ** (h - 1)) / 2**h))
        beyond = index * step >= d_max
        expected_plus = 0 if beyond else nearest_gaussian_logarithm(1, index << h, frac_bits)
        expected_minus = (
            0 if beyond else CANCEL if index == 0 else nearest_gaussian_logarithm(-1, index << h, frac_bits)
        )
        assert entries(plus, count)[d] == expected_plus
        assert entries(minus, count)[d] == expected_minus


@pytest.mark.parametrize("frac_bits", range(12))
def test_bitshift_is_a_shifted_one(frac_bits):
    plus, minus = BitShift().tables(LNS(5, frac_bits))
    count = (frac_bits + 4) << frac_bits
    expected = [int(2**frac_bits // 2 ** int((d + 2 ** (frac_bits - 1)) // 2**frac_bits)) for d in range(count)]
    assert list(entries(plus, count)) == expected
    assert list(entries(minus, count)[1:]) == [-v for v in expected[1:]]


def segment_value(function, d, slope_sign):
    """The rule of a piecewise-linear function for one d, in plain Python."""
    for bound, exponent, offset in zip(function.bound, function.exponent, function.offset, strict=True):
        if bound >= d:
            return offset + slope_sign * (d * 2**exponent if exponent >= 0 else d // 2**-exponent)
    return 0


@given(formats, segments(), segments())
def test_piecewise_linear_follows_its_segments(format, plus_segments, minus_segments):
    plus, minus = PiecewiseLinear(format.frac_bits, plus_segments, minus_segments).tables(format)
    count = 310
    assert list(entries(plus, count)) == [segment_value(plus_segments, d, -1) for d in range(count)]
    assert list(entries(minus, count)[1:]) == [segment_value(minus_segments, d, 1) for d in range(1, count)]


PUBLISHED = [(name, f) for name in ("hamad2025", "hamad2025-agnostic") for f in (5, 6, 7, 8)]


@pytest.mark.parametrize(("name", "frac_bits"), PUBLISHED)
def test_published_adders_are_the_integers_of_the_file(name, frac_bits):
    file = json.loads(files("slipstick.arithmetic").joinpath("hamad2025.json").read_text())
    data = file[f"{name}-F{frac_bits}"]
    adder = named_adder(name, LNS(5, frac_bits))
    plus, minus = adder.tables(LNS(5, frac_bits))
    assert len(data["plus"]["bound"]) == len(data["minus"]["bound"]) == 16
    assert data["plus"]["bound"][-1] == data["minus"]["bound"][-1] == data["upper"] << frac_bits
    count = (data["upper"] << frac_bits) + 10
    assert list(entries(plus, count)) == [segment_value(adder.plus, d, -1) for d in range(count)]
    assert list(entries(minus, count)[1:]) == [segment_value(adder.minus, d, 1) for d in range(1, count)]
    for key, function in (("plus", adder.plus), ("minus", adder.minus)):
        assert {k: list(v) for k, v in data[key].items()} == function.to_dict()


# Bit-true error on d = 1 .. 12 * 2^F in LSBs: RMS, bias, max of D+, then of D-, then D- at d = 1, 2, 3, 4.
PUBLISHED_ERRORS = {
    ("hamad2025-agnostic", 8): (0.633, -0.25, 2.9, 84.2, -1.40, 4663, (-4663, 100, 15, -27)),
    ("hamad2025", 8): (0.676, 0.23, 2.9, 3.21, -0.02, 98, (98, -30, -51, -29)),
    ("hamad2025", 7): (0.578, 0.34, 1.6, 1.17, -0.21, 22, (-1.8, -1.3, 22, 1.7)),
    ("hamad2025", 6): (0.409, 0.17, 1.3, 0.567, -0.06, 3.7, (-0.7, -0.2, -0.1, 2.8)),
    ("hamad2025", 5): (0.408, 0.20, 1.1, 0.426, -0.11, 1.9, (-0.6, -0.1, -0.3, 1.9)),
}


def errors(table, sign, frac_bits):
    d = np.arange(1, (12 << frac_bits) + 1)
    real = 2.0**frac_bits * np.log1p(sign * np.exp2(-d / 2.0**frac_bits)) / np.log(2)
    return entries(table, len(d) + 1)[1:] - real


@pytest.mark.parametrize(("name", "frac_bits"), PUBLISHED_ERRORS, ids=lambda v: str(v))
def test_published_adders_have_the_published_errors(name, frac_bits):
    plus, minus = named_adder(name, LNS(5, frac_bits)).tables(LNS(5, frac_bits))
    *moments, near = PUBLISHED_ERRORS[name, frac_bits]
    measured = []
    for error in (errors(plus, 1, frac_bits), errors(minus, -1, frac_bits)):
        measured += [np.sqrt(np.mean(error**2)), np.mean(error), np.abs(error).max()]
    digits = [3, 2, 1, 1 if moments[3] > 10 else 2 if moments[3] > 1 else 3, 2, 0 if moments[5] > 10 else 1]
    assert [round(float(m), n) for m, n in zip(measured, digits, strict=True)] == moments
    near_digits = [0 if abs(v) >= 10 else 1 for v in near]
    near_measured = errors(minus, -1, frac_bits)[:4]
    assert tuple(round(float(m), n) for m, n in zip(near_measured, near_digits, strict=True)) == near


@pytest.mark.parametrize(
    ("name", "frac_bits", "last_plus", "last_minus"),
    [
        ("hamad2025-agnostic", 8, 9.00, 8.16),
        ("hamad2025", 8, 10.0, 10.0),
        ("hamad2025", 7, 9.99, 9.99),
        ("hamad2025", 6, 7.98, 7.98),
        ("hamad2025", 5, 7.97, 7.97),
    ],
)
def test_published_adders_swamp_where_published(name, frac_bits, last_plus, last_minus):
    """The last difference, in octaves, at which a small operand still moves the larger one."""
    tables = named_adder(name, LNS(5, frac_bits)).tables(LNS(5, frac_bits))
    measured = [np.flatnonzero(table)[-1] / 2**frac_bits for table in tables]
    assert measured == pytest.approx([last_plus, last_minus], abs=0.005)


@pytest.mark.parametrize("name", ["hamad2025", "hamad2025-agnostic"])
@pytest.mark.parametrize("frac_bits", [0, 4, 9])
def test_a_name_without_a_table_for_the_format_says_which_exist(name, frac_bits):
    with pytest.raises(
        SpecificationError, match=rf"^add='{name}': no table for frac_bits={frac_bits}; .*\[5, 6, 7, 8\]"
    ):
        named_adder(name, LNS(5, frac_bits))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(SpecificationError, match=r"^add='hamad': no such adder; choose one of exact, designed, .*$"):
        LogArithmetic(LNS(5, 5), "hamad")
    assert set(NAMES) >= {"exact", "designed", "hamad2025", "hamad2025-agnostic"}


@pytest.mark.parametrize(
    ("name", "same"),
    [("exact", Exact()), ("sanyal2019-lut", Table(0.5, 10.0)), ("sanyal2019-bitshift", BitShift())],
)
def test_a_name_means_the_stated_adder(name, same):
    assert named_adder(name, LNS(5, 6)) == same
    assert LogArithmetic(LNS(5, 6), name).adder == same


def test_a_table_of_another_frac_bits_is_refused():
    adder = named_adder("hamad2025", LNS(5, 5))
    with pytest.raises(SpecificationError, match=r"designed for frac_bits=5, used with LNS\(5,6\); choose LNS\(5,5\)"):
        LogArithmetic(LNS(5, 6), adder)


@pytest.mark.parametrize("step", [0, -0.5, 0.3, 3.0])
def test_a_table_step_must_be_a_power_of_two(step):
    with pytest.raises(SpecificationError, match=r"^Table\(step=.*\): must be a positive power of two$"):
        Table(step, 12.0)


@pytest.mark.parametrize("d_max", [0, -1.0, 0.25, 10.3])
def test_a_table_must_end_at_a_multiple_of_its_step(d_max):
    with pytest.raises(SpecificationError, match=r"^Table\(d_max=.*\): must be a positive multiple of step=0.5$"):
        Table(0.5, d_max)


@pytest.mark.parametrize(
    ("bound", "exponent", "offset", "message"),
    [
        ((), (), (), "one equal length"),
        ((1, 2), (0,), (0, 0), "one equal length"),
        ((2, 1), (0, 0), (0, 0), "must ascend"),
        ((-1, 1), (0, 0), (0, 0), "must ascend"),
        ((1,), (25,), (0,), "exponents must lie in -31 to 24"),
        ((1,), (-32,), (0,), "exponents must lie in -31 to 24"),
    ],
)
def test_impossible_segments_are_refused(bound, exponent, offset, message):
    with pytest.raises(SpecificationError, match=message):
        Segments(bound, exponent, offset)
