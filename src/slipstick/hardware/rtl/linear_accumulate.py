# amaranth: UnusedElaboratable=no
"""Cores of LinearAccumulate: the logarithms are added, the product is a constant shifted into the accumulator's window.

With p = xa + xb, the remainder p mod gamma selects the constant c[r] and the octave p div gamma shifts it right from
where the largest octave has it. The shifted word keeps one bit below the accumulator's last, its half. Rounding and
sign then cost no carry chain of their own: complemented where the product is negative, word and half are

    + (t + h) = t + h                 h: the carry into acc + t
    - (t + h) = ~t + (1 - h)          ~h: the carry into acc + ~t
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.arithmetic import LinearAccumulate
from slipstick.formats import MultiBaseLNS
from slipstick.hardware.rtl.decision_diagram import DecisionDiagram
from slipstick.hardware.rtl.linear_fixed import saturated
from slipstick.hardware.unit import Port, Unit


def linear_mac_unit(arithmetic: LinearAccumulate) -> Unit:
    """The core of ``models.linear_accumulate.linear_step``: combinational, inputs a, b, acc, output sum."""
    width, bits = arithmetic.format.bits, arithmetic.bits
    operand = f"operand: {code_meaning(arithmetic.format)}"
    return Unit(
        name=f"linear_mac_{arithmetic_name(arithmetic)}",
        title=f"Logarithmic multiply, integer accumulate: {arithmetic}.\n{window_title(arithmetic)}",
        component=_LinearMac(arithmetic),
        inputs=(
            Port("a", width, operand),
            Port("b", width, operand),
            Port("acc", bits, f"accumulator before, two's complement, in units of 2^{arithmetic.lsb}"),
        ),
        outputs=(Port("sum", bits, "acc + a b"),),
    )


def arithmetic_name(arithmetic: LinearAccumulate) -> str:
    """Format, table entries, constant bits, accumulator bits and headroom, overflow."""
    window = f"{arithmetic.bits}h{arithmetic.headroom}_{arithmetic.overflow}"
    table = f"e{arithmetic.table_entries}m{arithmetic.constant_bits}"
    return f"{format_name(arithmetic.format)}_{table}_{window}"


def format_name(format: MultiBaseLNS) -> str:
    """Bits and base factor, and whether there is a zero."""
    return f"lns{format.bits}g{format.base_factor}" + ("z" if format.zero else "")


def code_meaning(format: MultiBaseLNS) -> str:
    """What a code stands for, in units of the scale."""
    zero = ", x = 0 is zero" if format.zero else ""
    return f"sign above x, {format.bits - 1} bits, for 2^(x/{format.base_factor}){zero}"


def window_title(arithmetic: LinearAccumulate) -> str:
    """The table and the accumulator in words."""
    gamma, entries = arithmetic.format.base_factor, arithmetic.table_entries
    mitchell = "" if entries == gamma else " and Mitchell's 1 + f"
    table = f"a table of {entries}{mitchell}" if entries > 1 else "Mitchell's 1 + f"
    at_end = "saturating" if arithmetic.overflow == "saturate" else f"modulo 2^{arithmetic.bits}"
    return (
        f"2^(r/{gamma}) by {table}, {arithmetic.constant_bits} fraction bits; products rounded to nearest, ties away "
        f"from zero;\naccumulator of {arithmetic.bits} bits, {at_end}, in units of 2^{arithmetic.lsb}."
    )


class Term:
    """The product of two codes, before its sign: ``word`` is 2 |t|, its last bit the half.

    Wires are added to ``m``, named after ``name``.
    """

    def __init__(self, m: Module, arithmetic: LinearAccumulate, a: Value, b: Value, name: str = "") -> None:
        format = arithmetic.format
        fraction = format.base_factor.bit_length() - 1
        log = Signal(format.bits, name=f"{name}log")
        live = Signal(name=f"{name}live")
        self.negative = Signal(name=f"{name}negative")
        m.d.comb += log.eq(a[:-1] + b[:-1])
        m.d.comb += self.negative.eq(a[-1] ^ b[-1])
        octave = log[fraction:]
        self.bits = word_bits(arithmetic)
        stages = min((self.bits - 1).bit_length(), len(octave))
        far = ~octave[stages:].all() if len(octave) > stages else Const(0, 1)
        zero = ~a[:-1].any() | ~b[:-1].any() if format.zero else Const(0, 1)
        m.d.comb += live.eq(~(far | zero))

        word = _constant(m, arithmetic, log[:fraction], name)
        word = word & live.replicate(len(word))
        for stage in range(stages):  # the octave's complement is the distance from the largest
            shifted = Signal(len(word), name=f"{name}right{1 << stage}")
            m.d.comb += shifted.eq(Mux(octave[stage], word, word >> (1 << stage)))
            word = shifted
        self.word = word[: self.bits]

    def signed_word(self) -> Value:
        """Of ``bits`` + 1 bits: the term is its floor half plus its last bit."""
        return Cat(self.word ^ self.negative.replicate(self.bits), self.negative).as_signed()


def word_bits(arithmetic: LinearAccumulate) -> int:
    """Bits of twice the largest term, rounded down."""
    gamma = arithmetic.format.base_factor
    lift = 1 - arithmetic.lsb - arithmetic.constant_bits
    largest = 0
    for p in range(max(0, 2 * arithmetic.largest_log - gamma), 2 * arithmetic.largest_log + 1):
        constant, shift = int(arithmetic.constants[p % gamma]), p // gamma + lift
        largest = max(largest, constant << shift if shift >= 0 else constant >> -shift)
    return largest.bit_length()


def _constant(m: Module, arithmetic: LinearAccumulate, remainder: Value, name: str) -> Value:
    """Twice the term of this remainder in the largest octave of the code, rounded down."""
    top = (1 << (arithmetic.format.bits - len(remainder))) - 1
    lift = 1 + top - arithmetic.lsb - arithmetic.constant_bits
    constants = [int(c) >> max(0, -lift) for c in arithmetic.constants]
    bits = max(constants).bit_length()
    constant = DecisionDiagram(constants, bits).logic(m, remainder, f"{name}constant")
    return Cat(Const(0, max(0, lift)), constant)


class _LinearMac(wiring.Component):
    def __init__(self, arithmetic: LinearAccumulate) -> None:
        self._arithmetic = arithmetic
        width, bits = arithmetic.format.bits, arithmetic.bits
        super().__init__({"a": In(width), "b": In(width), "acc": In(bits), "sum": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._arithmetic.bits
        term = Term(m, self._arithmetic, self.a, self.b)
        wide = bits if self._arithmetic.overflow == "wrap" else max(bits, term.bits) + 1
        total = Signal(signed(wide + 1))
        m.d.comb += total.eq(Cat(Const(1, 1), self.acc).as_signed() + term.signed_word())  # the last bits carry
        m.d.comb += self.sum.eq(saturated(total[1:], bits))
        return m
