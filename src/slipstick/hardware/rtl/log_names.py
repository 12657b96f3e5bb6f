"""Names of logarithmic formats, adders and arithmetics inside the names of Verilog modules."""

import hashlib
import json

from slipstick.arithmetic import Adder, LogArithmetic, Order
from slipstick.arithmetic.published import NAMES, named_adder
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

_HASH_DIGITS = 8


def format_name(format: LNS) -> str:
    """``lns_5_5``, or ``lns_5_5_flush``."""
    tail = "" if format.underflow == "saturate" else f"_{format.underflow}"
    return f"lns_{format.int_bits}_{format.frac_bits}{tail}"


def adder_name(adder: Adder, format: LNS) -> str:
    """The name that the project knows the adder by in ``format``, else its kind and a hash of its content."""
    for name in NAMES:
        try:
            known = named_adder(name, format)
        except SpecificationError:
            continue
        if known == adder:
            return name.replace("-", "_")
    content = json.dumps(adder.to_dict(), sort_keys=True).encode()
    return f"{adder.kind.replace('-', '_')}_{hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]}"


def accumulator_name(arithmetic: LogArithmetic) -> str:
    """The accumulator's format and, where it is not that of the operands, its adder."""
    name = format_name(arithmetic.accumulator_format)
    if isinstance(arithmetic.accumulator, LogArithmetic):
        return f"{name}_{adder_name(arithmetic.accumulator.adder, arithmetic.accumulator.format)}"
    return name


def arithmetic_name(arithmetic: LogArithmetic) -> str:
    """Operand format, adder and accumulator; the order of sums and the function exp are left out."""
    adder = adder_name(arithmetic.adder, arithmetic.format)
    return f"{format_name(arithmetic.format)}_{adder}_in_{accumulator_name(arithmetic)}"


def order_name(order: Order) -> str:
    """``tree_16``, ``sequential``, ``blocked_64``."""
    return "_".join([order.kind, *(str(value) for value in order.__dict__.values())])
