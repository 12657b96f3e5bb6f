# amaranth: UnusedElaboratable=no
"""Dot products of any length, a block of terms every cycle, in the very order in which the software sums.

Tree(r)      r lanes. The products of a cycle are folded at once; block sums gather in a bank, whose own fold is the
             sum so far; when r have come, their sum moves on to the next level's bank, and so on.
Blocked(n)   any number of lanes, each a multiply-accumulate unit for one block of n terms; their sums by Tree(16).
Sequential   any number of lanes, one adder after another, from the accumulator back to it.
"""

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.arithmetic import Blocked, LogArithmetic, Order, Sequential, Tree
from slipstick.errors import SpecificationError
from slipstick.hardware.models.log import LogRange, accumulator_range
from slipstick.hardware.rtl.log_names import arithmetic_name, order_name
from slipstick.hardware.rtl.log_sum import log_code
from slipstick.hardware.rtl.log_vector import BLOCK_SUMS, LogNetwork, Number, check_lanes, lanes_ports, products
from slipstick.hardware.unit import Port, Unit

_LANES, _MAX_LEVELS = 16, 4


class _Dot(wiring.Component):
    """Registered a, b, clear; what becomes of the products depends on the order."""

    def __init__(self, arithmetic: LogArithmetic, lanes: int, levels: int) -> None:
        self._arithmetic, self._lanes, self._levels = arithmetic, lanes, levels
        self._format = arithmetic.accumulator_format
        width = lanes * arithmetic.format.width
        super().__init__({"a": In(width), "b": In(width), "clear": In(1), "sum": Out(self._format.width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b = Signal(len(self.a), reset_less=True), Signal(len(self.b), reset_less=True)
        clear = Signal(init=1)
        m.d.sync += [a.eq(self.a), b.eq(self.b), clear.eq(self.clear)]
        network = LogNetwork(m, self._arithmetic)
        terms = products(m, self._arithmetic, a, b, self._lanes)
        if isinstance(self._arithmetic.order, Sequential):
            m.d.comb += self.sum.eq(self._accumulator(m, network, terms, clear, "total"))
            return m
        if isinstance(self._arithmetic.order, Tree):
            total = self._through_banks(m, network, network.fold(terms, self._lanes), clear)
        else:
            lanes = [self._accumulator(m, network, [term], clear, f"lane_{i}") for i, term in enumerate(terms)]
            reached = accumulator_range(self._arithmetic)
            total = network.ordered_sum([Number.of_code(lane, reached) for lane in lanes], BLOCK_SUMS)
        result = self._register("result")
        m.d.sync += result.eq(self._code(total))
        m.d.comb += self.sum.eq(result)
        return m

    def _accumulator(self, m: Module, network: LogNetwork, terms: Sequence[Number], clear: Value, name: str) -> Signal:
        """A register to which the terms are added in turn, every cycle."""
        register, reached = self._register(name), accumulator_range(self._arithmetic)
        kept = Number.of_code(register, reached)
        before = Number(kept.sign, kept.log, kept.zero | clear, reached)
        m.d.sync += register.eq(self._code(network.ordered_sum([before, *terms], Sequential())))
        return register

    def _through_banks(self, m: Module, network: LogNetwork, block: Number, clear: Value) -> Number:
        """The sum of all blocks so far, through one bank after another."""
        newest = self._register("block")
        m.d.sync += newest.eq(self._code(block))
        total, code, complete = Number.of_code(newest, block.range), Value.cast(newest), Value.cast(Const(1, 1))
        for level in range(self._levels):
            total, complete = self._bank(m, network, code, total.range, complete, clear, f"level_{level}")
            code = self._code(total)
        return total

    def _bank(
        self, m: Module, network: LogNetwork, newest: Value, reached: LogRange, complete: Value, clear: Value, name: str
    ) -> tuple[Number, Value]:
        """The sum of up to r terms: those kept, and after them the newest, of which there may be more to come.

        complete: the newest term is, and with the clock's edge the next one begins. Returns the sum, and whether it is
        complete in the same sense.
        """
        terms = self._lanes
        kept = [self._register(f"{name}_{i}") for i in range(terms - 1)]
        place = Signal(terms, name=f"{name}_place", init=1, reset_less=True)
        with m.If(clear):
            m.d.sync += place.eq(1)
        with m.Elif(complete):
            m.d.sync += place.eq(place.rotate_left(1))
        for i, register in enumerate(kept):
            with m.If(clear | (complete & place[-1])):
                m.d.sync += register.eq(register.init)
            with m.Elif(complete & place[i]):
                m.d.sync += register.eq(newest)
        codes = [Mux(place[i], newest, register) for i, register in enumerate(kept)]
        codes.append(Mux(place[-1], newest, kept[0].init))
        total = network.fold([Number.of_code(self._wire(m, code), reached) for code in codes], terms)
        return total, complete & place[-1]

    def _wire(self, m: Module, code: Value) -> Signal:
        wire = Signal(len(code))
        m.d.comb += wire.eq(code)
        return wire

    def _register(self, name: str) -> Signal:
        """A code, zero at first."""
        return Signal(self._format.width, name=name, init=1 << (self._format.width - 2), reset_less=True)

    def _code(self, number: Number) -> Value:
        return log_code(number.sign, number.log, number.zero, self._format)


def log_dot_unit(arithmetic: LogArithmetic, lanes: int | None = None, levels: int = 2) -> Unit:
    """Clocked: every cycle the registered a, b, clear give a further block of terms; sum is that of all since clear.

    lanes: terms in a cycle; Tree has as many as its radix (the default), the others 16 by default. With Blocked(n),
    lane i takes terms i n to i n + n - 1, one in a cycle. levels: of Tree's banks, for up to r^(levels + 1) terms.

    Raises:
        SpecificationError: lanes that the order does not have; levels beyond 1 to 4.
    """
    order = arithmetic.order
    if isinstance(order, Tree):
        if lanes not in (None, order.radix):
            raise SpecificationError(f"log_dot_unit(lanes={lanes!r}): {order} takes {order.radix} terms in a cycle")
        if isinstance(levels, bool) or not 1 <= levels <= _MAX_LEVELS:
            raise SpecificationError(f"log_dot_unit(levels={levels!r}): give 1 to {_MAX_LEVELS}")
        lanes = order.radix
    lanes = _LANES if lanes is None else lanes
    check_lanes("log_dot_unit", lanes)
    wide = arithmetic.accumulator_format
    return Unit(
        name=f"log_dot_{lanes}{f'_{levels}_levels' if isinstance(order, Tree) else ''}_{order_name(order)}"
        f"_{arithmetic_name(arithmetic)}",
        title=f"Logarithmic dot products, {lanes} terms in a cycle: {arithmetic}.\n"
        f"Order {order}{_length(order, lanes, levels)}, "
        f"accumulator {wide}.\nEvery cycle the registered a, b are further terms of the sum, or with clear the first.",
        component=_Dot(arithmetic, lanes, levels),
        inputs=(*lanes_ports(arithmetic, lanes), Port("clear", 1, "begins a new sum with these terms")),
        outputs=(Port("sum", wide.width, f"sum since clear, code of {wide}"),),
        latency=2 if isinstance(order, Sequential) else 3,
    )


def _length(order: Order, lanes: int, levels: int) -> str:
    """How many terms a sum may have."""
    if isinstance(order, Tree):
        return f", up to {order.radix ** (levels + 1)} terms"
    if isinstance(order, Blocked):
        return f", up to {lanes * order.length} terms, lane i taking those from {order.length} i"
    return ", any number of terms"
