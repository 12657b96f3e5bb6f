"""Encoding and decoding round correctly: at every threshold, checked with 80 digits."""

import numpy as np
import pytest

from grid import (
    MANTISSA_BITS,
    around_thresholds,
    clamped,
    decoded_mantissas,
    threshold_indices,
    threshold_mantissas,
)
from slipstick import LNS
from slipstick.formats.rounding_tables import encode_table
from slipstick.kernels import reference

SAMPLED = 96
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@BOTH
@pytest.mark.parametrize("underflow", ["saturate", "flush"])
@pytest.mark.parametrize("frac_bits", range(9))
def test_encode_is_correctly_rounded_beside_every_threshold(frac_bits, underflow, dtype):
    for int_bits in (1, 4, 6):
        format = LNS(int_bits, frac_bits, underflow)
        floats, logs = around_thresholds(format, dtype)
        for sign in (1, -1):
            np.testing.assert_array_equal(format.logs(dtype(sign) * floats)[1], clamped(logs, format))


@BOTH
@pytest.mark.parametrize("frac_bits", range(9, 17))
def test_encode_is_correctly_rounded_beside_sampled_thresholds(frac_bits, dtype):
    for int_bits in (2, 6):
        format = LNS(int_bits, frac_bits)
        floats, logs = around_thresholds(format, dtype, SAMPLED)
        np.testing.assert_array_equal(format.logs(floats)[1], clamped(logs, format))


@pytest.mark.parametrize("frac_bits", [0, 5, 8])
def test_every_float32_of_an_octave_is_correctly_rounded(frac_bits):
    mantissas = np.arange(1 << 23, dtype=np.int64) + (1 << 23)
    expected = np.searchsorted(threshold_mantissas(frac_bits, 23), mantissas, side="left")
    x = np.ldexp(mantissas.astype(np.float32), -23)
    np.testing.assert_array_equal(LNS(6, frac_bits).logs(x)[1], expected)


@pytest.mark.parametrize("frac_bits", range(17))
def test_decode_is_correctly_rounded(frac_bits):
    sampled = None if frac_bits <= 10 else 1024
    k = threshold_indices(frac_bits, sampled)
    mantissas = decoded_mantissas(frac_bits, sampled).astype(np.float64)
    format = LNS(6, frac_bits)
    for octave in (-64, -63, -17, -1, 0, 1, 40, 63):
        log = k + (octave << frac_bits)
        inside = log >= -format.max_log
        numbers = format.numbers(np.zeros_like(log), log)[inside]
        np.testing.assert_array_equal(numbers, np.ldexp(mantissas, octave - 23)[inside].astype(np.float32))


PAIRS = [(frac_bits, via) for via in range(10) for frac_bits in range(via + 1)]


@BOTH
@pytest.mark.parametrize(("frac_bits", "via"), PAIRS, ids=lambda value: str(value))
def test_two_stage_encoding_equals_encode_then_narrow(frac_bits, via, dtype):
    """One table look-up must give what hardware with wider registers gives: round to ``via``, then shift."""
    mantissa_bits = MANTISSA_BITS[dtype]
    table = encode_table(frac_bits, via, mantissa_bits)
    carrier = np.int32 if dtype is np.float32 else np.int64
    rng = np.random.default_rng(via * 16 + frac_bits)
    beside = around_thresholds(LNS(6, via), dtype, octaves=range(-3, 4))[0]
    ends = around_thresholds(LNS(6, via), dtype, 8)[0]
    random = np.exp2(rng.uniform(-70, 70, 4096)).astype(dtype)
    x = np.concatenate([beside, ends, random])
    for underflow in ("saturate", "flush"):
        format = LNS(6, frac_bits, underflow)
        narrowed = reference.encode(x, format, via=LNS(6, via, underflow))
        direct = clamped(table.logs(x.view(carrier).astype(np.int64)), format)
        np.testing.assert_array_equal(direct, narrowed.log)


@pytest.mark.parametrize(("frac_bits", "via"), [(0, 1), (0, 9), (5, 8)])
def test_two_stage_encoding_is_right_for_every_float32_of_two_octaves(frac_bits, via):
    """Two octaves, because at zero fraction bits the parity of L, which decides ties, alternates by octave."""
    table = encode_table(frac_bits, via)
    bits = np.arange(126 << 23, 128 << 23, dtype=np.int64)
    for part in np.array_split(bits, 16):
        x = part.astype(np.int32).view(np.float32)
        narrowed = reference.encode(x, LNS(6, frac_bits), via=LNS(6, via))
        np.testing.assert_array_equal(table.logs(part), narrowed.log)


def test_narrowing_ties_go_to_the_even_log():
    wide, narrow = LNS(3, 3), LNS(3, 1)
    logs = np.array([2, 6, -2, -6, 1, 3, 5, 7, -1, -3, 63, -63])
    a = reference.LogArray(wide, np.zeros_like(logs), logs)
    np.testing.assert_array_equal(reference.convert(a, narrow).log, [0, 2, 0, -2, 0, 1, 1, 2, 0, -1, 15, -15])
    flushed = reference.convert(a, LNS(3, 1, "flush"))
    assert int(flushed.log[-1]) == flushed.format.zero_log
