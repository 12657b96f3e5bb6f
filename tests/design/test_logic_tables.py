"""Tables of small logic: nodes counted as blocks that differ, errors within their bounds, conditions that hold."""

import random
from functools import lru_cache

import numpy as np
import pytest

from slipstick import LogArithmetic, SpecificationError
from slipstick.arithmetic import IndexedTable
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import named_adder
from slipstick.design import DesignRequest, Weights, adder_errors, design_adder, gaussian_target, table_errors
from slipstick.design.logic_tables import LogicAnnealing, LogicSearch, NodeCount, PairCount, logic_nodes
from slipstick.formats import LNS

COARSE = "designed-4"
STEPS = 3000


def request(frac_bits=3, steps=STEPS, seed=0, like=COARSE, end=None, **fields):
    search = LogicSearch(steps, seed, like, end)
    return DesignRequest(frac_bits, search="logic", logic=search, **{"exact_through": 1, "zero_bias": False} | fields)


@lru_cache(maxsize=32)
def designed(request):
    return design_adder(request)


def tables(adder, frac_bits):
    return [table.astype(np.int64) for table in adder.tables(LNS(5, frac_bits))]


def nodes_by_hand(table, width):
    """Different functions of the lower address bits that depend on the highest of these, complements being one."""
    functions = set()
    for bit in range(width):
        plane = tuple((value >> bit) & 1 for value in table)
        size = len(plane)
        while size > 1:
            for start in range(0, len(plane), size):
                block = plane[start : start + size]
                if block[: size // 2] != block[size // 2 :]:
                    functions.add(block if block[0] == 0 else tuple(1 - value for value in block))
            size //= 2
    return len(functions)


def pair_by_hand(rows, frac_bits):
    """Nodes of D+ and D- below two octaves, and of both beyond, where they reach so far."""
    bits, split = max(1, (len(rows[0]) - 1).bit_length()), 2 << frac_bits
    rows = [row + [0] * ((1 << bits) - len(row)) for row in rows]
    nodes = nodes_by_hand(rows[0][:split] + rows[1][:split], 20)
    if len(rows[0]) > split:
        far = [row[split : 2 * split] + row[split:] for row in rows]
        nodes += nodes_by_hand(far[0] + far[1], 20)
    return nodes


@pytest.mark.parametrize("bits", [1, 3, 6])
def test_nodes_of_a_table_are_its_different_functions(bits):
    draw = random.Random(bits)
    table = [draw.randrange(-3, 4) for _ in range(1 << bits)]
    count = NodeCount(table, 3)
    assert count.nodes == nodes_by_hand(table, 3)
    for _ in range(60):
        picked = draw.sample(range(len(table)), draw.randint(1, min(4, len(table))))
        changes = [(address, table[address], draw.randrange(-4, 4)) for address in picked]
        then = list(table)
        for address, _, value in changes:
            then[address] = value
        change = count.proposal(changes)
        assert count.nodes + change.nodes == nodes_by_hand(then, 3)
        if draw.random() < 0.5:
            count.apply(change)
            table = then
    assert count.nodes == nodes_by_hand(table, 3)


def test_no_entry_differing_takes_no_node():
    assert NodeCount([5] * 16, 4).nodes == 0


@pytest.mark.parametrize(("frac_bits", "end"), [(2, 1), (2, 7), (2, 8), (2, 15), (2, 30), (3, 40), (1, 100)])
def test_nodes_of_a_pair_are_counted_while_it_changes(frac_bits, end):
    draw = random.Random(end)
    rows = [[draw.randrange(-9, 10) for _ in range(end + 1)] for _ in range(2)]
    pair = PairCount(rows, frac_bits, 10)
    for _ in range(60):
        assert pair.nodes == pair_by_hand(rows, frac_bits)
        row, first = draw.randrange(2), draw.randrange(end + 1)
        new = [(d, draw.randrange(-9, 10)) for d in range(first, min(first + 3, end + 1))]
        pair.apply(pair.proposal(row, [(d, rows[row][d], value) for d, value in new]))
        for d, value in new:
            rows[row][d] = value


def test_nodes_of_an_adder_leave_out_what_cancels():
    plus, minus = tables(named_adder("hamad2025", LNS(5, 5)), 5)
    assert minus[0] == CANCEL
    rows = [plus[:-1].tolist(), minus[:-1].tolist()]
    rows[1][0] = rows[1][1]
    assert logic_nodes(plus, minus, 5) == pair_by_hand(rows, 5)


@pytest.mark.parametrize("weights", ["uniform", "large"])
@pytest.mark.parametrize(("frac_bits", "zero_bias"), [(3, False), (3, True), (4, False)])
def test_errors_are_within_those_of_the_named_adder(frac_bits, zero_bias, weights):
    like = named_adder(COARSE, LNS(5, frac_bits))
    adder = designed(request(frac_bits, weights=weights, zero_bias=zero_bias))
    for mine, its in zip(adder_errors(adder, frac_bits), adder_errors(like, frac_bits), strict=True):
        assert mine.max <= its.max + 1e-6
    for name in {"uniform", "mixed", weights}:
        for sign, mine, its in zip((1, -1), tables(adder, frac_bits), tables(like, frac_bits), strict=True):
            target = gaussian_target(sign, frac_bits)
            own, bound = (table_errors(table, target, Weights(name).of(target)) for table in (mine, its))
            assert own.rms <= bound.rms
            free = 0.0 if zero_bias and name == weights else abs(bound.bias)
            assert abs(own.bias) <= max(free, 0.02 if name == weights else 0.1)


@pytest.mark.parametrize("exact_through", [-1, 0, 1, 4])
@pytest.mark.parametrize("end", [None, 90, 100])
def test_tables_are_monotone_and_end_together_and_begin_exactly(exact_through, end):
    like = tables(named_adder(COARSE, LNS(5, 4)), 4)
    bounds = request(4, end=end, exact_through=exact_through)
    plus, minus = tables(designed(bounds), 4)
    last = len(like[0]) - 2 if end is None else end
    assert len(plus) == last + 2
    assert minus[0] == CANCEL
    assert (plus[:-1] > 0).all()
    assert (minus[:-1] < 0).all()
    assert (np.diff(plus) <= 0).all()
    assert (np.diff(minus[1:]) >= 0).all()
    if exact_through >= 0:
        assert plus[0] == 16
    nearest = gaussian_target(-1, 4).nearest
    assert minus[1 : 1 + max(0, exact_through)].tolist() == nearest[: max(0, exact_through)].tolist()


def test_a_search_ends_with_fewer_nodes_than_it_began_with():
    for frac_bits in (2, 3, 4):
        like = "hamad2025-agnostic" if frac_bits == 5 else COARSE if frac_bits > 2 else "sanyal2019-bitshift"
        began = LogicAnnealing(request(frac_bits, like=like)).nodes
        assert logic_nodes(*tables(designed(request(frac_bits, like=like)), frac_bits), frac_bits) < began


def test_a_seed_gives_one_adder_and_another_seed_another():
    first = designed(request(seed=3))
    assert design_adder(request(seed=3)) == first
    assert design_adder(request(seed=4)) != first


def test_the_adder_is_looked_up_and_adds():
    adder = designed(request())
    assert isinstance(adder, IndexedTable)
    assert LogArithmetic(LNS(4, 3), adder).tables[0].tolist() == tables(adder, 3)[0].tolist()


def test_progress_runs_to_the_end():
    told = []
    LogicAnnealing(request(steps=9000)).run(told.append)
    assert told == sorted(told)
    assert told[0] == 0
    assert 0.9 < told[-1] <= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"end": 20}, r"end=20: D\+\(\d+\) has no value with an error of .* or less; let tables end elsewhere"),
        ({"end": 200}, "end=200: errors are known up to d = 96"),
        ({"end": 5000}, "end=5000: must lie in 1 to 1022"),
        ({"steps": 0}, "steps=0: must be 1 or more"),
        ({"like": "hamad2025"}, "like='hamad2025': no such adder to take bounds from .*no table for frac_bits=3"),
        (
            {"like": "none.json"},
            r"like='none.json': no such adder to take bounds from \(none.json: no such design file",
        ),
        ({"like": "sanyal2019-lut", "frac_bits": 5}, "like='sanyal2019-lut': .* cancels beyond d = 0"),
        (
            {"like": "designed", "steps": 1, "weights": "small", "zero_bias": True},
            "1 proposals found no tables up to d = .* within the bounds",
        ),
        ({"form": "table"}, "form='table': search='logic' chooses the form itself; leave it out"),
        ({"frac_bits": 8, "like": "hamad2025"}, "logic reaches to d = 1022"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(fields, message):
    with pytest.raises(SpecificationError, match=message) as refused:
        design_adder(request(**fields))
    assert "\n" not in str(refused.value)
