# amaranth: UnusedElaboratable=no
"""The processing element of LinearAccumulate: n products in a cycle, summed exactly and added to one accumulator.

"tree" shifts the constant of every lane into the accumulator's window, as the single core does, and sums what comes
out. "bins" is the datapath of LNS-Madam (Zhao et al. 2021, arXiv 2106.13914): lanes of the same remainder are summed
before the constant, so that there is one multiplication by a constant for each table entry, whatever the lanes.
"""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.hardware.models.linear_accumulate import LinearVector
from slipstick.hardware.rtl.linear_accumulate import Term, arithmetic_name, code_meaning, window_title
from slipstick.hardware.rtl.linear_fixed import saturated
from slipstick.hardware.unit import Port, Unit

_REDUCTIONS = {
    "tree": "Every product is shifted into the accumulator's window and rounded, then all are summed exactly.",
    "bins": "Products are summed by remainder; the sums, times a constant each, are summed and rounded once, ties up.",
}


def linear_vector_unit(vector: LinearVector) -> Unit:
    """The unit of ``models.linear_accumulate.linear_vector_step``: combinational, inputs a, b, acc, output sum.

    a and b hold the code of lane i in bits i B to i B + B - 1.
    """
    arithmetic, lanes = vector.arithmetic, vector.lanes
    width, bits = arithmetic.format.bits, arithmetic.bits
    operand = f"operands, lane 0 in the lowest {width} bits: {code_meaning(arithmetic.format)}"
    return Unit(
        name=f"linear_vector_{lanes}_{vector.reduction}_{arithmetic_name(arithmetic)}",
        title=f"Logarithmic multiply, integer accumulate, {lanes} lanes: {arithmetic}.\n{window_title(arithmetic)}\n"
        f"{_REDUCTIONS[vector.reduction]}",
        component=_LinearVector(vector),
        inputs=(
            Port("a", lanes * width, operand),
            Port("b", lanes * width, operand),
            Port("acc", bits, f"accumulator before, two's complement, in units of 2^{arithmetic.lsb}"),
        ),
        outputs=(Port("sum", bits, "acc + the products of all lanes"),),
    )


class _LinearVector(wiring.Component):
    def __init__(self, vector: LinearVector) -> None:
        self._vector, self._arithmetic = vector, vector.arithmetic
        width, bits = vector.lanes * vector.arithmetic.format.bits, vector.arithmetic.bits
        # A bin of one remainder counts in octaves, not in their gamma-th parts.
        steps = vector.arithmetic.format.base_factor.bit_length() - 1
        each = vector.arithmetic.table_entries == vector.arithmetic.format.base_factor
        self._point = vector.point - (steps if each else 0)
        super().__init__({"a": In(width), "b": In(width), "acc": In(bits), "sum": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, width = self._arithmetic.bits, self._arithmetic.format.bits
        lanes = [(self.a.word_select(i, width), self.b.word_select(i, width)) for i in range(self._vector.lanes)]
        summed = self._tree if self._vector.reduction == "tree" else self._bins
        added, added_bits = summed(m, lanes)
        wide = bits if self._arithmetic.overflow == "wrap" else max(bits, added_bits) + 1
        total = Signal(signed(wide))
        m.d.comb += total.eq(self.acc.as_signed() + added)
        m.d.comb += self.sum.eq(saturated(total, bits))
        return m

    def _tree(self, m: Module, lanes: list[tuple[Value, Value]]) -> tuple[Value, int]:
        """What all lanes add, right modulo any power of two, and the bits of its range."""
        words = [Term(m, self._arithmetic, a, b, f"lane{i}_").signed_word() for i, (a, b) in enumerate(lanes)]
        added = _sum_of_signed([(word[1:], word[0]) for word in words])
        return added, _range_bits(len(words[0]) - 1, len(words))

    def _bins(self, m: Module, lanes: list[tuple[Value, Value]]) -> tuple[Value, int]:
        """As ``_tree``: the sums of the bins, times a constant each, rounded."""
        vector = self._vector
        counts = [_Count(m, vector, a, b, f"lane{i}_") for i, (a, b) in enumerate(lanes)]
        plus, minus = [Const(1 << (self._point - 1))], [Const(0, 1)]
        for entry, weight in enumerate(vector.bin_weights):
            bin_ = Signal(signed(_range_bits(counts[0].bits, len(lanes))), name=f"bin{entry}")
            m.d.comb += bin_.eq(_sum_of_signed([count.of_bin(m, entry) for count in counts]))
            for place, digit in signed_digits(weight):
                (plus if digit > 0 else minus).append(bin_ << place)
        largest = sum(vector.bin_weights) * len(lanes) << counts[0].bits
        total = Signal(signed(largest.bit_length() + 1))
        m.d.comb += total.eq(balanced_sum(plus) - balanced_sum(minus))
        return total[self._point :].as_signed(), len(total) - self._point


class _Count:
    """A product in octaves: mantissa 2^(octave - low). ``bits`` of it without sign.

    The mantissa is 1 where every remainder has a bin of its own, else gamma + j.
    """

    def __init__(self, m: Module, vector: LinearVector, a: Value, b: Value, name: str) -> None:
        format, entries = vector.arithmetic.format, vector.arithmetic.table_entries
        fraction, below = format.base_factor.bit_length() - 1, (format.base_factor // entries).bit_length() - 1
        self._name = name
        log = Signal(format.bits, name=f"{name}log")
        live = Signal(name=f"{name}live")
        self._negative = Signal(name=f"{name}negative")
        m.d.comb += log.eq(a[:-1] + b[:-1])
        m.d.comb += self._negative.eq(a[-1] ^ b[-1])
        octave, self._bin = log[fraction:], log[below:fraction]
        zero = ~a[:-1].any() | ~b[:-1].any() if format.zero else Const(0, 1)
        m.d.comb += live.eq((octave >= vector.low) & ~zero)

        highest = (1 << len(octave)) - 1
        mantissa = Cat(log[:below], Const(0, fraction - below), Const(1, 1)) if below else Const(1, 1)
        word = Cat(Const(0, highest - vector.low), mantissa & live.replicate(len(mantissa)))
        for stage in reversed(range(len(octave))):  # the octave's complement is the distance from the largest
            shifted = Signal(len(word), name=f"{name}right{1 << stage}")
            m.d.comb += shifted.eq(Mux(octave[stage], word, word >> (1 << stage)))
            word = shifted
        self.bits = len(word)
        self._turned = word ^ self._negative.replicate(self.bits)

    def of_bin(self, m: Module, number: int) -> tuple[Value, Value]:
        """What the product adds to a bin: a signed value and a carry."""
        here = Signal(name=f"{self._name}in_bin{number}")
        m.d.comb += here.eq(self._bin == number)
        negative = self._negative & here
        return Cat(self._turned & here.replicate(self.bits), negative), negative


def balanced_sum(values: Sequence[Value]) -> Value:
    """The sum of all, in pairs, pairs of pairs and so on."""
    while len(values) > 1:
        pairs = [values[i] + values[i + 1] for i in range(0, len(values) - 1, 2)]
        values = [*pairs, *values[len(pairs) * 2 :]]
    return values[0]


def signed_digits(number: int) -> list[tuple[int, int]]:
    """Places and signs of the powers of two that make a positive number, no two of them neighbours."""
    digits, place = [], 0
    while number:
        if number & 1:
            digit = 2 - (number & 3)
            digits.append((place, digit))
            number -= digit
        number, place = number >> 1, place + 1
    return digits


def _sum_of_signed(rows: Sequence[tuple[Value, Value]]) -> Value:
    """The sum of two's complement values and carries of the same widths, right modulo any power of two.

    Signs are not extended: s counts -2^n = (1 - s) 2^n - 2^n.
    """
    bits = len(rows[0][0]) - 1
    values = [Cat(value[:-1], ~value[-1]) for value, _ in rows]
    return balanced_sum([*values, *(carry for _, carry in rows)]) - Const(len(rows) << bits)


def _range_bits(magnitude_bits: int, lanes: int) -> int:
    """Bits of a sum of signed values below 2^magnitude_bits in size."""
    return 1 + (lanes << magnitude_bits).bit_length()
