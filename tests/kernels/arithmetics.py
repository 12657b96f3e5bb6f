"""The arithmetics that kernels are tested in."""

import pytest

from slipstick import (
    LNS,
    BitShift,
    Blocked,
    Exact,
    IndexedTable,
    IndexForm,
    LogArithmetic,
    PiecewiseLinear,
    Segments,
    Sequential,
    Table,
    Tree,
)


def wild(frac_bits: int) -> PiecewiseLinear:
    """An adder no one would build: D+ that falls below 0, D- that rises above it, jumps, and a late end.

    "Whatever its form, an adder is its two integer tables": a kernel may assume nothing else of them.
    """
    plus = Segments((0, 3, 9, 10, 41, 133), (0, -1, 1, 0, -2, -4), (20, -7, 30, 0, -3, 9))
    minus = Segments((2, 3, 17, 60, 300), (2, 0, 3, -1, -5), (-90, 11, -40, -25, -8))
    return PiecewiseLinear(frac_bits, plus, minus)


def jagged(frac_bits: int, index: IndexForm) -> IndexedTable:
    """Tables without any order over the classes of an index, all entries within a byte of each other."""
    entries = range(index.top)
    plus = tuple(7 * k * k % 31 for k in entries)
    minus = tuple(-(11 * k * k * k % 200) for k in entries)
    return IndexedTable(frac_bits, index, (*plus, 0), (*minus, 0))


def adders(frac_bits: int) -> list:
    """One of every kind that exists for F fraction bits."""
    kinds = [Exact(), BitShift(), wild(frac_bits)]
    if frac_bits >= 1:
        kinds.append(Table(0.5, 10.0))
    if 5 <= frac_bits <= 8:
        kinds += ["hamad2025", "hamad2025-agnostic"]
    return kinds


def small_arithmetics() -> list[LogArithmetic]:
    """Formats small enough for every pair of codes, with every adder and both underflow policies."""
    formats = [LNS(3, 3), LNS(3, 3, "flush"), LNS(5, 3), LNS(5, 3, "flush"), LNS(2, 0), LNS(1, 5, "flush")]
    return [LogArithmetic(format, adder) for format in formats for adder in adders(format.frac_bits)]


def wide(format: LNS, adder: object = "exact") -> LogArithmetic:
    """An accumulator."""
    return LogArithmetic(format, adder)


ORDERS = [Sequential(), Tree(16), Blocked(64), Tree(2), Tree(4), Tree(128), Blocked(1), Blocked(7), Blocked(16)]
PLAIN, FLUSH = LNS(5, 5), LNS(4, 4, "flush")
KERNEL_ARITHMETICS = [
    # the paths that kernels are written for, in every order, with every accumulator
    *(LogArithmetic(PLAIN, "exact", order, acc) for order in ORDERS for acc in ("guard", "operand")),
    *(LogArithmetic(PLAIN, "hamad2025", order, acc) for order in ORDERS[:4] for acc in ("guard", "operand")),
    *(LogArithmetic(PLAIN, "designed-simd", order, acc) for order in ORDERS for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(3, 3), "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(4, 4), "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(FLUSH, "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(5, f), "hamad2025", order) for f in (6, 7, 8) for order in ORDERS[:3]),
    *(LogArithmetic(LNS(5, f), "exact", order) for f in (6, 8) for order in ORDERS[:3]),
    # accumulators of another precision, range, policy and adder
    *(LogArithmetic(LNS(3, 2), "exact", order, wide(LNS(5, 6))) for order in ORDERS[:3]),
    LogArithmetic(LNS(5, 5), "hamad2025", Tree(16), wide(LNS(6, 8), "hamad2025")),
    LogArithmetic(LNS(5, 5), BitShift(), Tree(16), wide(LNS(5, 9), "exact")),
    LogArithmetic(LNS(5, 5), "exact", Sequential(), wide(LNS(3, 7), BitShift())),
    LogArithmetic(LNS(5, 5), "exact", Blocked(64), wide(LNS(6, 5, "flush"))),
    LogArithmetic(LNS(5, 5, "flush"), "exact", Tree(16), wide(LNS(4, 7))),
    LogArithmetic(LNS(6, 6), "exact", Tree(16), wide(LNS(10, 16))),
    LogArithmetic(LNS(5, 5), "exact", Sequential(), wide(LNS(8, 8))),
    # every other adder, and tables that no one would build
    *(LogArithmetic(PLAIN, adder, order) for adder in (BitShift(), Table(0.5, 10.0)) for order in ORDERS[:3]),
    *(LogArithmetic(PLAIN, wild(5), order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    *(LogArithmetic(LNS(3, 3, "flush"), wild(3), order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    # tables that end early, or take steps of 8 or 16 far out, up to d = 255 and beyond
    *(
        LogArithmetic(PLAIN, jagged(5, IndexForm(*index)), order)
        for index in (
            (0, 17, 17),
            (0, 111, 111),
            (0, 127, 127),
            (3, 42, 70),
            (3, 42, 74),
            (3, 42, 75),
            (3, 70, 102),
            (4, 60, 76),
        )
        for order in (*ORDERS[:4], Blocked(7))
    ),
    # the ends of the formats
    *(LogArithmetic(LNS(6, 10), "exact", order, acc) for order in ORDERS[:3] for acc in ("guard", "operand")),
    LogArithmetic(LNS(6, 16), "exact"),
    LogArithmetic(LNS(6, 0), "exact"),
    LogArithmetic(LNS(1, 0, "flush"), "exact", Sequential(), "operand"),
    LogArithmetic(LNS(1, 8), "exact", Tree(16), "operand"),
    LogArithmetic(LNS(5, 5), "hamad2025-agnostic"),
]
each_arithmetic = pytest.mark.parametrize("arithmetic", KERNEL_ARITHMETICS, ids=str)

DEFAULTS = [
    LogArithmetic(PLAIN, "hamad2025", Tree(16)),
    LogArithmetic(PLAIN, "exact", Sequential(), "operand"),
    LogArithmetic(LNS(3, 3), "exact", Blocked(64)),
    LogArithmetic(LNS(4, 4, "flush"), wild(4), Blocked(5), "operand"),
    LogArithmetic(LNS(5, 8), "exact", Tree(16), wide(LNS(6, 10))),
]
each_default = pytest.mark.parametrize("arithmetic", DEFAULTS, ids=str)
