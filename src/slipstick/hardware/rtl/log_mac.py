# amaranth: UnusedElaboratable=no
"""The multiply-accumulate core of a LogArithmetic: acc + a b, bit for bit as the software adds it.

The product is La + Lb, shifted left where the accumulator has more fraction bits, and rounded to the accumulator's
format where it can leave it. The accumulator's logs are those that a sum started from zero can reach
(``models.log.accumulator_range``): with guard bits they leave no room for saturation, and there is no logic for it.
"""

from amaranth.hdl import Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.arithmetic import Adder, LogArithmetic
from slipstick.hardware.models.log import accumulator_range, product_range
from slipstick.hardware.rtl.log_names import arithmetic_name
from slipstick.hardware.rtl.log_sum import LogSum, is_zero_code, log_code, rounded_log
from slipstick.hardware.unit import Port, Unit


def accumulator_adder(arithmetic: LogArithmetic) -> Adder:
    """The adder of the accumulator."""
    if isinstance(arithmetic.accumulator, LogArithmetic):
        return arithmetic.accumulator.adder
    return arithmetic.adder


class LogProduct(wiring.Component):
    """a b of two codes as a number of the accumulator. range: of its log."""

    def __init__(self, arithmetic: LogArithmetic) -> None:
        self._arithmetic = arithmetic
        self.range = product_range(arithmetic).rounded(arithmetic.accumulator_format)
        width = arithmetic.format.width
        super().__init__(
            {
                "a": In(width),
                "b": In(width),
                "sign": Out(1),
                "log": Out(signed(self.range.bits)),
                "zero": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wide = self._arithmetic.accumulator_format
        a, b = self.a[:-1], self.b[:-1]
        exact = product_range(self._arithmetic)
        total = Signal(signed(exact.bits))
        m.d.comb += total.eq((a.as_signed() + b.as_signed()) << (wide.frac_bits - self._arithmetic.format.frac_bits))
        log, flushed = rounded_log(m, total, exact, wide)
        m.d.comb += self.log.eq(log)
        m.d.comb += self.sign.eq(self.a[-1] ^ self.b[-1])
        m.d.comb += self.zero.eq(is_zero_code(a) | is_zero_code(b) | flushed)
        return m


class LogMac(wiring.Component):
    """sum = acc + a b; with ``clear`` (if it has one) sum = a b."""

    def __init__(self, arithmetic: LogArithmetic, *, clear: bool = False) -> None:
        self._arithmetic = arithmetic
        width, acc_width = arithmetic.format.width, arithmetic.accumulator_format.width
        ports = {"a": In(width), "b": In(width), "acc": In(acc_width), "sum": Out(acc_width)}
        super().__init__(ports | ({"clear": In(1)} if clear else {}))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        format = self._arithmetic.accumulator_format
        m.submodules.product = product = LogProduct(self._arithmetic)
        m.d.comb += [product.a.eq(self.a), product.b.eq(self.b)]

        adder, range = accumulator_adder(self._arithmetic), accumulator_range(self._arithmetic)
        m.submodules.add = add = LogSum(adder, format, product.range, range, b_coded=True)
        acc_log = self.acc[:-1].as_signed()
        m.d.comb += [add.a_sign.eq(product.sign), add.a_log.eq(product.log), add.a_zero.eq(product.zero)]
        m.d.comb += [add.b_sign.eq(self.acc[-1]), add.b_log.eq(acc_log)]
        corrected = len(adder.tables(format)[0]) - 1
        zero_is_far = product.range.lowest - format.zero_log >= corrected
        acc_zero = Const(0, 1) if zero_is_far else is_zero_code(acc_log)
        m.d.comb += add.b_zero.eq(acc_zero | self.clear if "clear" in self.signature.members else acc_zero)
        m.d.comb += self.sum.eq(log_code(add.sign, add.log, add.zero, format))
        return m


def log_mac_unit(arithmetic: LogArithmetic, *, clear: bool = False) -> Unit:
    """The core as a unit: combinational, inputs a, b, acc, output sum. clear: a further input, acc counts as zero."""
    format, wide = arithmetic.format, arithmetic.accumulator_format
    range = accumulator_range(arithmetic)
    extra = (Port("clear", 1, "acc counts as zero"),) if clear else ()
    return Unit(
        name=f"log_mac_{arithmetic_name(arithmetic)}" + ("_clear" if clear else ""),
        title=f"Logarithmic multiply-accumulate: {arithmetic}.\n"
        f"Operands {format}, accumulator {wide}, adder {accumulator_adder(arithmetic)}.",
        component=LogMac(arithmetic, clear=clear),
        inputs=(
            Port("a", format.width, f"operand, code of {format}"),
            Port("b", format.width, f"operand, code of {format}"),
            Port(
                "acc", wide.width, f"sum before, code of {wide}: zero, or a log from {range.lowest} to {range.highest}"
            ),
            *extra,
        ),
        outputs=(Port("sum", wide.width, f"acc + a b, code of {wide}"),),
    )
