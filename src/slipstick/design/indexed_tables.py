"""The best tables with a short index: the entry of a class is the weighted mean of the function over it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Table
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.indexed_table import IndexedTable, IndexForm
from slipstick.design.cost import index_forms
from slipstick.design.request import DesignRequest
from slipstick.design.target import DOMAIN_OCTAVES, Target, gaussian_target, table_errors
from slipstick.design.zero_bias import MANY, TOLERANCE, balancing_steps, without_bias
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Classes:
    """One function summed over the classes of one index: total weight, weighted mean, squared error about it."""

    sign: int
    number: Ints
    weight: Floats
    mean: Floats
    spread: float
    pinned: NDArray[np.bool_]
    nearest: Ints

    def squared(self, values: Ints) -> float:
        """Squared error of one value for each class."""
        return self.spread + float((self.weight * (values - self.mean) ** 2).sum())

    def last(self, values: Ints) -> int:
        """The last class with a value other than 0."""
        return int(self.number[np.flatnonzero(values)[-1:]].max(initial=0))


def best_indexed_table(request: DesignRequest, progress: Callable[[float], None] = lambda share: None) -> IndexedTable:
    """The index of ``request.index_bits`` bits and the entries with the least weighted squared error."""
    targets = gaussian_target(1, request.frac_bits), gaussian_target(-1, request.frac_bits)
    weights = tuple(request.objective_weights().of(target) for target in targets)

    def classes(form: IndexForm) -> list[_Classes]:
        pairs = zip(targets, weights, strict=True)
        return [_classes(form, target, weight, request.exact_through) for target, weight in pairs]

    # What the entries cost before any condition couples them: no table with this index does better.
    least = {form: sum(one.squared(_free_values(one, form)) for one in classes(form)) for form in _forms(request)}
    best: tuple[float, IndexedTable] | None = None
    for number, form in enumerate(sorted(least, key=least.__getitem__)):
        if best is not None and least[form] >= best[0]:
            break
        for candidate in _tables(form, classes(form), request):
            best = candidate if best is None or candidate[0] < best[0] else best
        progress((number + 1) / len(least))
    assert best is not None
    return best[1]


def best_table(request: DesignRequest) -> Table:
    """The uniform table of at most ``request.entries`` entries with the least weighted squared error.

    Distances at which the table cancels do not count: its error there is not a number of LSBs.
    """
    format = LNS(5, request.frac_bits)
    targets = gaussian_target(1, request.frac_bits), gaussian_target(-1, request.frac_bits)
    weights = tuple(request.objective_weights().of(target) for target in targets)

    def error(table: Table) -> float:
        tables = zip(table.tables(format), targets, weights, strict=True)
        return sum(_where_not_cancelled(values, target, weight) for values, target, weight in tables)

    steps = [2.0**-k for k in range(request.frac_bits, -2, -1)]
    choices = [Table(s, s * n) for s in steps for n in range(1, request.entries + 1) if s * n <= DOMAIN_OCTAVES]
    return min(choices, key=error)


def _where_not_cancelled(values: NDArray[np.int32], target: Target, weight: Floats) -> float:
    """Mean square error over the distances at which the table gives a number and not zero."""
    weight = weight * (target.on_domain(values) != CANCEL)
    return table_errors(values, target, weight / weight.mean()).rms ** 2


def _forms(request: DesignRequest) -> list[IndexForm]:
    """The indices that the conditions leave. Raises SpecificationError naming the one that leaves none."""
    domain = DOMAIN_OCTAVES << request.frac_bits
    known = [request.index] if request.index else index_forms(request.index_bits)
    forms = [form for form in known if form.shift == 0 or form.end <= domain]
    exact = [form for form in forms if _single_distances(form) > request.exact_through]
    if not exact:
        most = max(map(_single_distances, forms)) - 1
        raise SpecificationError(
            f"exact_through={request.exact_through}: an index of {request.index_bits} bits tells distances up to "
            f"{most} apart; ask for at most that or for more index_bits"
        )
    end = request.end
    if end is None:
        return exact
    reaching = [form for form in exact if form.end > end]
    if not reaching:
        raise SpecificationError(
            f"swamping={request.swamping:g}: at frac_bits={request.frac_bits} that is d={end}, and no index of "
            f"{request.index_bits} bits reaches so far; ask for more index_bits or a larger threshold"
        )
    return reaching


def _single_distances(form: IndexForm) -> int:
    """How many distances from 0 on are classes of their own, with an entry that is free."""
    return form.base + 1 if form.shift else form.top


def _classes(form: IndexForm, target: Target, weight: Floats, exact_through: int) -> _Classes:
    number = form.of(target.distance)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    total = np.add.reduceat(weight, starts)
    mean = np.add.reduceat(weight * target.real, starts) / total
    spread = float((weight * target.real**2).sum() - (total * mean**2).sum())
    pinned = target.distance[starts] <= (exact_through if target.sign < 0 else min(exact_through, 0))
    return _Classes(target.sign, number[starts], total, mean, spread, pinned, target.nearest[starts])


def _free_values(classes: _Classes, form: IndexForm, tilt: float = 0.0) -> Ints:
    """The best value of each class for one multiplier of the mean error, whatever the others are."""
    value = np.where(classes.pinned, classes.nearest, np.rint(classes.mean - tilt).astype(np.int64))
    return np.where(classes.number == form.top, 0, value)


def _tables(form: IndexForm, both: list[_Classes], request: DesignRequest) -> list[tuple[float, IndexedTable]]:
    """The best tables with one index, one for each class at which they may end, and their squared errors."""
    lasts: list[int | None] = [None]
    if request.end is not None:
        lasts = [int(form.of(np.array([request.end]))[0])]
    elif request.symmetric:
        natural = [one.last(_values(one, form, None, request.zero_bias)) for one in both]
        lasts = list(range(max(1, min(natural)), max(1, *natural) + 1))
    found = []
    for last in lasts:
        values = [_values(one, form, last, request.zero_bias) for one in both]
        error = sum(one.squared(value) for one, value in zip(both, values, strict=True))
        plus, minus = (_entries(one, form, value) for one, value in zip(both, values, strict=True))
        found.append((error, IndexedTable(request.frac_bits, form, plus, minus)))
    return found


def _values(classes: _Classes, form: IndexForm, last: int | None, zero_bias: bool) -> Ints:
    """The value of each class. last: the last class with a value other than 0, before which none is 0 either."""
    gapless = last is not None
    beyond = classes.number > (form.top - 1 if last is None else last)
    share = classes.weight / classes.weight.sum()
    nearest: dict[bool, Ints] = {}  # to no mean error, from both sides

    def at(tilt: float) -> tuple[Ints, float]:
        value = _free_values(classes, form, tilt)
        if gapless:
            value = classes.sign * np.maximum(classes.sign * value, 1)
        value = np.where(beyond, 0, value)
        bias = float((share * (value - classes.mean)).sum())
        nearest[bias > 0] = value
        return value, bias

    def balanced(values: Ints) -> Ints:
        rises, falls = (free & (_keeps_sign(values, step) | (not gapless)) for step in (1, -1))
        return values + balancing_steps(share, values - classes.mean, rises, falls)

    def worth(values: Ints) -> tuple[float, float]:
        bias = abs(float((share * (values - classes.mean)).sum()))
        return max(bias, TOLERANCE), classes.squared(values)

    if not zero_bias:
        return at(0.0)[0]
    free = ~(classes.pinned | beyond)
    without_bias(at, enough=MANY)
    return min(map(balanced, nearest.values()), key=worth)


def _keeps_sign(values: Ints, step: int) -> NDArray[np.bool_]:
    return (np.abs(values) > 1) | (values * step > 0)


def _entries(classes: _Classes, form: IndexForm, values: Ints) -> tuple[int, ...]:
    entries = np.zeros(form.top + 1, dtype=np.int64)
    entries[classes.number] = values
    return tuple(entries.tolist())
