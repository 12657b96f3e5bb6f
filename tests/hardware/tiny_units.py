"""Small units for the tests of the flow."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.hardware.unit import Port, Unit


class _Product(wiring.Component):
    """sum = acc + a b, unsigned, modulo the width of the sum."""

    def __init__(self, bits: int, sum_bits: int) -> None:
        super().__init__({"a": In(bits), "b": In(bits), "acc": In(sum_bits), "sum": Out(sum_bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.sum.eq(self.acc + self.a * self.b)
        return m


class _Accumulator(wiring.Component):
    """sum <= (clear ? 0 : sum) + a b of the registered a, b, clear."""

    def __init__(self, bits: int, sum_bits: int) -> None:
        super().__init__({"a": In(bits), "b": In(bits), "clear": In(1), "sum": Out(sum_bits)})
        self._core = _Product(bits, sum_bits)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self._core
        a, b, clear = Signal.like(self.a), Signal.like(self.b), Signal(init=1)
        m.d.sync += [a.eq(self.a), b.eq(self.b), clear.eq(self.clear), self.sum.eq(core.sum)]
        m.d.comb += [core.a.eq(a), core.b.eq(b), core.acc.eq(Mux(clear, 0, self.sum))]
        return m


class _Absolute(wiring.Component):
    """Signed a and b: the larger absolute value, which of the two, and a shifted right by the low bits of b."""

    def __init__(self, bits: int) -> None:
        super().__init__({"a": In(bits), "b": In(bits), "high": Out(bits), "first": Out(1), "shifted": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b = self.a.as_signed(), self.b.as_signed()
        x, y = Signal(len(self.a)), Signal(len(self.a))
        m.d.comb += [x.eq(Mux(a < 0, -a, a)), y.eq(Mux(b < 0, -b, b)), self.first.eq(x >= y)]
        with m.Switch(self.first):
            with m.Case(1):
                m.d.comb += self.high.eq(x)
            with m.Default():
                m.d.comb += self.high.eq(y)
        m.d.comb += self.shifted.eq(a >> self.b[:2])
        return m


class _Wide(wiring.Component):
    """A counter's next value in ports wider than a word."""

    def __init__(self, bits: int) -> None:
        super().__init__({"value": In(bits), "following": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.following.eq(self.value + 1)
        return m


class _Pair(wiring.Component):
    """Two accumulators and the sum of their sums."""

    def __init__(self, bits: int, sum_bits: int) -> None:
        super().__init__({"a": In(bits), "b": In(bits), "clear": In(1), "sum": Out(sum_bits + 1)})
        self._halves = _Accumulator(bits, sum_bits), _Accumulator(bits, sum_bits)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.one, m.submodules.other = one, other = self._halves
        m.d.comb += [half.clear.eq(self.clear) for half in self._halves]
        m.d.comb += [one.a.eq(self.a), one.b.eq(1), other.a.eq(1), other.b.eq(self.b)]
        m.d.comb += self.sum.eq(one.sum + other.sum)
        return m


def pair(bits: int = 4, sum_bits: int = 10) -> Unit:
    return Unit(
        name=f"pair_{bits}_{sum_bits}",
        title="sum of factors",
        component=_Pair(bits, sum_bits),
        inputs=(Port("a", bits, "factor"), Port("b", bits, "factor"), Port("clear", 1, "begins a sum")),
        outputs=(Port("sum", sum_bits + 1, "sum"),),
        latency=2,
    )


def product(bits: int = 4, sum_bits: int = 10) -> Unit:
    return Unit(
        name=f"product_{bits}_{sum_bits}",
        title=f"acc + a b\nmodulo 2^{sum_bits}",
        component=_Product(bits, sum_bits),
        inputs=(Port("a", bits, "factor"), Port("b", bits, "factor"), Port("acc", sum_bits, "sum before")),
        outputs=(Port("sum", sum_bits, "sum after"),),
    )


def accumulator(bits: int = 4, sum_bits: int = 10) -> Unit:
    return Unit(
        name=f"accumulator_{bits}_{sum_bits}",
        title="sum of products",
        component=_Accumulator(bits, sum_bits),
        inputs=(Port("a", bits, "factor"), Port("b", bits, "factor"), Port("clear", 1, "begins a sum")),
        outputs=(Port("sum", sum_bits, "sum"),),
        latency=2,
    )


def absolute(bits: int = 6) -> Unit:
    return Unit(
        name=f"absolute_{bits}",
        title="the larger absolute value",
        component=_Absolute(bits),
        inputs=(Port("a", bits, "signed"), Port("b", bits, "signed")),
        outputs=(
            Port("high", bits, "the larger"),
            Port("first", 1, "it is a's"),
            Port("shifted", bits, "a >> b mod 4"),
        ),
    )


def wide(bits: int = 150) -> Unit:
    return Unit(
        name=f"wide_{bits}",
        title="the next number",
        component=_Wide(bits),
        inputs=(Port("value", bits, "a number"),),
        outputs=(Port("following", bits, "the next one"),),
    )
