"""Sums in a stated order, in an accumulator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic import Blocked, LogArithmetic, Order, Sequential, Tree
from slipstick.arithmetic.adders import Tables
from slipstick.errors import SpecificationError
from slipstick.kernels.reference.addition import add_by
from slipstick.kernels.reference.logs import LogArray, convert, encode, zeros
from slipstick.kernels.reference.scalars import multiply


def ordered_sum(terms: LogArray, order: Order, tables: Tables) -> LogArray:
    """Sum over axis 0 in the format of ``terms``, rounded to it at every step; of no terms, zero."""
    if isinstance(order, Sequential):
        return _sequential(terms, tables)
    if isinstance(order, Tree):
        return _tree(terms, order.radix, tables)
    if isinstance(order, Blocked):
        return _tree(_sequential(_blocks(terms, order.length), tables), 16, tables)
    raise SpecificationError(f"order {order!r}: use Sequential(), Tree() or Blocked()")


def _sequential(terms: LogArray, tables: Tables) -> LogArray:
    """Term after term, from zero."""
    total = zeros(terms.shape[1:], terms.format)
    for k in range(terms.shape[0]):
        total = add_by(tables, total, terms[k])
    return total


def _tree(terms: LogArray, radix: int, tables: Tables) -> LogArray:
    """ "Cut the terms into consecutive blocks, fold each block by halves (i with i+8, i+4, i+2, i+1), then treat the
    block sums the same way. Missing terms are zero."
    """
    while True:
        terms = _blocks(terms, radix)
        half = radix // 2
        while half:
            terms = add_by(tables, terms[:half], terms[half : 2 * half])
            half //= 2
        terms = terms[0]
        if terms.shape[0] == 1:
            return terms[0]


def _blocks(terms: LogArray, length: int) -> LogArray:
    """Terms [K, ...] as consecutive blocks [length, blocks, ...], at least one, padded by zeros."""
    count = max(1, -(-terms.shape[0] // length))
    padded = zeros((count * length, *terms.shape[1:]), terms.format)
    padded.sign[: terms.shape[0]] = terms.sign
    padded.log[: terms.shape[0]] = terms.log
    blocks = padded.reshape(count, length, *terms.shape[1:])
    return LogArray(terms.format, np.swapaxes(blocks.sign, 0, 1), np.swapaxes(blocks.log, 0, 1))


def accumulate(terms: LogArray, arithmetic: LogArithmetic) -> LogArray:
    """Sum over axis 0 of terms already in the accumulator's format, "rounded once on leaving"."""
    total = ordered_sum(terms, arithmetic.order, arithmetic.accumulator_tables)
    return convert(total, arithmetic.format)


def sum_over(a: LogArray, axes: Sequence[int], keepdim: bool, arithmetic: LogArithmetic) -> LogArray:
    """Sum over axes: "ascending logical index, row-major over the reduced axes in ascending order"."""
    rank = len(a.shape)
    reduced = sorted({axis % rank for axis in axes})
    kept = [axis for axis in range(rank) if axis not in reduced]
    kept_shape = [a.shape[axis] for axis in kept]
    count = int(np.prod([a.shape[axis] for axis in reduced], dtype=np.int64))
    terms = a.transpose(*reduced, *kept).reshape(count, *kept_shape)
    total = accumulate(convert(terms, arithmetic.accumulator_format), arithmetic)
    if keepdim:
        return total.reshape(*(1 if axis in reduced else a.shape[axis] for axis in range(rank)))
    return total


def mean_over(a: LogArray, axes: Sequence[int], keepdim: bool, arithmetic: LogArithmetic) -> LogArray:
    """ "mean = sum times encode(1/n)"."""
    total = sum_over(a, axes, keepdim, arithmetic)
    count = int(np.prod([a.shape[axis] for axis in {axis % len(a.shape) for axis in axes}], dtype=np.int64))
    return multiply(total, encode(np.full(total.shape, 1.0 / count), arithmetic.format))


def scatter_sum(values: LogArray, index: NDArray[Any], size: int, arithmetic: LogArithmetic) -> LogArray:
    """Row i of ``values`` [n, ...] is added into row index[i] of [size, ...].

    "Contributions in ascending source index, Sequential", whatever the order of the arithmetic, in its accumulator.
    """
    entered = convert(values, arithmetic.accumulator_format)
    rows = [
        _sequential(entered[np.flatnonzero(np.asarray(index) == row)], arithmetic.accumulator_tables)
        for row in range(size)
    ]
    shape = (size, *values.shape[1:])
    sign = np.array([row.sign for row in rows], np.int64).reshape(shape)
    log = np.array([row.log for row in rows], np.int64).reshape(shape)
    return convert(LogArray(arithmetic.accumulator_format, sign, log), arithmetic.format)
