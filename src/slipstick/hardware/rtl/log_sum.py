"""The sum of two logarithmic numbers: max(La, Lb) + D(|La - Lb|), with the sign of the larger.

Inside a unit numbers travel as sign, log and a flag for zero, whose sign and log then mean nothing. The range of every
log is known, so what provably stays in its format has no logic that would saturate it.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.arithmetic import Adder
from slipstick.formats import LNS
from slipstick.hardware.models.log import LogRange, sum_range
from slipstick.hardware.rtl.log_adder import LogAdder


class LogSum(wiring.Component):
    """a + b in ``format``.

    a, b: ranges of the operands' logs. b_coded: the log of a zero b is ``format.zero_log``, as in its code; where both
        are zero it is handed on, and b_zero may be left at 0 if the adder corrects nothing at so great a distance.
    range: of the sum's log.
    """

    def __init__(self, adder: Adder, format: LNS, a: LogRange, b: LogRange, *, b_coded: bool = False) -> None:
        self._adder, self._format, self._coded = adder, format, b_coded
        self._exact = sum_range(adder.tables(format), a, b)
        self.range = self._exact.rounded(format)
        self._code = LogRange(format.zero_log, format.max_log)
        super().__init__(
            {
                "a_sign": In(1),
                "a_log": In(signed(a.bits)),
                "a_zero": In(1),
                "b_sign": In(1),
                "b_log": In(signed((b | self._code if b_coded else b).bits)),
                "b_zero": In(1),
                "sign": Out(1),
                "log": Out(signed((self._code if b_coded else self.range).bits)),
                "zero": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        difference = self.a_log - self.b_log
        below, take_b = Signal(), Signal()
        distance = Signal(len(difference) - 1)
        m.d.comb += below.eq(difference[-1])
        m.d.comb += distance.eq((difference ^ below.replicate(len(difference))) + below)
        m.d.comb += take_b.eq(self.a_zero | (below & ~self.b_zero))

        m.submodules.adder = adder = LogAdder(self._adder, self._format, len(distance))
        m.d.comb += adder.d.eq(distance)
        m.d.comb += adder.opposite.eq(self.a_sign ^ self.b_sign)
        m.d.comb += adder.live.eq(~self.a_zero & ~self.b_zero)

        largest = self._exact | self._code if self._coded else self._exact
        total = Signal(signed(largest.bits))
        m.d.comb += total.eq(Mux(take_b, self.b_log, self.a_log) + adder.correction)
        log, flushed = rounded_log(m, total, self._exact, self._format, live=adder.live)
        m.d.comb += self.log.eq(log)
        m.d.comb += self.sign.eq(Mux(take_b, self.b_sign, self.a_sign))
        m.d.comb += self.zero.eq((self.a_zero & self.b_zero) | adder.cancel | flushed)
        return m


def rounded_log(
    m: Module, exact: Value, range: LogRange, format: LNS, live: Value | None = None
) -> tuple[Value, Value]:
    """A signed log rounded to ``format``, and whether it was flushed to zero.

    range: of the log; sides that it does not leave by cost nothing. live: where it is 0 the log is that of a code
    already, maybe of the zero code, and kept.
    """
    if range.fits(format):
        return exact, Const(0, 1)
    bits = format.width - 1
    exact = Cat(exact, exact[-1].replicate(max(0, bits + 1 - len(exact))))
    negative, top = exact[-1], exact[bits - 1 : -1]
    above, below = Signal(name="above"), Signal(name="below")
    if range.highest > format.max_log:
        m.d.comb += above.eq(~negative & top.any())
    if range.lowest >= -format.max_log:
        low = exact[: bits - 1] | above.replicate(bits - 1)
        return Cat(low, negative).as_signed(), Const(0, 1)
    # -MAX is 1 0...0 1, and the pattern below it is that of zero.
    if format.underflow == "flush":
        low = exact[: bits - 1] | above.replicate(bits - 1)
        m.d.comb += below.eq(negative & (~top.all() | ~exact[: bits - 1].any()))
        if live is not None:
            below = below & live
        return Cat(low, negative).as_signed(), below
    m.d.comb += below.eq(negative & ~top.all())
    lowest = negative & ~exact[1 : bits - 1].any()
    if live is not None:
        lowest = lowest & live
    body = (exact[1 : bits - 1] & ~below.replicate(bits - 2)) | above.replicate(bits - 2)
    return Cat(exact[0] | above | below | lowest, body, negative).as_signed(), Const(0, 1)


def log_code(sign: Value, log: Value, zero: Value, format: LNS) -> Value:
    """The code of a number: where ``zero``, the zero code; ``log`` then means nothing."""
    bits = format.width - 1
    wide = Cat(log, log[-1].replicate(max(0, bits - len(log))))
    return Cat(wide[: bits - 1] & ~zero.replicate(bits - 1), wide[bits - 1] | zero, sign & ~zero)


def is_zero_code(log: Value) -> Value:
    """Whether the log of a code is that of zero."""
    return log[-1] & ~log[:-1].any()
