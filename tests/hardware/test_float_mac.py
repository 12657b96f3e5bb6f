"""Fused floating point: the model against exact fractions, casts and the C library; cores against the model."""

import ctypes
from bisect import bisect_left
from collections.abc import Callable
from ctypes.util import find_library
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from mac_vectors import Codes, Together, assert_equal, corners, every, mixed, run

from slipstick import E3M0, E4M3, E5M2, MiniFloat, SpecificationError
from slipstick.hardware.float_format import BF16, FP16, FP32, FloatFormat
from slipstick.hardware.models.floating import FloatMac, decode, float_step
from slipstick.hardware.rtl.float_mac import float_mac_unit
from slipstick.hardware.simulation import Simulator

E5M2_INF = FloatFormat(5, 2)
TYPES = {
    FloatFormat.of(E4M3): ml_dtypes.float8_e4m3fn,
    E5M2_INF: ml_dtypes.float8_e5m2,
    FP16: np.float16,
    BF16: ml_dtypes.bfloat16,
    FP32: np.float32,
}
ODD = [
    FloatMac(E3M0, E3M0, FloatFormat(4, 2, specials="none", overflow="saturate")),
    FloatMac(MiniFloat(3, 0), E4M3, MiniFloat(5, 3)),
    FloatMac(
        MiniFloat(2, 3, specials="none"), MiniFloat(3, 2, specials="fn"), FloatFormat(4, 1, 3, "ieee", "saturate")
    ),
    FloatMac(E4M3, MiniFloat(5, 4, bias=40), FloatFormat(6, 9, 20)),
    FloatMac(E5M2, E5M2, FloatFormat(2, 5, specials="fn", overflow="saturate")),
]
SMALL = [FloatMac(E4M3, E4M3, E4M3), FloatMac(E5M2, E5M2, E5M2_INF), FloatMac(E4M3, E5M2, E5M2)]
FP8 = [FloatMac(E4M3, E4M3, FP16), FloatMac(E5M2, E5M2, FP16), FloatMac(E4M3, E4M3, FP32)]
WIDE = [FloatMac(FP16, FP16, FP16), FloatMac(FP16, FP16, FP32), FloatMac(BF16, BF16, FP32), FloatMac(FP32, FP32, FP32)]
EIGHT_BITS = [(SMALL[0], "marker"), (SMALL[1], "minimum"), (FP8[0], "marker"), (FP8[1], "minimum")]
OTHERS = [(WIDE[0], "marker"), (WIDE[1], "minimum"), (ODD[2], "marker")]


def numbers(format: FloatFormat, codes: Codes) -> np.ndarray:
    """float64 of codes, by the types of numpy and ml_dtypes."""
    unsigned = {8: np.uint8, 16: np.uint16, 32: np.uint32}[format.width]
    with np.errstate(invalid="ignore"):
        return codes.astype(unsigned).view(TYPES[format]).astype(np.float64)


def fraction(format: FloatFormat, code: int) -> Fraction | None:
    """The number of a code, by the definition; None of infinity and NaN."""
    magnitude = code & ((1 << (format.width - 1)) - 1)
    if magnitude > format.top_code:
        return None
    field, mantissa = divmod(magnitude, 1 << format.mantissa_bits)
    significand = Fraction(mantissa, 1 << format.mantissa_bits) + (1 if field else 0)
    return significand * Fraction(2) ** (max(field, 1) - format.zero_exponent) * (1 - 2 * (code >> (format.width - 1)))


def nearest_code(format: FloatFormat, exact: Fraction) -> int:
    """The positive code nearest to a magnitude, ties to even, as if codes went on beyond the largest; by bisection."""
    longer = FloatFormat(8, format.mantissa_bits, format.bias, "none", "saturate")
    codes = range(longer.top_code + 1)
    above = bisect_left(codes, exact, key=lambda code: fraction(longer, code))
    if above == len(codes):
        return format.beyond_code
    below = max(above - 1, 0)
    low, high = exact - fraction(longer, below), fraction(longer, above) - exact
    code = below if low < high or (low == high and below % 2 == 0) else above
    return code if code <= format.top_code else format.beyond_code


def near_cancellation(mac: FloatMac, rng: np.random.Generator, count: int) -> tuple[Codes, Codes, Codes]:
    """Operands of every kind; half of the accumulators are close to minus the product, a quarter small."""
    a, b = mixed(rng, mac.a.width, count), mixed(rng, mac.b.width, count)
    wide = mac.accumulator
    minus = float_step(mac, a, b, np.zeros(count, np.int64)) ^ (1 << (wide.width - 1))
    off = rng.integers(-3, 4, count) << rng.integers(0, wide.mantissa_bits + 2, count)
    close = np.clip(minus + off, 0, (1 << wide.width) - 1)
    return a, b, np.where(rng.random(count) < 0.5, close, mixed(rng, wide.width, count))


@pytest.mark.parametrize("format", list(TYPES)[:4], ids=str)
def test_codes_stand_for_the_numbers_of_the_types(format: FloatFormat) -> None:
    codes = np.arange(1 << format.width)
    got, expected = decode(format, codes), numbers(format, codes)
    assert np.array_equal(got.nan, np.isnan(expected))
    assert np.array_equal(got.infinite, np.isinf(expected))
    finite = np.isfinite(expected)
    value = np.ldexp(got.significand.astype(np.float64), got.exponent) * np.where(got.sign == 1, -1.0, 1.0)
    assert np.array_equal(value[finite], expected[finite])
    assert np.array_equal(np.signbit(value[finite]), np.signbit(expected[finite]))


def test_sums_of_fp8_products_are_those_of_float64_cast_to_fp16() -> None:
    """Products of E4M3 are multiples of 2^-18 below 2^18, FP16 of 2^-24 below 2^16: float64 adds them exactly."""
    mac = FP8[0]
    a, b, acc = every(8, 8, corners(16)[::3])
    with np.errstate(invalid="ignore", over="ignore"):
        exact = numbers(mac.a, a) * numbers(mac.b, b) + numbers(FP16, acc)
        expected = exact.astype(np.float16).view(np.uint16).astype(np.int64)
    expected[np.isnan(exact)] = FP16.nan_code
    assert_equal(float_step(mac, a, b, acc), expected, a=a, b=b, acc=acc)


@pytest.mark.parametrize("mac", [*SMALL, *FP8, *WIDE[:3], *ODD], ids=str)
def test_a_step_rounds_the_exact_sum_to_the_nearest_code(mac: FloatMac) -> None:
    a, b, acc = near_cancellation(mac, np.random.default_rng(1), 600)
    sign = mac.accumulator.width - 1
    for x, y, c, got in zip(a, b, acc, float_step(mac, a, b, acc), strict=True):
        terms = fraction(mac.a, int(x)), fraction(mac.b, int(y)), fraction(mac.accumulator, int(c))
        if None in terms:
            continue
        exact = terms[0] * terms[1] + terms[2]
        assert int(got) & ~(1 << sign) == nearest_code(mac.accumulator, abs(exact)), (x, y, c)
        product_negative = int(x) >> (mac.a.width - 1) != int(y) >> (mac.b.width - 1)
        negative = exact < 0 if exact else product_negative and int(c) >> sign == 1
        assert int(got) >> sign == negative, (x, y, c)


def test_single_precision_is_the_fma_of_the_c_library() -> None:
    path = find_library("m")
    if path is None:
        pytest.skip("no C library of mathematics")
    fmaf = ctypes.CDLL(path).fmaf
    fmaf.argtypes, fmaf.restype = [ctypes.c_float] * 3, ctypes.c_float
    codes = near_cancellation(WIDE[3], np.random.default_rng(2), 40_000)
    floats = [x.astype(np.uint32).view(np.float32) for x in codes]
    expected = np.array([fmaf(*row) for row in zip(*floats, strict=True)], np.float32)
    patterns = np.where(np.isnan(expected), FP32.nan_code, expected.view(np.uint32).astype(np.int64))
    assert_equal(float_step(WIDE[3], *codes), patterns, a=codes[0], b=codes[1], acc=codes[2])


def cast_by(mac: FloatMac, source: Codes) -> Codes:
    """source times 1 plus -0, which leaves -0 as it is."""
    one, negative_zero = 127 << 23, 1 << (mac.accumulator.width - 1)
    return float_step(mac, source, np.full_like(source, one), np.full_like(source, negative_zero))


@pytest.mark.parametrize("target", [FP16, BF16, E5M2_INF], ids=str)
def test_adding_to_zero_is_the_cast_of_torch(target: FloatFormat) -> None:
    types = {FP16: torch.float16, BF16: torch.bfloat16, E5M2_INF: torch.float8_e5m2}
    source = mixed(np.random.default_rng(3), 32, 200_000)
    cast = torch.from_numpy(source.astype(np.uint32).view(np.float32)).to(types[target])
    codes = cast.view(torch.uint8 if target.width == 8 else torch.int16).numpy().astype(np.int64)
    expected = np.where(cast.isnan().numpy(), target.nan_code, codes & ((1 << target.width) - 1))
    assert_equal(cast_by(FloatMac(FP32, FP32, target), source), expected, source=source)


def test_adding_to_zero_saturates_as_the_format_encodes() -> None:
    source = mixed(np.random.default_rng(4), 32, 200_000)
    numbers_ = torch.from_numpy(source.astype(np.uint32).view(np.float32))
    source, numbers_ = source[~numbers_.isnan().numpy()], numbers_[~numbers_.isnan()]
    expected = E4M3.encode(numbers_).numpy().astype(np.int64)
    assert_equal(cast_by(FloatMac(FP32, FP32, E4M3), source), expected, source=source)


@pytest.mark.parametrize("special", ["nan", "infinity minus infinity", "zero times infinity", "infinity"])
def test_special_values(special: str) -> None:
    infinity, minus, one = 0x7C00, 0xFC00, 0x3C00
    a, b, acc, expected = {
        "nan": ([0x7E01, one, one], [one, 0xFFFF, one], [one, infinity, 0xFC01], [0x7E00] * 3),
        "infinity minus infinity": ([infinity, infinity], [one, minus], [minus, infinity], [0x7E00] * 2),
        "zero times infinity": ([infinity, 0], [0x8000, minus], [one, minus], [0x7E00] * 2),
        "infinity": ([infinity, one, minus], [one, one, one], [one, minus, minus], [infinity, minus, minus]),
    }[special]
    assert float_step(WIDE[0], np.array(a), np.array(b), np.array(acc)).tolist() == expected
    assert float_step(FP8[0], np.array([0x7F]), np.array([0]), np.array([minus])).tolist() == [0x7E00]


def test_formats_without_infinity_saturate_and_keep_their_nan() -> None:
    mac = FloatMac(E5M2, E4M3, E4M3)
    a, b, acc = [0x7B, 0x7C, 0xFC, 0x7D, 0x7C], [0x7E, 0x38, 0x38, 0x38, 0], [0, 0x7E, 0, 0, 0]
    assert float_step(mac, np.array(a), np.array(b), np.array(acc)).tolist() == [0x7E, 0x7E, 0xFE, 0x7F, 0x7F]


@pytest.fixture(scope="module")
def units() -> Together:
    return Together([float_mac_unit(*core) for core in (*EIGHT_BITS, *OTHERS)])


def check(run_core: Callable[..., Codes], mac: FloatMac, a: Codes, b: Codes, acc: Codes) -> None:
    assert_equal(run_core(a=a, b=b, acc=acc), float_step(mac, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize("number", range(len(EIGHT_BITS)), ids=lambda i: "{}, {}".format(*EIGHT_BITS[i]))
def test_a_core_of_eight_bit_operands_equals_its_model_for_all_of_them(units: Together, number: int) -> None:
    mac, rng = EIGHT_BITS[number][0], np.random.default_rng(5)
    sums = np.concatenate([rng.choice(corners(mac.accumulator.width), 6), [0]])
    for a, b, acc in (every(8, 8, sums), near_cancellation(mac, rng, 1 << 18)):
        check(lambda **ports: units.run(number, **ports)["sum"], mac, a, b, acc)


@pytest.mark.parametrize("number", range(len(OTHERS)), ids=lambda i: "{}, {}".format(*OTHERS[i]))
def test_a_core_equals_its_model(units: Together, number: int) -> None:
    mac, place = OTHERS[number][0], len(EIGHT_BITS) + number
    vectors = near_cancellation(mac, np.random.default_rng(6), 1 << 18)
    check(lambda **ports: units.run(place, **ports)["sum"], mac, *vectors)


@pytest.mark.long
def test_a_core_of_fp8_equals_float64_for_all_operands_and_four_thousand_sums() -> None:
    """2^28 vectors; see above why float64 is exact."""
    mac, rng = FP8[0], np.random.default_rng(7)
    simulator = Simulator(float_mac_unit(mac))
    a, b = every(8, 8)
    with np.errstate(invalid="ignore"):
        products = numbers(mac.a, a) * numbers(mac.b, b)
    chosen = np.concatenate([corners(16), rng.permutation(1 << 16)[: 4096 - len(corners(16))]])
    for acc in np.split(chosen, 256):
        with np.errstate(invalid="ignore", over="ignore"):
            exact = np.add.outer(numbers(FP16, acc), products).ravel()
            expected = exact.astype(np.float16).view(np.uint16)
        expected[np.isnan(exact)] = FP16.nan_code
        sums = np.repeat(acc, len(a))
        got = simulator.run(a=np.tile(a, len(acc)), b=np.tile(b, len(acc)), acc=sums)["sum"]
        assert np.array_equal(got, expected)


@pytest.mark.long
@pytest.mark.parametrize("mac", FP8[1:], ids=str)
def test_a_core_of_fp8_equals_its_model_for_all_operands(mac: FloatMac) -> None:
    wide, rng = mac.accumulator, np.random.default_rng(8)
    unit = float_mac_unit(mac, "minimum")
    around = corners(wide.width)
    for part in np.split(np.concatenate([around, rng.integers(0, 1 << wide.width, 256 - len(around))]), 16):
        check(lambda **ports: run(unit, **ports), mac, *every(8, 8, part))


@pytest.mark.long
@pytest.mark.parametrize("limit", ["marker", "minimum"])
@pytest.mark.parametrize("mac", [*SMALL, *FP8, *WIDE, *ODD], ids=str)
def test_a_core_equals_its_model_in_four_million_vectors(mac: FloatMac, limit: str) -> None:
    unit = float_mac_unit(mac, limit)
    for seed in range(4):
        vectors = near_cancellation(mac, np.random.default_rng(seed), 1 << 20)
        check(lambda **ports: run(unit, **ports), mac, *vectors)


@pytest.mark.long
@pytest.mark.parametrize("mac", SMALL, ids=str)
def test_a_core_of_eight_bits_equals_its_model_for_all_codes(mac: FloatMac) -> None:
    unit = float_mac_unit(mac)
    for part in np.split(np.arange(256), 8):
        check(lambda **ports: run(unit, **ports), mac, *every(8, 8, part))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FloatFormat(9, 5), "FloatFormat(exponent_bits=9): must be an integer from 1 to 8"),
        (lambda: FloatFormat(8, 24), "FloatFormat(mantissa_bits=24): must be an integer from 0 to 23"),
        (lambda: FloatFormat(4, 3, specials="fn"), "no code of infinity; use overflow='saturate'"),
        (lambda: FloatFormat(1, 3), "leave no normal number; use specials='none'"),
        (lambda: FloatMac("fp16", FP16, FP16), "not a floating-point format; use MiniFloat or FloatFormat"),
        (lambda: FloatMac(E4M3, E4M3, MiniFloat(4, 0)), "an accumulator needs 2 exponent bits and 1 mantissa bit"),
        (lambda: FloatMac(E4M3, E4M3, MiniFloat(4, 3, specials="none")), "has no NaN for those of"),
        (lambda: float_mac_unit(WIDE[0], "clamp"), "choose 'marker' or 'minimum'"),
    ],
)
def test_formats_that_cannot_be_are_refused_in_one_line(make: object, words: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        make()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
