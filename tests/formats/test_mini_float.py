"""MiniFloat: bit for bit the types of ml_dtypes where it has them, and the exact definition everywhere."""

from itertools import pairwise
from math import inf

import ml_dtypes
import numpy as np
import pytest
import slow_quantisers as slow
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipstick import E3M0, E4M3, E5M2, MiniFloat, SpecificationError

E5M2_INF = MiniFloat(5, 2, specials="ieee", overflow="inf")
TWINS = [
    (E4M3, ml_dtypes.float8_e4m3fn),
    (E5M2, ml_dtypes.float8_e5m2),
    (E5M2_INF, ml_dtypes.float8_e5m2),
    (MiniFloat(4, 3), ml_dtypes.float8_e4m3),
    (MiniFloat(4, 3, overflow="inf"), ml_dtypes.float8_e4m3),
    (MiniFloat(3, 4, overflow="inf"), ml_dtypes.float8_e3m4),
    (MiniFloat(2, 3, specials="none"), ml_dtypes.float6_e2m3fn),
    (MiniFloat(3, 2, specials="none"), ml_dtypes.float6_e3m2fn),
    (MiniFloat(2, 1, specials="none"), ml_dtypes.float4_e2m1fn),
    (MiniFloat(5, 10, overflow="inf"), np.float16),
    (MiniFloat(5, 10), np.float16),
]
FORMATS = [twin[0] for twin in TWINS] + [
    E3M0, MiniFloat(3, 0), MiniFloat(1, 2, specials="none"), MiniFloat(1, 3, specials="fn"),
    MiniFloat(4, 1, bias=20, specials="fn"), MiniFloat(2, 0, overflow="inf"), MiniFloat(7, 3),
]  # fmt: skip


def patterns(numbers, type_):
    """Codes of numbers rounded by ml_dtypes or numpy."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(numbers).astype(type_)
    return rounded.view(np.uint16 if rounded.itemsize == 2 else np.uint8).astype(np.int32)


def finite_and_special(format, type_, codes):
    """Codes of the twin, with its overflow turned into saturation where the format saturates."""
    wide = codes.astype(np.uint16 if type_ is np.float16 else np.uint8).view(type_).astype(np.float32)
    if format.overflow == "inf":
        return codes
    top = int(format.encode(torch.tensor(format.largest)))
    sign = codes & (1 << (format.width - 1))
    return np.where(np.isfinite(wide), codes, sign | top)


def threshold_neighbours(format):
    """Numbers, the halfway points between them and beyond the largest, and the floats beside each."""
    count = min(slow.mini_float_count(format) + 2, 5000)
    magnitudes = [slow.mini_float_magnitude(format, code) for code in range(count)]
    points = magnitudes + [(a + b) / 2 for a, b in pairwise(magnitudes)]
    xs = [x for point in points for x in slow.float_neighbours(point)]
    return np.array(xs + [-x for x in xs], np.float32)


@pytest.mark.parametrize(("format", "type_"), TWINS, ids=str)
def test_every_code_means_what_ml_dtypes_says(format, type_):
    codes = np.arange(1 << format.width)
    wide = codes.astype(np.uint16 if type_ is np.float16 else np.uint8).view(type_).astype(np.float32)
    ours = format.decode(torch.from_numpy(codes)).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, wide)
    number = ~np.isnan(wide)
    np.testing.assert_array_equal(np.signbit(ours[number]), np.signbit(wide[number]))
    kept = np.isfinite(wide) | (np.isinf(wide) & (format.overflow == "inf"))
    back = format.encode(torch.from_numpy(wide[kept])).numpy()
    np.testing.assert_array_equal(back, codes[kept])


@pytest.mark.parametrize(("format", "type_"), TWINS, ids=str)
def test_every_float16_rounds_as_in_ml_dtypes(format, type_):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = every[~np.isnan(every)].astype(np.float32)
    expected = finite_and_special(format, type_, patterns(x, type_))
    np.testing.assert_array_equal(format.encode(torch.from_numpy(x)).numpy(), expected)
    np.testing.assert_array_equal(format.encode(torch.from_numpy(x.astype(np.float64))).numpy(), expected)


@pytest.mark.parametrize(("format", "type_"), TWINS, ids=str)
def test_floats_at_and_beside_every_threshold_round_as_in_ml_dtypes(format, type_):
    rng = np.random.default_rng(0)
    spread = (rng.standard_normal(200_000) * 2.0 ** rng.integers(-30, 20, 200_000)).astype(np.float32)
    x = np.concatenate([threshold_neighbours(format), spread, np.float32([inf, -inf, 0.0, -0.0, 1e-45, -1e-45])])
    expected = finite_and_special(format, type_, patterns(x, type_))
    np.testing.assert_array_equal(format.encode(torch.from_numpy(x)).numpy(), expected)


@pytest.mark.parametrize("format", [f for f in FORMATS if f.width <= 10], ids=str)
def test_rounding_is_the_exact_definition_at_every_threshold_and_beside_it(format):
    x = np.concatenate([threshold_neighbours(format), np.float32([inf, -inf, 1e30, -1e30])])
    for numbers in (x, x.astype(np.float64)):
        result = format.quantize(torch.from_numpy(numbers)).numpy()
        expected = np.array([float(slow.mini_float(format, float(v))) for v in numbers])
        np.testing.assert_array_equal(np.abs(result), expected)
        np.testing.assert_array_equal(np.signbit(result), np.signbit(numbers))


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_finite_code_survives_and_the_values_are_those(format):
    codes = torch.arange(1 << format.width)
    numbers = format.decode(codes)
    finite = numbers.isfinite()
    assert torch.equal(format.encode(numbers[finite]), codes[finite].int())
    assert torch.equal(format.values, numbers[finite].unique())
    assert (format.largest, format.smallest) == (format.values[-1].item(), format.values[format.values > 0][0].item())
    positive = numbers[: slow.mini_float_count(format)]
    assert positive.tolist() == [float(slow.mini_float_magnitude(format, c)) for c in range(len(positive))]


def test_the_published_constants():
    assert (E4M3.largest, E4M3.smallest, E4M3.smallest_normal) == (448.0, 2.0**-9, 2.0**-6)
    assert (E5M2.largest, E5M2.smallest, E5M2.smallest_normal) == (57344.0, 2.0**-16, 2.0**-14)
    assert E3M0.values.tolist() == [-16, -8, -4, -2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 4, 8, 16]
    assert [f.width for f in (E4M3, E5M2, E3M0)] == [8, 8, 4]
    nans = E4M3.decode(torch.arange(256)).isnan().nonzero().flatten().tolist()
    assert nans == [0x7F, 0xFF]
    assert E5M2.decode(torch.tensor([0x7C, 0xFC])).tolist() == [inf, -inf]


def test_overflow_saturates_or_becomes_infinite():
    x = torch.tensor([57344.0, 61439.0, 61440.0, 1e9, -1e9, inf, -inf])
    assert E5M2.quantize(x).tolist() == [57344.0] * 4 + [-57344.0, 57344.0, -57344.0]
    assert E5M2_INF.quantize(x).tolist() == [57344.0, 57344.0, inf, inf, -inf, inf, -inf]
    assert E4M3.quantize(torch.tensor([464.0, 465.0, inf])).tolist() == [448.0] * 3


def test_zero_keeps_its_sign():
    x = torch.tensor([0.0, -0.0, 1e-9, -1e-9])
    for format in (E4M3, E3M0):
        assert format.encode(x).tolist() == [0, 1 << (format.width - 1)] * 2
        draws = format.quantize(x, rounding="stochastic", generator=torch.Generator().manual_seed(0))
        assert draws.signbit().tolist() == [False, True] * 2


def test_one_digit_ties_go_to_the_larger_magnitude():
    x = torch.tensor([0.125, 0.375, 0.75, 1.5, 3.0, 6.0, 12.0, 24.0])
    assert E3M0.quantize(x).tolist() == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0]


def test_luq_underflow_keeps_the_mean():
    """T(x) = sign(x) a with probability |x| / a, else 0."""
    alpha = 0.25
    x = torch.full((200_000,), -0.2 * alpha)
    result = E3M0.quantize(x, rounding="stochastic", generator=torch.Generator().manual_seed(1))
    assert set(result.abs().tolist()) == {0.0, alpha}
    assert abs((result == -alpha).double().mean().item() - 0.2) < 5 * (0.2 * 0.8 / 200_000) ** 0.5


@given(
    st.integers(0, 9), st.integers(-1, 12), st.one_of(st.none(), st.integers(-130, 255)),
    st.sampled_from(["ieee", "fn", "none"]), st.sampled_from(["saturate", "inf"]),
)  # fmt: skip
def test_a_format_exists_or_says_why_not(exponent_bits, mantissa_bits, bias, specials, overflow):
    try:
        format = MiniFloat(exponent_bits, mantissa_bits, bias, specials, overflow)
    except SpecificationError:
        with pytest.raises(SpecificationError, match=r"^MiniFloat\(.*\Z"):
            MiniFloat(exponent_bits, mantissa_bits, bias, specials, overflow)
        return
    assert 2.0**-126 <= format.smallest <= format.largest < 2.0**127
    assert format.width == 1 + exponent_bits + mantissa_bits <= 16
    codes = format.encode(torch.tensor([format.largest, -format.largest, format.smallest]))
    assert format.decode(codes).tolist() == [format.largest, -format.largest, format.smallest]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"exponent_bits": 4, "mantissa_bits": 3, "specials": "fnuz"}, "specials='fnuz'"),
        ({"exponent_bits": 4, "mantissa_bits": 3, "specials": "fn", "overflow": "inf"}, "needs a code of infinity"),
        ({"exponent_bits": 1, "mantissa_bits": 0, "specials": "fn"}, "leave no normal number"),
        ({"exponent_bits": 1, "mantissa_bits": 3}, "leave no normal number"),
        ({"exponent_bits": 8, "mantissa_bits": 7}, "exponent_bits=8"),
        ({"exponent_bits": 7, "mantissa_bits": 10}, "18 bits"),
        ({"exponent_bits": 5, "mantissa_bits": 2, "bias": 140}, "choose another bias"),
        ({"exponent_bits": 5, "mantissa_bits": 2, "bias": 1.5}, "bias=1.5"),
    ],
)
def test_impossible_fields_say_which(arguments, says):
    with pytest.raises(SpecificationError, match=says):
        MiniFloat(**arguments)


def test_printed_forms_and_default_bias():
    assert [str(f) for f in (E4M3, E5M2, E3M0)] == ["MiniFloat(4,3,fn)", "MiniFloat(5,2,ieee)", "MiniFloat(3,0,none)"]
    assert str(MiniFloat(4, 3, 11, "ieee", "inf")) == "MiniFloat(4,3,bias=11,ieee,overflow=inf)"
    assert MiniFloat(4, 3) == MiniFloat(4, 3, 7)
    assert hash(MiniFloat(4, 3)) == hash(MiniFloat(4, 3, 7))


def test_decode_gives_nan_for_its_codes_though_encode_refuses_nan():
    assert E4M3.decode(torch.tensor([0x7F, 0xFF])).isnan().all()
