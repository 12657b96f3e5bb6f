# amaranth: UnusedElaboratable=no
"""The ways into and out of logarithmic numbers: float32 to code, code to float32, one format to another.

All are correctly rounded, as the software is. A float's top F + 1 mantissa bits name a bucket that holds at most one
threshold 2^((2k+1) / 2^(F+1)), so its log is a table entry and one comparison (``formats.rounding_tables``).
"""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from slipstick.arithmetic import LogArithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.formats.rounding_tables import FLOAT_MANTISSA_BITS, decode_table, encode_table
from slipstick.hardware.models.log import LogRange
from slipstick.hardware.rtl.decision_diagram import DecisionDiagram
from slipstick.hardware.rtl.log_names import format_name
from slipstick.hardware.rtl.log_sum import is_zero_code, log_code, rounded_log
from slipstick.hardware.unit import Port, Unit

_FLOAT_BIAS = 127
_MAX_FRAC_BITS = 12


def log_encode_unit(format: LNS) -> Unit:
    """float32 to code: combinational, input number, outputs code, invalid.

    Raises:
        SpecificationError: float32 does not hold the format, or its tables are too long for logic.
    """
    _check("log_encode_unit", format)
    return Unit(
        name=f"log_encode_{format_name(format)}",
        title=f"float32 to {format}: the nearest logarithm, correctly rounded; infinities saturate.",
        component=_Encoder(format),
        inputs=(Port("number", 32, "float32"),),
        outputs=(
            Port("code", format.width, f"code of {format}"),
            Port("invalid", 1, "the number is a NaN, and the code means nothing"),
        ),
    )


def log_decode_unit(format: LNS) -> Unit:
    """Code to float32: combinational, input code, output number. Raises as ``log_encode_unit``."""
    _check("log_decode_unit", format)
    return Unit(
        name=f"log_decode_{format_name(format)}",
        title=f"{format} to float32, correctly rounded.",
        component=_Decoder(format),
        inputs=(Port("code", format.width, f"code of {format}"),),
        outputs=(Port("number", 32, "float32"),),
    )


def log_convert_unit(source: LNS, target: LNS) -> Unit:
    """Code of one format to that of another: combinational, input code, output converted.

    More fraction bits: a left shift. Fewer: to the nearest, ties to even. Then rounded to the range of the target.
    """
    return Unit(
        name=f"log_convert_{format_name(source)}_to_{format_name(target)}",
        title=f"{source} to {target}, to the nearest logarithm, ties to even.",
        component=_Converter(source, target),
        inputs=(Port("code", source.width, f"code of {source}"),),
        outputs=(Port("converted", target.width, f"code of {target}"),),
    )


def log_result_unit(arithmetic: LogArithmetic) -> Unit:
    """A finished sum to an operand: ``log_convert_unit`` from the accumulator's format."""
    return log_convert_unit(arithmetic.accumulator_format, arithmetic.format)


def _check(name: str, format: LNS) -> None:
    if not format.fits_float32:
        raise SpecificationError(f"{name}({format}): float32 does not hold the format; use int_bits <= 6")
    if format.frac_bits > _MAX_FRAC_BITS:
        raise SpecificationError(
            f"{name}({format}): its tables are too long for logic; use frac_bits <= {_MAX_FRAC_BITS}"
        )


class _Encoder(wiring.Component):
    def __init__(self, format: LNS) -> None:
        self._format = format
        super().__init__({"number": In(32), "code": Out(format.width), "invalid": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frac_bits = self._format.frac_bits
        mantissa, exponent = self.number[:FLOAT_MANTISSA_BITS], self.number[FLOAT_MANTISSA_BITS:31]
        rest_bits = FLOAT_MANTISSA_BITS - frac_bits - 1
        passed, distance = _thresholds(frac_bits)
        passed_bits = frac_bits + 1
        buckets = DecisionDiagram((distance << passed_bits) | passed, passed_bits + rest_bits + 1)
        entry = Signal(passed_bits + rest_bits + 1)
        m.d.comb += entry.eq(buckets.logic(m, mantissa[rest_bits:], "bucket"))
        reached = mantissa[:rest_bits] >= entry[passed_bits:]
        log = Signal(signed(exponent.shape().width + frac_bits + 2))
        octaves = Cat(Const(0, frac_bits), exponent)
        m.d.comb += log.eq(octaves + entry[:passed_bits] + reached - (_FLOAT_BIAS << frac_bits))
        range = LogRange(-_FLOAT_BIAS << frac_bits, (_FLOAT_BIAS + 2) << frac_bits)
        rounded, flushed = rounded_log(m, log, range, self._format)
        zero = ~self.number[:31].any() | flushed
        m.d.comb += self.code.eq(log_code(self.number[31], rounded, zero, self._format))
        m.d.comb += self.invalid.eq(exponent.all() & mantissa.any())
        return m


def _thresholds(frac_bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every bucket: the thresholds passed at its start, and the distance from there to the next.

    A threshold beyond the bucket counts as at its end, which no mantissa in it reaches.
    """
    offsets = encode_table(frac_bits).offsets
    step, width = 1 << (FLOAT_MANTISSA_BITS - frac_bits), 1 << (FLOAT_MANTISSA_BITS - frac_bits - 1)
    # The offset is (passed + 1) step - start - distance, with 0 < distance <= width.
    total = offsets + np.arange(len(offsets), dtype=np.int64) * width
    passed = total // step
    return passed, (passed + 1) * step - total


class _Decoder(wiring.Component):
    def __init__(self, format: LNS) -> None:
        self._format = format
        super().__init__({"code": In(format.width), "number": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frac_bits = self._format.frac_bits
        log = self.code[:-1]
        mantissas = DecisionDiagram(decode_table(frac_bits), FLOAT_MANTISSA_BITS)
        mantissa = mantissas.logic(m, log[:frac_bits], "mantissa")
        exponent = Signal(8)
        m.d.comb += exponent.eq((log.as_signed() >> frac_bits) + _FLOAT_BIAS)
        magnitude = Cat(mantissa, exponent) & ~is_zero_code(log).replicate(31)
        m.d.comb += self.number.eq(Cat(magnitude, self.code[-1]))
        return m


class _Converter(wiring.Component):
    def __init__(self, source: LNS, target: LNS) -> None:
        self._source, self._target = source, target
        super().__init__({"code": In(source.width), "converted": Out(target.width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        log = self.code[:-1].as_signed()
        shift = self._target.frac_bits - self._source.frac_bits
        limit = self._source.max_log << shift if shift >= 0 else (self._source.max_log >> -shift) + 1
        range = LogRange(-limit, limit)
        moved = Signal(signed(range.bits))
        if shift >= 0:
            m.d.comb += moved.eq(log << shift)
        else:
            floor, half, rest = log[-shift:].as_signed(), log[-shift - 1], log[: -shift - 1]
            m.d.comb += moved.eq(floor + (half & (rest.any() | floor[0])))
        rounded, flushed = rounded_log(m, moved, range, self._target)
        zero = is_zero_code(log) | flushed
        m.d.comb += self.converted.eq(log_code(self.code[-1], rounded, zero, self._target))
        return m
