# amaranth: UnusedElaboratable=no
"""Many products and their sum in one pass, in the very order in which the software sums.

``ordered_sum`` is the network: for Tree a block of ``radix`` terms is folded by halves (i with i + radix/2, ...) and
the block sums likewise; for Sequential and Blocked the terms of a block follow each other. Terms that are missing are
zeros, and zero is the identity of addition, so they cost nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.arithmetic import Blocked, LogArithmetic, Order, Sequential, Tree
from slipstick.errors import SpecificationError
from slipstick.hardware.models.log import LogRange, accumulator_range
from slipstick.hardware.rtl.log_mac import LogProduct, accumulator_adder
from slipstick.hardware.rtl.log_names import arithmetic_name, order_name
from slipstick.hardware.rtl.log_sum import LogSum, is_zero_code, log_code
from slipstick.hardware.unit import Port, Unit

BLOCK_SUMS = Tree(16)
"""The order in which Blocked adds the sums of its blocks."""

_MAX_LANES = 256


@dataclass(frozen=True, eq=False)
class Number:
    """A logarithmic number on wires; where ``zero``, sign and log mean nothing. range: of the log."""

    sign: Value
    log: Value
    zero: Value
    range: LogRange

    @classmethod
    def of_code(cls, code: Value, range: LogRange) -> "Number":
        return cls(code[-1], code[:-1].as_signed(), is_zero_code(code[:-1]), range)


class LogNetwork:
    """Adders of one arithmetic, put into a module one after another."""

    def __init__(self, m: Module, arithmetic: LogArithmetic) -> None:
        self._m, self._format, self._count = m, arithmetic.accumulator_format, 0
        self._adder = accumulator_adder(arithmetic)

    def add(self, a: Number, b: Number) -> Number:
        """a + b."""
        unit = LogSum(self._adder, self._format, a.range, b.range)
        self._m.submodules[f"add_{self._count}"] = unit
        self._count += 1
        self._m.d.comb += [unit.a_sign.eq(a.sign), unit.a_log.eq(a.log), unit.a_zero.eq(a.zero)]
        self._m.d.comb += [unit.b_sign.eq(b.sign), unit.b_log.eq(b.log), unit.b_zero.eq(b.zero)]
        return Number(unit.sign, unit.log, unit.zero, unit.range)

    def ordered_sum(self, terms: Sequence[Number], order: Order) -> Number:
        """The sum of the terms, at least one, in ``order``."""
        if isinstance(order, Sequential):
            return reduce(self.add, terms)
        if isinstance(order, Tree):
            return self._tree(terms, order.radix)
        if isinstance(order, Blocked):
            return self._tree([reduce(self.add, block) for block in _blocks(terms, order.length)], BLOCK_SUMS.radix)
        raise SpecificationError(f"order {order!r}: use Sequential(), Tree() or Blocked()")

    def _tree(self, terms: Sequence[Number], radix: int) -> Number:
        while len(terms) > 1:
            terms = [self.fold(block, radix) for block in _blocks(terms, radix)]
        return terms[0]

    def fold(self, block: Sequence[Number], size: int) -> Number:
        """A block of ``size`` terms, a power of two, by halves; those that ``block`` does not have are zero."""
        while size > 1:
            size //= 2
            upper = block[size:]
            block = [self.add(term, upper[i]) if i < len(upper) else term for i, term in enumerate(block[:size])]
        return block[0]


def _blocks(terms: Sequence[Number], length: int) -> list[Sequence[Number]]:
    return [terms[start : start + length] for start in range(0, len(terms), length)]


def products(m: Module, arithmetic: LogArithmetic, a: Value, b: Value, lanes: int) -> list[Number]:
    """The products of ``lanes`` operands each, lane 0 in the lowest bits."""
    width = arithmetic.format.width
    numbers = []
    for lane in range(lanes):
        unit = LogProduct(arithmetic)
        m.submodules[f"product_{lane}"] = unit
        m.d.comb += [unit.a.eq(a.word_select(lane, width)), unit.b.eq(b.word_select(lane, width))]
        numbers.append(Number(unit.sign, unit.log, unit.zero, unit.range))
    return numbers


def lanes_ports(arithmetic: LogArithmetic, lanes: int) -> tuple[Port, Port]:
    """The operands of all lanes."""
    meaning = f"operands, codes of {arithmetic.format}, lane 0 in the lowest {arithmetic.format.width} bits"
    width = lanes * arithmetic.format.width
    return Port("a", width, meaning), Port("b", width, meaning)


def check_lanes(name: str, lanes: int, highest: int = _MAX_LANES) -> None:
    """Raises SpecificationError unless there are 1 to ``highest`` lanes."""
    if isinstance(lanes, bool) or not 1 <= lanes <= highest:
        raise SpecificationError(f"{name}(lanes={lanes!r}): give 1 to {highest}")


class _Vector(wiring.Component):
    def __init__(self, arithmetic: LogArithmetic, lanes: int) -> None:
        self._arithmetic, self._lanes = arithmetic, lanes
        width, total = lanes * arithmetic.format.width, arithmetic.accumulator_format.width
        ports = {"a": In(width), "b": In(width), "sum": Out(total)}
        super().__init__(ports | ({"acc": In(total)} if isinstance(arithmetic.order, Sequential) else {}))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        terms = products(m, self._arithmetic, self.a, self.b, self._lanes)
        if isinstance(self._arithmetic.order, Sequential):
            terms.insert(0, Number.of_code(self.acc, accumulator_range(self._arithmetic)))
        total = LogNetwork(m, self._arithmetic).ordered_sum(terms, self._arithmetic.order)
        format = self._arithmetic.accumulator_format
        m.d.comb += self.sum.eq(log_code(total.sign, total.log, total.zero, format))
        return m


class _Reduction(wiring.Component):
    def __init__(self, arithmetic: LogArithmetic, count: int) -> None:
        self._arithmetic, self._count = arithmetic, count
        width = arithmetic.accumulator_format.width
        super().__init__({"terms": In(count * width), "sum": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        format = self._arithmetic.accumulator_format
        every = LogRange(-format.max_log, format.max_log)
        codes = [self.terms.word_select(i, format.width) for i in range(self._count)]
        terms = [Number.of_code(code, every) for code in codes]
        total = LogNetwork(m, self._arithmetic).ordered_sum(terms, self._arithmetic.order)
        m.d.comb += self.sum.eq(log_code(total.sign, total.log, total.zero, format))
        return m


def log_vector_unit(arithmetic: LogArithmetic, lanes: int) -> Unit:
    """A dot product of ``lanes`` terms: combinational, inputs a, b, and for Sequential acc; output sum.

    Raises:
        SpecificationError: lanes beyond 1 to 256.
    """
    check_lanes("log_vector_unit", lanes)
    wide, range = arithmetic.accumulator_format, accumulator_range(arithmetic)
    acc = Port("acc", wide.width, f"sum before, code of {wide}: zero, or a log from {range.lowest} to {range.highest}")
    sequential = isinstance(arithmetic.order, Sequential)
    return Unit(
        name=f"log_vector_{lanes}_{order_name(arithmetic.order)}_{arithmetic_name(arithmetic)}",
        title=f"Logarithmic dot product of {lanes} terms: {arithmetic}.\nOrder {arithmetic.order}, accumulator {wide}.",
        component=_Vector(arithmetic, lanes),
        inputs=(*lanes_ports(arithmetic, lanes), *((acc,) if sequential else ())),
        outputs=(Port("sum", wide.width, f"sum of the products{', and acc' if sequential else ''}, code of {wide}"),),
    )


def log_reduction_unit(arithmetic: LogArithmetic, count: int) -> Unit:
    """The sum of ``count`` codes of the accumulator: combinational, input terms, output sum.

    Raises:
        SpecificationError: count beyond 1 to 256.
    """
    check_lanes("log_reduction_unit", count)
    wide = arithmetic.accumulator_format
    return Unit(
        name=f"log_reduction_{count}_{order_name(arithmetic.order)}_{arithmetic_name(arithmetic)}",
        title=f"Logarithmic sum of {count} terms: {arithmetic}.\nOrder {arithmetic.order}, format {wide}.",
        component=_Reduction(arithmetic, count),
        inputs=(Port("terms", count * wide.width, f"codes of {wide}, the first in the lowest {wide.width} bits"),),
        outputs=(Port("sum", wide.width, f"code of {wide}"),),
    )
