"""Annealing comes near the optimum, obeys prices and conditions, and goes on after a break as if there were none."""

import json
from itertools import pairwise

import numpy as np
import pytest

from slipstick import SpecificationError
from slipstick.arithmetic import IndexForm
from slipstick.design import (
    Annealing,
    Constraints,
    Prices,
    Schedule,
    gaussian_target,
    optimal_segments,
    table_errors,
)
from slipstick.design.segment_errors import SegmentErrors

SIGNS = (1, -1)
SHORT = Schedule(steps=400, chains=8)

signs = pytest.mark.parametrize("sign", SIGNS)


def table(segments, target):
    return segments.values(np.arange(int(target.distance[-1]) + 1), -target.sign)


def annealing(target, constraints, schedule=SHORT, prices=None, weights=None):
    weights = np.ones(len(target.distance)) if weights is None else weights
    return Annealing(SegmentErrors(target, constraints, weights), constraints, schedule, prices)


def annealed(target, constraints, schedule=SHORT, prices=None):
    search = annealing(target, constraints, schedule, prices)
    search.run()
    return search.segments()


def comparator_bits(segments):
    """Significant bits of the first distance after each segment, counted in binary notation."""
    return sum(len(f"{bound + 1:b}".rstrip("0")) for bound in segments.bound)


@signs
@pytest.mark.parametrize("segments", [8, 16])
@pytest.mark.parametrize("frac_bits", [3, 4, 5, 6])
def test_annealing_reaches_the_optimum_within_five_per_cent(frac_bits, segments, sign):
    target, constraints = gaussian_target(sign, frac_bits), Constraints(segments)
    schedule = Schedule(steps=1000, chains=8) if frac_bits < 6 else Schedule(steps=2000, chains=24)
    found = table_errors(table(annealed(target, constraints, schedule), target), target).rms
    least = table_errors(table(optimal_segments(target, constraints), target), target).rms
    assert least <= found * (1 + 1e-12)
    assert found <= 1.05 * least


@signs
def test_a_seed_gives_one_result_and_other_seeds_give_tables_of_the_same_kind(sign):
    target, constraints = gaussian_target(sign, 4), Constraints(8, exact_through=2, bound_bits=5)
    short = [Schedule(steps=60, chains=4, seed=seed) for seed in (3, 4, 5, 3)]
    results = [annealed(target, constraints, schedule) for schedule in short]
    assert results[0] == results[3]
    assert len(set(results)) > 1
    for segments in results:
        assert len(segments.bound) <= 8
        assert all(len(f"{bound + 1:b}".rstrip("0")) <= 5 for bound in segments.bound[:-1])
        values = table(segments, target)[target.distance]
        pinned = target.distance <= 2
        np.testing.assert_array_equal(values[pinned], target.nearest[pinned])


@signs
@pytest.mark.parametrize("breaks", [(1,), (37, 150), (299,)])
def test_an_interrupted_search_ends_as_an_uninterrupted_one(sign, breaks):
    target, constraints = gaussian_target(sign, 4), Constraints(8)
    schedule, prices = Schedule(steps=300, chains=6, seed=1), Prices(bias=100.0, segment=1e-3)
    whole = annealing(target, constraints, schedule, prices)
    whole.run()
    search = annealing(target, constraints, schedule, prices)
    for step in breaks:
        search.run(until=step)
        assert not search.finished
        stored = json.loads(json.dumps(search.state()))
        search = annealing(target, constraints, schedule, prices)
        search.restore(stored)
        assert search.step == step
    search.run()
    assert search.finished
    assert search.segments() == whole.segments()
    assert search.energy == whole.energy
    assert search.state() == whole.state()


def test_a_state_of_another_search_is_refused():
    target = gaussian_target(1, 3)
    stored = annealing(target, Constraints(8)).state()
    for other in (annealing(target, Constraints(7)), annealing(target, Constraints(8), Schedule(steps=400, chains=9))):
        with pytest.raises(SpecificationError, match=r"belongs to a search with other segments or chains"):
            other.restore(stored)


@signs
@pytest.mark.parametrize(
    ("field", "prices", "amount"),
    [
        ("segment", (0.0, 1e-3, 1e-1), lambda segments: len(segments.bound)),
        ("shift", (0.0, 1e-3, 1e-1), lambda segments: len(set(segments.exponent))),
        ("comparator_bit", (0.0, 1e-4, 1e-2), comparator_bits),
    ],
    ids=["segment", "shift", "comparator-bit"],
)
def test_a_larger_price_never_buys_more(sign, field, prices, amount):
    target, schedule = gaussian_target(sign, 3), Schedule(steps=600, chains=12)
    bought = [amount(annealed(target, Constraints(6), schedule, Prices(**{field: price}))) for price in prices]
    assert all(later <= earlier for earlier, later in pairwise(bought))
    assert bought[-1] < bought[0]


@signs
def test_a_price_on_bias_buys_a_smaller_one(sign):
    target, schedule = gaussian_target(sign, 4), Schedule(steps=700, chains=16)
    free, paid = (
        table_errors(table(annealed(target, Constraints(8), schedule, Prices(bias=price)), target), target)
        for price in (0.0, 100.0)
    )
    assert abs(paid.bias) < abs(free.bias)
    assert abs(paid.bias) <= 0.01


@signs
@pytest.mark.parametrize("end", [None, 40])
@pytest.mark.parametrize(
    "prices",
    [
        Prices(),
        Prices(bias=7.0),
        Prices(segment=1e-3),
        Prices(shift=2e-3),
        Prices(comparator_bit=5e-4),
        Prices(1.0, 2e-3, 3e-3, 4e-4),
    ],
    ids=str,
)
def test_the_energy_is_that_of_the_table(sign, prices, end):
    target = gaussian_target(sign, 3)
    weights = 1 + 0.5 * np.cos(target.distance)
    weights /= weights.mean()
    search = annealing(target, Constraints(8, end=end), Schedule(steps=250, chains=4), prices, weights)
    search.run()
    segments = search.segments()
    errors = table_errors(table(segments, target), target, weights)
    energy = errors.rms**2 + prices.bias * errors.bias**2
    energy += prices.segment * len(segments.bound)
    energy += prices.shift * len(set(segments.exponent))
    energy += prices.comparator_bit * comparator_bits(segments)
    assert search.energy == pytest.approx(energy, rel=1e-9)


@signs
@pytest.mark.parametrize("gapless", [False, True])
@pytest.mark.parametrize("end", [12, 30, 52])
def test_a_fixed_end_holds(sign, end, gapless):
    target = gaussian_target(sign, 3)
    values = table(annealed(target, Constraints(6, end=end, gapless=gapless)), target)
    assert np.flatnonzero(values)[-1] == end
    assert values[end] * sign > 0
    if gapless:
        assert (values[target.first : end + 1] * sign > 0).all()


@signs
def test_tables_are_constant_on_the_classes_asked_for(sign):
    target, index = gaussian_target(sign, 4), IndexForm(2, 20, 63)
    values = table(annealed(target, Constraints(8, index=index)), target)[target.distance]
    classes = index.of(target.distance)
    for number in np.unique(classes):
        assert len(set(values[classes == number])) == 1


@signs
def test_only_the_slopes_that_were_named_are_used(sign):
    segments = annealed(gaussian_target(sign, 4), Constraints(8, exponents=(-4, -2, 0)))
    assert set(segments.exponent) <= {-4, -2, 0}


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (Constraints(segments=98), "segments=98: D- has only 96 distances at frac_bits=3"),
        (Constraints(end=97), "end=97: outside the domain 1..96"),
        (Constraints(end=3, exact_through=4), "end=3 conflicts with exact_through=4: D is not 0 at d=4"),
        (Constraints(end=90, exact_through=60, gapless=True), "end=90 conflicts with exact_through=60: D is 0 at d="),
        (Constraints(end=36, bound_bits=3), "end=36 conflicts with bound_bits=3: no segment may end there"),
        (Constraints(end=30, index=IndexForm(3, 20, 31)), "end=30 conflicts with index="),
        (Constraints(segments=2, exact_through=8), "annealing found no table of 2 segments that satisfies"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)
def test_impossible_conditions_are_named_in_one_line(constraints, message):
    with pytest.raises(SpecificationError) as caught:
        annealed(gaussian_target(-1, 3), constraints, Schedule(steps=50, chains=4))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"steps": 0}, {"chains": 0}, {"hottest": 1e-7}, {"coldest": 0.0}, {"hottest": float("nan")}]
)
def test_a_schedule_that_cannot_be_is_refused(fields):
    with pytest.raises(SpecificationError, match="needs steps, chains >= 1 and 0 < coldest <= hottest"):
        Schedule(**fields)


@pytest.mark.parametrize("field", ["bias", "segment", "shift", "comparator_bit"])
@pytest.mark.parametrize("value", [-1e-9, 1001.0, float("nan")])
def test_a_price_that_cannot_be_is_refused(field, value):
    with pytest.raises(SpecificationError, match=rf"Prices\({field}=.*\): must lie in 0 to 1000 LSB\^2"):
        Prices(**{field: value})
