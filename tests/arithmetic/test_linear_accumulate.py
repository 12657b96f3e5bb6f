"""LinearAccumulate: every integer equals the reference's, known facts hold, what cannot exist is refused."""

import json

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstick import SlipstickError, SpecificationError
from slipstick.arithmetic import LinearAccumulate
from slipstick.formats import MultiBaseLNS
from slipstick.kernels.reference import linear

PAPER = MultiBaseLNS(8, 8)
FORMATS = [
    MultiBaseLNS(bits, 1 << log) for bits in range(2, 11) for log in range(bits) if (1 << (bits - 1)) - 1 <= 127 << log
]
each_format = pytest.mark.parametrize("format", FORMATS, ids=str)


def tables(format: MultiBaseLNS) -> list[int]:
    """Every number of entries."""
    return [1 << log for log in range(format.base_factor.bit_length())]


@st.composite
def datapaths(draw: st.DrawFn) -> LinearAccumulate:
    format = draw(st.sampled_from(FORMATS))
    bits = draw(st.integers(8, 31))
    return LinearAccumulate(
        format,
        draw(st.sampled_from([None, *tables(format)])),
        draw(st.integers(1, 20)),
        bits,
        draw(st.integers(0, bits - 3)),
        draw(st.sampled_from(["saturate", "wrap"])),
    )


# --- every integer --------------------------------------------------------------------------------------------------


@each_format
def test_constants_equal_the_reference(format):
    for entries in tables(format):
        for constant_bits in (1, 2, 3, 8, 20):
            arithmetic = LinearAccumulate(format, entries, constant_bits)
            np.testing.assert_array_equal(arithmetic.constants, linear.constants(arithmetic), str(arithmetic))


WINDOWS = [(1, 8, 0), (20, 8, 5), (3, 16, 4), (20, 24, 8), (20, 31, 0), (7, 31, 28)]
"""constant_bits, bits, headroom."""


@each_format
def test_terms_equal_the_reference(format):
    for number, entries in enumerate(tables(format)):
        for window in (WINDOWS[number % 6], WINDOWS[(number + 3) % 6]):
            arithmetic = LinearAccumulate(format, entries, *window)
            np.testing.assert_array_equal(arithmetic.terms, linear.terms(arithmetic), str(arithmetic))


@given(datapaths())
def test_the_integers_of_any_datapath_equal_the_reference(arithmetic):
    np.testing.assert_array_equal(arithmetic.constants, linear.constants(arithmetic))
    np.testing.assert_array_equal(arithmetic.terms, linear.terms(arithmetic))
    assert arithmetic.constants.dtype == arithmetic.terms.dtype == np.int32
    assert arithmetic.terms.shape == (2 * arithmetic.largest_log + 1,)


# --- facts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [None, 8])
def test_a_full_table_holds_the_powers_correctly_rounded(entries):
    known = [1048576, 1143480, 1246974, 1359835, 1482910, 1617125, 1763488, 1923097]  # nearest to 2^20 2^(r / 8)
    np.testing.assert_array_equal(LinearAccumulate(PAPER, entries).constants, known)


@each_format
def test_a_full_table_is_the_nearest_integer_to_every_power(format):
    with mpmath.workdps(60):
        for m in (1, 5, 20):
            exact = [mpmath.power(2, m + mpmath.mpf(r) / format.base_factor) for r in range(format.base_factor)]
            nearest = [int(mpmath.nint(power)) for power in exact]
            np.testing.assert_array_equal(LinearAccumulate(format, None, m).constants, nearest)


@each_format
def test_one_entry_is_one_plus_the_fraction(format):
    """Mitchell; exact where the constants have a bit for each bit of the fraction."""
    gamma = format.base_factor
    constants = LinearAccumulate(format, 1, 20).constants
    np.testing.assert_array_equal(constants, (gamma + np.arange(gamma)) * (1 << 20) // gamma)
    assert not ((constants * gamma) % (1 << 20)).any()


def relative_errors(entries: int, gamma: int) -> np.ndarray:
    constants = LinearAccumulate(MultiBaseLNS(10, gamma), entries).constants
    return constants / 2.0 ** (20 + np.arange(gamma) / gamma) - 1


def test_the_error_of_one_entry_is_mitchells():
    """(1 + f) / 2^f - 1 is largest, 6.148 %, where f = 1 / ln 2 - 1."""
    errors = relative_errors(1, 512)
    assert errors.min() == errors[0] == 0
    assert errors.max() == pytest.approx(0.061476, abs=2e-6)
    assert errors.argmax() == round(512 * (1 / np.log(2) - 1))
    assert relative_errors(1, 8).max() == pytest.approx(1.5 / 2**0.5 - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("entries", "largest"),
    [(1, 1.5 / 2**0.5 - 1), (2, 1.375 / 2**0.375 - 1), (4, 1.125 / 2**0.125 - 1), (8, 0)],
    ids=str,
)
def test_a_hybrid_is_exact_at_its_entries_and_worst_before_the_next(entries, largest):
    errors = relative_errors(entries, 8)
    assert np.abs(errors[:: 8 // entries]).max() < 2.0**-20
    assert errors.max() == pytest.approx(largest, abs=2.0**-20)


@each_format
def test_a_product_of_the_largest_numbers_leaves_the_headroom(format):
    """Exactly, up to the rounding of the term itself, where every constant has its entry."""
    for bits, headroom in ((8, 0), (8, 5), (16, 3), (24, 8), (31, 0), (31, 28)):
        arithmetic = LinearAccumulate(format, bits=bits, headroom=headroom)
        half, end = 1 << (bits - 2 - headroom), 1 << (bits - 1 - headroom)
        assert half <= arithmetic.terms[-1] == arithmetic.terms.max() <= end
        exact = 2.0 ** (2 * arithmetic.largest_log / format.base_factor - arithmetic.lsb)
        assert abs(arithmetic.terms[-1] - exact) <= 0.5 + exact * 2.0**-21
        assert exact < end


def test_terms_of_hybrids_exceed_the_window_by_little():
    """Before the next entry the line 2^(i / E) (1 + j / gamma) lies above it, by less than a sixteenth."""
    for format in FORMATS:
        for entries in tables(format):
            terms = LinearAccumulate(format, entries, 20, 31, 0).terms.astype(np.int64)
            assert terms.max() < 1.0625 * (1 << 30)


def test_the_window_of_the_paper_is_known():
    arithmetic = LinearAccumulate(PAPER)
    assert (arithmetic.bits, arithmetic.headroom, arithmetic.largest_log) == (24, 8, 127)
    assert arithmetic.lsb == 31 - 14
    terms = arithmetic.terms
    assert terms[-1] == 27555  # 2^14 2^(6 / 8) = 27554.494, but of the constant 1763488 a tie
    assert terms[8 * 17] == 1
    assert terms[8 * 31] == 1 << 14
    assert terms[8 * 20 + 4] == 11  # 8 sqrt 2 = 11.3


@each_format
def test_products_below_half_the_last_bit_vanish(format):
    for bits, headroom in ((8, 0), (8, 5), (16, 6), (24, 8)):
        arithmetic = LinearAccumulate(format, bits=bits, headroom=headroom)
        octave = np.arange(2 * arithmetic.largest_log + 1) / format.base_factor - arithmetic.lsb
        assert not arithmetic.terms[octave < -1].any()
        assert arithmetic.terms[octave >= -1].all()


def test_ties_round_away_from_zero():
    """gamma = 2 and one entry: 1 and 1.5 times powers of two, of which 1/2, 1.5 and no other are ties."""
    arithmetic = LinearAccumulate(MultiBaseLNS(4, 2), 1, 20, 8, 3)
    assert arithmetic.lsb == 7 - 3
    #                                    p = 0 .. 14: 1/16, 1.5/16, 1/8, ..., 1/2, 3/4, 1, 1.5, 2, 3, 4, 6, 8
    np.testing.assert_array_equal(arithmetic.terms, [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 8])
    a, b = np.array([[4]]), np.array([[4, -4, 7, -7]])  # p = 6 and p = 9: a half and one and a half
    np.testing.assert_array_equal(linear.linear_matmul(a, b, arithmetic), [[1, -1, 2, -2]])


def test_constants_are_rounded_before_they_are_shifted():
    """m = 1: 2^(1/2) is 3/2, and 2^(3/4) is 3/2 too."""
    arithmetic = LinearAccumulate(MultiBaseLNS(3, 4), None, 1, 8, 0)
    np.testing.assert_array_equal(arithmetic.constants, [2, 2, 3, 3])
    np.testing.assert_array_equal(arithmetic.terms, [32, 32, 48, 48, 64, 64, 96])


def test_the_floor_of_a_hybrid_is_taken_of_its_product():
    """c = T + floor(T j / gamma), with m = 2, E = 2: T = 4 and, nearest to 4 sqrt 2 = 5.66, 6."""
    arithmetic = LinearAccumulate(PAPER, 2, 2)
    np.testing.assert_array_equal(arithmetic.constants, [4, 4, 5, 5, 6, 6, 7, 8])


def test_the_format_of_a_datapath_matters_by_its_bits_and_base_factor_only():
    plain = LinearAccumulate(PAPER)
    for format in (MultiBaseLNS(8, 8, "per_channel"), MultiBaseLNS(8, 8, zero=True, power_of_two=True)):
        other = LinearAccumulate(format)
        np.testing.assert_array_equal(other.terms, plain.terms)
        assert other.lsb == plain.lsb


# --- the reference's sums -------------------------------------------------------------------------------------------


def test_an_addition_stops_at_the_ends():
    arithmetic = LinearAccumulate(PAPER, None, 20, 8, 0)
    steps = np.array([100, 27, 1, -3, -127, -127, 5, 0, 127, 127])
    totals = [100, 127, 127, 124, -3, -128, -123, -123, 4, 127]
    for length, total in enumerate(totals, 1):
        assert linear.linear_sum(steps[:length], arithmetic) == total
    wrapping = LinearAccumulate(PAPER, None, 20, 8, 0, "wrap")
    for length in range(11):
        assert linear.linear_sum(steps[:length], wrapping) == (steps[:length].sum() + 128) % 256 - 128


def test_products_have_the_sign_of_both_operands_and_none_with_a_zero():
    arithmetic = LinearAccumulate(PAPER)
    a, b = np.array([128, -128, 128, -128, 0, 0, -5]), np.array([127, 127, -127, -127, 0, 128, 0])
    largest = int(arithmetic.terms[127 + 126])
    np.testing.assert_array_equal(
        linear.linear_products(a, b, arithmetic), [largest, -largest, -largest, largest, 0, 0, 0]
    )


def test_a_result_is_the_sum_times_its_unit():
    got = linear.linear_result(np.array([3, -(1 << 30) + 1, 0]), 0.1)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.array([0.30000000000000004, -107374182.3, 0], np.float32))


# --- validation, text and plain data --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "MultiBaseLNS(8,8)"}, r"LinearAccumulate\(format=MultiBaseLNS\(8,8\)\): must be a MultiBaseLNS"),
        ({"format": MultiBaseLNS(11, 16)}, r"LinearAccumulate\(format=MultiBaseLNS\(11,16\)\): .* at most 10 bits"),
        ({"entries": 0}, r"LinearAccumulate\(entries=0\): "),
        ({"entries": 3}, r"LinearAccumulate\(entries=3\): must be a power of two"),
        ({"entries": 16}, r"LinearAccumulate\(entries=16\): "),
        ({"entries": True}, r"LinearAccumulate\(entries=True\): "),
        ({"entries": 2.0}, r"LinearAccumulate\(entries=2.0\): "),
        ({"constant_bits": 0}, r"LinearAccumulate\(constant_bits=0\): "),
        ({"constant_bits": 21}, r"LinearAccumulate\(constant_bits=21\): "),
        ({"constant_bits": "8"}, r"LinearAccumulate\(constant_bits='8'\): "),
        ({"bits": 7}, r"LinearAccumulate\(bits=7\): "),
        ({"bits": 32}, r"LinearAccumulate\(bits=32\): "),
        ({"headroom": -1}, r"LinearAccumulate\(headroom=-1\): "),
        ({"headroom": 22}, r"LinearAccumulate\(headroom=22\): .*21"),
        ({"bits": 8, "headroom": 6}, r"LinearAccumulate\(headroom=6\): .*5"),
        ({"bits": 8}, r"LinearAccumulate\(headroom=8\): .*5"),
        ({"overflow": "clip"}, r"LinearAccumulate\(overflow='clip'\): "),
        ({"overflow": None}, r"LinearAccumulate\(overflow=None\): "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_impossible_datapath_is_refused_in_one_line(fields, message):
    with pytest.raises(SpecificationError, match=f"^{message}") as raised:
        LinearAccumulate(**({"format": PAPER} | fields))
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, SlipstickError)


@pytest.mark.parametrize("fields", [{"bits": 8, "headroom": 5}, {"bits": 31, "headroom": 28}, {"constant_bits": 1}])
def test_the_ends_of_the_fields_are_allowed(fields):
    assert LinearAccumulate(PAPER, **fields).terms.max() > 0


@given(datapaths())
def test_a_datapath_survives_plain_data(arithmetic):
    data = arithmetic.to_dict()
    assert data["kind"] == "linear"
    twin = LinearAccumulate.from_dict(json.loads(json.dumps(data)))
    assert twin == arithmetic
    assert hash(twin) == hash(arithmetic)
    without_kind = {key: value for key, value in data.items() if key != "kind"}
    assert LinearAccumulate.from_dict(without_kind) == arithmetic


def test_plain_data_may_leave_out_what_has_a_default():
    assert LinearAccumulate.from_dict({"format": PAPER.to_dict()}) == LinearAccumulate(PAPER)
    assert LinearAccumulate.from_dict({"format": PAPER, "bits": 16}) == LinearAccumulate(PAPER, bits=16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"width": 24},
            r"LinearAccumulate: unknown field 'width'; the fields are .*format, entries, constant_bits, bits",
        ),
        ({"format": None}, "LinearAccumulate"),
        ({"bits": 99}, r"LinearAccumulate\(bits=99\)"),
    ],
)
def test_plain_data_that_describes_nothing_is_refused(change, message):
    with pytest.raises(SpecificationError, match=f"^{message}"):
        LinearAccumulate.from_dict(LinearAccumulate(PAPER).to_dict() | change)


def test_plain_data_needs_a_format():
    with pytest.raises(SpecificationError, match=r"^LinearAccumulate: the field 'format' is missing$"):
        LinearAccumulate.from_dict({"kind": "linear", "bits": 24})


def test_from_dict_leaves_its_argument_alone():
    data = LinearAccumulate(PAPER).to_dict()
    before = json.dumps(data)
    LinearAccumulate.from_dict(data)
    assert json.dumps(data) == before


def test_a_datapath_prints_its_table_and_window():
    assert str(LinearAccumulate(PAPER)) == "MultiBaseLNS(8,8) linear (exact, m=20, 24 bits, headroom 8, saturate)"
    assert (
        str(LinearAccumulate(PAPER, 2, 8, 16, 3, "wrap"))
        == "MultiBaseLNS(8,8) linear (2 entries, m=8, 16 bits, headroom 3, wrap)"
    )
    assert str(LinearAccumulate(PAPER, 8)) == str(LinearAccumulate(PAPER))


def test_a_datapath_is_immutable():
    with pytest.raises(AttributeError):
        LinearAccumulate(PAPER).bits = 16
