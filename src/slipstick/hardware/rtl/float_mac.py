"""Fused floating-point multiply-add, a single path: align, add, count leading zeros, normalise, round once.

The exact product and the accumulator are the two terms. The one with the larger exponent stays, the other is shifted
right under it, by up to ``frame`` bits and a sticky bit, so that the sum is two's complement in frame + 3 bits:

    2^1  2^0 . 2^-1 ... 2^-frame  sticky        frame = max(2 operand precisions, accumulator precision + 2)

in units of 2^exponent of the larger term. That is enough: a term that loses bits is 3 octaves below the other, the sum
has its leading bit at 2^-2 or above. Subnormal operands are normalised first, because a product with leading zeros
could have a larger exponent than a larger accumulator.

A negative sum is not negated: its complement is normalised with ones coming in from the right, and the 1 that is
missing at its end joins the increment of the rounding. So the sum costs one carry chain and the rounding another.

Normalisation must not pass the exponent field 1, where the result is subnormal. Either a bit set at that place among
those counted stops the count ("marker": faster), or the shift is the smaller of count and exponent field ("minimum":
smaller).
"""

from typing import Literal

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.formats.quantiser import check_choice
from slipstick.hardware.float_format import FloatFormat
from slipstick.hardware.models.floating import FloatMac
from slipstick.hardware.rtl.normalise import leading_zeros, shifted_left, shifted_right
from slipstick.hardware.unit import Port, Unit

Limit = Literal["marker", "minimum"]


def float_mac_unit(mac: FloatMac, limit: Limit = "marker") -> Unit:
    """The core of ``models.floating.float_step``: combinational, inputs a, b, acc, output sum.

    limit: what stops normalisation at subnormal sums, see the module; the same function either way.
    """
    check_choice("float_mac_unit", "limit", limit, ("marker", "minimum"))
    to = mac.accumulator
    beyond = "infinity" if to.overflow == "inf" else f"the largest number, code {to.top_code:#x}"
    nan = f"NaN is code {to.nan_code:#x}" if to.has_nan else "no NaN"
    return Unit(
        name=f"float_mac_{mac.a.name}_{mac.b.name}_{to.name}" + ("" if limit == "marker" else f"_{limit}"),
        title=f"Floating point, fused multiply-add: {mac}.\n"
        f"acc + a b exactly, rounded once to nearest, ties to even; subnormals throughout.\n"
        f"Beyond the largest number: {beyond}; {nan}.\n"
        "Multiplier: an operator; synthesis maps it as an array, or with Yosys's -booth as Booth, radix 4.",
        component=_FloatMac(mac, limit),
        inputs=(
            Port("a", mac.a.width, f"operand, {_layout(mac.a)}"),
            Port("b", mac.b.width, f"operand, {_layout(mac.b)}"),
            Port("acc", to.width, f"accumulator before, {_layout(to)}"),
        ),
        outputs=(Port("sum", to.width, "acc + a b, rounded"),),
    )


def _layout(format: FloatFormat) -> str:
    specials = {"ieee": "infinity and NaN", "fn": "NaN at all ones", "none": "numbers only"}[format.specials]
    fields = f"{format.exponent_bits} exponent bits (bias {format.bias}), {format.mantissa_bits} mantissa bits"
    return f"sign, {fields}, {specials}"


class _Fields:
    """A code taken apart. ``field`` is the exponent's, but 1 for subnormals."""

    def __init__(self, code: Value, format: FloatFormat) -> None:
        mantissa, exponent = code[: format.mantissa_bits], code[format.mantissa_bits : -1]
        self.sign, self.normal = code[-1], exponent.any()
        self.field = Cat(exponent[0] | ~self.normal, exponent[1:])
        self.significand = Cat(mantissa, self.normal)
        self.zero = ~self.normal & ~mantissa.any()
        self.infinite: Value = Const(0, 1)
        self.nan: Value = Const(0, 1)
        if format.specials == "ieee":
            self.infinite, self.nan = exponent.all() & ~mantissa.any(), exponent.all() & mantissa.any()
        elif format.specials == "fn":
            self.nan = code[:-1].all()


class _FloatMac(wiring.Component):
    def __init__(self, mac: FloatMac, limit: Limit) -> None:
        self._mac, self._to, self._limit = mac, mac.accumulator, limit
        self._product_bits = mac.a.precision + mac.b.precision
        self._frame = max(self._product_bits, self._to.precision + 2)
        width = self._to.width
        super().__init__({"a": In(mac.a.width), "b": In(mac.b.width), "acc": In(width), "sum": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b, c = _Fields(self.a, self._mac.a), _Fields(self.b, self._mac.b), _Fields(self.acc, self._to)
        product_sign, product_zero, subtract = Signal(), Signal(), Signal()
        m.d.comb += product_sign.eq(a.sign ^ b.sign)
        m.d.comb += product_zero.eq(a.zero | b.zero)
        m.d.comb += subtract.eq(product_sign ^ c.sign)
        product, product_field = self._product(m, a, b)

        stays, moves, sticky, field, product_stays = self._aligned(m, product, product_field, product_zero, c)
        total, negative = Signal(self._frame + 3), Signal()
        turned = Cat(sticky, moves, Const(0, 1)) ^ subtract.replicate(self._frame + 3)
        m.d.comb += total.eq(Cat(subtract, stays) + turned)  # the last bit: sticky, and the carry of a complement
        m.d.comb += negative.eq(subtract & total[-1])
        code, zero = self._rounded(m, total, negative, field)

        sign = (Mux(product_stays, product_sign, c.sign) ^ negative) & ~(zero & subtract)
        m.d.comb += self.sum.eq(self._with_specials(m, a, b, c, Cat(code, sign)))
        return m

    def _product(self, m: Module, a: _Fields, b: _Fields) -> tuple[Value, Value]:
        """The exact product, its leading bit one of the top two, and its exponent field.

        As a field of the accumulator's: of 2^0 where the product lies from 1/2 to below 2.
        """
        x, y = self._mac.a, self._mac.b
        bias = x.zero_exponent + y.zero_exponent - self._to.zero_exponent - 1
        both_vanish = x.smallest_exponent + y.smallest_exponent + 1 <= self._to.smallest_exponent
        product = Signal(self._product_bits)
        if both_vanish and x.precision > 1 < y.precision:
            # Of two subnormal operands the product is below every accumulator: there is one to be made up for, and
            # its zeros are counted while the product is formed.
            one = Signal(max(x.precision, y.precision))
            m.d.comb += one.eq(Mux(a.normal, _high(b.significand, len(one)), _high(a.significand, len(one))))
            zeros = leading_zeros(m, one)
            exact = Signal(self._product_bits)
            m.d.comb += exact.eq(a.significand * b.significand)
            m.d.comb += product.eq(shifted_left(m, exact, zeros, "product"))
        else:
            a_factor, a_zeros = _normalised(m, a.significand, "a")
            b_factor, b_zeros = _normalised(m, b.significand, "b")
            zeros = a_zeros + b_zeros
            m.d.comb += product.eq(a_factor * b_factor)
        largest = (1 << x.exponent_bits) + (1 << y.exponent_bits) - 2 - bias
        field = Signal(signed(_signed_bits(2 - x.precision - y.precision - bias, max(largest, 1))))
        m.d.comb += field.eq(a.field + b.field - bias - zeros)
        return product, field

    def _aligned(
        self, m: Module, product: Value, product_field: Value, product_zero: Value, c: _Fields
    ) -> tuple[Value, Value, Value, Value, Value]:
        """The term that stays, the other one under it, its sticky bit; the exponent field of 2^0; which one stays."""
        frame = self._frame
        difference = Signal(signed(max(len(product_field), len(c.field) + 1) + 1))
        product_larger, product_stays, field = Signal(), Signal(), Signal(max(len(product_field), len(c.field)))
        m.d.comb += difference.eq(c.field - product_field)
        m.d.comb += product_larger.eq(difference[-1])
        m.d.comb += product_stays.eq(product_larger & ~product_zero)
        m.d.comb += field.eq(Mux(product_stays, product_field, c.field))
        # c under the product moves by -difference: by its complement, and by one place here.
        distance = difference[:-1] ^ product_larger.replicate(len(difference) - 1)
        c_term = c.significand << (frame + 1 - self._to.precision)
        product_term = product << (frame + 1 - self._product_bits)
        stays, moves, nonzero = Signal(frame + 1), Signal(frame + 1), Signal()
        m.d.comb += stays.eq(Mux(product_stays, product_term, c_term))
        m.d.comb += moves.eq(Mux(product_stays, c_term >> 1, product_term))
        m.d.comb += nonzero.eq(Mux(product_stays, ~c.zero, ~product_zero))
        moved, sticky = shifted_right(m, moves, distance, nonzero, "moves")
        return stays, moved, sticky, field, product_stays

    def _rounded(self, m: Module, total: Value, negative: Value, field: Value) -> tuple[Value, Value]:
        """The magnitude of the sum as a code, and whether the sum is exactly zero."""
        precision, mantissa_bits = self._to.precision, self._to.mantissa_bits
        places = len(total) - 1  # but for the sticky bit
        leading = Signal(places)
        m.d.comb += leading.eq(total[1:] ^ negative.replicate(places))
        shift, lifted = self._shift(m, leading, field)
        normal = shifted_left(m, total, shift, "total")

        kept, guard, rest = normal[-precision:], normal[-precision - 1], normal[: -precision - 1]
        up, rounded, first = Signal(), Signal(precision), Signal()
        m.d.comb += up.eq((guard & (rest.any() | kept[0])) ^ negative)
        m.d.comb += rounded.eq(kept ^ negative.replicate(precision))
        m.d.comb += first.eq(rounded[-1])
        above = lifted & first.replicate(len(lifted))
        wide = Signal(mantissa_bits + len(above) + 1)
        m.d.comb += wide.eq(Cat(rounded[:-1], above) + Cat(up, Const(0, mantissa_bits - 1), first))
        code = Signal(self._to.width - 1)
        m.d.comb += code.eq(Mux(wide > self._to.top_code, self._to.beyond_code, wide))
        return code, ~total.any()

    def _shift(self, m: Module, leading: Value, field: Value) -> tuple[Value, Value]:
        """By how many places the sum is normalised, and what is left of the exponent field: 0 of subnormals."""
        if self._limit == "marker":
            marker = Signal(len(leading))
            m.d.comb += marker.eq(Cat(field == len(leading) - 1 - i for i in range(len(leading))))
            shift = leading_zeros(m, leading | marker)
            lifted = Signal(len(field))
            m.d.comb += lifted.eq(field - shift)
            return shift, lifted
        zeros = leading_zeros(m, leading)
        difference, shift = Signal(signed(len(field) + 1)), Signal(len(zeros))
        m.d.comb += difference.eq(field - zeros)
        m.d.comb += shift.eq(Mux(difference[-1], field[: len(zeros)], zeros))
        return shift, difference[:-1]  # where the field is the smaller, the sum has no first bit to go with it

    def _with_specials(self, m: Module, a: _Fields, b: _Fields, c: _Fields, finite: Value) -> Value:
        """The sum's code, where an operand is infinite or NaN."""
        to = self._to
        product_infinite = a.infinite | b.infinite
        product_sign = a.sign ^ b.sign
        infinite, nan = Signal(), Signal()
        m.d.comb += infinite.eq(product_infinite | c.infinite)
        zero_times_infinity = (a.infinite & b.zero) | (b.infinite & a.zero)
        opposite = product_infinite & c.infinite & (product_sign ^ c.sign)
        m.d.comb += nan.eq(a.nan | b.nan | c.nan | zero_times_infinity | opposite)
        beyond = Cat(Const(to.beyond_code, to.width - 1), Mux(product_infinite, product_sign, c.sign))
        code = Mux(infinite, beyond, finite)
        return Mux(nan, Const(to.nan_code, to.width), code) if to.has_nan else code


def _normalised(m: Module, significand: Value, name: str) -> tuple[Value, Value]:
    """A significand without leading zeros, and how many there were."""
    if len(significand) == 1:
        return significand, Const(0, 1)
    zeros = leading_zeros(m, significand)
    return shifted_left(m, significand, zeros, name), zeros


def _high(value: Value, bits: int) -> Value:
    """With zeros below."""
    return Cat(Const(0, bits - len(value)), value)


def _signed_bits(low: int, high: int) -> int:
    """Bits of a two's complement number that holds every integer from ``low`` to ``high``."""
    return 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length())
