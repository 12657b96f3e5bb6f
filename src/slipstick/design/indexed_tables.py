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
from slipstick.design.zero_bias import balancing_steps, without_bias
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Classes:
    """One function summed over the classes of one index: total weight, weighted mean, squared error about it."""

    number: Ints
    weight: Floats
    mean: Floats
    spread: float
    pinned: NDArray[np.bool_]
    nearest: Ints


def best_indexed_table(request: DesignRequest, progress: Callable[[float], None] = lambda share: None) -> IndexedTable:
    """The index of ``request.index_bits`` bits and the entries with the least weighted squared error."""
    targets = gaussian_target(1, request.frac_bits), gaussian_target(-1, request.frac_bits)
    weights = tuple(request.objective_weights().of(target) for target in targets)
    best: tuple[float, IndexedTable] | None = None
    forms = [form for form in index_forms(request.index_bits) if _reaches(form, request)]
    for number, form in enumerate(forms):
        error, parts = 0.0, []
        for target, weight in zip(targets, weights, strict=True):
            classes = _classes(form, target, weight, request.exact_through)
            entries, squared = _entries(classes, form, target, request)
            error += squared
            parts.append(entries)
        if best is None or error < best[0]:
            best = error, IndexedTable(request.frac_bits, form, *parts)
        progress((number + 1) / len(forms))
    if best is None:
        raise SpecificationError(
            f"swamping={request.swamping}: no index of {request.index_bits} bits ends there at "
            f"frac_bits={request.frac_bits}; ask for more index_bits or drop the threshold"
        )
    return best[1]


def best_table(request: DesignRequest) -> Table:
    """The uniform table of at most ``request.entries`` entries with the least weighted squared error."""
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


def _reaches(form: IndexForm, request: DesignRequest) -> bool:
    """Whether the classes end inside the domain, after what must be exact, and where the threshold asks."""
    fine = form.base if form.shift else form.top
    if fine <= request.exact_through or form.end > DOMAIN_OCTAVES << request.frac_bits:
        return False
    if request.end is None:
        return True
    d = np.array([request.end, request.end + 1])
    classes = form.of(d)
    return bool(classes[0] != classes[1]) and request.end < form.end


def _classes(form: IndexForm, target: Target, weight: Floats, exact_through: int) -> _Classes:
    number = form.of(target.distance)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    total = np.add.reduceat(weight, starts)
    mean = np.add.reduceat(weight * target.real, starts) / total
    spread = float((weight * target.real**2).sum() - (total * mean**2).sum())
    pinned = target.distance[starts] <= (exact_through if target.sign < 0 else min(exact_through, 0))
    return _Classes(number[starts], total, mean, spread, pinned, target.nearest[starts])


def _entries(
    classes: _Classes, form: IndexForm, target: Target, request: DesignRequest
) -> tuple[tuple[int, ...], float]:
    """The entries of all classes, and their squared error."""
    top = classes.number == form.top
    last = form.top if request.end is None else int(form.of(np.array([request.end]))[0])
    beyond = top | (classes.number > last)

    def at(tilt: float) -> tuple[Ints, float]:
        value = np.rint(classes.mean - tilt).astype(np.int64)
        value = np.where(classes.pinned, classes.nearest, value)
        if request.end is not None:
            value = target.sign * np.maximum(target.sign * value, 1)
        value = np.where(beyond, 0, value)
        return value, float((classes.weight * (value - classes.mean)).sum() / classes.weight.sum())

    values, _ = without_bias(at) if request.zero_bias else at(0.0)
    if request.zero_bias:
        free = ~(classes.pinned | beyond)
        keeps_sign = (np.abs(values) > 1) | (request.end is None)
        share = classes.weight / classes.weight.sum()
        rises, falls = (free & (keeps_sign | (values * target.sign * step > 0)) for step in (1, -1))
        values = values + balancing_steps(share, values - classes.mean, rises, falls)
    squared = classes.spread + float((classes.weight * (values - classes.mean) ** 2).sum())
    entries = np.zeros(form.top + 1, dtype=np.int64)
    entries[classes.number] = values
    return tuple(entries.tolist()), squared
