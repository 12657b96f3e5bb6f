"""LogQuant: the paper's equation, its clip and zero code, and thresholds decided exactly."""

from math import inf, sqrt

import numpy as np
import pytest
import slow_quantisers as slow
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipstick import LogQuant, SpecificationError

FORMATS = [
    LogQuant(3, 0), LogQuant(1, 5), LogQuant(4, 3, signed=False), LogQuant(5, -10), LogQuant(7, 2),
    LogQuant(7, 127, signed=False), LogQuant(3, 0, "sqrt2"), LogQuant(1, -2, "sqrt2"), LogQuant(5, 4, "sqrt2", False),
    LogQuant(8, 2, "sqrt2"), LogQuant(8, 127, "sqrt2"),
]  # fmt: skip


def steps(format):
    return 2 if format.base == "sqrt2" else 1


def live_logs(format):
    """xt of the magnitudes, in steps."""
    high = steps(format) * format.fsr
    return range(high - 2**format.bits + 1, high)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_codes_are_zero_and_2_to_the_b_minus_1_magnitudes(format):
    magnitudes = [slow.to_float32(slow.log_number(k, steps(format))) for k in live_logs(format)]
    assert len(magnitudes) == 2**format.bits - 1
    expected = [0.0, *magnitudes]
    codes = torch.arange(2**format.bits)
    np.testing.assert_array_equal(format.decode(codes).numpy(), np.float32(expected))
    assert (format.smallest, format.largest) == (magnitudes[0], magnitudes[-1])
    if format.signed:
        np.testing.assert_array_equal(format.decode(codes[1:] + 2**format.bits).numpy(), -np.float32(magnitudes))
        with pytest.raises(SpecificationError, match=f"{2**format.bits} is not a code"):
            format.decode(torch.tensor([2**format.bits]))
    negative = [-m for m in reversed(magnitudes)] if format.signed else []
    assert format.values.tolist() == [*negative, *expected]
    assert format.width == format.bits + format.signed


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_code_survives_decode_then_encode(format):
    codes = torch.arange(1 << format.width, dtype=torch.int32)
    codes = codes[codes != 1 << format.bits]
    assert torch.equal(format.encode(format.decode(codes)), codes)
    assert torch.equal(format.encode(format.decode(codes).double()), codes)


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_the_papers_equation_at_every_threshold_and_beside_it(format, dtype):
    logs = live_logs(format)
    points = [slow.log_number(2 * k + 1, 2 * steps(format)) for k in range(logs[0] - 2, min(logs[-1] + 2, 126))]
    points += [slow.log_number(k, steps(format)) for k in logs]
    xs = [x for point in points for x in slow.float_neighbours(point, dtype)]
    xs = np.array([*xs, 0.0, 1e-45, 2.0**-126, 2.0**-127, 1.4 * 2.0**-127, 3e38, inf], dtype)
    xs = np.concatenate([xs, -xs])
    expected = [slow.log_quant(format, float(x)) for x in xs]
    codes = format.encode(torch.from_numpy(xs)).tolist()
    assert codes == [(sign << format.bits) | index for sign, index in expected]


def test_the_base_2_threshold_is_the_square_root_of_2():
    """In every octave the floats on either side of sqrt 2; 1.5 is above it, 1.4142135 below."""
    below, above = np.float32(1.4142135), np.nextafter(np.float32(1.4142135), np.float32(2))
    assert float(below) < sqrt(2) < float(above)
    octaves = torch.arange(-60, 60)
    scale = 2.0 ** octaves.double()
    format = LogQuant(7, 64)
    for mantissa, step in ((1.0, 0), (float(below), 0), (float(above), 1), (1.5, 1)):
        assert torch.equal(format.quantize((scale * mantissa).float()), (scale * 2**step).float())


def test_clip_gives_zero_at_the_lowest_code_and_max_minus_one_at_the_top():
    format = LogQuant(3, 0)
    x = torch.tensor([2.0**-8, 2.0**-7.51, 2.0**-7.49, 0.5, 0.7, 0.75, 1.0, 1e9, inf, -inf])
    assert format.quantize(x).tolist() == [0, 0, 2.0**-7, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, -0.5]


def test_unsigned_negative_numbers_and_both_zeros_are_zero():
    x = torch.tensor([-1.0, -inf, -0.0, 0.0, -1e-30])
    result = LogQuant(3, 0, signed=False).quantize(x)
    assert result.tolist() == [0.0] * 5
    assert not result.signbit().any()
    assert not LogQuant(3, 0).quantize(torch.tensor([-0.0, -1e-30])).signbit().any()


@given(st.floats(2.0**-100, 2.0**100, width=32), st.sampled_from([2, "sqrt2"]))
def test_fitted_takes_the_smallest_full_scale_that_holds_the_peak(peak, base):
    format = LogQuant(5, 0, base).fitted(torch.tensor([0.0, -peak, peak / 3]))
    lowest = -126 + (32 if base == 2 else 16)
    assert peak <= 2.0**format.fsr
    assert 2.0 ** (format.fsr - 1) < peak or format.fsr == lowest


def test_fitted_stays_where_float32_ends():
    format = LogQuant(5, 0)
    assert format.fitted(torch.zeros(3)).fsr == format.fitted(torch.zeros(0)).fsr == -126 + 32
    assert format.fitted(torch.tensor([inf])).fsr == 127


@given(st.integers(-1, 10), st.integers(-140, 140), st.sampled_from([2, "sqrt2", "sqrt3", 4]))
def test_only_formats_that_float32_holds_exist(bits, fsr, base):
    octaves = 2**bits // (2 if base == "sqrt2" else 1) if bits >= 0 else 0
    if 1 <= bits <= 8 and base in (2, "sqrt2") and octaves - 126 <= fsr <= 127:
        assert LogQuant(bits, fsr, base).values.isfinite().all()
    else:
        with pytest.raises(SpecificationError, match=r"LogQuant\("):
            LogQuant(bits, fsr, base)


def test_printed_forms():
    assert str(LogQuant(5, -3)) == "LogQuant(5,fsr=-3)"
    assert str(LogQuant(3, 0, "sqrt2", signed=False)) == "LogQuant(3,fsr=0,base=sqrt2,unsigned)"
