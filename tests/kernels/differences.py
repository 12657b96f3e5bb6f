"""Operands that meet at every difference of an adder, adders that differ by one entry, and which kernel one gets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slipstick import Adder, LogArithmetic
from slipstick.kernels import native
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec


def plan_of(arithmetic: LogArithmetic, isa: str) -> str:
    before = native.current_isa()
    native.set_isa(isa)
    try:
        return native.plan_name(kernel_spec(arithmetic).native)
    finally:
        native.set_isa(before)


def every_difference(arithmetic: LogArithmetic) -> tuple[LogArray, LogArray]:
    """Rows and columns whose products meet, two by two, at every d of the adder and beyond, with every pair of signs.

    From the largest term down and from the smallest up; the larger term is first, then second.
    """
    format, top = arithmetic.format, arithmetic.format.max_log
    shift = arithmetic.accumulator_format.frac_bits - format.frac_bits
    end = min(2 * top, (len(arithmetic.accumulator_tables[0]) >> shift) + 40)
    rows = [(end_log, first, second) for end_log in (top, -top) for first in (0, 1) for second in (0, 1)]
    distance = np.arange(end + 1)
    fixed, moving = np.full_like(distance, top), top - distance
    columns = np.concatenate([np.stack([fixed, moving]), np.stack([moving, fixed]), -np.stack([fixed, moving])], 1)
    a = LogArray(format, np.array([row[1:] for row in rows]), np.array([[row[0]] * 2 for row in rows]))
    return a, LogArray(format, np.zeros_like(columns), columns)


@dataclass(frozen=True)
class OffByOne(Adder):
    """Another adder's tables with one entry of D+ or D- raised by ``by``."""

    adder: Adder
    opposite: bool
    distance: int
    by: int = 1
    kind: ClassVar[str] = "off-by-one"

    def tables(self, format):
        tables = [table.copy() for table in self.adder.tables(format)]
        tables[self.opposite][self.distance] += self.by
        return tuple(tables)
