"""Units against their models, vector by vector: everything where there is little, random and corners elsewhere."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick import E4M3, LNS, LinearAccumulate, LogArithmetic, MultiBaseLNS
from slipstick.hardware.float_format import BF16, FP16, FP32, FloatFormat
from slipstick.hardware.models.fixed import FixedMac, fixed_step
from slipstick.hardware.models.floating import FloatMac, float_step
from slipstick.hardware.models.linear_accumulate import linear_step
from slipstick.hardware.models.log import accumulator_range, log_step
from slipstick.hardware.rtl.float_mac import float_mac_unit
from slipstick.hardware.rtl.linear_accumulate import linear_mac_unit
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit
from slipstick.hardware.rtl.log_mac import log_mac_unit
from slipstick.hardware.simulation import Simulator
from slipstick.hardware.unit import Unit

Codes = np.ndarray


def simulated(unit: Unit, a: Codes, b: Codes, acc: Codes) -> Codes:
    return Simulator(unit).run(a=a, b=b, acc=acc)["sum"].astype(np.int64)


def all_of(*values: Codes) -> tuple[Codes, ...]:
    return tuple(x.ravel() for x in np.meshgrid(*values, indexing="ij"))


def some_of(count: int, *values: Codes) -> tuple[Codes, ...]:
    generator = np.random.default_rng(0)
    return tuple(generator.choice(x, count) for x in values)


def operands(format: LNS) -> Codes:
    """Every code; the pattern of a negative zero is none."""
    codes = np.arange(1 << format.width)
    return codes[codes != (0b11 << (format.width - 2))]


def reachable(arithmetic: LogArithmetic) -> Codes:
    """Codes of the accumulator that sums from zero can have."""
    format, range = arithmetic.accumulator_format, accumulator_range(arithmetic)
    logs = np.arange(range.lowest, range.highest + 1) & ((1 << (format.width - 1)) - 1)
    return np.concatenate([[1 << (format.width - 2)], logs, logs | 1 << (format.width - 1)])


@pytest.mark.parametrize(
    "arithmetic",
    [
        LogArithmetic(LNS(2, 2), accumulator="operand"),
        LogArithmetic(LNS(2, 2, "flush"), accumulator="operand"),
        LogArithmetic(LNS(2, 1)),
        LogArithmetic(LNS(2, 1), accumulator=LogArithmetic(LNS(3, 3))),
    ],
    ids=str,
)
def test_logarithms_of_few_bits(arithmetic: LogArithmetic) -> None:
    a, b, acc = all_of(operands(arithmetic.format), operands(arithmetic.format), reachable(arithmetic))
    assert np.array_equal(simulated(log_mac_unit(arithmetic), a, b, acc), log_step(arithmetic, a, b, acc))


@pytest.mark.parametrize(
    "add", ["hamad2025", "designed", "designed-8", "sanyal2019-lut", "sanyal2019-bitshift", "exact"]
)
@pytest.mark.parametrize("accumulator", ["operand", "guard"])
def test_logarithms_of_twelve_bits(add: str, accumulator: str) -> None:
    arithmetic = LogArithmetic(LNS(5, 5), add, accumulator=accumulator)
    codes = operands(arithmetic.format)
    a, b, acc = some_of(200_000, codes, codes, reachable(arithmetic))
    assert np.array_equal(simulated(log_mac_unit(arithmetic), a, b, acc), log_step(arithmetic, a, b, acc))


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("multiplier", ["operator", "booth"])
def test_linear_fixed_point(overflow: str, multiplier: str) -> None:
    small = FixedMac(4, 5, 8, overflow)
    a, b, acc = all_of(np.arange(16), np.arange(32), np.arange(256))
    assert np.array_equal(simulated(fixed_mac_unit(small, multiplier), a, b, acc), fixed_step(small, a, b, acc))
    exact = (a ^ 8) - 8, (b ^ 16) - 16, (acc ^ 128) - 128
    total = exact[2] + exact[0] * exact[1]
    total = np.clip(total, -128, 127) if overflow == "saturate" else total
    assert np.array_equal(fixed_step(small, a, b, acc), total & 255)
    large = FixedMac(12, 12, 28, overflow)
    a, b, acc = some_of(200_000, np.arange(1 << 12), np.arange(1 << 12), np.arange(1 << 28))
    assert np.array_equal(simulated(fixed_mac_unit(large, multiplier), a, b, acc), fixed_step(large, a, b, acc))


@pytest.mark.parametrize(
    "mac",
    [FloatMac(E4M3, E4M3, FP16), FloatMac(E4M3, E4M3, FP32), FloatMac(FP16, FP16, FP32), FloatMac(BF16, BF16, FP32)],
    ids=str,
)
def test_floating_point(mac: FloatMac) -> None:
    a, b, acc = some_of(100_000, *(np.arange(1 << min(f.width, 24)) for f in (mac.a, mac.b)), np.arange(1 << 16))
    acc = (acc << max(mac.accumulator.width - 16, 0)) | (a & ((1 << max(mac.accumulator.width - 16, 0)) - 1))
    assert np.array_equal(simulated(float_mac_unit(mac), a, b, acc), float_step(mac, a, b, acc))


def number(format: FloatFormat, code: int) -> Fraction | None:
    """The number of a code by the definition; None for what is none."""
    field, mantissa = divmod(code & ((1 << (format.width - 1)) - 1), 1 << format.mantissa_bits)
    if (code & ((1 << (format.width - 1)) - 1)) > format.top_code:
        return None
    exponent = max(field, 1) - format.zero_exponent - format.mantissa_bits
    magnitude = (mantissa + (field > 0) * (1 << format.mantissa_bits)) * Fraction(2) ** exponent
    return -magnitude if code >> (format.width - 1) else magnitude


@pytest.mark.parametrize(
    "mac", [FloatMac(E4M3, E4M3, FP16), FloatMac(FP16, FP16, FP16), FloatMac(BF16, BF16, FP32)], ids=str
)
def test_the_model_of_floating_point_rounds_the_exact_sum_to_the_nearest_number(mac: FloatMac) -> None:
    wide = mac.accumulator
    a, b, acc = some_of(3000, *(np.arange(1 << f.width) for f in (mac.a, mac.b)), np.arange(1 << min(wide.width, 20)))
    acc = acc << (wide.width - min(wide.width, 20))
    for x, y, c, got in zip(a, b, acc, float_step(mac, a, b, acc), strict=True):
        numbers = number(mac.a, int(x)), number(mac.b, int(y)), number(wide, int(c))
        if None in numbers:
            continue
        exact = numbers[0] * numbers[1] + numbers[2]
        code = int(got) & ((1 << (wide.width - 1)) - 1)
        if code > wide.top_code:  # beyond the largest number
            top, step = number(wide, wide.top_code), number(wide, wide.top_code) - number(wide, wide.top_code - 1)
            assert abs(exact) >= top + step / 2
            continue
        error = abs(abs(exact) - number(wide, code))
        for neighbour in (code - 1, code + 1):
            if 0 <= neighbour <= wide.top_code:
                other = abs(abs(exact) - number(wide, neighbour))
                assert error < other or (error == other and code % 2 == 0)
        assert exact == 0 or (exact < 0) == bool(int(got) >> (wide.width - 1))


@pytest.mark.parametrize("entries", [8, 4, 2, 1])
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_log_multiply_integer_accumulate(entries: int, overflow: str) -> None:
    arithmetic = LinearAccumulate(MultiBaseLNS(8, 8), entries, overflow=overflow)
    codes, sums = np.arange(256), np.arange(1 << 24)
    a, b, acc = some_of(300_000, codes, codes, np.concatenate([sums[:99], sums[-99:], sums[1 << 23 :][:99], sums]))
    assert np.array_equal(simulated(linear_mac_unit(arithmetic), a, b, acc), linear_step(arithmetic, a, b, acc))
