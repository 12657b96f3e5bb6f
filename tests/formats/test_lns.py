"""LNS: validation, limits, codes, and the special values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from grid import every_code
from slipstick import LNS, NonFiniteError, SlipstickError, SpecificationError
from strategies import carrier_formats, formats, operand_formats, underflows

SMALL_FORMATS = [
    LNS(1, 0), LNS(1, 0, "flush"), LNS(2, 1), LNS(3, 3), LNS(3, 3, "flush"), LNS(5, 3), LNS(4, 6), LNS(5, 5),
    LNS(5, 8), LNS(6, 10), LNS(6, 0), LNS(1, 12),
]  # fmt: skip


@pytest.mark.parametrize("format", SMALL_FORMATS, ids=str)
def test_every_code_survives_decode_then_encode(format):
    codes = every_code(format)
    assert len(codes) == 2 ** (2 + format.int_bits + format.frac_bits) - 1
    numbers = format.decode(codes)
    assert numbers.dtype == np.float32
    back = format.encode(numbers)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, codes)
    np.testing.assert_array_equal(format.encode(numbers.astype(np.float64)), codes)


@pytest.mark.parametrize("format", SMALL_FORMATS, ids=str)
def test_decode_is_injective_and_ordered_by_log(format):
    positive = format.decode(format.pattern(np.int64(0), np.arange(-format.max_log, format.max_log + 1)))
    assert (np.diff(positive.astype(np.float64)) > 0).all()
    assert positive[0] == np.float32(format.smallest)
    assert positive[-1] == np.float32(format.largest)


@given(formats)
def test_width_counts_one_sign_one_log_sign_and_the_two_fields(format):
    assert format.width == 2 + format.int_bits + format.frac_bits
    assert format.max_log == 2 ** (format.int_bits + format.frac_bits) - 1
    assert format.zero_log == -(format.max_log + 1)
    assert format.fits_float32 == (format.int_bits <= 6)


@given(formats, st.data())
def test_pattern_and_split_are_inverse(format, data):
    log = data.draw(st.integers(-format.max_log - 1, format.max_log))
    sign = 0 if log == format.zero_log else data.draw(st.integers(0, 1))
    code = format.pattern(np.array(sign), np.array(log))
    assert int(code) == sign * 2 ** (format.width - 1) + log % 2 ** (format.width - 1)
    assert tuple(int(v) for v in format.split(code)) == (sign, log)


@given(carrier_formats)
def test_zero_has_one_code_and_both_float_zeros_give_it(format):
    zero = 1 << (format.width - 2)
    codes = format.encode(np.array([0.0, -0.0], np.float32)), format.encode(np.array([0.0, -0.0]))
    assert [list(c) for c in codes] == [[zero, zero]] * 2
    decoded = format.decode(np.array([zero]))
    assert decoded[0] == 0.0
    assert not np.signbit(decoded[0])


@given(formats)
def test_zero_with_a_sign_is_refused(format):
    signed_zero = (1 << (format.width - 1)) | (1 << (format.width - 2))
    with pytest.raises(SpecificationError, match=f"{signed_zero} is not a code"):
        format.split(np.array([0, signed_zero]))


@given(operand_formats, st.data())
def test_codes_outside_the_width_are_refused(format, data):
    code = data.draw(st.one_of(st.integers(-(2**31), -1), st.integers(1 << format.width, 2**31 - 1)))
    with pytest.raises(SpecificationError, match="is not a code"):
        format.decode(np.array([code]))


@given(carrier_formats)
def test_infinities_and_numbers_above_the_range_saturate_with_their_sign(format):
    for dtype in (np.float32, np.float64):
        largest = np.finfo(dtype).max
        sign, log = format.logs(np.array([np.inf, -np.inf, largest, -largest], dtype))
        assert list(sign) == [0, 1, 0, 1]
        assert list(log) == [format.max_log] * 4


@given(carrier_formats, st.sampled_from([np.float32, np.float64]), st.booleans())
def test_nan_raises_and_names_the_format(format, dtype, negative):
    x = np.array([1.0, np.copysign(np.nan, -1.0 if negative else 1.0)], dtype)
    with pytest.raises(NonFiniteError, match=r"LNS\(\d+,\d+") as raised:
        format.encode(x)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, SlipstickError)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("int_bits", range(1, 7))
def test_numbers_below_the_range_follow_the_underflow_policy(int_bits, dtype):
    """Subnormals, which have no hidden bit, among them."""
    subnormal = np.finfo(dtype).smallest_subnormal
    tiny = np.finfo(dtype).tiny
    below = np.array([2.0 ** -(2**int_bits + 1), tiny, tiny / 2, tiny - subnormal, subnormal, 3 * subnormal], dtype)
    below = np.concatenate([below, -below])
    for frac_bits in (0, 3, 16):
        saturating, flushing = LNS(int_bits, frac_bits), LNS(int_bits, frac_bits, "flush")
        np.testing.assert_array_equal(saturating.logs(below)[1], -saturating.max_log)
        np.testing.assert_array_equal(saturating.logs(below)[0], np.signbit(below))
        np.testing.assert_array_equal(flushing.logs(below)[1], flushing.zero_log)
        np.testing.assert_array_equal(flushing.logs(below)[0], 0)


@pytest.mark.parametrize("int_bits", range(7, 11))
def test_formats_wider_than_float32_have_codes_but_no_carriers(int_bits):
    format = LNS(int_bits, 5)
    codes = np.array([0, 1, (1 << format.width) - 1])
    np.testing.assert_array_equal(format.pattern(*format.split(codes)), codes)
    for refused in (lambda: format.encode(np.ones(2, np.float32)), lambda: format.decode(codes)):
        with pytest.raises(SpecificationError, match=rf"^LNS\({int_bits},5\): float32 .*int_bits=6"):
            refused()


@given(
    operand_formats,
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, min_side=0), elements=st.floats(width=32, allow_nan=False)),
)
def test_encode_is_odd_monotone_and_idempotent(format, x):
    codes = format.encode(x)
    assert codes.shape == x.shape
    sign, log = format.logs(x)
    np.testing.assert_array_equal(format.logs(-x)[1], log)
    order = np.argsort(np.abs(x), axis=None, kind="stable")
    assert (np.diff(log.ravel()[order]) >= 0).all()
    np.testing.assert_array_equal(format.encode(format.decode(codes)), codes)
    np.testing.assert_array_equal(sign == 1, (x < 0) & (log != format.zero_log))


@given(operand_formats, st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_tensors_and_arrays_give_the_same_codes(format, values):
    array = np.array(values, np.float32)
    for numbers in (array, array.astype(np.float64)):
        codes = format.encode(torch.from_numpy(numbers))
        assert codes.dtype == torch.int32
        np.testing.assert_array_equal(codes.numpy(), format.encode(numbers))
        decoded = format.decode(codes)
        assert decoded.dtype == torch.float32
        np.testing.assert_array_equal(decoded.numpy(), format.decode(codes.numpy()))


def test_layout_and_rank_do_not_matter():
    format = LNS(5, 5)
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(format.encode(x.transpose(2, 0, 1)), format.encode(x).transpose(2, 0, 1))
    np.testing.assert_array_equal(format.encode(x[:, ::2, ::-1]), format.encode(x)[:, ::2, ::-1])
    assert format.encode(np.float32(2.0).reshape(())).shape == ()
    assert format.encode(torch.tensor(2.0)).item() == 32
    assert format.encode(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert format.encode(torch.ones(2, 3, requires_grad=True).t()).shape == (3, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.int64, np.complex64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(SpecificationError, match=r"use float32 or float64"):
        LNS(5, 5).encode(np.ones(2, dtype))


@pytest.mark.parametrize("value", [0, -1, 11, 5.0, "5", True, None])
def test_int_bits_outside_one_to_ten_are_refused(value):
    with pytest.raises(SpecificationError, match=r"^LNS\(int_bits=.*\): must be an integer from 1 to 10$"):
        LNS(value, 5)


@pytest.mark.parametrize("value", [-1, 17, 5.0, "5", False, None])
def test_frac_bits_outside_zero_to_sixteen_are_refused(value):
    with pytest.raises(SpecificationError, match=r"^LNS\(frac_bits=.*\): must be an integer from 0 to 16$"):
        LNS(5, value)


@pytest.mark.parametrize("value", ["round", "", None, 0])
def test_unknown_underflow_is_refused(value):
    with pytest.raises(SpecificationError, match=r"^LNS\(underflow=.*\): choose 'saturate' or 'flush'$"):
        LNS(5, 5, value)


@given(st.integers(1, 10), st.integers(0, 16), underflows, formats)
def test_formats_are_equal_and_hash_alike_exactly_when_their_fields_agree(int_bits, frac_bits, underflow, other):
    format = LNS(int_bits, frac_bits, underflow)
    twin = LNS(**format.to_dict())
    assert format == twin
    assert hash(format) == hash(twin)
    assert (format == other) == (format.to_dict() == other.to_dict())


def test_formats_are_immutable():
    with pytest.raises(AttributeError):
        LNS(5, 5).frac_bits = 4
