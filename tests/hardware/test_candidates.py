"""Candidates: codes of real numbers, sums of dot products, and units that agree with both."""

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick import E4M3, LNS, LinearAccumulate, LogArithmetic, MultiBaseLNS
from slipstick.errors import SpecificationError
from slipstick.hardware.candidates import (
    FixedCandidate,
    FloatCandidate,
    LinearAccumulateCandidate,
    LogCandidate,
    clocked_units,
    dot_products,
)
from slipstick.hardware.float_format import BF16, FP16, FP32
from slipstick.hardware.models.fixed import FixedMac, signed
from slipstick.hardware.models.floating import FloatMac
from slipstick.hardware.operands import codes, normal, of_role
from slipstick.hardware.simulation import Simulator
from slipstick.hardware.streams import Stream

LOG = LogCandidate(LogArithmetic(LNS(5, 5), "hamad2025"))
LINEAR = LinearAccumulateCandidate(LinearAccumulate(MultiBaseLNS(8, 8)))
FIXED = FixedCandidate(FixedMac(12, 12, 28))
FP8 = FloatCandidate(FloatMac(E4M3, E4M3, FP16))
ALL = {"log": LOG, "linear accumulate": LINEAR, "fixed": FIXED, "fp8": FP8}


def numbers(count=500, peak=0.37):
    x = np.random.default_rng(3).standard_normal(count).astype(np.float32)
    return x / np.abs(x).max() * np.float32(peak)


def test_logarithms_keep_their_size():
    x = numbers()
    sign, log = LOG.arithmetic.format.split(LOG.encode(x, 0.37))
    assert np.abs(log / 32 - np.log2(np.abs(x))).max() <= 0.5 / 32
    assert np.array_equal(sign, x < 0)
    assert LOG.encode(np.zeros(1, np.float32), 1.0)[0] == 1 << 10


def test_the_largest_magnitude_has_the_top_code_of_lns_madam():
    x = numbers()
    found = LINEAR.encode(x, float(np.abs(x).max())) & 127
    assert found.max() == 127 == found[np.abs(x).argmax()]


def test_fixed_point_fills_its_range_by_a_power_of_two():
    x = numbers(peak=0.37)  # times 2 lies below 1
    assert np.array_equal(signed(FIXED.encode(x, 0.37), 12), np.sign(x) * np.floor(np.abs(x) * 2 * 2048 + 0.5))


@pytest.mark.parametrize("format", [FP16, BF16], ids=str)
def test_floats_are_rounded_to_nearest_even(format):
    candidate, x = FloatCandidate(FloatMac(format, format, FP32)), numbers(peak=0.37)
    found = candidate.encode(x, 0.37)
    if format == FP16:  # brought below 16: 0.37 2^5
        expected = (x * np.float32(32)).astype(np.float16).view(np.uint16)
    else:
        bits = x.view(np.uint32).astype(np.int64)
        expected = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    assert np.array_equal(found, expected)
    whole = FloatCandidate(FloatMac(FP32, FP32, FP32)).encode(x, 0.37)
    assert np.array_equal(whole, x.view(np.uint32))


@pytest.mark.parametrize("candidate", ALL.values(), ids=ALL)
def test_the_clocked_units_hold_the_sums_of_dot_products(candidate):
    streams = [stream("forward", 7, 1.0), stream("forward", 30, 3.0)]
    ports = codes(of_role(streams, "forward", 400), candidate)
    expected = dot_products(candidate, **ports)
    for unit in clocked_units(candidate):
        got = Simulator(unit).run(rst=0, **ports)["sum"].astype(np.int64)
        assert np.array_equal(got[unit.latency - 1 :], expected[: 1 - unit.latency])


@pytest.mark.parametrize("candidate", ALL.values(), ids=ALL)
def test_sums_for_tests_are_codes(candidate):
    found = candidate.sums(np.random.default_rng(0), 2000)
    assert found.min() >= 0
    assert int(found.max()) >> candidate.accumulator_bits == 0
    assert len(np.unique(found)) > 500
    assert (found == candidate.zero).any() or candidate is FP8
    assert candidate.operand_bits in (8, 12)


def stream(role, terms, size, products=0):
    generator = np.random.default_rng(terms)
    a, b = (size * generator.standard_normal((4, terms)).astype(np.float32) for _ in range(2))
    return Stream("test", role, a, b, float(np.abs(a).max()), float(np.abs(b).max()), products or terms)


def test_cycles_are_shared_out_by_products():
    pieces = of_role([stream("forward", 10, 1.0, 300), stream("forward", 1000, 1.0, 100)], "forward", 4000)
    assert [len(piece.a) for piece in pieces] == [3000, 1000]
    assert [int(piece.clear.sum()) for piece in pieces] == [300, 4]
    assert all(piece.clear[0] == 1 and np.abs(piece.a).max() <= piece.a_peak for piece in pieces)


def test_terms_stay_in_order_and_pairs_together():
    (piece,) = of_role([stream("forward", 6, 1.0)], "forward", 60)
    source = stream("forward", 6, 1.0)
    rows = {tuple(row) for row in np.concatenate([source.a, source.b], axis=1).tolist()}
    parts = np.concatenate([piece.a.reshape(-1, 6), piece.b.reshape(-1, 6)], axis=1).tolist()
    assert {tuple(part) for part in parts} <= rows
    assert len({tuple(part) for part in parts}) > 1


def test_a_role_that_was_not_recorded_is_told():
    with pytest.raises(SpecificationError, match="nothing recorded of role 'weight_gradient'"):
        of_role([stream("forward", 6, 1.0)], "weight_gradient", 60)


def test_normal_operands_stay_within_their_peak():
    (piece,) = normal(1000, 50)
    assert np.abs(piece.a).max() <= piece.a_peak
    assert piece.clear.sum() == 20
    assert not np.array_equal(piece.a, piece.b)


def test_operands_of_two_formats_are_refused():
    with pytest.raises(SpecificationError, match="operands of different widths"):
        FixedCandidate(FixedMac(8, 12, 28))
    with pytest.raises(SpecificationError, match="operands of different formats"):
        FloatCandidate(FloatMac(FP16, E4M3, FP32))
