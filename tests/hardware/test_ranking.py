"""Adders ranked by the cost of their units, beside their errors."""

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick import LNS, LogArithmetic, SpecificationError
from slipstick.arithmetic.published import named_adder
from slipstick.design import TableErrors, Weights, evaluate
from slipstick.hardware import operands
from slipstick.hardware.candidates import LogCandidate, clocked_units
from slipstick.hardware.measurement import energies, synthesised
from slipstick.hardware.ranking import Cost, Ranked, pareto, rank, ranking_table
from slipstick.hardware.synthesis import Mapping

FORMAT = LNS(3, 3)
CLOCK = 2.5


@pytest.fixture(scope="module")
def numbers():
    return operands.normal(200, 20)


@pytest.fixture(scope="module")
def ranked(cache, numbers):
    adders = {"fine": "designed", "coarse": named_adder("designed-4", FORMAT)}
    return rank(adders, FORMAT, numbers, mappings=(Mapping(), Mapping(cover="speed")), clock_ns=CLOCK, cache=cache)


def made_up(name: str, area: float, energy: float, rms: float, most: float = 1.0) -> Ranked:
    errors = TableErrors(rms, 0.0, most)
    cost = Cost("unit", Mapping(), area, 2.0, energy / 2, energy)
    return Ranked(name, named_adder("exact", FORMAT), errors, errors, (cost,))


def test_costs_are_those_of_the_units(ranked, cache, numbers):
    fine = next(one for one in ranked if one.name == "fine")
    candidate = LogCandidate(LogArithmetic(FORMAT, "designed", accumulator="operand"))
    ports, units = operands.codes(numbers, candidate), clocked_units(candidate)
    assert len(fine.costs) == 2 * len(units)
    point = synthesised(units[0], Mapping(), cache=cache)
    took = energies(point, ports, CLOCK, cache=cache)
    cost = next(cost for cost in fine.costs if cost.circuit == units[0].name and cost.mapping == Mapping())
    assert (cost.area_um2, cost.period_ns) == (point.area_um2, point.period_ns)
    assert (cost.zero_delay_fj, cost.inertial_fj) == (took.zero_delay.total_fj, took.inertial.total_fj)


def test_the_least_energy_comes_first_and_each_figure_is_the_best_of_its_circuits(ranked):
    assert ranked[0].inertial_fj <= ranked[1].inertial_fj
    for one in ranked:
        assert one.area_um2 == min(cost.area_um2 for cost in one.costs)
        assert one.zero_delay_fj == min(cost.zero_delay_fj for cost in one.costs)
        assert all(cost.period_ns <= CLOCK for cost in one.costs)


def test_errors_are_those_of_the_evaluation_under_the_weights(ranked, cache, numbers):
    fine = next(one for one in ranked if one.name == "fine")
    expected = evaluate(named_adder("designed", FORMAT), FORMAT.frac_bits)
    assert (fine.plus, fine.minus) == (expected.plus, expected.minus)
    mixed = Weights("mixed")
    [weighed] = rank(["designed"], FORMAT, numbers, weights=mixed, clock_ns=CLOCK, cache=cache)
    expected = evaluate(named_adder("designed", FORMAT), FORMAT.frac_bits, mixed)
    assert weighed.name == "designed"
    assert (weighed.plus, weighed.minus) == (expected.weighted_plus, expected.weighted_minus)


def test_the_front_keeps_what_is_best_in_something():
    small, exact, worse = made_up("small", 1, 2, 3), made_up("exact", 2, 2, 1), made_up("worse", 2, 3, 3)
    twin = made_up("twin", 1, 2, 3)
    assert pareto([worse, small, exact, twin]) == [small, exact, twin]


def test_beating_needs_less_area_less_energy_and_no_larger_error():
    reference = made_up("reference", 10, 10, 1)
    assert made_up("better", 9, 9, 1).beats(reference)
    assert not made_up("as large", 10, 9, 1).beats(reference)
    assert not made_up("hungry", 9, 11, 1).beats(reference)
    assert not made_up("coarse", 9, 9, 1.1).beats(reference)
    assert not made_up("far off somewhere", 9, 9, 1, most=2).beats(reference)


def test_the_table_shows_costs_and_errors_and_marks_the_front():
    lines = ranking_table([made_up("small", 1, 200, 3), made_up("worse", 2, 300, 3)]).splitlines()
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "adder area um2 fJ zero delay fJ inertial ns D+ rms max bias D- rms max bias"
    assert words[1] == "small * 1.0 100 200 2.000 3.000 1.00 +0.000 3.000 1.00 +0.000"
    assert words[2].startswith("worse 2.0 150 300 ")


def test_progress_runs_from_adder_to_adder(cache, numbers):
    told: list[tuple[str, float]] = []
    rank(["designed"], FORMAT, numbers, cache=cache, progress=lambda what, share: told.append((what, share)))
    assert all(what.startswith("designed: ") for what, _ in told)
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("adders", "options", "message"),
    [
        ([], {}, "at least one adder"),
        (["exact"], {"mappings": ()}, "one mapping"),
        (["exact", "exact"], {}, "exact twice"),
        (["exact"], {"clock_ns": 0.1}, r"exact in LNS\(3,3\).*longer clock_ns"),
    ],
)
def test_what_cannot_be_ranked_is_refused(adders, options, message, cache, numbers):
    with pytest.raises(SpecificationError, match=message):
        rank(adders, FORMAT, numbers, cache=cache, **options)
