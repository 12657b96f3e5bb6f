"""Logarithmic multiply-accumulate units equal the reference bit for bit."""

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from log_codes import Codes, codes, sums, zero
from mac_vectors import Together, assert_equal, every

from slipstick import LNS, LogArithmetic, SpecificationError
from slipstick.hardware.models.fixed import FixedMac
from slipstick.hardware.models.log import accumulator_range, log_step, product_range, sum_range
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit
from slipstick.hardware.rtl.log_converters import log_decode_unit
from slipstick.hardware.rtl.log_mac import log_mac_unit
from slipstick.hardware.rtl.mac import clocked_mac_unit
from slipstick.hardware.simulation import Simulator

SMALL = [
    LogArithmetic(LNS(2, 2, underflow), add, accumulator=accumulator)
    for underflow, add, accumulator in (
        ("saturate", "exact", "guard"),
        ("flush", "exact", "guard"),
        ("saturate", "exact", "operand"),
        ("flush", "exact", "operand"),
        ("saturate", "sanyal2019-lut", "guard"),
        ("flush", "sanyal2019-lut", "operand"),
        ("flush", "sanyal2019-bitshift", "guard"),
        ("saturate", "sanyal2019-bitshift", "operand"),
        ("saturate", "exact", LogArithmetic(LNS(3, 4), "exact")),
        ("flush", "exact", LogArithmetic(LNS(2, 3, "flush"), "sanyal2019-lut")),
        ("saturate", "exact", LogArithmetic(LNS(4, 3, "flush"), "designed-4")),
        ("flush", "exact", LogArithmetic(LNS(1, 2), "exact")),
    )
] + [
    LogArithmetic(LNS(3, 2), "exact", accumulator="operand"),
    LogArithmetic(LNS(1, 0)),
    LogArithmetic(LNS(1, 3)),
    LogArithmetic(LNS(2, 1)),
    LogArithmetic(LNS(2, 1), accumulator=LogArithmetic(LNS(3, 3))),
]

EIGHT_BITS = [
    *(LogArithmetic(LNS(3, 3, underflow), accumulator="operand") for underflow in ("saturate", "flush")),
    LogArithmetic(LNS(3, 3, "flush"), "sanyal2019-lut", accumulator="operand"),
    LogArithmetic(LNS(3, 3), "sanyal2019-bitshift", accumulator="operand"),
    LogArithmetic(LNS(6, 0), accumulator="operand"),
    LogArithmetic(LNS(1, 5, "flush"), accumulator="operand"),
    LogArithmetic(LNS(3, 3)),
]

LARGE = [
    LogArithmetic(LNS(5, 5), "hamad2025"),
    LogArithmetic(LNS(5, 5), "hamad2025", accumulator="operand"),
    LogArithmetic(LNS(5, 5, "flush"), "designed-8", accumulator="operand"),
    LogArithmetic(LNS(5, 5), "designed"),
    LogArithmetic(LNS(5, 5), "sanyal2019-lut", accumulator="operand"),
    LogArithmetic(LNS(5, 5), "exact", accumulator=LogArithmetic(LNS(6, 5, "flush"), "designed-4")),
    LogArithmetic(LNS(4, 4, "flush"), "designed", accumulator=LogArithmetic(LNS(6, 8, "flush"), "designed-8")),
]
MORE = [
    *(LogArithmetic(LNS(5, 5), "exact", accumulator=accumulator) for accumulator in ("guard", "operand")),
    LogArithmetic(LNS(5, 5), "designed", accumulator="operand"),
    LogArithmetic(LNS(5, 5), "designed-8"),
    LogArithmetic(LNS(5, 5), "sanyal2019-lut"),
    *(LogArithmetic(LNS(5, 5), "sanyal2019-bitshift", accumulator=accumulator) for accumulator in ("guard", "operand")),
    LogArithmetic(LNS(5, 8), "hamad2025", accumulator="operand"),
]


@pytest.fixture(scope="module")
def small() -> Together:
    return Together([log_mac_unit(arithmetic, clear=i % 2 == 1) for i, arithmetic in enumerate(SMALL)])


@pytest.fixture(scope="module")
def large() -> Together:
    return Together([log_mac_unit(arithmetic) for arithmetic in LARGE])


@pytest.mark.parametrize("number", range(len(SMALL)), ids=lambda i: str(SMALL[i]))
def test_every_pair_of_operands_and_every_sum(small: Together, number: int) -> None:
    arithmetic = SMALL[number]
    a, b, acc = every(codes(arithmetic.format), codes(arithmetic.format), sums(arithmetic))
    clear = {"clear": np.int64(0)} if number % 2 else {}
    got = small.run(number, a=a, b=b, acc=acc, **clear)["sum"]
    assert_equal(got, log_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize("number", range(1, len(SMALL), 2), ids=lambda i: str(SMALL[i]))
def test_clear_forgets_every_sum(small: Together, number: int) -> None:
    arithmetic = SMALL[number]
    a, b, acc = every(codes(arithmetic.format), codes(arithmetic.format), sums(arithmetic)[::7])
    got = small.run(number, a=a, b=b, acc=acc, clear=np.int64(1))["sum"]
    nothing = np.full_like(acc, zero(arithmetic.accumulator_format))
    assert_equal(got, log_step(arithmetic, a, b, nothing), a=a, b=b, acc=acc)


def near_products(arithmetic: LogArithmetic, a: Codes, b: Codes, rng: np.random.Generator) -> Codes:
    """Sums a few steps from the product, of either sign: cancellation, and what nearly is."""
    format, reached = arithmetic.accumulator_format, accumulator_range(arithmetic)
    product = log_step(arithmetic, a, b, np.full_like(a, zero(format)))
    sign, log = format.split(product)
    near = np.clip(log + rng.integers(-3, 4, len(a)), reached.lowest, reached.highest)
    flipped = format.pattern(sign ^ rng.integers(0, 2, len(a)), near).astype(np.int64)
    return np.where(product == zero(format), product, flipped)


def vectors(arithmetic: LogArithmetic, count: int, rng: np.random.Generator) -> tuple[Codes, ...]:
    """Random operands and sums, 0.4 of them next to cancellation; a tenth of the operands and sums are ends."""
    chosen = []
    for every_code in (codes(arithmetic.format), codes(arithmetic.format), sums(arithmetic)):
        some = rng.choice(every_code, count)
        chosen.append(np.where(rng.random(count) < 0.1, rng.choice(ends(every_code), count), some))
    a, b, acc = chosen
    return a, b, np.where(rng.random(count) < 0.4, near_products(arithmetic, a, b, rng), acc)


def ends(every_code: Codes) -> Codes:
    """Zero, and the codes at the ends of both signs."""
    return every_code[[0, 1, 2, len(every_code) // 2, len(every_code) // 2 + 1, -2, -1]]


@pytest.mark.parametrize("number", range(len(LARGE)), ids=lambda i: str(LARGE[i]))
def test_random_operands_corners_and_cancellation(large: Together, number: int) -> None:
    arithmetic, rng = LARGE[number], np.random.default_rng(number)
    operands, reached = codes(arithmetic.format), sums(arithmetic)
    random = vectors(arithmetic, 100_000, rng)
    at_ends = every(ends(operands), ends(operands), ends(reached))
    beside_one = every(ends(operands), operands, ends(reached))
    a, b, acc = (np.concatenate(parts) for parts in zip(random, at_ends, beside_one, strict=True))
    got = large.run(number, a=a, b=b, acc=acc)["sum"]
    assert_equal(got, log_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize(
    "arithmetic", [LARGE[0], *(pytest.param(each, marks=pytest.mark.long) for each in (*LARGE[1:], *MORE))], ids=str
)
def test_four_million_vectors(arithmetic: LogArithmetic) -> None:
    simulator = Simulator(log_mac_unit(arithmetic))
    for part in range(4):
        a, b, acc = vectors(arithmetic, 1 << 20, np.random.default_rng(part))
        got = simulator.run(a=a, b=b, acc=acc)["sum"].astype(np.int64)
        assert_equal(got, log_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.long
@pytest.mark.parametrize("arithmetic", EIGHT_BITS, ids=str)
def test_every_pair_of_eight_bits_and_every_sum(arithmetic: LogArithmetic) -> None:
    simulator = Simulator(log_mac_unit(arithmetic))
    for part in np.array_split(codes(arithmetic.format), 32):
        a, b, acc = every(part, codes(arithmetic.format), sums(arithmetic))
        got = simulator.run(a=a, b=b, acc=acc)["sum"].astype(np.int64)
        assert_equal(got, log_step(arithmetic, a, b, acc), a=a, b=b, acc=acc)


@pytest.mark.parametrize("arithmetic", [*SMALL, *LARGE, *MORE, *EIGHT_BITS], ids=str)
def test_no_product_leads_out_of_the_range_of_sums(arithmetic: LogArithmetic) -> None:
    format, reached = arithmetic.accumulator_format, accumulator_range(arithmetic)
    products = product_range(arithmetic).rounded(format)
    after = sum_range(arithmetic.accumulator_tables, products, reached).rounded(format)
    assert after | products | reached == reached


def test_the_clocked_unit_sums_from_clear_to_clear() -> None:
    arithmetic, rows, rng = LogArithmetic(LNS(5, 5), "designed-4"), 3000, np.random.default_rng(5)
    operands, nothing = codes(arithmetic.format), zero(arithmetic.accumulator_format)
    a, b = rng.choice(operands, rows), rng.choice(operands, rows)
    clear = (rng.random(rows) < 0.1).astype(np.int64)
    clear[0] = 1
    expected, total = [], np.array([nothing])
    for t in range(rows):
        total = log_step(arithmetic, a[t : t + 1], b[t : t + 1], np.array([nothing]) if clear[t] else total)
        expected.append(int(total[0]))
    for core in (log_mac_unit(arithmetic), log_mac_unit(arithmetic, clear=True)):
        unit = clocked_mac_unit(core, nothing)
        got = Simulator(unit).run(a=a, b=b, clear=clear)["sum"].astype(np.int64)
        assert_equal(got[unit.latency - 1 :], np.array(expected[: 1 - unit.latency]))


def test_a_core_with_other_ports_cannot_be_clocked() -> None:
    with pytest.raises(SpecificationError, match="it has code and number"):
        clocked_mac_unit(log_decode_unit(LNS(2, 2)))
    assert clocked_mac_unit(fixed_mac_unit(FixedMac(4, 4, 8))).latency == 2


def test_names_tell_arithmetics_apart() -> None:
    units = [log_mac_unit(arithmetic, clear=clear) for arithmetic in (*SMALL, *LARGE, *MORE) for clear in (False, True)]
    assert len({unit.name for unit in units}) == len(units)
    assert log_mac_unit(LARGE[0]).name == "log_mac_lns_5_5_hamad2025_in_lns_7_5"


def test_rtlil_is_the_same_text_every_time() -> None:
    assert log_mac_unit(LARGE[1]).rtlil() == log_mac_unit(LARGE[1]).rtlil()
