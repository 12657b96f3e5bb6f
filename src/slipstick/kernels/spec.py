"""An arithmetic as the kernels take it: every table computed exactly in Python, handed over once."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from slipstick.arithmetic import Blocked, LogArithmetic, Order, Sequential, Tree
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.formats.rounding_tables import DOUBLE_MANTISSA_BITS, decode_table, encode_table
from slipstick.kernels import native


@dataclass(frozen=True, eq=False)
class KernelSpec:
    """A LogArithmetic and its native tables.

    via: a finer format that operands are encoded in before they are narrowed to the arithmetic's own, or None.
    constants: codes of host constants met so far.
    """

    arithmetic: LogArithmetic
    via: LNS | None
    native: native.Arithmetic
    constants: dict[float, int] = field(default_factory=dict, repr=False)

    @property
    def format(self) -> LNS:
        """The operand format."""
        return self.arithmetic.format


@lru_cache(maxsize=64)
def kernel_spec(arithmetic: LogArithmetic, via: LNS | None = None) -> KernelSpec:
    """The kernels' view of ``arithmetic``, made once per value."""
    format = arithmetic.format
    if not format.fits_float32:
        raise SpecificationError(f"{arithmetic}: operands travel in float32 and need int_bits <= 6")
    check_narrowing(format, via)
    instruction_set()
    finer = None if via is None or via.frac_bits == format.frac_bits else via.frac_bits
    single = encode_table(format.frac_bits, finer)
    double = encode_table(format.frac_bits, finer, DOUBLE_MANTISSA_BITS)
    plus, minus = arithmetic.tables
    accumulator_plus, accumulator_minus = arithmetic.accumulator_tables
    handle = native.make_arithmetic(
        _native_format(format),
        _native_format(arithmetic.accumulator_format),
        single.offsets.astype(np.int32),
        single.bucket_shift,
        double.offsets,
        double.bucket_shift,
        decode_table(format.frac_bits).astype(np.int32),
        plus,
        minus,
        accumulator_plus,
        accumulator_minus,
        arithmetic.order.kind,
        _order_size(arithmetic.order),
    )
    return KernelSpec(arithmetic, via, handle)


def instruction_set() -> str:
    """The one in use. Raises SpecificationError where the variable SLIPSTICK_ISA names a set that is not there."""
    try:
        return native.current_isa()
    except RuntimeError as error:
        raise SpecificationError(str(error)) from None


def check_narrowing(compute: LNS, update: LNS | None) -> None:
    """Raise SpecificationError unless numbers of ``update`` narrow to ``compute`` by a shift."""
    if update is None:
        return
    if update.frac_bits < compute.frac_bits or update.int_bits < compute.int_bits:
        raise SpecificationError(f"update={update}: must have at least the int_bits and frac_bits of compute {compute}")
    if update.underflow != compute.underflow:
        raise SpecificationError(f"update={update}: needs the underflow policy of compute, {compute.underflow!r}")


def _native_format(format: LNS) -> native.Format:
    return native.Format(format.int_bits, format.frac_bits, format.underflow == "flush")


def _order_size(order: Order) -> int:
    match order:
        case Sequential():
            return 1
        case Tree(radix):
            return radix
        case Blocked(length):
            return length
    raise SpecificationError(f"order {order}: the kernels know Sequential, Tree and Blocked")
