"""MultiBaseLNS: the paper's equation for any scale, per-channel scales, zero, powers of two."""

from math import inf

import numpy as np
import pytest
import slow_quantisers as slow
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipstick import MultiBaseLNS, SpecificationError

FORMATS = [
    MultiBaseLNS(8, 8), MultiBaseLNS(8, 8, zero=True), MultiBaseLNS(8, 1), MultiBaseLNS(8, 32), MultiBaseLNS(2, 1),
    MultiBaseLNS(2, 2, zero=True), MultiBaseLNS(4, 2), MultiBaseLNS(5, 16), MultiBaseLNS(10, 32),
]  # fmt: skip
WIDE = [MultiBaseLNS(16, 2048), MultiBaseLNS(12, 128, zero=True), MultiBaseLNS(16, 32768)]
SCALES = [1.0, 0.3, 2.0**-7, 1.9999999, 1.0000001, 3.3e-5, 0.7071068]


def usable(format, scale):
    return scale * format.largest < 2.0**127


@pytest.mark.parametrize("format", FORMATS + WIDE, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_every_code_survives_decode_then_encode(format, scale):
    if not usable(format, scale):
        return
    codes = torch.arange(1 << format.bits, dtype=torch.int32)
    if format.zero:
        codes = codes[codes != 1 << (format.bits - 1)]
    numbers = format.decode(codes, scale=scale)
    assert torch.equal(format.encode(numbers, scale=scale), codes)
    assert torch.equal(format.encode(numbers.double(), scale=scale), codes)
    positive = numbers[: 1 << (format.bits - 1)]
    assert (positive.diff() > 0).all()


@pytest.mark.parametrize("format", FORMATS + WIDE, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_numbers_are_correctly_rounded(format, scale):
    if not usable(format, scale):
        return
    s = float(np.float32(scale))
    top = 2 ** (format.bits - 1) - 1
    fields = np.unique(np.linspace(int(format.zero), top, 300).astype(int))
    expected = np.array([slow.to_float32(slow.log_number(int(k), format.base_factor, s)) for k in fields])
    np.testing.assert_array_equal(format.decode(torch.from_numpy(fields), scale=scale).numpy(), expected)
    table_free = format.decode(torch.from_numpy(fields[-1:]), scale=scale).numpy()
    assert table_free[0] == expected[-1]


@pytest.mark.parametrize("format", FORMATS + WIDE, ids=str)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_the_papers_equation_at_thresholds_and_beside_them(format, scale, dtype):
    if not usable(format, scale):
        return
    s = float(np.float32(scale))
    top = 2 ** (format.bits - 1) - 1
    fields = np.unique(np.linspace(-2, top, 60).astype(int))
    points = [slow.log_number(2 * int(k) + 1, 2 * format.base_factor, s) for k in fields]
    xs = [x for point in points for x in slow.float_neighbours(point, dtype, reach=1)]
    xs = np.array([*xs, 0.0, 1e-45, s, inf], dtype)
    xs = np.concatenate([xs, -xs])
    expected = [slow.multi_base_lns(format, float(x), s) for x in xs]
    codes = format.encode(torch.from_numpy(xs), scale=scale).tolist()
    assert codes == [(sign << (format.bits - 1)) | xt for sign, xt in expected]


def test_zero_encodes_as_the_smallest_magnitude_with_sign_plus():
    x = torch.tensor([0.0, -0.0, 1e-30, -1e-30])
    format = MultiBaseLNS(8, 8)
    assert format.encode(x, scale=0.5).tolist() == [0, 0, 0, 128]
    assert format.quantize(x, scale=0.5).tolist() == [0.5, 0.5, 0.5, -0.5]
    tiny = torch.tensor([-0.0, -1e-300], dtype=torch.float64)
    assert format.quantize(tiny).tolist() == [1.0, -1.0]
    with_zero = MultiBaseLNS(8, 8, zero=True)
    assert with_zero.encode(x, scale=0.5).tolist() == [0, 0, 0, 0]
    assert not with_zero.quantize(x, scale=0.5).signbit().any()


def test_ranges_of_the_paper():
    """Octaves of range at 8 bits: 127, 63.5, 31.75, 15.875, 7.94, 3.97."""
    for base_factor, octaves in ((1, 127), (2, 63.5), (4, 31.75), (8, 15.875), (16, 7.9375), (32, 3.96875)):
        format = MultiBaseLNS(8, base_factor)
        assert format.smallest == 1.0
        assert float(np.log2(format.largest)) == pytest.approx(octaves, abs=1e-6)
        assert len(format.values) == 256


@pytest.mark.parametrize("format", FORMATS + WIDE, ids=str)
@pytest.mark.parametrize("peak", [1.0, 0.1, 1e-6, 123.4, 3e38])
def test_the_scale_of_a_tensor_gives_its_peak_the_top_code(format, peak):
    x = torch.tensor([0.0, peak / 7, -peak, peak / 3])
    for dtype in (torch.float32, torch.float64):
        scale = format.scale_of(x.to(dtype))
        assert scale.shape == ()
        assert scale.dtype == torch.float32
        code = format.encode(x.to(dtype), scale=scale)[2] & ((1 << (format.bits - 1)) - 1)
        reachable = scale > 2.0**-126
        assert not reachable or code == (1 << (format.bits - 1)) - 1


def test_with_127_octaves_the_scale_stops_at_the_smallest_normal_float():
    format = MultiBaseLNS(8, 1)
    x = torch.tensor([0.1, -1.0])
    assert format.scale_of(x) == 2.0**-126
    assert format.quantize(x, scale=format.scale_of(x)).tolist() == [0.125, -1.0]
    assert format.scale_of(torch.zeros(3)) == 2.0**-126


def test_per_channel_scales_treat_each_channel_as_a_tensor():
    weight = (
        torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0))
        * torch.logspace(-3, 2, 6)[:, None, None, None]
    )
    for base in (MultiBaseLNS(8, 8), MultiBaseLNS(4, 2, zero=True), MultiBaseLNS(12, 128)):
        format = MultiBaseLNS(base.bits, base.base_factor, "per_channel", base.zero)
        for dim, shape in ((None, (6, 1, 1, 1)), (1, (1, 5, 1, 1)), ((0, 1), (6, 5, 1, 1)), (-1, (1, 1, 1, 3))):
            scale = format.scale_of(weight, dim=dim)
            assert scale.shape == shape
            where = [range(n) for n in shape]
            codes, numbers = format.encode(weight, scale=scale), format.quantize(weight, scale=scale)
            assert torch.equal(format.decode(codes, scale=scale), numbers)
            for index in np.ndindex(*map(len, where)):
                part = tuple(slice(i, i + 1) if n > 1 else slice(None) for i, n in zip(index, shape, strict=True))
                piece = weight[part]
                assert scale[index] == base.scale_of(piece)
                assert torch.equal(codes[part], base.encode(piece, scale=scale[index]))
                assert torch.equal(numbers[part], base.quantize(piece, scale=scale[index]))


@given(st.floats(2.0**-90, 2.0**90, width=32), st.sampled_from([MultiBaseLNS(8, 8, power_of_two=True)]))
def test_power_of_two_scales_are_the_smallest_that_leave_the_peak_in_range(peak, format):
    scale = format.scale_of(torch.tensor([peak]))
    mantissa, _ = torch.frexp(scale)
    assert mantissa == 0.5
    assert peak <= float(scale) * format.largest
    assert peak > float(scale) / 2 * format.largest


def test_a_power_of_two_scale_is_an_offset_of_the_logarithm():
    format = MultiBaseLNS(8, 8, power_of_two=True)
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 100
    assert torch.equal(format.encode(x * 2.0**-9, scale=2.0**-9), format.encode(x))
    assert torch.equal(format.quantize(x * 2.0**-9, scale=2.0**-9), format.quantize(x) * 2.0**-9)
    with pytest.raises(SpecificationError, match="no power of two"):
        format.encode(x, scale=0.3)


def test_stochastic_rounding_below_the_scale_flips_signs_and_keeps_the_mean():
    x = torch.full((100_000,), -0.25)
    result = MultiBaseLNS(8, 8).quantize(x, rounding="stochastic", generator=torch.Generator().manual_seed(0))
    assert set(result.tolist()) == {-1.0, 1.0}
    assert abs(result.double().mean().item() + 0.25) < 5 * (1 / 100_000) ** 0.5


@pytest.mark.parametrize("format", [MultiBaseLNS(8, 8), MultiBaseLNS(8, 1), MultiBaseLNS(12, 128)], ids=str)
def test_stochastic_log_is_unbiased_in_the_exponent(format):
    """4096 equally spaced draws average the exponent to the fraction's own resolution."""
    top = 2 ** (format.bits - 1) - 1
    exponents = torch.linspace(0.01, min(top, 120 * format.base_factor) - 0.01, 97, dtype=torch.float64)
    x = torch.exp2(exponents / format.base_factor)
    draws = (torch.arange(4096) / 4096)[:, None].expand(4096, 97)
    fields = format._encode(x.expand(4096, 97), "stochastic-log", draws, format._place(None, x)).double()
    assert (fields.mean(dim=0) - exponents).abs().max() < 1.5 / 4096
    assert (fields - exponents).abs().max() < 1


def test_stochastic_log_saturates_and_leaves_numbers_of_the_format():
    for format in (MultiBaseLNS(8, 8), MultiBaseLNS(8, 8, zero=True)):
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            again = format.quantize(format.values, rounding="stochastic-log", generator=generator)
            assert torch.equal(again, format.values)
        x = torch.tensor([inf, -inf, 1e9, 0.0])
        ends = format.quantize(x, rounding="stochastic-log", generator=generator).tolist()
        assert ends == [format.largest, -format.largest, format.largest, 0.0 if format.zero else 1.0]
    below = MultiBaseLNS(8, 8).quantize(torch.tensor([0.3, -0.3]), rounding="stochastic-log", generator=generator)
    assert below.tolist() == [1.0, -1.0]


@given(st.integers(0, 18), st.integers(-2, 70))
def test_only_formats_that_float32_holds_exist(bits, base_factor):
    power = base_factor > 0 and base_factor & (base_factor - 1) == 0
    in_range = 2 <= bits <= 16 and power and base_factor <= 2 ** (bits - 1)
    if in_range and 2 ** (bits - 1) - 1 <= 127 * base_factor:
        assert MultiBaseLNS(bits, base_factor).width == bits
    else:
        with pytest.raises(SpecificationError, match=r"MultiBaseLNS\("):
            MultiBaseLNS(bits, base_factor)


def test_scales_of_the_wrong_granularity_are_refused():
    x = torch.ones(2, 3)
    with pytest.raises(SpecificationError, match="2 scales for one tensor; use scale='per_channel'"):
        MultiBaseLNS(8, 8).encode(x, scale=torch.ones(2, 1))
    with pytest.raises(SpecificationError, match="use scale='per_channel'"):
        MultiBaseLNS(8, 8).scale_of(x, dim=0)
    with pytest.raises(SpecificationError, match="x has 2 dimensions"):
        MultiBaseLNS(8, 8, "per_channel").scale_of(x, dim=2)


def test_printed_forms():
    assert str(MultiBaseLNS(8, 8)) == "MultiBaseLNS(8,8)"
    assert str(MultiBaseLNS(8, 8, "per_channel", True, True)) == "MultiBaseLNS(8,8,per_channel,zero,power_of_two)"
