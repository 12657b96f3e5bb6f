# amaranth: UnusedElaboratable=no
"""Linear fixed point: the baseline's multiply-accumulate core, and the rounding of an accumulator to an operand."""

from typing import Literal

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.formats.quantiser import check_choice
from slipstick.hardware.models.fixed import FixedMac, FixedOutput
from slipstick.hardware.unit import Port, Unit

Multiplier = Literal["operator", "booth"]

_MULTIPLIERS = {
    "operator": "Multiplier: an operator; synthesis maps it as an array, or with Yosys's -booth as Booth, radix 4.",
    "booth": "Multiplier: Booth, radix 4, its rows and the accumulator summed in one carry-save tree.",
}


def fixed_mac_unit(mac: FixedMac, multiplier: Multiplier = "operator") -> Unit:
    """The core of ``models.fixed.fixed_step``: combinational, inputs a, b, acc, output sum.

    multiplier: "operator" leaves the choice between array and Booth to synthesis; "booth" writes the Booth rows out,
        which saves the adder that would end the product.
    """
    check_choice("fixed_mac_unit", "multiplier", multiplier, ("operator", "booth"))
    tail = "_booth" if multiplier == "booth" else ""
    return Unit(
        name=f"fixed_mac_{mac.a_bits}x{mac.b_bits}_{mac.accumulator_bits}_{mac.overflow}{tail}",
        title=f"Linear fixed point, multiply-accumulate: {mac}.\nTwo's complement, products exact; {_at_end(mac)}.\n"
        f"{_MULTIPLIERS[multiplier]}",
        component=_FixedMac(mac, multiplier),
        inputs=(
            Port("a", mac.a_bits, "operand, two's complement"),
            Port("b", mac.b_bits, "operand, two's complement"),
            Port("acc", mac.accumulator_bits, "accumulator before, two's complement, in units of the product"),
        ),
        outputs=(Port("sum", mac.accumulator_bits, "acc + a b"),),
    )


def fixed_output_unit(output: FixedOutput) -> Unit:
    """The converter of ``models.fixed.fixed_output``: combinational, input acc, output operand."""
    tail = output.ties.replace("-", "_")
    return Unit(
        name=f"fixed_output_{output.accumulator_bits}_{output.shift}_{output.bits}_{tail}",
        title=f"Linear fixed point, accumulator to operand: {output}.\nTwo's complement, saturating.",
        component=_FixedOutput(output),
        inputs=(Port("acc", output.accumulator_bits, "accumulator, two's complement"),),
        outputs=(Port("operand", output.bits, f"acc / 2^{output.shift} rounded to nearest, two's complement"),),
    )


def saturated(exact: Value, bits: int) -> Value:
    """A signed value, stopped at the ends of ``bits`` bits: one gate for each bit after two flags."""
    negative = exact[-1]
    if len(exact) <= bits:
        return Cat(exact, negative.replicate(bits - len(exact)))
    over = exact[bits - 1 :]
    above = ~negative & over[:-1].any()
    below = negative & ~over[:-1].all()
    low = (exact[: bits - 1] | above.replicate(bits - 1)) & ~below.replicate(bits - 1)
    return Cat(low, negative)


def _at_end(mac: FixedMac) -> str:
    return "the sum saturates" if mac.overflow == "saturate" else f"the sum is modulo 2^{mac.accumulator_bits}"


class _FixedMac(wiring.Component):
    def __init__(self, mac: FixedMac, multiplier: Multiplier) -> None:
        self._mac, self._multiplier = mac, multiplier
        acc = mac.accumulator_bits
        super().__init__({"a": In(mac.a_bits), "b": In(mac.b_bits), "acc": In(acc), "sum": Out(acc)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._mac.accumulator_bits
        wide = bits if self._mac.overflow == "wrap" else max(bits, self._mac.a_bits + self._mac.b_bits) + 1
        exact = Signal(signed(wide))
        m.d.comb += exact.eq(self.acc.as_signed() + self._product(m, wide))
        m.d.comb += self.sum.eq(saturated(exact, bits))
        return m

    def _product(self, m: Module, wide: int) -> Value:
        """a b modulo 2^wide."""
        if self._multiplier == "operator":
            return self.a.as_signed() * self.b.as_signed()
        return booth_product(m, self.a, self.b, wide)


class _FixedOutput(wiring.Component):
    def __init__(self, output: FixedOutput) -> None:
        self._output = output
        super().__init__({"acc": In(output.accumulator_bits), "operand": Out(output.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift = self._output.shift
        rounded = Signal(signed(self._output.accumulator_bits - shift + 1))
        floor = self.acc[shift:].as_signed()
        if shift == 0:
            m.d.comb += rounded.eq(floor)
        else:
            half, rest = self.acc[shift - 1], self.acc[: shift - 1]
            up_at_tie = ~self.acc[-1] if self._output.ties == "half-away" else self.acc[shift]
            m.d.comb += rounded.eq(floor + (half & (rest.any() | up_at_tie)))
        m.d.comb += self.operand.eq(saturated(rounded, self._output.bits))
        return m


def booth_product(m: Module, a: Value, b: Value, wide: int) -> Value:
    """The product of two's complement values modulo 2^wide, as a sum of Booth rows: one for every two bits of b.

    Row k is (b[2k-1] + b[2k] - 2 b[2k+1]) a 4^k: one of 0, +-a, +-2a. A negative one is a complement, whose last 1 is
    among ``ends``. No sign is extended: it counts -2^n = (1 - s) 2^n - 2^n, and the constants are summed here.
    """
    if len(b) > len(a):
        a, b = b, a
    digits = Cat(Const(0, 1), b, b[-1])
    ends = Signal(wide)
    total, constant = Value.cast(ends), 0
    for k in range(-(-len(b) // 2)):
        low, middle, high = digits[2 * k], digits[2 * k + 1], digits[2 * k + 2]
        once, twice, row = Signal(name=f"once{k}"), Signal(name=f"twice{k}"), Signal(len(a) + 1, name=f"row{k}")
        m.d.comb += once.eq(middle ^ low)
        m.d.comb += twice.eq((high ^ middle) & ~once)
        m.d.comb += row.eq(_masked(Cat(a, a[-1]), once) | _masked(Cat(Const(0, 1), a), twice))
        turned = row ^ high.replicate(len(row))
        total = total + (Cat(turned[:-1], ~turned[-1]) << (2 * k))
        constant -= 1 << (len(a) + 2 * k)
        if 2 * k < wide:
            m.d.comb += ends[2 * k].eq(high)
    return total + Const(constant % (1 << wide), wide)


def _masked(value: Value, bit: Value) -> Value:
    return value & bit.replicate(len(value))
