"""Some results of a kernel computed once more by the NumPy reference, with every addition shown on the way.

An observer that wants to know what was added inside a kernel replays a sample of what it saw; see
``kernels.observation``. An addition is one of two numbers that are there: K terms take K - 1 of them in any order. The
zero that a sequential sum starts from and the zeros that fill up a tree are no numbers.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic import Blocked, LogArithmetic, Sequential, Tree
from slipstick.arithmetic.adders import Tables
from slipstick.arithmetic.functions import UNDEFINED
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.formats import LNS
from slipstick.kernels import reference
from slipstick.kernels.observation import ChainCall, Contraction, Dims
from slipstick.kernels.reference import LogArray
from slipstick.kernels.reference.addition import add_by
from slipstick.kernels.reference.logs import Bools, Ints
from slipstick.kernels.reference.products import term

Report = Callable[[LogArray, LogArray, Bools], None]
"""Is given both operands of additions, and (broadcast to them) which of them are between numbers that are there."""

_DTYPES: Sequence[Any] = (np.float32, np.float64, np.bool_)
_CONSTANT = 3
_ONES = 2
_BLOCK_SUMS = 16
_THERE = np.ones((), np.bool_)


def outputs(seen: Contraction) -> int:
    """How many sums the contraction has."""
    return prod(dim[0] for dim in (*seen.batch, *seen.rows, *seen.columns))


def terms(seen: Contraction) -> int:
    """How many terms each of them has."""
    return prod(dim[0] for dim in seen.terms)


def elements(seen: ChainCall) -> int:
    """How many elements each result of the chain has."""
    return prod(seen.shape)


def replay_contraction(seen: Contraction, chosen: Ints, report: Report) -> LogArray:
    """The sums numbered ``chosen``, batch, rows and columns row-major, in the accumulator and not yet narrowed."""
    groups = (seen.batch, seen.rows, seen.columns)
    index = np.unravel_index(chosen, (1, *(dim[0] for group in groups for dim in group)))[1:]
    # The strides of every output dimension in a and in b; rows do not move through b nor columns through a.
    in_a = [*(dim[1] for dim in seen.batch), *(dim[1] for dim in seen.rows), *(0 for _ in seen.columns)]
    in_b = [*(dim[2] for dim in seen.batch), *(0 for _ in seen.rows), *(dim[1] for dim in seen.columns)]
    a = _codes_at(seen.a, _ascending(seen.terms, 1)[:, None] + _offsets(index, in_a), seen)
    b = _codes_at(seen.b, _ascending(seen.terms, 2)[:, None] + _offsets(index, in_b) + seen.start, seen)
    arithmetic = seen.spec.arithmetic
    return _ordered_sum(term(a, b, arithmetic), arithmetic, report)


def replay_chain(seen: ChainCall, chosen: Ints, report: Report) -> dict[int, Any]:
    """Every register of the chain, numbers or masks, at the elements numbered ``chosen``, row-major."""
    registers = _inputs(seen, np.unravel_index(chosen, (1, *seen.shape))[1:], len(chosen))
    for operation, register, operands, table in seen.steps:
        values = [registers[operand] for operand in operands]
        if operation in ("add", "sub"):
            a, b = values[0], values[1] if operation == "add" else reference.negate(values[1])
            report(a, b, _THERE)
            registers[register] = add_by(operand_tables(seen.spec.arithmetic), a, b)
        elif operation == "lookup":
            registers[register] = _looked_up(seen.tables[table], *values)
        else:
            registers[register] = _OPERATIONS[operation](*values)
    return registers


def _ordered_sum(terms: LogArray, arithmetic: LogArithmetic, report: Report) -> LogArray:
    """As ``reference.ordered_sum``, over axis 0 of terms [K, n]."""
    tables = accumulator_tables(arithmetic)
    match arithmetic.order:
        case Sequential():
            return _sequential(terms, terms.shape[0], tables, report)[0]
        case Tree(radix):
            return _tree(terms, radix, tables, report)
        case Blocked(length):
            return _tree(_sequential(terms, length, tables, report), _BLOCK_SUMS, tables, report)
    raise SpecificationError(f"order {arithmetic.order}: cannot be replayed")


def _sequential(terms: LogArray, length: int, tables: Tables, report: Report) -> LogArray:
    """The sums [blocks, n] of consecutive blocks of ``length`` terms."""
    length = min(length, terms.shape[0])
    blocks = _blocks(terms, length)
    totals = [blocks[0]]
    for k in range(1, length):
        totals.append(add_by(tables, totals[-1], blocks[k]))
    *before, last = totals
    if before:
        number = np.arange(blocks.shape[1]) * length + np.arange(1, length)[:, None]
        report(_stacked(before), blocks[1:], (number < terms.shape[0])[..., None])
    return last


def _tree(terms: LogArray, radix: int, tables: Tables, report: Report) -> LogArray:
    while terms.shape[0] > 1:
        present = np.clip(terms.shape[0] - radix * np.arange(-(-terms.shape[0] // radix)), 0, radix)
        terms = _blocks(terms, radix)
        half = radix // 2
        while half:
            low, high = terms[:half], terms[half : 2 * half]
            report(low, high, (np.arange(half, 2 * half)[:, None] < present)[..., None])
            terms, present = add_by(tables, low, high), np.minimum(present, half)
            half //= 2
        terms = terms[0]
    return terms[0]


def _blocks(terms: LogArray, length: int) -> LogArray:
    """Terms [K, n] as consecutive blocks [length, blocks, n], filled up by zeros."""
    count, samples = -(-terms.shape[0] // length), terms.shape[1]
    filled = reference.zeros((count * length, samples), terms.format)
    filled.sign[: terms.shape[0]] = terms.sign
    filled.log[: terms.shape[0]] = terms.log
    return filled.reshape(count, length, samples).transpose(1, 0, 2)


def _stacked(arrays: Sequence[LogArray]) -> LogArray:
    return LogArray(arrays[0].format, np.stack([a.sign for a in arrays]), np.stack([a.log for a in arrays]))


@lru_cache(maxsize=16)
def accumulator_tables(arithmetic: LogArithmetic) -> Tables:
    """D+ and D- of the accumulator; some adders work them out at every call."""
    return arithmetic.accumulator_tables


@lru_cache(maxsize=16)
def operand_tables(arithmetic: LogArithmetic) -> Tables:
    """D+ and D- of the operands."""
    return arithmetic.tables


def _codes_at(description: Sequence[int], addresses: Ints, seen: Contraction) -> LogArray:
    """The numbers at addresses of the buffer that a description lays codes out in."""
    return reference.encode(_laid_out(description)[addresses], seen.spec.format, seen.spec.via)


def _laid_out(description: Sequence[int]) -> NDArray[Any]:
    """The operand as numbers where its codes would be, zeros between them."""
    kind, data, base, total = description[:4]
    if kind == _ONES:
        return np.ones(total, np.float32)
    sizes, strides, places = (description[i::3] for i in (4, 5, 6))
    buffer = np.zeros(total, _DTYPES[kind])
    tensor = _array(data, buffer.dtype, sizes, strides)
    np.ndarray(sizes, buffer.dtype, buffer, base * buffer.itemsize, _in_bytes(places, buffer.dtype))[...] = tensor
    return buffer


def _array(data: int, dtype: Any, sizes: Sequence[int], strides: Sequence[int]) -> NDArray[Any]:
    """A tensor's memory, strides in elements."""
    length = 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    memory = (ctypes.c_char * (length * np.dtype(dtype).itemsize)).from_address(data)
    return np.ndarray(sizes, dtype, memory, 0, _in_bytes(strides, dtype))


def _in_bytes(strides: Sequence[int], dtype: Any) -> tuple[int, ...]:
    return tuple(stride * np.dtype(dtype).itemsize for stride in strides)


def _ascending(dims: Dims, column: int) -> Ints:
    """Addresses of all indices of ``dims``, row-major."""
    addresses = np.zeros(1, np.int64)
    for dim in dims:
        addresses = (addresses[:, None] + np.arange(dim[0]) * dim[column]).ravel()
    return addresses


def _offsets(index: Sequence[Ints], strides: Sequence[int]) -> Ints:
    return np.asarray(sum((i * stride for i, stride in zip(index, strides, strict=True)), np.int64(0)))


def _inputs(seen: ChainCall, index: Sequence[Ints], count: int) -> dict[int, Any]:
    rank = len(seen.shape)
    found: dict[int, Any] = {}
    for number, (register, kind, data) in enumerate(zip(seen.inputs, seen.kinds, seen.data, strict=True)):
        if kind == _CONSTANT:
            found[register] = _constant(data, count, seen.spec.format)
            continue
        strides = seen.strides[number * rank : (number + 1) * rank]
        values = np.broadcast_to(_array(data, _DTYPES[kind], seen.shape, strides)[tuple(index)], (count,))
        is_mask = values.dtype == np.bool_
        found[register] = values.copy() if is_mask else reference.encode(values, seen.spec.format, seen.spec.via)
    return found


def _constant(code: int, count: int, format: LNS) -> LogArray:
    return LogArray(format, np.full(count, code & 1, np.int64), np.full(count, code >> 1, np.int64))


def _looked_up(table: NDArray[Any], a: LogArray) -> LogArray:
    entries = table[2 * (a.log + a.format.max_log + 1) + a.sign].astype(np.int64)
    if bool((entries == UNDEFINED).any()):
        raise NonFiniteError("a function has no value here; keep its operand where it is defined")
    return LogArray(a.format, entries & 1, entries >> 1)


def _selected(condition: Bools, then: Any, otherwise: Any) -> Any:
    """Of two numbers or of two masks."""
    if not isinstance(then, LogArray):
        return np.where(condition, then, otherwise)
    sign = np.where(condition, then.sign, otherwise.sign)
    return LogArray(then.format, sign, np.where(condition, then.log, otherwise.log))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "mul": reference.multiply,
    "div": reference.divide,
    "max": reference.maximum,
    "min": reference.minimum,
    "neg": reference.negate,
    "abs": reference.absolute,
    "sqrt": reference.sqrt,
    "rsqrt": reference.rsqrt,
    "reciprocal": reference.reciprocal,
    "gt": lambda a, b: reference.less(b, a),
    "ge": lambda a, b: ~reference.less(a, b),
    "lt": reference.less,
    "le": lambda a, b: ~reference.less(b, a),
    "eq": reference.equal,
    "ne": lambda a, b: ~reference.equal(a, b),
    "is_zero": lambda a: a.is_zero,
    "select": _selected,
}
