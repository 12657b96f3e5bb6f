"""Scatters, gradients of gathers and embedding bags equal, code for code, their sums and products in source order."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import constants, extremes, joined, numbers, placed
from oracle import Number, Oracle

import slipstick as ss

aten = torch.ops.aten

SIZE = 9
INDEX = torch.randint(0, SIZE - 1, (50,), generator=torch.Generator().manual_seed(0))  # the last place is untouched
DRAWS = {"normal": numbers, "extreme": extremes}


def folded(o: Oracle, own: Number, values: Number, reduce: str, include_self: bool) -> Number:
    """Place by place: its own number, if included, then what falls into it in ascending source index."""
    results = []
    for place in range(own.a.shape[0]):
        parts = [own[place : place + 1]] if include_self else []
        parts += [values[int(i) : int(i) + 1] for i in np.flatnonzero(INDEX.numpy() == place)]
        if not (place == INDEX).any():
            results.append(own[place : place + 1])
        elif reduce == "prod":
            product = parts[0]
            for part in parts[1:]:
                product = product * part
            results.append(product)
        else:
            total = placed(o, joined(o, parts), [0] * len(parts), 1)
            results.append(total if reduce == "sum" else total * (1.0 / len(parts)))
    return joined(o, results)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean"])
def test_reductions_into_places(o: Oracle, reduce: str, include_self: bool, draw: str) -> None:
    a, values = DRAWS[draw](SIZE), DRAWS[draw](50, seed=1)
    want = folded(o, o.numbers(a), o.numbers(values), reduce, include_self)
    with ss.use(o.arithmetic):
        o.same(a.scatter_reduce(0, INDEX, values, reduce, include_self=include_self), want)
        o.same(a.clone().scatter_reduce_(0, INDEX, values, reduce, include_self=include_self), want)
        if reduce != "sum":
            o.same(a.index_reduce(0, INDEX, values, reduce, include_self=include_self), want)


@pytest.mark.parametrize("reduce", ["multiply", "add"])
def test_scatter_that_multiplies_or_adds(o: Oracle, reduce: str) -> None:
    a, values = numbers(SIZE), numbers(50, seed=1)
    kind = {"multiply": "prod", "add": "sum"}[reduce]
    same = constants(o, [0.3] * 50)
    with ss.use(o.arithmetic):
        o.same(a.scatter(0, INDEX, values, reduce=reduce), folded(o, o.numbers(a), o.numbers(values), kind, True))
        o.same(a.clone().scatter_(0, INDEX, 0.3, reduce=reduce), folded(o, o.numbers(a), same, kind, True))
        out = torch.scatter(a, 0, INDEX, values, reduce=reduce, out=torch.empty(SIZE))
        o.same(out, folded(o, o.numbers(a), o.numbers(values), kind, True))


@pytest.mark.parametrize("dim", [0, 1])
def test_scatters_along_either_axis_take_the_part_of_the_source_that_the_index_faces(o: Oracle, dim: int) -> None:
    a, source = numbers(6, 5), numbers(8, 7, seed=1)
    index = torch.randint(0, a.shape[dim], (4, 5), generator=torch.Generator().manual_seed(1))
    cells = torch.arange(30).reshape(6, 5)
    places = cells.gather(0, index) if dim == 0 else cells[:4].gather(1, index)
    x, v = o.numbers(a), o.numbers(source)[:4, :5]
    want = placed(o, joined(o, [x, v]), np.concatenate([np.arange(30), places.flatten().numpy()]), 30).reshape(6, 5)
    row = torch.tensor([1, 3, 1])
    added = placed(o, joined(o, [x, v[:3]]), np.concatenate([np.arange(30), cells[row].flatten().numpy()]), 30)
    with ss.use(o.arithmetic):
        o.same(a.scatter_add(dim, index, source), want)
        o.same(a.clone().scatter_add_(dim, index, source), want)
        o.same(a.index_add(0, row, source[:3, :5]), added.reshape(6, 5))
        o.same(a.index_put((row,), source[:3, :5], accumulate=True), added.reshape(6, 5))
        o.same(aten._unsafe_index_put(a, (row,), source[:3, :5], True), added.reshape(6, 5))


def test_gradients_of_gathers_add_back(o: Oracle) -> None:
    a = numbers(SIZE).requires_grad_()
    g = numbers(50, seed=1)
    mask = numbers(6, 4).abs() > 0.5
    chosen = numbers(6, 4, seed=2)
    want = placed(o, o.numbers(g), INDEX, SIZE)
    with ss.use(o.arithmetic):
        o.same(torch.autograd.grad(a[INDEX], a, g)[0], want)
        o.same(torch.autograd.grad(a.gather(0, INDEX), a, g)[0], want)
        o.same(torch.autograd.grad(a.index_select(0, INDEX), a, g)[0], want)
        o.same(torch.autograd.grad(a.take(INDEX), a, g)[0], want)
        back = aten.masked_scatter_backward(chosen, mask, [20])
    kept = chosen[mask]
    o.same(back, o.numbers(torch.cat([kept, torch.zeros(20 - len(kept))])))


PADS = [(rank, mode) for rank in (1, 2, 3) for mode in ("reflect", "replicate")]


@pytest.mark.parametrize(("rank", "mode"), PADS)
def test_gradients_of_paddings_add_where_the_border_came_from(o: Oracle, rank: int, mode: str) -> None:
    a = numbers(2, *(4, 3, 3)[:rank]).requires_grad_() if rank < 3 else numbers(1, 2, 3, 3, 2).requires_grad_()
    sides = [1, 2, 2, 1, 1, 1][: 2 * rank] if rank < 3 else [1, 1, 2, 1, 1, 2]
    with ss.use(o.arithmetic):
        y = F.pad(a[None] if rank < 3 else a, sides, mode)
        g = numbers(*y.shape, seed=1)
        (gradient,) = torch.autograd.grad(y, a, g)
    source = np.arange(a.numel()).reshape(a.shape)
    lead = a.dim() - rank
    widths = [(0, 0)] * lead + [(sides[2 * i], sides[2 * i + 1]) for i in reversed(range(rank))]
    places = np.pad(source, widths, mode="reflect" if mode == "reflect" else "edge")
    o.same(gradient, placed(o, o.numbers(g).reshape(-1), places, a.numel()).reshape(*a.shape))


def test_overlapping_columns_add_in_source_order(o: Oracle) -> None:
    columns = numbers(2, 2 * 6, 3 * 3)
    x = o.numbers(columns).reshape(2, 2, 3, 2, 3, 3)
    with ss.use(o.arithmetic):
        y = F.fold(columns, (5, 5), (3, 2), stride=(1, 2), padding=(0, 1), dilation=(1, 2))
    for n, c in itertools.product(range(2), range(2)):
        terms, places = [], []
        for i, j, p, q in itertools.product(range(3), range(2), range(3), range(3)):
            row, column = p + i, 2 * q + 2 * j - 1
            if 0 <= row < 5 and 0 <= column < 5:
                terms.append(x[n, c, i, j, p, q])
                places.append(5 * row + column)
        o.same(y[n, c].flatten(), placed(o, joined(o, terms), places, 25))


BAGS = torch.tensor([0, 0, 2, 2, 2, 2, 3, 3, 3])
ROWS = torch.tensor([1, 4, 4, 0, 6, 2, 3, 3, 1])
OFFSETS = torch.tensor([0, 2, 2, 6])
COUNTS = np.bincount(ROWS.numpy(), minlength=7)
IN_BAG = np.array([2, 1, 4, 3])


@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradients_of_embedding_bags(o: Oracle, mode: str, by_frequency: bool) -> None:
    table, g = numbers(7, 3).requires_grad_(), numbers(4, 3, seed=1)
    with ss.use(o.arithmetic):
        y = F.embedding_bag(ROWS, table, OFFSETS, mode=mode, scale_grad_by_freq=by_frequency)
        (gradient,) = torch.autograd.grad(y, table, g)
    sums = placed(o, o.numbers(table)[ROWS.numpy()], BAGS, 4)
    rows = o.numbers(g)[BAGS.numpy()]
    if mode == "mean":
        sums = sums * constants(o, 1.0 / IN_BAG[:, None])
        rows = rows * constants(o, 1.0 / IN_BAG[BAGS.numpy()][:, None])
    if by_frequency:
        rows = rows * constants(o, 1.0 / COUNTS[ROWS.numpy()][:, None])
    o.same(y, sums)
    o.same(gradient, placed(o, rows, ROWS, 7))


def test_weights_of_an_embedding_bag_multiply_rows_and_gradients(o: Oracle) -> None:
    table, w, g = numbers(7, 3).requires_grad_(), numbers(9, seed=2).requires_grad_(), numbers(4, 3, seed=1)
    with ss.use(o.arithmetic):
        y = F.embedding_bag(ROWS, table, OFFSETS, mode="sum", per_sample_weights=w, padding_idx=3)
        of_table, of_weights = torch.autograd.grad(y, (table, w), g)
    kept = (ROWS != 3).numpy()
    rows, factors, back = o.numbers(table)[ROWS.numpy()], o.numbers(w).reshape(9, 1), o.numbers(g)[BAGS.numpy()]
    o.same(y, placed(o, (rows * factors)[kept], BAGS.numpy()[kept], 4))
    o.same(of_table, placed(o, (back * factors)[kept], ROWS.numpy()[kept], 7))
    o.same(of_weights, (back * rows).sum([1]).where(kept, constants(o, [0.0] * 9)))


def test_the_largest_of_a_bag_and_where_it_came_from(o: Oracle) -> None:
    table, g = numbers(7, 3), numbers(4, 3, seed=1)
    table[3], table[1] = 0.5, 0.5  # ties
    table.requires_grad_()
    with ss.use(o.arithmetic):
        y = F.embedding_bag(ROWS, table, OFFSETS, mode="max")
        (gradient,) = torch.autograd.grad(y, table, g)
    x, d = o.numbers(table), o.numbers(g)
    value = x.a.numbers()
    for column in range(3):
        terms, places, best = [], [], []
        for bag in range(4):
            rows = ROWS[bag == BAGS].tolist()
            first = max(rows, key=lambda r: value[r, column]) if rows else None  # the first of equals
            best.append(constants(o, 0.0) if first is None else x[first, column])
            if first is not None:
                terms.append(d[bag, column])
                places.append(first)
        o.same(y[:, column], joined(o, best))
        o.same(gradient[:, column], placed(o, joined(o, terms), places, 7))


def test_the_gradient_of_an_embedding_by_frequency(o: Oracle) -> None:
    table, g = numbers(7, 3).requires_grad_(), numbers(9, 3, seed=1)
    with ss.use(o.arithmetic):
        (gradient,) = torch.autograd.grad(F.embedding(ROWS, table, scale_grad_by_freq=True), table, g)
    rows = o.numbers(g) * constants(o, 1.0 / COUNTS[ROWS.numpy()][:, None])
    o.same(gradient, placed(o, rows, ROWS, 7))
