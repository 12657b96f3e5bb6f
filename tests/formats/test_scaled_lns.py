"""ScaledLNS: LNS that flushes, times a power of two; without a sign where none is needed."""

import itertools
from math import inf

import numpy as np
import pytest
import slow_quantisers as slow
import torch

from slipstick import LNS, SpecificationError
from slipstick.formats import Quantiser
from slipstick.formats.scaled_lns import ScaledLNS

FORMATS = [ScaledLNS(0, 0), ScaledLNS(1, 0), ScaledLNS(2, 1, -9), ScaledLNS(3, 4, 5), ScaledLNS(5, 3, -40)]


def numbers_to_round(int_bits, frac_bits):
    """Every number of the format, every threshold, and floats beside them and beyond."""
    steps, reach = 1 << frac_bits, 1 << (int_bits + frac_bits)
    points = [slow.log_number(k, 2 * steps) for k in range(-2 * reach - 3, 2 * reach + 4)]
    xs = [x for point in points for x in slow.float_neighbours(point)]
    xs = torch.tensor([*xs, 0.0, -0.0, inf, 2.0**-126], dtype=torch.float32)
    return torch.cat([xs, -xs])


@pytest.mark.parametrize(("int_bits", "frac_bits"), list(itertools.product((1, 2, 3), (0, 1, 4))))
@pytest.mark.parametrize("exponent", [0, -7, 20])
def test_the_numbers_are_those_of_an_lns_that_flushes_times_a_power_of_two(int_bits, frac_bits, exponent):
    lns, scaled = LNS(int_bits, frac_bits, "flush"), ScaledLNS(int_bits, frac_bits, exponent)
    xs = numbers_to_round(int_bits, frac_bits)
    expected = lns.decode(lns.encode(xs)) * 2.0**exponent
    assert torch.equal(scaled.quantize(xs * 2.0**exponent), expected)
    assert torch.equal(scaled.quantize(xs.double() * 2.0**exponent), expected.double())
    assert scaled.width == lns.width
    assert (scaled.largest, scaled.smallest) == pytest.approx(
        (lns.largest * 2.0**exponent, lns.smallest * 2.0**exponent)
    )


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_code_survives_decode_then_encode(format):
    codes = torch.arange(1 << format.width, dtype=torch.int32)
    codes = codes[codes != 1 << (format.width - 1)]
    assert torch.equal(format.encode(format.decode(codes)), codes)
    assert len(format.values) == len(codes)
    assert format.decode(torch.tensor([0])).item() == 0.0
    with pytest.raises(SpecificationError, match="is not a code"):
        format.decode(torch.tensor([1 << (format.width - 1)]))


def test_without_a_sign_the_other_half_is_left_and_negative_numbers_are_zero():
    signed, unsigned = ScaledLNS(3, 2, -1), ScaledLNS(3, 2, -1, signed=False)
    assert unsigned.width == signed.width - 1
    np.testing.assert_array_equal(unsigned.values.numpy(), signed.values[signed.values >= 0].numpy())
    xs = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unsigned.quantize(xs.abs()), signed.quantize(xs.abs()))
    assert torch.equal(unsigned.quantize(-xs.abs()), torch.zeros(1000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"int_bits": 7}, r"ScaledLNS\(int_bits=7\): must be an integer from 0 to 6"),
        ({"frac_bits": -1}, r"ScaledLNS\(frac_bits=-1\): must be an integer from 0 to 16"),
        ({"int_bits": 5, "exponent": -95}, r"ScaledLNS\(exponent=-95\): must be an integer from -94 to 95"),
        ({"exponent": 126}, r"ScaledLNS\(exponent=126\): must be an integer from -122 to 123"),
        ({"signed": 1}, r"ScaledLNS\(signed=1\)"),
    ],
)
def test_only_formats_whose_numbers_are_normal_floats_exist(fields, message):
    with pytest.raises(SpecificationError, match=message):
        ScaledLNS(**{"int_bits": 2, "frac_bits": 3, **fields})


@pytest.mark.parametrize("int_bits", range(7))
def test_the_limits_of_the_exponent_are_those_of_normal_floats(int_bits):
    reach = 1 << int_bits
    for exponent in (reach - 126, 127 - reach):
        values = ScaledLNS(int_bits, 1, exponent, signed=False).values
        assert values[1] >= 2.0**-126
        assert values[-1] < 2.0**127


def test_printed_forms_and_plain_data():
    assert str(ScaledLNS(3, 4, -7)) == "ScaledLNS(3,4,2^-7)"
    assert str(ScaledLNS(0, 1, signed=False)) == "ScaledLNS(0,1,2^0,unsigned)"
    for format in FORMATS:
        assert Quantiser.from_dict(format.to_dict()) == format
