"""Dot products of any length, some terms in a cycle, equal the reference and PyTorch in the arithmetic, bit for bit."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from log_codes import MODES, Codes, Datapath, codes, floats, library_products, zero
from mac_vectors import assert_equal, packed

from slipstick import LNS, Blocked, LogArithmetic, Sequential, SpecificationError, Tree
from slipstick.hardware.models.log import log_dot
from slipstick.hardware.rtl.log_dot import log_dot_unit
from slipstick.hardware.unit import Unit


@dataclass(frozen=True)
class Dot:
    """A unit, and how many terms its dot products are given."""

    arithmetic: LogArithmetic
    lanes: int
    lengths: tuple[int, ...]
    levels: int = 2

    def __str__(self) -> str:
        return f"{self.lanes} lanes of {self.arithmetic}"

    @cached_property
    def unit(self) -> Unit:
        return log_dot_unit(self.arithmetic, self.lanes, self.levels)

    def cycles(self, length: int) -> Codes:
        """[cycles, lanes]: which term each lane takes, or ``length``, that is none."""
        if isinstance(self.arithmetic.order, Blocked):
            block = self.arithmetic.order.length
            term = np.arange(min(block, length))[:, None] + block * np.arange(self.lanes)
        else:
            term = np.arange(-(-length // self.lanes) * self.lanes).reshape(-1, self.lanes)
        return np.minimum(term, length)


FINE = LogArithmetic(LNS(6, 8), "designed-8")
SMALL = [
    Dot(LogArithmetic(LNS(2, 2), "exact", Tree(16), "operand"), 16, (37, 1, 256, 100), 1),
    Dot(LogArithmetic(LNS(3, 3, "flush"), "exact", Tree(4)), 4, (64, 3, 30)),
    Dot(LogArithmetic(LNS(3, 3), "sanyal2019-lut", Blocked(8), "operand"), 5, (27, 8, 40)),
    Dot(LogArithmetic(LNS(2, 2, "flush"), "exact", Blocked(8)), 3, (24, 5, 19)),
    Dot(LogArithmetic(LNS(3, 3, "flush"), "exact", Sequential(), "operand"), 3, (50, 1)),
    Dot(LogArithmetic(LNS(4, 4), "designed", Tree(2), FINE), 2, (7, 8)),
]
LARGE = [
    Dot(LogArithmetic(LNS(5, 5), "designed"), 16, (333, 4096)),
    Dot(LogArithmetic(LNS(5, 5), "hamad2025", Blocked(64), "operand"), 4, (250, 64)),
    Dot(LogArithmetic(LNS(5, 5, "flush"), "designed-8", Sequential()), 2, (999,)),
    Dot(LogArithmetic(LNS(4, 4, "flush"), "designed", Tree(4), FINE), 4, (255,), 3),
]


@pytest.fixture(scope="module")
def small() -> Datapath:
    return Datapath([(dot.arithmetic, dot.unit) for dot in SMALL])


def run(datapath: Datapath, dot: Dot, a: Codes, b: Codes) -> Codes:
    """The unit's sums [rows, cycles], of dot products of codes [rows, length] that follow each other without a gap."""
    format, unit = dot.arithmetic.format, dot.unit
    cycles = dot.cycles(a.shape[1])
    ports = {}
    for name, side in (("a", a), ("b", b)):
        with_none = np.concatenate([side, np.full((len(side), 1), zero(format))], 1)
        terms = with_none[:, cycles].reshape(-1, dot.lanes)
        late = np.full((unit.latency - 1, dot.lanes), zero(format))
        ports[name] = packed(np.concatenate([terms, late]), format.width)
    clear = np.zeros(len(a) * len(cycles) + unit.latency - 1, np.int64)
    clear[: len(a) * len(cycles) : len(cycles)] = 1
    return datapath.run(unit, **ports, clear=clear)[unit.latency - 1 :].reshape(len(a), len(cycles))


@pytest.mark.parametrize("dot", SMALL, ids=str)
def test_after_every_cycle_the_sum_is_that_of_all_terms_so_far(small: Datapath, dot: Dot) -> None:
    check_sums(small, dot, 50)


def check_sums(datapath: Datapath, dot: Dot, rows: int) -> None:
    rng = np.random.default_rng(dot.lanes)
    for length in dot.lengths:
        a, b = rng.choice(codes(dot.arithmetic.format), (2, rows, length))
        a[:, 1::2] = np.where(rng.random(a[:, 1::2].shape) < 0.5, a[:, : length // 2 * 2 : 2], a[:, 1::2])
        got, cycles = run(datapath, dot, a, b), dot.cycles(length)
        for cycle in {*range(min(len(cycles), 20)), len(cycles) - 1}:
            here = np.isin(np.arange(length), cycles[: cycle + 1])
            so_far = np.where(here, a, zero(dot.arithmetic.format))
            assert_equal(got[:, cycle], log_dot(dot.arithmetic, so_far.T, b.T))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dot", SMALL, ids=str)
def test_from_floats_to_floats_it_is_the_product_of_pytorch(small: Datapath, dot: Dot, mode: str) -> None:
    check_products(small, dot, mode, 12)


def check_products(datapath: Datapath, dot: Dot, mode: str, size: int) -> None:
    for length in dot.lengths:
        rng = np.random.default_rng(length)
        x = floats(dot.arithmetic.format, (size, length), mode, rng)
        y = floats(dot.arithmetic.format, (length, size), mode, rng)
        if mode == "cancelling" and length > 1:
            y[1::2] = y[: length // 2 * 2 : 2]
        a, b = datapath.encoded(dot.arithmetic, x), datapath.encoded(dot.arithmetic, y).T
        got = run(datapath, dot, np.repeat(a, size, 0), np.tile(b, (size, 1)))[:, -1]
        assert_equal(datapath.decoded(dot.arithmetic, got), library_products(dot.arithmetic, x, y).ravel())


@pytest.mark.long
@pytest.mark.parametrize("dot", LARGE, ids=str)
def test_long_dot_products_are_the_products_of_pytorch(dot: Dot) -> None:
    """At least four million terms of every mode."""
    datapath = Datapath([(dot.arithmetic, dot.unit)])
    check_sums(datapath, dot, 20)
    for mode in MODES:
        check_products(datapath, dot, mode, int((4e6 / sum(dot.lengths)) ** 0.5) + 1)


def test_a_unit_says_how_many_terms_it_takes() -> None:
    arithmetic = LogArithmetic(LNS(2, 2))
    assert "up to 4096 terms" in log_dot_unit(arithmetic).title
    assert "up to 512 terms" in log_dot_unit(LogArithmetic(LNS(2, 2), order=Blocked(32))).title
    assert "any number of terms" in log_dot_unit(LogArithmetic(LNS(2, 2), order=Sequential())).title
    names = {dot.unit.name for dot in (*SMALL, *LARGE)} | {log_dot_unit(arithmetic, levels=n).name for n in (1, 2, 3)}
    assert len(names) == len(SMALL) + len(LARGE) + 3


@pytest.mark.parametrize(
    ("order", "given", "words"),
    [
        (Tree(16), {"lanes": 8}, "log_dot_unit(lanes=8): Tree(16) takes 16 terms in a cycle"),
        (Tree(16), {"levels": 5}, "log_dot_unit(levels=5): give 1 to 4"),
        (Tree(16), {"levels": True}, "log_dot_unit(levels=True): give 1 to 4"),
        (Sequential(), {"lanes": 0}, "log_dot_unit(lanes=0): give 1 to 256"),
        (Tree(512), {}, "log_dot_unit(lanes=512): give 1 to 256"),
    ],
)
def test_units_that_cannot_be_are_refused_in_one_line(order: object, given: dict, words: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        log_dot_unit(LogArithmetic(LNS(2, 2), order=order), **given)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
