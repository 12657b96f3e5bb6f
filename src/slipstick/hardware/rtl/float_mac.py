# amaranth: UnusedElaboratable=no
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


class _Product:
    """The exact product of two numbers, its leading bit one of the top two.

    field: the exponent field that the accumulator's format would have for 2^0, if the product is written as a number
    from 1/2 to below 2. highest_field: the largest that it can be.
    """

    def __init__(self, m: Module, mac: FloatMac, a: _Fields, b: _Fields) -> None:
        bias = mac.a.zero_exponent + mac.b.zero_exponent - mac.accumulator.zero_exponent - 1
        self.highest_field = (1 << mac.a.exponent_bits) + (1 << mac.b.exponent_bits) - 2 - bias
        lowest_field = 2 - mac.a.precision - mac.b.precision - bias
        self.sign = Signal(name="product_sign")
        self.zero = Signal(name="product_zero")
        self.infinite = Signal(name="product_infinite")
        self.significand = Signal(mac.a.precision + mac.b.precision, name="product")
        self.field = Signal(signed(_signed_bits(lowest_field, max(self.highest_field, 1))), name="product_field")
        m.d.comb += self.sign.eq(a.sign ^ b.sign)
        m.d.comb += self.zero.eq(a.zero | b.zero)
        m.d.comb += self.infinite.eq(a.infinite | b.infinite)
        significand, zeros = self._normalised(m, mac, a, b)
        m.d.comb += self.significand.eq(significand)
        m.d.comb += self.field.eq(a.field + b.field - bias - zeros)

    def _normalised(self, m: Module, mac: FloatMac, a: _Fields, b: _Fields) -> tuple[Value, Value]:
        """The product, and how many zeros before its factors were made up for."""
        both_vanish = mac.a.smallest_exponent + mac.b.smallest_exponent + 1 <= mac.accumulator.smallest_exponent
        if not (both_vanish and mac.a.precision > 1 < mac.b.precision):
            a_factor, a_zeros = _normalised(m, a.significand, "a")
            b_factor, b_zeros = _normalised(m, b.significand, "b")
            return a_factor * b_factor, a_zeros + b_zeros
        # The product of two subnormals is below every accumulator and need not be normalised. So there is one factor
        # to be made up for, and its zeros are counted while the product is formed.
        subnormal = Signal(max(mac.a.precision, mac.b.precision))
        a_high, b_high = _high(a.significand, len(subnormal)), _high(b.significand, len(subnormal))
        m.d.comb += subnormal.eq(Mux(a.normal, b_high, a_high))
        zeros = leading_zeros(m, subnormal)
        exact = Signal(len(self.significand), name="exact_product")
        m.d.comb += exact.eq(a.significand * b.significand)
        return shifted_left(m, exact, zeros, "product"), zeros


class _Aligned:
    """Both terms in units of 2^exponent of the larger one.

    stays, moves: frame + 1 bits, of which the last weighs 2^-frame; sticky: whether ``moves`` had bits below.
    field: the exponent field of 2^0. sign: of the term that stays.
    """

    def __init__(self, m: Module, frame: int, product: _Product, c: _Fields) -> None:
        difference = Signal(signed(max(len(product.field), len(c.field) + 1) + 1))
        larger = Signal(name="product_larger")
        product_stays = Signal()
        m.d.comb += difference.eq(c.field - product.field)
        m.d.comb += larger.eq(difference[-1])
        m.d.comb += product_stays.eq(larger & ~product.zero)
        self.field = Signal(max(product.highest_field.bit_length(), len(c.field)), name="field")
        self.sign = Signal(name="sign_of_larger")
        m.d.comb += self.field.eq(Mux(product_stays, product.field, c.field))
        m.d.comb += self.sign.eq(Mux(product_stays, product.sign, c.sign))

        # c under the product moves by -difference: by its complement, and by one place here.
        distance = Signal(len(difference) - 1)
        m.d.comb += distance.eq(difference[:-1] ^ larger.replicate(len(distance)))
        c_term = c.significand << (frame + 1 - len(c.significand))
        product_term = product.significand << (frame + 1 - len(product.significand))
        self.stays = Signal(frame + 1, name="stays")
        moves = Signal(frame + 1)
        nonzero = Signal(name="moves_nonzero")
        m.d.comb += self.stays.eq(Mux(product_stays, product_term, c_term))
        m.d.comb += moves.eq(Mux(product_stays, c_term >> 1, product_term))
        m.d.comb += nonzero.eq(Mux(product_stays, ~c.zero, ~product.zero))
        self.moves, self.sticky = shifted_right(m, moves, distance, nonzero, "moves")


class _FloatMac(wiring.Component):
    def __init__(self, mac: FloatMac, limit: Limit) -> None:
        self._mac, self._to, self._limit = mac, mac.accumulator, limit
        width = self._to.width
        super().__init__({"a": In(mac.a.width), "b": In(mac.b.width), "acc": In(width), "sum": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b, c = _Fields(self.a, self._mac.a), _Fields(self.b, self._mac.b), _Fields(self.acc, self._to)
        product = _Product(m, self._mac, a, b)
        frame = max(len(product.significand), self._to.precision + 2)
        terms = _Aligned(m, frame, product, c)

        subtract = Signal()
        total = Signal(frame + 3)
        negative = Signal()
        m.d.comb += subtract.eq(product.sign ^ c.sign)
        turned = Cat(terms.sticky, terms.moves, Const(0, 1)) ^ subtract.replicate(len(total))
        m.d.comb += total.eq(Cat(subtract, terms.stays) + turned)  # the last bit: sticky, and the carry of a complement
        m.d.comb += negative.eq(subtract & total[-1])

        # The field may grow by the first bit of the significand and by the carry of rounding.
        field_bits = (max(product.highest_field, (1 << self._to.exponent_bits) - 1) + 2).bit_length()
        sign = Signal()
        m.d.comb += sign.eq((terms.sign ^ negative) & ~(subtract & ~total.any()))
        code = self._rounded(m, total, negative, terms.field, field_bits)
        m.d.comb += self.sum.eq(self._with_specials(m, a, b, c, product, Cat(code, sign)))
        return m

    def _rounded(self, m: Module, total: Value, negative: Value, field: Value, field_bits: int) -> Value:
        """The code of the sum's magnitude."""
        precision, mantissa_bits = self._to.precision, self._to.mantissa_bits
        leading = Signal(len(total) - 1)  # without the sticky bit
        m.d.comb += leading.eq(total[1:] ^ negative.replicate(len(leading)))
        shift, lifted = self._shift(m, leading, field)
        normal = shifted_left(m, total, shift, "total")

        kept, guard, rest = normal[-precision:], normal[-precision - 1], normal[: -precision - 1]
        up = Signal()
        rounded = Signal(precision)
        m.d.comb += up.eq((guard & (rest.any() | kept[0])) ^ negative)
        m.d.comb += rounded.eq(kept ^ negative.replicate(precision))
        first = rounded[-1]
        unbounded = Signal(mantissa_bits + field_bits)
        above = Cat(lifted & first.replicate(len(lifted)), Const(0, field_bits - len(lifted)))
        m.d.comb += unbounded.eq(Cat(rounded[:-1], above) + Cat(up, Const(0, mantissa_bits - 1), first))
        code = Signal(self._to.width - 1)
        m.d.comb += code.eq(Mux(unbounded > self._to.top_code, self._to.beyond_code, unbounded))
        return code

    def _shift(self, m: Module, leading: Value, field: Value) -> tuple[Value, Value]:
        """By how many places the sum is normalised; and the exponent field less so many, 0 of subnormals.

        Of normal numbers it is one less than their field.
        """
        lifted = Signal(len(field))
        if self._limit == "marker":
            marker = Signal(len(leading))
            m.d.comb += marker[:-1].eq(Cat(field == len(leading) - 1 - i for i in range(len(leading) - 1)))
            shift = leading_zeros(m, leading | marker)
            m.d.comb += lifted.eq(field - shift)
            return shift, lifted
        zeros = leading_zeros(m, leading)
        difference = Signal(signed(len(field) + 1))
        shift = Signal(len(zeros))
        m.d.comb += difference.eq(field - zeros)
        m.d.comb += shift.eq(Mux(difference[-1], field[: len(zeros)], zeros))
        m.d.comb += lifted.eq(difference)  # below 0 only where the sum has no first bit to go with it
        return shift, lifted

    def _with_specials(self, m: Module, a: _Fields, b: _Fields, c: _Fields, product: _Product, finite: Value) -> Value:
        """The sum's code, where an operand is infinite or NaN."""
        to = self._to
        infinite = Signal()
        nan = Signal()
        m.d.comb += infinite.eq(product.infinite | c.infinite)
        zero_times_infinity = product.infinite & product.zero
        opposite = product.infinite & c.infinite & (product.sign ^ c.sign)
        m.d.comb += nan.eq(a.nan | b.nan | c.nan | zero_times_infinity | opposite)
        beyond = Cat(Const(to.beyond_code, to.width - 1), Mux(product.infinite, product.sign, c.sign))
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
