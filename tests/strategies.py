"""Hypothesis strategies for formats, adders, orders and arithmetics."""

from hypothesis import strategies as st

from slipstick import (
    LNS,
    BitShift,
    Blocked,
    Exact,
    LogArithmetic,
    PiecewiseLinear,
    RoundedArithmetic,
    Segments,
    Sequential,
    Table,
    Tree,
)

underflows = st.sampled_from(["saturate", "flush"])
formats = st.builds(LNS, st.integers(1, 10), st.integers(0, 16), underflows)
carrier_formats = st.builds(LNS, st.integers(1, 6), st.integers(0, 16), underflows)
"""Formats that float32 holds."""
operand_formats = st.builds(LNS, st.integers(1, 6), st.integers(0, 8), underflows)
orders = st.one_of(
    st.just(Sequential()),
    st.builds(Tree, st.integers(1, 12).map(lambda log: 1 << log)),
    st.builds(Blocked, st.integers(1, 65536)),
)


@st.composite
def segments(draw: st.DrawFn) -> Segments:
    count = draw(st.integers(1, 6))
    bound = sorted(draw(st.lists(st.integers(0, 300), min_size=count, max_size=count)))
    exponent = draw(st.lists(st.integers(-12, 6), min_size=count, max_size=count))
    offset = draw(st.lists(st.integers(-500, 500), min_size=count, max_size=count))
    return Segments(tuple(bound), tuple(exponent), tuple(offset))


@st.composite
def adders_for(draw: st.DrawFn, format: LNS):
    """An adder object or name that exists for ``format``."""
    named = ["exact", "sanyal2019-bitshift"]
    objects = [
        st.just(Exact()),
        st.just(BitShift()),
        st.builds(PiecewiseLinear, st.just(format.frac_bits), segments(), segments()),
    ]
    if format.frac_bits >= 1:
        named.append("sanyal2019-lut")
        step = st.integers(-min(format.frac_bits, 3), 1).map(lambda log: 2.0**log)
        objects.append(st.builds(lambda s, n: Table(s, s * n), step, st.integers(1, 40)))
    if 5 <= format.frac_bits <= 8:
        named += ["hamad2025", "hamad2025-agnostic"]
    return draw(st.one_of(st.sampled_from(named), *objects))


@st.composite
def log_arithmetics(draw: st.DrawFn, nested: bool = True) -> LogArithmetic:
    format = draw(operand_formats)
    accumulator = draw(st.sampled_from(["guard", "operand", "nested" if nested else "guard"]))
    if accumulator == "nested":
        wide = draw(st.builds(LNS, st.integers(1, 10), st.integers(format.frac_bits, 9), underflows))
        accumulator = LogArithmetic(wide, draw(adders_for(wide)))
    return LogArithmetic(format, draw(adders_for(format)), draw(orders), accumulator)


arithmetics = st.one_of(log_arithmetics(), st.builds(RoundedArithmetic, operand_formats))
