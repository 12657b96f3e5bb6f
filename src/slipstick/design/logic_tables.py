"""Tables whose logic is small: annealed for the fewest nodes of their decision diagrams, within bounds on the errors.

As logic, D+ and D- are functions of the bits of d, and of whether signs are opposite above them: one multiplexer for
each different function of the lower bits, complements counted once (Bryant 1986, "Graph-Based Algorithms for Boolean
Function Manipulation"). Distances below two octaves have a diagram of their own where tables reach beyond. How many
nodes a pair of tables takes depends on the single values, of which an adder may choose among many: as many as leave its
errors within bounds, here those of another adder.

* conditions that always hold: no error beyond the largest of the bounds, tables that fall (D+) and rise (D-), neither
  of them 0 up to the distance where both end, D+(0) and the first values of D- correctly rounded;
* energy: nodes, plus a price, which rises, for a root mean square or a mean error beyond its bound;
* moves, of 1 to 16 neighbouring distances of one table: all one up or down, one value carried over its neighbours, an
  aligned block in the steps of another, an aligned block constant;
* temperature: geometric, in nodes; accepted with probability exp(-rise / temperature).

A move changes a few values, and so the functions of few blocks of addresses: only those are counted again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, Tables
from slipstick.arithmetic.design_file import DESIGN_SUFFIX, load_adder
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.indexed_table import IndexedTable, IndexForm
from slipstick.arithmetic.published import named_adder
from slipstick.design.cost import cheapest_index
from slipstick.design.target import DOMAIN_OCTAVES, Target, gaussian_target
from slipstick.design.weights import Weights
from slipstick.design.zero_bias import LIMIT
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

if TYPE_CHECKING:
    from slipstick.design.request import DesignRequest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Levels = list[tuple[int, int, int, int, int]]

PUBLISHED = "hamad2025"
"""Its errors are the bounds unless another adder is named."""

LAST_END = 1022
"""The last distance that such a table reaches; formats that need more are better served by slopes."""

NAMES = ("D+", "D-")

_TEMPERATURES = 4.0, 0.15
"""First and last, in nodes."""

_PRICES = 400.0, 4000.0
"""First and last, in nodes for 1 LSB beyond the bound of a root mean square or of a mean."""

_OTHER_LIMIT = 0.1
"""Mean error, in LSBs, that is allowed in any case under weights that are not those of the request."""

_MOST_SAVED = 32
"""Nodes that no move is expected to save: errors that cost more are refused before nodes are counted."""

_MARGIN = 1e-9
_REPORTED = 4096


@dataclass(frozen=True)
class LogicSearch:
    """steps: proposals. seed: of all random choices. like: the adder, by name or design file, whose errors bound those
    of the design. end: the last distance with a value other than 0; None: that of ``like``."""

    steps: int = 1_000_000
    seed: int = 0
    like: str = PUBLISHED
    end: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SpecificationError(f"steps={self.steps!r}: must be 1 or more")
        if self.end is not None and not 1 <= self.end <= LAST_END:
            raise SpecificationError(f"end={self.end!r}: must lie in 1 to {LAST_END}")


class NodeCount:
    """Nodes of the decision diagram of a table of 2^n integers, kept while entries change.

    Bit k of all entries is one integer, whose aligned blocks of 2^m bits are the functions of the m lowest address
    bits. A function is a node if its two halves differ; the lower bit of its first entry is made 0 by complementing.
    """

    def __init__(self, table: Iterable[int], width: int) -> None:
        entries = list(table)
        self._bits = len(entries).bit_length() - 1
        self._mask = (1 << width) - 1
        self._planes = [0] * width
        self._uses: dict[int, int] = {}
        self.nodes = 0
        self._levels: Levels = []
        for level in range(1, self._bits + 1):
            size = 1 << level
            self._levels.append((level, (1 << size) - 1, size // 2, (1 << size // 2) - 1, 1 << size))
        self.apply(self.proposal([(address, 0, value) for address, value in enumerate(entries) if value]))

    def proposal(self, changes: list[tuple[int, int, int]]) -> "NodeChange":
        """What changes = [(address, value now, value then), ...] would do."""
        flips: dict[int, list[int]] = {}
        for address, now, then in changes:
            differs = (now ^ then) & self._mask
            while differs:
                low = differs & -differs
                flips.setdefault(low.bit_length() - 1, []).append(address)
                differs ^= low
        uses: dict[int, int] = {}
        planes = []
        for plane, addresses in flips.items():
            old = new = self._planes[plane]
            for address in addresses:
                new ^= 1 << address
            planes.append((plane, new))
            _count_blocks(self._levels, addresses, old, new, uses)
        known = self._uses
        nodes = 0
        for function, more in uses.items():
            if more:
                used = known.get(function, 0)
                nodes += (used + more > 0) - (used > 0)
        return NodeChange(nodes, planes, uses)

    def apply(self, change: "NodeChange") -> None:
        for plane, bits in change.planes:
            self._planes[plane] = bits
        for function, more in change.uses.items():
            if more:
                used = self._uses.get(function, 0) + more
                if used:
                    self._uses[function] = used
                else:
                    del self._uses[function]
        self.nodes += change.nodes


@dataclass(frozen=True, eq=False, slots=True)
class NodeChange:
    """nodes, uses: how many more than before, all of them and of each function. planes: the new bits of all entries."""

    nodes: int
    planes: list[tuple[int, int]]
    uses: dict[int, int]


def _count_blocks(levels: Levels, addresses: list[int], old: int, new: int, uses: dict[int, int]) -> None:
    """Add to ``uses`` what the functions of all blocks with these addresses were (-1) and become (+1)."""
    blocks = addresses
    for level, mask, half, low_half, mark in levels:
        blocks = list(dict.fromkeys([block >> 1 for block in blocks]))
        for block in blocks:
            shift = block << level
            function = old >> shift & mask
            if function >> half != function & low_half:
                key = (function ^ mask if function & 1 else function) | mark  # the mark tells sizes apart
                uses[key] = uses.get(key, 0) - 1
            function = new >> shift & mask
            if function >> half != function & low_half:
                key = (function ^ mask if function & 1 else function) | mark
                uses[key] = uses.get(key, 0) + 1


class PairCount:
    """Nodes of both tables, as far as d = ``end``: in one diagram, or in two that are split at two octaves.

    rows: D+[0..end] and D-[0..end], D-[0] being D-[1]. limit: the largest magnitude of a value that comes to pass.
    """

    def __init__(self, rows: list[list[int]], frac_bits: int, limit: int) -> None:
        end = len(rows[0]) - 1
        self._bits, split = max(1, end.bit_length()), frac_bits + 1
        width = limit.bit_length() + 1
        self._padded = [row + [0] * ((1 << self._bits) - end - 1) for row in rows]
        self._near_bits = min(self._bits, split)
        near = [row[: 1 << self._near_bits] for row in self._padded]
        self._near = NodeCount(near[0] + near[1], width)
        self._far: NodeCount | None = None
        if self._bits > split:
            far = [row[1 << split : 2 << split] + row[1 << split :] for row in self._padded]
            self._far = NodeCount(far[0] + far[1], width)

    @property
    def nodes(self) -> int:
        return self._near.nodes + (self._far.nodes if self._far else 0)

    def proposal(self, row: int, changes: list[tuple[int, int, int]]) -> tuple[NodeChange | None, NodeChange | None]:
        """What changes = [(d, value now, value then), ...] of one table would do, in both diagrams."""
        split = 1 << self._near_bits
        base, far_base = row << self._near_bits, row << self._bits
        near = [(base | d, now, then) for d, now, then in changes if d < split]
        far = [(far_base | d, now, then) for d, now, then in changes if d >= split]
        far += [(far_base | d - split, now, then) for d, now, then in changes if split <= d < 2 * split]
        return (
            self._near.proposal(near) if near else None,
            self._far.proposal(far) if self._far and far else None,
        )

    def apply(self, change: tuple[NodeChange | None, NodeChange | None]) -> None:
        near, far = change
        if near:
            self._near.apply(near)
        if far and self._far:
            self._far.apply(far)


def logic_nodes(plus: Ints, minus: Ints, frac_bits: int) -> int:
    """Nodes of the tables D+[0..n] and D-[0..n] of an adder, the last value being 0, as all beyond."""
    rows = [list(map(int, table[:-1])) for table in (plus, minus)]
    rows[1][0] = rows[1][1]
    return PairCount(rows, frac_bits, max(abs(value) for row in rows for value in row)).nodes


class _Errors:
    """Sums of errors of one table under several weights, and how far they are beyond their bounds.

    real: the function itself. bounds: of root mean square and mean, for each of the weights. step: what one LSB at one
    distance adds to a mean.
    """

    def __init__(
        self, real: list[float], weights: list[list[float]], bounds: list[tuple[float, float]], step: float
    ) -> None:
        self._real, self._weights, self._bounds = real, weights, bounds
        self._step = step
        self.sums = [(0.0, 0.0)] * len(weights)

    def of(self, values: list[int], beyond: list[tuple[float, float]]) -> None:
        """Take the sums of a whole table. beyond: those of the distances after its end."""
        for k, weights in enumerate(self._weights):
            errors = [value - real for value, real in zip(values, self._real, strict=True)]
            square = sum(w * e * e for w, e in zip(weights, errors, strict=True))
            self.sums[k] = (
                square + beyond[k][0],
                sum(w * e for w, e in zip(weights, errors, strict=True)) + beyond[k][1],
            )

    def after(self, changes: list[tuple[int, int, int]]) -> list[tuple[float, float]]:
        """The sums with changes = [(d, value now, value then), ...]."""
        found = []
        for weights, (square, mean) in zip(self._weights, self.sums, strict=True):
            for d, now, then in changes:
                step = then - now
                weighed = weights[d] * step
                square += weighed * (now + then - 2 * self._real[d])
                mean += weighed
            found.append((square, mean))
        return found

    def excess(self, sums: list[tuple[float, float]]) -> float:
        """By how much root mean squares and means lie beyond their bounds, and a step for each that does, in LSB."""
        excess = 0.0
        for (square, mean), (rms, bias) in zip(sums, self._bounds, strict=True):
            root = sqrt(max(square, 0.0))
            if root > rms:
                excess += root - rms + self._step
            if abs(mean) > bias:
                excess += abs(mean) - bias + self._step
        return excess


class LogicAnnealing:
    """One search for the pair of tables with the fewest nodes.

    request: one whose search is "logic".

    Raises:
        SpecificationError: naming the condition that no pair of tables meets.
    """

    def __init__(self, request: "DesignRequest") -> None:
        self._request, self._search = request, request.logic
        frac_bits = request.frac_bits
        like = _bounding_adder(self._search.like, frac_bits)
        tables = like.tables(LNS(5, frac_bits))
        self.end = _end(request, tables)
        self._random = Random(self._search.seed)
        targets = [gaussian_target(sign, frac_bits) for sign in (1, -1)]
        weights = [Weights(name) for name in dict.fromkeys((request.weights, "uniform", "mixed"))]
        self._lowest, self._highest, self._errors, self.rows = [], [], [], []
        for row, (target, table) in enumerate(zip(targets, tables, strict=True)):
            on_domain = target.on_domain(table)
            if (on_domain == CANCEL).any():
                raise SpecificationError(f"like={self._search.like!r}: {like} cancels beyond d = 0; name another adder")
            error = on_domain - target.real
            lowest, highest = self._windows(target, float(np.abs(error).max()))
            self._lowest.append(lowest)
            self._highest.append(highest)
            self.rows.append(_start(lowest, highest, target))
            self._errors.append(self._sums(row, target, error, [one.of(target) for one in weights]))
        largest = max(abs(value) for row in (*self._lowest, *self._highest) for value in row)
        self._count = PairCount(self.rows, frac_bits, largest)
        self._excess = [errors.excess(errors.sums) for errors in self._errors]

    @property
    def nodes(self) -> int:
        return self._count.nodes

    def _windows(self, target: Target, most: float) -> tuple[list[int], list[int]]:
        """The least and the largest value at d = 0 to the end; raises where there is none."""
        sign, end, first = target.sign, self.end, target.first
        lowest = np.ceil(target.real - most - _MARGIN).astype(np.int64)
        highest = np.floor(target.real + most + _MARGIN).astype(np.int64)
        exact = self._request.exact_through if sign < 0 else min(self._request.exact_through, 0)
        pinned = target.distance <= exact
        lowest[pinned] = highest[pinned] = target.nearest[pinned]
        beyond = np.flatnonzero((target.distance > end) & ((lowest > 0) | (highest < 0)))
        lowest, highest = lowest[: end + 1 - first], highest[: end + 1 - first]
        lowest, highest = (np.maximum(lowest, 1), highest) if sign > 0 else (lowest, np.minimum(highest, -1))
        none = np.append(np.flatnonzero(lowest > highest) + first, target.distance[beyond])
        if len(none):
            raise SpecificationError(
                f"end={end}: {NAMES[target.sign < 0]}({none[0]}) has no value with an error of {most:.3f} LSB or less; "
                "let tables end elsewhere, or name an adder with larger errors"
            )
        if first:  # D-(0) is D-(1), as in logic
            lowest, highest = np.append(lowest[0], lowest), np.append(highest[0], highest)
        return lowest.tolist(), highest.tolist()

    def _sums(
        self, row: int, target: Target, error: NDArray[np.float64], weights: list[NDArray[np.float64]]
    ) -> _Errors:
        """The errors of the table at the start; their bounds are those of ``error``, and means at least the limits."""
        count, first, inside = len(target.distance), target.first, self.end + 1 - target.first
        bounds, shares, beyond = [], [], []
        for number, weight in enumerate(weights):
            share = weight / count
            bias = 0.0 if self._request.zero_bias and not number else abs(float((share * error).sum()))
            bias = max(bias, _OTHER_LIMIT if number else LIMIT)
            bounds.append((sqrt(float((share * error**2).sum())) - _MARGIN, bias - _MARGIN))
            shares.append([0.0] * first + share[:inside].tolist())
            rest, tail = share[inside:], -target.real[inside:]
            beyond.append((float((rest * tail**2).sum()), float((rest * tail).sum())))
        errors = _Errors([0.0] * first + target.real[:inside].tolist(), shares, bounds, 1 / count)
        errors.of(self.rows[row], beyond)
        return errors

    def run(self, progress: Callable[[float], None] = lambda share: None) -> Tables:
        """The best tables seen, D+[0..end + 1] and D-[0..end + 1]."""
        draw, steps = self._random.random, self._search.steps
        best, found = inf, None
        if not any(self._excess):
            best, found = self.nodes, [list(row) for row in self.rows]
        for step in range(steps):
            if step % _REPORTED == 0:
                progress(step / steps)
            row = int(draw() * 2)
            changes = self._move(row)
            moved = changes and self._accepted(row, changes, step / steps)
            if moved and self.nodes < best and not any(self._excess):
                best, found = self.nodes, [list(values) for values in self.rows]
        if found is None:
            raise SpecificationError(
                f"logic: {steps} proposals found no tables up to d = {self.end} within the bounds; "
                "drop a condition, let them end elsewhere, or name an adder with larger errors"
            )
        plus, minus = (np.array([*values, 0], np.int32) for values in found)
        minus[0] = CANCEL
        return plus, minus

    def _accepted(self, row: int, changes: list[tuple[int, int, int]], share: float) -> bool:
        """Whether the move is made, after this share of the search; then it is done."""
        errors = self._errors[row]
        sums = errors.after(changes)
        excess = errors.excess(sums)
        rise = (excess - self._excess[row]) * _geometric(_PRICES, share)
        if rise > _MOST_SAVED:
            return False
        counted = self._count.proposal(row, changes)
        rise += sum(one.nodes for one in counted if one)
        if rise > 0 and self._random.random() >= exp(-rise / _geometric(_TEMPERATURES, share)):
            return False
        self._count.apply(counted)
        errors.sums, self._excess[row] = sums, excess
        values = self.rows[row]
        for d, _, then in changes:
            values[d] = then
        return True

    def _move(self, row: int) -> list[tuple[int, int, int]]:
        """[(d, value now, value then), ...] of a table one move away; empty where the conditions forbid it."""
        draw, values, count = self._random.random, self.rows[row], self.end + 1
        kind, length, at = draw(), 1 << int(draw() * 5), int(draw() * count)
        aligned = at - at % length
        if kind < 0.35:
            first = aligned if draw() < 0.6 else at
            step = 1 if draw() < 0.5 else -1
            new = [value + step for value in values[first : first + length]]
        elif kind < 0.7:
            first = at + 1 if draw() < 0.5 else max(0, at - length)
            new = [values[at]] * (min(length, count - first) if first > at else at - first)
        elif kind < 0.85:
            first, other = aligned, int(draw() * count) // length * length
            offset = values[first] - values[other]
            if draw() < 0.5:
                offset += int(draw() * 3) - 1
            new = [value + offset for value in values[other : other + length]][: count - first]
        else:
            first = aligned
            new = [values[min(aligned + int(draw() * length), count - 1)]] * min(length, count - first)
        return self._allowed(row, first, new)

    def _allowed(self, row: int, first: int, new: list[int]) -> list[tuple[int, int, int]]:
        """The changes by new values from d = ``first`` on, if they keep to the windows and to the order."""
        values, lowest, highest = self.rows[row], self._lowest[row], self._highest[row]
        changes = []
        for d, then in enumerate(new, first):
            now = values[d]
            if then != now and lowest[d] != highest[d] and d >= row:  # D-(0) follows D-(1)
                if not lowest[d] <= then <= highest[d]:
                    return []
                changes.append((d, now, then))
        if not changes:
            return []
        if row and changes[0][0] == 1:
            changes.insert(0, (0, changes[0][1], changes[0][2]))
        changed = {d: then for d, _, then in changes}
        falls = 1 - 2 * row
        for d, _, then in changes:
            after = changed.get(d + 1, values[d + 1]) if d < self.end else 0
            before = changed.get(d - 1, values[d - 1]) if d else then
            if not before * falls >= then * falls >= after * falls:
                return []
        return changes


def _geometric(ends: tuple[float, float], share: float) -> float:
    first, last = ends
    return first * exp(log(last / first) * share)


def _start(lowest: list[int], highest: list[int], target: Target) -> list[int]:
    """The values nearest to the target."""
    nearest = [int(target.nearest[0])] * target.first + target.nearest.tolist()
    return [min(max(value, low), high) for value, low, high in zip(nearest, lowest, highest, strict=False)]


def _bounding_adder(name: str, frac_bits: int) -> Adder:
    """The adder whose errors bound those of a design."""
    try:
        adder = load_adder(name) if name.endswith(DESIGN_SUFFIX) else named_adder(name, LNS(5, frac_bits))
        adder.tables(LNS(5, frac_bits))
    except SpecificationError as error:
        raise SpecificationError(f"like={name!r}: no such adder to take bounds from ({error})") from None
    return adder


def _end(request: "DesignRequest", tables: Tables) -> int:
    """The last distance with a value other than 0."""
    end = request.logic.end or request.end or len(tables[0]) - 2
    if end > LAST_END:
        raise SpecificationError(f"end={end}: logic reaches to d = {LAST_END}; let tables end there or before")
    if end > DOMAIN_OCTAVES << request.frac_bits:
        raise SpecificationError(
            f"end={end}: errors are known up to d = {DOMAIN_OCTAVES << request.frac_bits}; let tables end before"
        )
    return end


def least_logic(request: "DesignRequest", progress: Callable[[float], None] = lambda share: None) -> IndexedTable:
    """The adder with the fewest nodes within the bounds, looked up by the cheapest index that its values allow."""
    plus, minus = LogicAnnealing(request).run(progress)
    last = len(plus) - 1
    form = cheapest_index((plus, minus)) or IndexForm(0, last, last)
    index = form.of(np.arange(form.end + 1))
    starts = np.minimum(np.searchsorted(index, np.arange(form.top + 1)), last)
    entries = [tuple(table[starts].tolist()) for table in (plus, np.append(0, minus[1:]))]
    return IndexedTable(request.frac_bits, form, *entries)
