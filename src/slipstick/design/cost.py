"""What an adder's tables cost: comparators, shifters, stored bits, and instructions of a vector kernel."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, PiecewiseLinear, Segments, Table, Tables
from slipstick.arithmetic.indexed_table import IndexedTable, IndexForm
from slipstick.formats import LNS

Ints = NDArray[np.int64]

# Vector instructions of a product and an addition, for 64 terms at once, with 64-byte permutations (AVX-512): by the
# bits of the class, and what a coarse part of the index adds. They are counts of this project's kernels.
_INSTRUCTIONS = {6: 19, 7: 21, 8: 28}
_COARSE_INSTRUCTIONS = 6
_LARGEST_SHIFT = 6
_LARGEST_ENTRY = 255
_LARGEST_NEAR_ENTRY = 32767  # of D- in the first classes, which have a second byte
_NEAR_CLASSES = 16


@dataclass(frozen=True)
class AdderCost:
    """segments: of both functions. shifts: distinct slopes of each function, added up: what a shifter selects from.
    comparator_bits: significant bits of all bounds. table_bits: stored values. index: the cheapest class index by which
    a vector kernel can look both tables up; None: it gathers. instructions: of that kernel, per 64 terms.
    """

    segments: int
    shifts: int
    comparator_bits: int
    table_bits: int
    index: str | None
    instructions: int | None

    def to_dict(self) -> dict[str, int | str | None]:
        return asdict(self)


def adder_cost(adder: Adder, frac_bits: int) -> AdderCost:
    """The cost of ``adder`` in a format with ``frac_bits``."""
    tables = adder.tables(LNS(int_bits=5, frac_bits=frac_bits))
    form = cheapest_index(tables)
    parts = (adder.plus, adder.minus) if isinstance(adder, PiecewiseLinear) else ()
    return AdderCost(
        segments=sum(len(part.bound) for part in parts),
        shifts=sum(len(set(part.exponent)) for part in parts),
        comparator_bits=sum(int(significant_bits(np.array(part.bound) + 1).sum()) for part in parts),
        table_bits=_table_bits(adder, frac_bits, tables),
        index=None if form is None else str(form),
        instructions=None if form is None else instructions(form),
    )


def instructions(form: IndexForm) -> int:
    """Vector instructions per 64 terms of a kernel that looks up by ``form``."""
    return _INSTRUCTIONS[max(6, form.top.bit_length())] + (_COARSE_INSTRUCTIONS if form.shift else 0)


def index_forms(bits: int) -> list[IndexForm]:
    """Every index of so many bits that a kernel has."""
    top = (1 << bits) - 1
    coarse = [IndexForm(shift, base, top) for shift in range(1, _LARGEST_SHIFT + 1) for base in range(1, top)]
    return [IndexForm(0, top, top), *coarse]


def cheapest_index(tables: Tables) -> IndexForm | None:
    """The index with the fewest instructions on whose classes both tables are constant, and 0 in the last.

    None where there is no such index, or where the entries of its classes do not fit a kernel's bytes.
    """
    plus, minus = (table.astype(np.int64) for table in tables)
    changes = np.flatnonzero((np.diff(plus) != 0) | (np.diff(minus) != 0)) + 1
    for form in sorted((form for bits in _INSTRUCTIONS for form in index_forms(bits)), key=instructions):
        if len(changes) <= form.top and bool((form.of(changes) != form.of(changes - 1)).all()):
            return form if _fit_bytes(plus, minus, form) else None
    return None


def _fit_bytes(plus: Ints, minus: Ints, form: IndexForm) -> bool:
    """Whether the differences to the largest entry, which kernels store, fit their bytes. D-(0) is stored apart."""
    largest = max(int(plus.max()), int(minus[1:].max(initial=0)), 0)
    near = form.of(np.arange(1, len(minus))) < _NEAR_CLASSES
    limit = np.where(near, _LARGEST_NEAR_ENTRY, _LARGEST_ENTRY)
    stored = max(largest, int((largest - plus).max())) <= _LARGEST_ENTRY
    return stored and bool((largest - minus[1:] <= limit).all())


def significant_bits(number: Ints) -> Ints:
    """Bits from the highest 1 to the lowest of positive integers; 0 for 0."""
    low = np.maximum(number & -number, 1)
    return np.where(number > 0, np.frexp((number // low).astype(np.float64))[1], 0).astype(np.int64)


def _table_bits(adder: Adder, frac_bits: int, tables: Tables) -> int:
    if isinstance(adder, PiecewiseLinear):
        return _segment_bits(adder.plus) + _segment_bits(adder.minus)
    if isinstance(adder, IndexedTable):
        return sum(_stored(np.array(v)) for v in (adder.plus[:-1], adder.minus[1:-1]))
    plus, minus = (table.astype(np.int64) for table in tables)
    step = int(adder.step * (1 << frac_bits)) if isinstance(adder, Table) else 1
    return _stored(plus[:-1:step]) + _stored(minus[step:-1:step])


def _segment_bits(segments: Segments) -> int:
    """Intercepts and shift distances."""
    return _stored(np.array(segments.offset)) + _stored(np.abs(segments.exponent))


def _stored(values: Ints) -> int:
    """Bits of a table of these values, all as wide as the largest needs; the sign is not stored where all agree."""
    if len(values) == 0:
        return 0
    signed = int(values.min() < 0 < values.max())
    return len(values) * (int(np.abs(values).max()).bit_length() + signed)
