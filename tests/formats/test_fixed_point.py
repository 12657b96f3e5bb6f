"""FixedPoint: codes, the papers' equations, ties and their neighbours, saturation."""

from math import inf

import numpy as np
import pytest
import slow_quantisers as slow
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipstick import FixedPoint, SpecificationError

FORMATS = [
    FixedPoint(0, 7), FixedPoint(0, 1), FixedPoint(3, 0, rounding="half-even"), FixedPoint(2, 5, signed=False),
    FixedPoint(0, 7, symmetric=True, rounding="half-even"), FixedPoint(-13, 20), FixedPoint(10, -4), FixedPoint(5, 10),
    FixedPoint(-125, 126, signed=False), FixedPoint(127, -120), FixedPoint(8, 8, signed=False, rounding="half-even"),
]  # fmt: skip


def every_code(format):
    codes = torch.arange(1 << format.width, dtype=torch.int32)
    return codes[codes != 1 << (format.width - 1)] if format.symmetric else codes


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_code_is_the_integer_of_its_bits_times_the_step(format):
    codes = every_code(format)
    numbers = format.decode(codes)
    assert numbers.dtype == torch.float32
    integers = codes.double()
    if format.signed:
        integers = torch.where(codes >= 1 << (format.width - 1), integers - 2.0**format.width, integers)
    assert torch.equal(numbers.double(), integers * 2.0**-format.frac_bits)
    assert torch.equal(format.encode(numbers), codes)
    assert torch.equal(format.encode(numbers.double()), codes)
    assert torch.equal(format.values, numbers.sort().values)


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_the_exact_definition_at_every_tie_and_beside_it(format, dtype):
    integers = np.unique(np.linspace(format.min_integer - 2, format.max_integer + 2, 400).astype(int))
    ties = [(i + 0.5) * format.step for i in integers] + [i * format.step for i in integers]
    xs = [x for tie in ties for x in slow.float_neighbours(tie, dtype)] + [inf, -inf, 0.0, -0.0]
    x = torch.from_numpy(np.array(xs, dtype))
    expected = torch.tensor([float(slow.fixed_point(format, float(v))) for v in x.tolist()], dtype=x.dtype)
    result = format.quantize(x)
    assert torch.equal(result, expected)
    assert not (result.signbit() & (result == 0)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_float_below_one_half_rounds_to_zero(dtype):
    half = torch.tensor([0.5, -0.5], dtype=dtype)
    below = torch.nextafter(half, torch.zeros_like(half))
    assert FixedPoint(4, 0).quantize(below).tolist() == [0.0, 0.0]
    assert FixedPoint(4, 0).quantize(half).tolist() == [1.0, -1.0]
    assert FixedPoint(4, 0, rounding="half-even").quantize(3 * half).tolist() == [2.0, -2.0]


def test_24_bits_hold_every_integer_of_a_float():
    format = FixedPoint(24, 0, signed=False)
    x = torch.tensor([2.0**24 - 1, 2.0**23 + 1, 2.0**24, 8388606.5, 8388607.5])
    assert format.quantize(x).tolist() == [2.0**24 - 1, 2.0**23 + 1, 2.0**24 - 1, 8388607.0, 8388608.0]
    assert torch.equal(format.decode(format.encode(x)), format.quantize(x))


@pytest.mark.parametrize("bits", [2, 5, 8, 12])
def test_sakr_shanbhag_weight_and_gradient_quantisers(bits):
    x = torch.randn(4000, generator=torch.Generator().manual_seed(bits), dtype=torch.float64)
    away = lambda v: torch.sign(v) * torch.floor(v.abs() + 0.5)  # noqa: E731
    weight = torch.clamp(away(x * 2.0 ** (bits - 1)) * 2.0 ** (1 - bits), -1.0, 1.0 - 2.0 ** (1 - bits))
    assert torch.equal(FixedPoint(0, bits - 1).quantize(x), weight)
    r = 2.0**-4
    assert torch.equal(FixedPoint(-4, bits + 3).quantize(x * r), weight * r)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_wage_quantiser(k):
    sigma = 2.0 ** (1 - k)
    x = torch.cat([torch.linspace(-1.5, 1.5, 3001), torch.arange(-9, 9) * sigma / 2])
    expected = torch.clamp(sigma * torch.round(x / sigma), -1 + sigma, 1 - sigma) + 0.0
    assert torch.equal(FixedPoint(0, k - 1, symmetric=True, rounding="half-even").quantize(x), expected)


@pytest.mark.parametrize(("bits", "fsr"), [(3, 0), (3, 2), (5, -3)])
def test_miyashita_linear_quantiser(bits, fsr):
    step = 2.0 ** (fsr - bits)
    x = torch.linspace(-1, 2.0**fsr * 1.2, 999)
    expected = torch.clamp(torch.floor(x / step + 0.5) * step, 0, 2.0**fsr - step)
    assert torch.equal(FixedPoint(fsr, bits - fsr, signed=False).quantize(x), expected)


def test_a_scale_divides_in_the_dtype_of_the_numbers():
    x = torch.randn(5000, generator=torch.Generator().manual_seed(3))
    scale = torch.tensor(0.3)
    for numbers in (x, x.double()):
        expected = FixedPoint(2, 5).quantize(numbers / scale) * scale
        assert torch.equal(FixedPoint(2, 5).quantize(numbers, scale=scale), expected.float().to(numbers.dtype))


@given(st.integers(-200, 200), st.integers(-200, 200), st.booleans())
def test_only_formats_that_float32_holds_exist(int_bits, frac_bits, signed):
    possible = -125 <= int_bits <= 127 and -126 <= frac_bits <= 126 and 1 <= int_bits + frac_bits <= 24 - signed
    if possible:
        format = FixedPoint(int_bits, frac_bits, signed)
        assert format.width == int_bits + frac_bits + signed
        assert format.decode(format.encode(torch.tensor(inf))).item() == format.largest == format.values[-1]
        assert format.decode(torch.tensor(1)).item() == format.smallest
    else:
        with pytest.raises(SpecificationError, match="FixedPoint"):
            FixedPoint(int_bits, frac_bits, signed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"int_bits": 0, "frac_bits": 7, "rounding": "up"}, "rounding='up'"),
        ({"int_bits": 0, "frac_bits": 7, "signed": 1}, "signed=1"),
        ({"int_bits": True, "frac_bits": 7}, "int_bits=True"),
        ({"int_bits": 0, "frac_bits": 7, "signed": False, "symmetric": True}, "no symmetric range"),
        ({"int_bits": 0, "frac_bits": 0}, "int_bits \\+ frac_bits = 0"),
    ],
)
def test_impossible_fields_say_which(arguments, says):
    with pytest.raises(SpecificationError, match=says):
        FixedPoint(**arguments)


def test_the_missing_code_of_a_symmetric_format_is_refused():
    with pytest.raises(SpecificationError, match="128 is not a code"):
        FixedPoint(0, 7, symmetric=True).decode(torch.tensor([0, 128]))
    with pytest.raises(SpecificationError, match="256 is not a code"):
        FixedPoint(0, 7).decode(torch.tensor([256]))


def test_printed_forms():
    assert str(FixedPoint(0, 7)) == "FixedPoint(0,7)"
    assert str(FixedPoint(0, 7, symmetric=True, rounding="half-even")) == "FixedPoint(0,7,symmetric,half-even)"
    assert str(FixedPoint(1, 2, signed=False)) == "FixedPoint(1,2,unsigned)"
