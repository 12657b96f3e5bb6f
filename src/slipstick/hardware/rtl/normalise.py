"""Counting leading zeros, and shifting: the logic around a significand."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value


def leading_zeros(m: Module, value: Value) -> Value:
    """How many zeros precede the first one; the length of ``value`` if there is none."""
    size = 1 << len(value).bit_length()
    padded = Cat(Const(-1, size - len(value)), value)
    return _count(m, padded)[1]


def _count(m: Module, value: Value) -> tuple[Value, Value]:
    """Whether any of 2^n bits is set, and the zeros before it; n of at least 1."""
    found = Signal()
    if len(value) == 2:
        m.d.comb += found.eq(value.any())
        return found, ~value[1]
    half = len(value) // 2
    any_low, low = _count(m, value[:half])
    any_high, high = _count(m, value[half:])
    count = Signal(len(high) + 1)
    m.d.comb += found.eq(any_low | any_high)
    m.d.comb += count.eq(Cat(Mux(any_high, high, low), ~any_high))
    return found, count


def shifted_left(m: Module, value: Value, places: Value, name: str) -> Value:
    """Within the length of ``value``."""
    for stage in reversed(range(len(places))):
        shifted = Signal(len(value), name=f"{name}_left{1 << stage}")
        m.d.comb += shifted.eq(Mux(places[stage], value << (1 << stage), value))
        value = shifted
    return value


def shifted_right(m: Module, value: Value, places: Value, nonzero: Value, name: str) -> tuple[Value, Value]:
    """Shifted by as many places, and whether a 1 fell off. nonzero: whether ``value`` has any."""
    stages = len(value).bit_length()
    far = Signal(name=f"{name}_far")
    m.d.comb += far.eq(places[stages:].any())
    value, sticky = value & ~far.replicate(len(value)), far & nonzero
    for stage in reversed(range(stages)):
        step = 1 << stage
        shifted, stuck = Signal(len(value), name=f"{name}_right{step}"), Signal(name=f"{name}_stuck{step}")
        m.d.comb += shifted.eq(Mux(places[stage], value >> step, value))
        m.d.comb += stuck.eq(sticky | (places[stage] & value[:step].any()))
        value, sticky = shifted, stuck
    return value, sticky
