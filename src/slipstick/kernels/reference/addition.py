"""Addition by the two integer tables of an adder."""

import numpy as np

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.adders import Tables
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.kernels.reference.logs import LogArray, rounded
from slipstick.kernels.reference.scalars import negate, same_format


def add(a: LogArray, b: LogArray, arithmetic: LogArithmetic) -> LogArray:
    """a + b in the operand format of ``arithmetic``."""
    same_format(a, b, arithmetic.format)
    return add_by(arithmetic.tables, a, b)


def subtract(a: LogArray, b: LogArray, arithmetic: LogArithmetic) -> LogArray:
    """ "a - b = a + (-b)"."""
    return add(a, negate(b), arithmetic)


def add_by(tables: Tables, a: LogArray, b: LogArray) -> LogArray:
    """a + b by the tables D+ and D-, in the format of the operands.

    "Zero is the identity. d = |La - Lb|. Same sign: L = max(La, Lb) + D+(d). Opposite signs: d = 0 gives zero, else
    max(La, Lb) + D-(d). Sign of the larger magnitude." Both tables stay 0 from their last entry on; an entry of D-
    may be CANCEL: the sum is zero there too.
    """
    same_format(a, b, a.format)
    plus, minus = (table.astype(np.int64) for table in tables)
    d = np.abs(a.log - b.log)
    entry = np.minimum(d, len(plus) - 1)
    same_sign = a.sign == b.sign
    difference = minus[entry]
    log = np.maximum(a.log, b.log) + np.where(same_sign, plus[entry], difference)
    sign = np.where(a.log > b.log, a.sign, b.sign)
    cancelled = ~same_sign & ((d == 0) | (difference == CANCEL))
    total = rounded(sign, log, cancelled, a.format)
    sign = np.where(a.is_zero, b.sign, np.where(b.is_zero, a.sign, total.sign))
    log = np.where(a.is_zero, b.log, np.where(b.is_zero, a.log, total.log))
    return LogArray(a.format, sign, log)
