"""The logic of an adder equals its tables for every distance."""

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from log_codes import Together

from slipstick import (
    LNS,
    BitShift,
    Exact,
    IndexedTable,
    IndexForm,
    PiecewiseLinear,
    Segments,
    SpecificationError,
    Table,
)
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import named_adder
from slipstick.design.logic_tables import logic_nodes
from slipstick.hardware.rtl.decision_diagram import DecisionDiagram
from slipstick.hardware.rtl.log_adder import adder_form, adder_ranges, adder_tables, log_adder_unit

STEEP = PiecewiseLinear(2, Segments((3, 4, 9), (0, -1, -2), (4, 3, 2)), Segments((0, 2, 7), (4, 2, -1), (-40, -9, -5)))
INDEXED = IndexedTable(3, IndexForm(2, 3, 9), (8, 7, 6, 5, 4, 3, 2, 1, 1, 0), (0, -20, -12, -9, -7, -4, -3, -2, -1, 0))
CANCELS_LATE = IndexedTable(1, IndexForm(0, 6, 6), (2, 1, 1, 1, 1, 1, 0), (0, -4, -2, -1, -1, CANCEL, 0))

ADDERS = [
    (Exact(), LNS(3, 0)),
    (Exact(), LNS(2, 3)),
    (Table(), LNS(5, 5)),
    (Table(step=0.25, d_max=1.0), LNS(3, 2)),
    (BitShift(), LNS(5, 5)),
    (BitShift(), LNS(1, 0)),
    (STEEP, LNS(4, 2)),
    (INDEXED, LNS(3, 3)),
    (CANCELS_LATE, LNS(3, 1)),
    *(
        (named_adder(name, LNS(5, 5)), LNS(5, 5))
        for name in ("hamad2025", "hamad2025-agnostic", "designed", "designed-4")
    ),
    *((named_adder(name, LNS(4, 8)), LNS(4, 8)) for name in ("hamad2025", "designed-4")),
    (named_adder("designed-8", LNS(7, 10)), LNS(7, 10)),
]


@pytest.fixture(scope="module")
def units() -> Together:
    return Together([log_adder_unit(adder, format) for adder, format in ADDERS])


@pytest.mark.parametrize("number", range(len(ADDERS)), ids=lambda i: f"{ADDERS[i][0]} in {ADDERS[i][1]}")
def test_correction_and_cancellation_of_every_distance(units: Together, number: int) -> None:
    adder, format = ADDERS[number]
    unit = log_adder_unit(adder, format)
    distances = np.arange(1 << unit.inputs[0].width)
    for opposite, table in enumerate(adder.tables(format)):
        entries = table.astype(np.int64)[np.minimum(distances, len(table) - 1)]
        cancels = (opposite == 1) & ((distances == 0) | (entries == CANCEL))
        got = units.run(number, d=distances, opposite=opposite, live=1)
        mask = (1 << unit.outputs[0].width) - 1
        assert np.array_equal(got["cancel"], cancels)
        assert np.array_equal(got["correction"][~cancels], entries[~cancels] & mask)
        idle = units.run(number, d=distances, opposite=opposite, live=0)
        assert not idle["correction"].any()
        assert not idle["cancel"].any()


def test_slopes_are_kept_only_where_they_make_an_adder_smaller() -> None:
    coarse, fine = LNS(5, 5), LNS(4, 8)
    assert adder_form(named_adder("hamad2025", coarse), coarse).exponents == ()
    assert adder_form(named_adder("hamad2025", fine), fine).exponents != ()
    assert adder_form(Exact(), coarse).exponents == ()


SPLIT = [(Exact(), LNS(2, 3)), *((named_adder(n, LNS(5, 5)), LNS(5, 5)) for n in ("hamad2025", "designed-4"))]


@pytest.mark.parametrize(("adder", "format"), SPLIT, ids=str)
def test_both_diagrams_of_a_split_adder_give_every_distance_of_theirs(adder, format) -> None:
    tables, ranges = adder_tables(adder, format), adder_ranges(adder, format)
    assert ranges is not None
    assert ranges.split == format.frac_bits + 1
    near, far = entries_of(ranges.near), entries_of(ranges.far)
    assert near.shape == (2, 2 << format.frac_bits)
    assert far.shape == tables.corrections.shape
    for opposite, corrections in enumerate(tables.corrections):
        assert np.array_equal(near[opposite], corrections[: near.shape[1]])
        assert np.array_equal(far[opposite, near.shape[1] :], corrections[near.shape[1] :])


def entries_of(diagram: DecisionDiagram) -> np.ndarray:
    """Signed entries for opposite = 0, 1 and every distance, from the nodes."""
    addresses = np.arange(1 << diagram.address_bits)
    values: list[np.ndarray] = []

    def along(edge) -> np.ndarray:
        value = np.zeros(len(addresses), bool) if edge.node is None else values[edge.node]
        return value ^ edge.inverted

    for node in diagram.nodes:
        values.append(np.where(addresses >> node.level & 1 == 1, along(node.high), along(node.low)))
    bits = [along(root).astype(np.int64) << k for k, root in enumerate(diagram._roots)]
    word, sign = np.sum(bits, axis=0), 1 << (len(bits) - 1)
    return ((word ^ sign) - sign).reshape(2, -1)


@pytest.mark.parametrize(
    ("adder", "format"),
    [
        (STEEP, LNS(4, 2)),  # ends below two octaves
        (Table(step=0.25, d_max=1.0), LNS(3, 2)),
        (CANCELS_LATE, LNS(3, 1)),
    ],
    ids=str,
)
def test_an_adder_is_not_split_where_it_ends_soon_or_cancels_late(adder, format) -> None:
    assert adder_ranges(adder, format) is None


@pytest.mark.parametrize(
    ("adder", "format"),
    [
        *SPLIT,
        (STEEP, LNS(4, 2)),
        (INDEXED, LNS(3, 3)),
        (named_adder("designed", LNS(5, 5)), LNS(5, 5)),
        (named_adder("designed", LNS(5, 3)), LNS(5, 3)),
    ],
    ids=str,
)
def test_the_designer_counts_the_nodes_of_the_diagrams(adder, format) -> None:
    ranges = adder_ranges(adder, format)
    tables = adder_tables(adder, format)
    whole = DecisionDiagram(tables.corrections.ravel(), tables.correction_bits)
    nodes = len(ranges.near.nodes) + len(ranges.far.nodes) if ranges else len(whole.nodes)
    assert logic_nodes(*adder.tables(format), format.frac_bits) == nodes


def test_tables_beyond_any_logic_are_refused() -> None:
    with pytest.raises(SpecificationError, match=r"exact in LNS\(6,14\).*use fewer fraction bits"):
        adder_tables(Exact(), LNS(6, 14))


def test_equal_and_complementary_functions_are_one_node() -> None:
    address = np.arange(8)
    parity = (address ^ address >> 1 ^ address >> 2) & 1
    assert len(DecisionDiagram(parity, 1).nodes) == 3
    assert len(DecisionDiagram(parity | (1 - parity) << 1, 2).nodes) == 3
    assert len(DecisionDiagram(np.zeros(8, int), 4).nodes) == 0
