"""Ways into and out of logarithmic numbers equal the software for every code, and for floats around every threshold."""

from fractions import Fraction

import numpy as np
import pytest
import torch

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from log_codes import Codes, codes
from mac_vectors import Together, assert_equal, every

import slipstick as ss
from slipstick import LNS, LogArithmetic, SpecificationError
from slipstick.hardware.models.log import log_convert, log_encode
from slipstick.hardware.rtl.log_converters import log_convert_unit, log_decode_unit, log_encode_unit, log_result_unit

FORMATS = [LNS(5, 5), LNS(3, 3, "flush"), LNS(6, 2, "flush"), LNS(6, 0), LNS(1, 4)]
FINE = [LNS(5, 8, "flush"), LNS(6, 10)]
PAIRS = [
    (LNS(7, 5), LNS(5, 5)),
    (LNS(6, 8, "flush"), LNS(4, 4, "flush")),
    (LNS(6, 8), LNS(2, 7, "flush")),
    (LNS(4, 4), LNS(6, 8)),
    (LNS(5, 3, "flush"), LNS(3, 5)),
    (LNS(3, 5), LNS(3, 5, "flush")),
    (LNS(8, 2), LNS(3, 0)),
    (LNS(1, 0), LNS(1, 2)),
    (LNS(2, 3), LNS(1, 0, "flush")),
]
MANTISSA_BITS = 23


@pytest.fixture(scope="module")
def units() -> Together:
    both = [make(format) for format in FORMATS for make in (log_encode_unit, log_decode_unit)]
    return Together([*both, *(log_convert_unit(*pair) for pair in PAIRS)])


def near_thresholds(format: LNS) -> Codes:
    """Mantissas at both ends of every bucket of the table, next to every threshold, and between them."""
    buckets = 2 << format.frac_bits
    width = (1 << MANTISSA_BITS) // buckets
    starts = np.arange(buckets) * width
    passed = (2.0 ** ((2 * np.arange(buckets // 2) + 1) / buckets) - 1) * 2.0**MANTISSA_BITS
    beside = passed.astype(np.int64)[:, None] + np.arange(-2, 4)
    between = starts + np.random.default_rng(0).integers(0, width, buckets)
    return np.unique(np.concatenate([starts, starts + 1, starts + width - 1, between, beside.ravel()]))


def is_nan(bits: Codes) -> np.ndarray:
    return (bits & 0x7FFFFFFF) > 0x7F800000


def check_encode(format: LNS, bits: Codes, code: Codes, invalid: Codes) -> None:
    nan = is_nan(bits)
    assert np.array_equal(invalid, nan)
    numbers = bits[~nan].astype(np.uint32).view(np.float32)
    assert_equal(code[~nan], format.encode(numbers).astype(np.int64), bits=bits[~nan])


@pytest.mark.parametrize("number", range(len(FORMATS)), ids=lambda i: str(FORMATS[i]))
def test_floats_of_every_exponent_around_every_threshold(units: Together, number: int) -> None:
    """With zeros, subnormal numbers, infinities and NaN, of both signs."""
    format = FORMATS[number]
    signs, exponents, mantissas = every(1, 8, near_thresholds(format))
    bits = signs << 31 | exponents << MANTISSA_BITS | mantissas
    got = units.run(2 * number, number=bits)
    check_encode(format, bits, got["code"], got["invalid"])
    zeros = units.run(2 * number, number=np.array([0, 1 << 31]))
    assert zeros["code"].tolist() == [1 << (format.width - 2)] * 2


def test_floats_in_the_middle_of_two_codes_do_not_exist_but_the_encoder_finds_the_nearer_exactly(
    units: Together,
) -> None:
    """2^((2k+1)/64) is irrational: the numbers on its two sides go to different codes, by exact integers."""
    assert FORMATS[0].frac_bits == 5
    for k in range(32):
        below = 1 << MANTISSA_BITS
        step = 1 << (MANTISSA_BITS - 1)
        while step:  # the largest mantissa whose 64th power is below 2^(2k + 1)
            if (below + step) ** 64 < 1 << (2 * k + 1 + 64 * MANTISSA_BITS):
                below += step
            step >>= 1
        bits = (127 << MANTISSA_BITS) + np.array([below, below + 1]) - (1 << MANTISSA_BITS)
        assert units.run(0, number=bits)["code"].tolist() == [k, k + 1]


@pytest.mark.parametrize("number", range(len(FORMATS)), ids=lambda i: str(FORMATS[i]))
def test_every_code_to_float_and_back(units: Together, number: int) -> None:
    format, all_codes = FORMATS[number], codes(FORMATS[number])
    bits = units.run(2 * number + 1, code=all_codes)["number"]
    assert_equal(bits, format.decode(all_codes).view(np.uint32).astype(np.int64), code=all_codes)
    assert_equal(units.run(2 * number, number=bits)["code"], all_codes, bits=bits)


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=lambda i: "{} to {}".format(*PAIRS[i]))
def test_every_code_to_another_format(units: Together, number: int) -> None:
    source, target = PAIRS[number]
    all_codes = codes(source)
    got = units.run(2 * len(FORMATS) + number, code=all_codes)["converted"]
    assert_equal(got, log_convert(all_codes, source, target), code=all_codes)
    sign, log = source.split(all_codes)
    step = Fraction(2) ** (target.frac_bits - source.frac_bits)
    nearest = np.array([round(int(x) * step) for x in log])  # ties to even
    nearest = np.where(log == source.zero_log, target.zero_log, target.round_log(nearest))
    assert_equal(got, target.pattern(np.where(nearest == target.zero_log, 0, sign), nearest), code=all_codes)


def test_a_fine_operand_enters_as_pytorch_narrows_it(units: Together) -> None:
    """A number on the grid of the update, times one in the coarser arithmetic."""
    fine, coarse = PAIRS[1]
    all_codes = codes(fine)
    with ss.use(LogArithmetic(coarse), update=LogArithmetic(fine)):
        narrowed = torch.from_numpy(fine.decode(all_codes)) * 1.0
    got = units.run(2 * len(FORMATS) + 1, code=all_codes)["converted"]
    assert_equal(got, coarse.encode(narrowed.numpy()).astype(np.int64), code=all_codes)


def test_a_result_is_rounded_from_the_accumulator_to_an_operand() -> None:
    arithmetic = LogArithmetic(LNS(4, 4), accumulator=LogArithmetic(LNS(6, 8)))
    assert log_result_unit(arithmetic).name == "log_convert_lns_6_8_to_lns_4_4"
    assert log_result_unit(LogArithmetic(LNS(5, 5))).name == "log_convert_lns_7_5_to_lns_5_5"


@pytest.mark.long
@pytest.mark.parametrize("format", [FORMATS[0], *FINE], ids=str)
def test_every_mantissa_and_every_code(format: LNS) -> None:
    """All mantissas at exponents within the range, next to its ends and beyond them; 2^23 each."""
    together = Together([log_encode_unit(format), log_decode_unit(format)])
    octaves = 1 << format.int_bits
    mantissas = np.arange(1 << MANTISSA_BITS)
    for exponent in (0, 126 - octaves, 127 - octaves, 127, 126 + octaves, 127 + octaves, 255):
        bits = max(exponent, 0) << MANTISSA_BITS | mantissas
        got = together.run(0, number=bits)
        check_encode(format, bits, got["code"], got["invalid"])
        assert_equal(got["code"][:1], log_encode(bits[:1], format))
    all_codes = codes(format)
    bits = together.run(1, code=all_codes)["number"]
    assert_equal(bits, format.decode(all_codes).view(np.uint32).astype(np.int64), code=all_codes)
    assert_equal(together.run(0, number=bits)["code"], all_codes, bits=bits)


@pytest.mark.parametrize("make", [log_encode_unit, log_decode_unit])
@pytest.mark.parametrize(
    ("format", "words"),
    [
        (LNS(7, 5), "float32 does not hold the format; use int_bits <= 6"),
        (LNS(5, 13), "its tables are too long for logic; use frac_bits <= 12"),
    ],
)
def test_formats_that_cannot_be_are_refused_in_one_line(make: object, format: LNS, words: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        make(format)
    assert str(refused.value) == f"{make.__name__}({format}): {words}"
