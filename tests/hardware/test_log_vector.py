"""Dot products of a fixed number of terms, in one pass, equal the reference and the library bit for bit."""

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from log_codes import MODES, Codes, Datapath, codes, floats, library_products, sums, zero
from mac_vectors import assert_equal, every, packed

from slipstick import LNS, Blocked, LogArithmetic, Sequential, SpecificationError, Tree
from slipstick.arithmetic import Order
from slipstick.hardware.models.log import log_dot, log_step, log_sum
from slipstick.hardware.rtl.log_vector import log_reduction_unit, log_vector_unit

FINE = LogArithmetic(LNS(6, 8), "designed-8")
SMALL = [
    (LogArithmetic(LNS(1, 1), "exact", Tree(2), "operand"), 3),
    (LogArithmetic(LNS(1, 1, "flush"), "exact", Sequential(), "operand"), 2),
    (LogArithmetic(LNS(2, 2), "exact", Tree(16), "operand"), 7),
    (LogArithmetic(LNS(3, 3, "flush"), "sanyal2019-lut", Tree(4)), 6),
    (LogArithmetic(LNS(2, 2, "flush"), "exact", Blocked(3)), 8),
    (LogArithmetic(LNS(3, 3), "exact", Sequential(), "operand"), 4),
    (LogArithmetic(LNS(4, 4), "designed", Tree(2), FINE), 3),
]
LARGE = [
    (LogArithmetic(LNS(5, 5), "designed"), 16),
    (LogArithmetic(LNS(5, 5, "flush"), "hamad2025", accumulator="operand"), 16),
    (LogArithmetic(LNS(5, 5), "hamad2025", Sequential()), 8),
    (LogArithmetic(LNS(5, 5), "designed-4", Blocked(4), "operand"), 10),
    (LogArithmetic(LNS(4, 4, "flush"), "designed", Tree(4), FINE), 9),
]
REDUCTIONS = [
    (LogArithmetic(LNS(2, 2), "exact", Blocked(2), "operand"), 5),
    (LogArithmetic(LNS(1, 1, "flush"), "exact", Tree(4), "operand"), 3),
]


@pytest.fixture(scope="module")
def small() -> Datapath:
    return Datapath(
        [(arithmetic, log_vector_unit(arithmetic, lanes)) for arithmetic, lanes in SMALL]
        + [(arithmetic, log_reduction_unit(arithmetic, count)) for arithmetic, count in REDUCTIONS]
    )


def named(case: tuple[LogArithmetic, int]) -> str:
    return f"{case[1]} of {case[0]}"


def run(datapath: Datapath, arithmetic: LogArithmetic, a: Codes, b: Codes, acc: Codes | None = None) -> Codes:
    """Sums of the unit; a, b: codes [rows, lanes]."""
    ports = {"a": packed(a, arithmetic.format.width), "b": packed(b, arithmetic.format.width)}
    if isinstance(arithmetic.order, Sequential):
        ports["acc"] = np.int64(zero(arithmetic.accumulator_format)) if acc is None else acc
    return datapath.run(log_vector_unit(arithmetic, a.shape[1]), **ports)


def operands(arithmetic: LogArithmetic, rows: int, lanes: int, rng: np.random.Generator) -> tuple[Codes, Codes]:
    """Codes of every kind: in a third of the rows any, in a third the ends, in a third pairs that nearly cancel."""
    every_code = codes(arithmetic.format)
    ends = every_code[[0, 1, 2, len(every_code) // 2, len(every_code) // 2 + 1, -2, -1]]
    a, b = rng.choice(every_code, (2, rows, lanes))
    third = rows // 3
    a[:third], b[:third] = rng.choice(ends, (2, third, lanes))
    paired = slice(third, 2 * third)
    format, half = arithmetic.format, lanes // 2
    sign, log = format.split(a[paired, :half])
    near = np.clip(log + rng.integers(-2, 3, log.shape), -format.max_log, format.max_log)
    opposite = format.pattern(1 - sign, np.where(log == format.zero_log, 0, near)).astype(np.int64)
    a[paired, half : 2 * half], b[paired, half : 2 * half] = opposite, b[paired, :half]
    return a, b


@pytest.mark.parametrize("case", SMALL[:2], ids=named)
def test_every_row_of_operands(small: Datapath, case: tuple[LogArithmetic, int]) -> None:
    arithmetic, lanes = case
    some = codes(arithmetic.format)[1:]  # of three lanes without zero, which the other tests have
    rows = every(*[codes(arithmetic.format) if lanes == 2 else some[::2]] * (2 * lanes))
    a, b = np.stack(rows[:lanes], 1), np.stack(rows[lanes:], 1)
    assert_equal(run(small, arithmetic, a, b), log_dot(arithmetic, a.T, b.T))


@pytest.mark.parametrize("case", SMALL, ids=named)
def test_rows_of_every_kind(small: Datapath, case: tuple[LogArithmetic, int]) -> None:
    arithmetic, lanes = case
    a, b = operands(arithmetic, 30_000, lanes, np.random.default_rng(lanes))
    assert_equal(run(small, arithmetic, a, b), log_dot(arithmetic, a.T, b.T))


@pytest.mark.parametrize("case", [c for c in SMALL if isinstance(c[0].order, Sequential)], ids=named)
def test_the_sequential_unit_goes_on_from_every_sum(small: Datapath, case: tuple[LogArithmetic, int]) -> None:
    arithmetic, lanes = case
    rng = np.random.default_rng(3)
    a, b = operands(arithmetic, 20_000, lanes, rng)
    acc = rng.choice(sums(arithmetic), len(a))
    expected = acc
    for lane in range(lanes):
        expected = log_step(arithmetic, a[:, lane], b[:, lane], expected)
    assert_equal(run(small, arithmetic, a, b, acc), expected, acc=acc)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", SMALL, ids=named)
def test_from_floats_to_floats_it_is_the_product_of_pytorch(
    small: Datapath, case: tuple[LogArithmetic, int], mode: str
) -> None:
    check_products(small, *case, mode, 40)


def check_products(datapath: Datapath, arithmetic: LogArithmetic, lanes: int, mode: str, size: int) -> None:
    rng = np.random.default_rng(size)
    x = floats(arithmetic.format, (size, lanes), mode, rng)
    y = floats(arithmetic.format, (lanes, size), "close" if mode == "cancelling" else mode, rng)
    a, b = datapath.encoded(arithmetic, x), datapath.encoded(arithmetic, y).T
    got = run(datapath, arithmetic, np.repeat(a, size, 0), np.tile(b, (size, 1)))
    assert_equal(datapath.decoded(arithmetic, got), library_products(arithmetic, x, y).ravel())


@pytest.mark.parametrize("case", REDUCTIONS, ids=named)
def test_a_sum_of_codes(small: Datapath, case: tuple[LogArithmetic, int]) -> None:
    arithmetic, count = case
    format, unit = arithmetic.accumulator_format, log_reduction_unit(*case)
    choices = [codes(format)] * count if count < 4 else [codes(format)[::7]] * count
    terms = np.stack(every(*choices), 1)
    got = small.run(unit, terms=packed(terms, format.width))
    assert_equal(got, log_sum(arithmetic, terms.T))


@pytest.mark.long
@pytest.mark.parametrize("case", LARGE, ids=named)
def test_four_million_rows_are_the_products_of_pytorch(case: tuple[LogArithmetic, int]) -> None:
    """In batches [rows, 1, lanes] [rows, lanes, 1], and some thousands against the reference before rounding."""
    arithmetic, lanes = case
    datapath = Datapath([(arithmetic, log_vector_unit(arithmetic, lanes))])
    a, b = operands(arithmetic, 30_000, lanes, np.random.default_rng(1))
    assert_equal(run(datapath, arithmetic, a, b), log_dot(arithmetic, a.T, b.T))
    for part in range(16):
        rng = np.random.default_rng(part)
        a, b = operands(arithmetic, 1 << 18, lanes, rng)
        x, y = (arithmetic.format.decode(side) for side in (a[:, None, :], b[:, :, None]))
        got = datapath.decoded(arithmetic, run(datapath, arithmetic, a, b))
        assert_equal(got, library_products(arithmetic, x, y).ravel())
    for mode in MODES:
        check_products(datapath, arithmetic, lanes, mode, 200)


@pytest.mark.parametrize("make", [log_vector_unit, log_reduction_unit])
@pytest.mark.parametrize("lanes", [0, 257, True])
def test_lanes_beyond_what_there_is_are_refused(make: object, lanes: int) -> None:
    with pytest.raises(SpecificationError, match=rf"{make.__name__}\(lanes={lanes}\): give 1 to 256"):
        make(LogArithmetic(LNS(2, 2)), lanes)


def test_an_order_that_nobody_knows_is_refused() -> None:
    class Odd(Order):
        kind = "odd"

    with pytest.raises(SpecificationError, match="use Sequential"):
        log_vector_unit(LogArithmetic(LNS(2, 2), "exact", Odd()), 2).rtlil()
