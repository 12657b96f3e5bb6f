"""The arithmetics that kernels are tested in."""

from slipstick import LNS, BitShift, Exact, LogArithmetic, PiecewiseLinear, Segments, Table


def wild(frac_bits: int) -> PiecewiseLinear:
    """An adder no one would build: D+ that falls below 0, D- that rises above it, jumps, and a late end.

    "Whatever its form, an adder is its two integer tables": a kernel may assume nothing else of them.
    """
    plus = Segments((0, 3, 9, 10, 41, 133), (0, -1, 1, 0, -2, -4), (20, -7, 30, 0, -3, 9))
    minus = Segments((2, 3, 17, 60, 300), (2, 0, 3, -1, -5), (-90, 11, -40, -25, -8))
    return PiecewiseLinear(frac_bits, plus, minus)


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
