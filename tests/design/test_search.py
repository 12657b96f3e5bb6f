"""A request gets the adder that it describes, or one line that says which of its conditions cannot be met."""

import json
from functools import lru_cache

import numpy as np
import pytest

from slipstick import SpecificationError
from slipstick.arithmetic import IndexForm, PiecewiseLinear
from slipstick.design import (
    DesignRequest,
    Schedule,
    Weights,
    adder_errors,
    design_adder,
    evaluate,
    gaussian_target,
    table_errors,
)
from slipstick.design.search import Designer
from slipstick.design.shipped import unconstrained_adder
from slipstick.formats import LNS

SIGNS = (1, -1)
SHORT = Schedule(steps=500, chains=8)
SEARCHES = ({}, {"search": "anneal", "schedule": SHORT})

searches = pytest.mark.parametrize("search", SEARCHES, ids=["optimal", "annealed"])


@lru_cache(maxsize=64)
def designed(request):
    return design_adder(request)


def design(frac_bits, **fields):
    return designed(DesignRequest(frac_bits, **fields))


def on_domain(adder, frac_bits):
    """D+ and D- at the distances of their targets, with the targets."""
    targets = [gaussian_target(sign, frac_bits) for sign in SIGNS]
    tables = adder.tables(LNS(5, frac_bits))
    return [(target.on_domain(table), target) for table, target in zip(tables, targets, strict=True)]


def ends(adder, frac_bits):
    """The last distances with a value other than 0."""
    return [int(target.distance[np.flatnonzero(values)[-1]]) for values, target in on_domain(adder, frac_bits)]


def gaps(adder, frac_bits):
    """How many values before those are 0, or of the wrong sign."""
    pairs = zip(on_domain(adder, frac_bits), ends(adder, frac_bits), strict=True)
    return [int((values[target.distance <= end] * target.sign <= 0).sum()) for (values, target), end in pairs]


def biases(adder, frac_bits, weights="uniform"):
    evaluation = evaluate(adder, frac_bits, Weights(weights))
    return evaluation.weighted_plus.bias, evaluation.weighted_minus.bias


def squared_error(adder, frac_bits, weights="uniform"):
    """Of both tables together."""
    of = [Weights(weights).of(gaussian_target(sign, frac_bits)) for sign in SIGNS]
    pairs = zip(on_domain(adder, frac_bits), of, strict=True)
    return sum(float((weight * (values - target.real) ** 2).mean()) for (values, target), weight in pairs)


# Conditions, each of them alone


@pytest.mark.parametrize("frac_bits", [4, 5, 6, 7, 8])
def test_zero_bias_with_sixteen_segments(frac_bits):
    coarse = {"bound_bits": 5} if frac_bits == 6 else {}  # the exact search over all bounds takes its time
    assert max(map(abs, biases(design(frac_bits, **coarse), frac_bits))) <= 0.02


@pytest.mark.parametrize("weights", ["small", "mixed", "large"])
@pytest.mark.parametrize("fields", [{}, {"segments": 6, "exact_through": -1}, SEARCHES[1]], ids=str)
def test_zero_bias_counts_the_weights(weights, fields):
    assert max(map(abs, biases(design(4, weights=weights, **fields), 4, weights))) <= 0.02


def test_a_mean_error_that_few_segments_cannot_close_is_refused_by_name():
    with pytest.raises(SpecificationError, match="zero_bias: D- keeps a mean error"):
        design(9, segments=4, exact_through=-1, bound_bits=3)


def test_without_zero_bias_the_error_is_no_larger():
    for weights in ("uniform", "mixed"):
        free = design(4, segments=8, weights=weights, zero_bias=False)
        assert squared_error(free, 4, weights) <= squared_error(design(4, segments=8, weights=weights), 4, weights)


@searches
@pytest.mark.parametrize("exact_through", [0, 1, 4])
def test_exact_through_pins_subtraction_and_doubling(search, exact_through):
    (plus, of_plus), (minus, of_minus) = on_domain(design(4, exact_through=exact_through, **search), 4)
    assert plus[0] == of_plus.nearest[0] == 1 << 4
    np.testing.assert_array_equal(minus[:exact_through], of_minus.nearest[:exact_through])


def test_exact_through_nothing_leaves_the_first_values_to_the_objective():
    free, pinned = (design(5, segments=4, exact_through=e, zero_bias=False, bound_bits=5) for e in (-1, 4))
    assert squared_error(free, 5) < squared_error(pinned, 5)


@searches
@pytest.mark.parametrize("weights", ["uniform", "small", "large"])
def test_symmetric_tables_end_at_one_distance_and_have_no_gap(search, weights):
    adder = design(4, weights=weights, **search)
    plus, minus = ends(adder, 4)
    assert plus == minus
    assert gaps(adder, 4) == [0, 0]


def test_tables_end_where_each_is_best_unless_symmetric():
    ended = [ends(design(f, segments=3, exact_through=-1, symmetric=False, zero_bias=False), f) for f in (2, 3, 4)]
    assert any(plus != minus for plus, minus in ended)


@searches
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("frac_bits", "swamping"), [(3, 0.04), (4, 0.1), (4, 0.012), (4, 0.004), (4, 0.001)])
def test_every_update_from_the_threshold_on_moves_a_weight(frac_bits, swamping, symmetric, search):
    adder = design(frac_bits, swamping=swamping, symmetric=symmetric, **search)
    plus, minus = ends(adder, frac_bits)
    assert plus == minus
    assert gaps(adder, frac_bits) == [0, 0]
    ratio = 2.0 ** (-plus / (1 << frac_bits))
    assert ratio <= swamping < ratio * 2.0 ** (1 / (1 << frac_bits))
    evaluation = evaluate(adder, frac_bits)
    assert evaluation.swamping_up == evaluation.swamping_down == pytest.approx(ratio)


@pytest.mark.parametrize("swamping", [0.03, 0.004])
@pytest.mark.parametrize(("fields", "allowed"), [({"bound_bits": 3}, None), ({"index": IndexForm(2, 40, 127)}, 2)])
def test_a_threshold_is_met_at_the_first_end_that_the_other_conditions_allow(swamping, fields, allowed):
    adder, wanted = design(5, swamping=swamping, **fields), -np.log2(swamping) * 32
    plus, minus = ends(adder, 5)
    assert plus == minus >= wanted
    assert gaps(adder, 5) == [0, 0]
    sooner = range(int(np.ceil(wanted)), plus)
    if allowed is None:
        assert not any(significant_bits(d + 1) <= 3 for d in sooner)
    else:
        classes = fields["index"].of(np.arange(500))
        assert not any(classes[d] != classes[d + 1] for d in sooner)


def test_a_published_threshold_costs_less_than_the_published_table():
    """Hamad et al. 2025 keep +-1 up to d = 255 at F = 5: RMS .408 and .426 over d = 1 .. 384."""
    adder = design(5, swamping=0.004, bound_bits=6)
    plus, minus = adder_errors(adder, 5)
    assert ends(adder, 5) == [255, 255]
    assert plus.rms <= 0.408
    assert minus.rms <= 0.426


def significant_bits(number):
    return len(f"{number:b}".rstrip("0"))


@searches
@pytest.mark.parametrize("bound_bits", [2, 4])
def test_bounds_have_the_significant_bits_asked_for(search, bound_bits):
    adder = design(4, bound_bits=bound_bits, **search)
    for bound in (*adder.plus.bound, *adder.minus.bound):
        assert significant_bits(bound + 1) <= bound_bits


def test_bounds_are_coarse_by_default_where_the_search_would_be_long():
    adder = design(7)
    assert max(significant_bits(bound + 1) for bound in (*adder.plus.bound, *adder.minus.bound)) <= 7
    assert DesignRequest(7, bound_bits=0).comparator_bits() is None
    assert DesignRequest(6).comparator_bits() is None
    assert DesignRequest(6, bound_bits=3).comparator_bits() == 3


@searches
@pytest.mark.parametrize("exponents", [(-5, -3, -1, 3), (-4, -2, 0, 2, 4)])
def test_slopes_are_among_the_exponents_named(search, exponents):
    adder = design(4, exponents=exponents, exact_through=1, **search)
    assert {*adder.plus.exponent, *adder.minus.exponent} <= set(exponents)


@searches
@pytest.mark.parametrize("index", [IndexForm(1, 20, 63), IndexForm(3, 40, 63)], ids=str)
def test_tables_are_constant_on_the_classes_asked_for(search, index):
    for values, target in on_domain(design(4, index=index, **search), 4):
        classes = index.of(target.distance)
        for number in np.unique(classes):
            assert len(set(values[classes == number])) == 1
        assert (values[classes == index.top] == 0).all()


@searches
@pytest.mark.parametrize("segments", [4, 9])
def test_no_more_segments_than_allowed(search, segments):
    adder = design(4, segments=segments, exact_through=-1, **search)
    assert isinstance(adder, PiecewiseLinear)
    assert max(len(adder.plus.bound), len(adder.minus.bound)) <= segments


# Optimality


@pytest.mark.parametrize("frac_bits", [3, 4])
@pytest.mark.parametrize("weights", ["small", "mixed", "large"])
def test_a_design_for_some_weights_is_no_worse_under_them_than_the_uniform_one(frac_bits, weights):
    fields = {"segments": 6, "zero_bias": False, "exact_through": 1}
    own, uniform = design(frac_bits, weights=weights, **fields), design(frac_bits, **fields)
    assert squared_error(own, frac_bits, weights) <= squared_error(uniform, frac_bits, weights) + 1e-9
    assert squared_error(uniform, frac_bits) <= squared_error(own, frac_bits) + 1e-9


def test_every_condition_costs():
    """Dropping one never makes the optimum worse."""
    bound = {"segments": 6, "zero_bias": False, "exact_through": 1, "swamping": 0.01, "bound_bits": 4}
    most = squared_error(design(4, **bound), 4)
    for key, freed in (("segments", 8), ("exact_through", -1), ("swamping", None), ("bound_bits", 0)):
        assert squared_error(design(4, **bound | {key: freed}), 4) <= most + 1e-9


@pytest.mark.parametrize("fields", [{}, {"zero_bias": False}, {"swamping": 0.01}, {"weights": "mixed"}], ids=str)
def test_annealing_comes_near_the_optimum_under_the_same_conditions(fields):
    fields = {"segments": 8, "exact_through": 1, **fields}
    weights = fields.get("weights", "uniform")
    annealed = design(4, search="anneal", schedule=Schedule(steps=4000, chains=24), **fields)
    # mean errors within the tolerance differ, and with them what is best
    assert squared_error(annealed, 4, weights) <= 1.05**2 * squared_error(design(4, **fields), 4, weights)


@pytest.mark.parametrize("frac_bits", [4, 5])
def test_twelve_free_segments_come_near_sixteen(frac_bits):
    """Over d = 1 .. 12 * 2^F, all alike."""
    format = LNS(5, frac_bits)
    few, many = (unconstrained_adder(frac_bits, segments).tables(format) for segments in (12, 16))
    for sign, one, other in zip(SIGNS, few, many, strict=True):
        target = gaussian_target(sign, frac_bits)
        errors = [(target.on_domain(t) - target.real)[target.distance >= 1] for t in (one, other)]
        rms = [float((error**2).mean()) ** 0.5 for error in errors]
        assert rms[1] <= rms[0] <= 1.15 * rms[1]


def test_an_interrupted_designer_goes_on_to_the_same_adder():
    request = DesignRequest(3, segments=6, exact_through=1, search="anneal", schedule=Schedule(steps=100, chains=4))
    saved = []
    whole = Designer(request, saved=lambda state: saved.append(json.dumps(state))).run()
    assert len(saved) == 20  # ten parts of each function
    for state in saved[::6]:
        assert Designer(request, state=json.loads(state)).run() == whole


def test_progress_names_each_part_and_ends_at_its_end():
    seen = []
    Designer(DesignRequest(3, segments=4, exact_through=-1), lambda what, share: seen.append((what, share))).run()
    assert {what for what, _ in seen} == {"D+, where to end", "D-, where to end", "D+", "D-"}
    assert all(0 < share <= 1 for _, share in seen)
    assert seen[-1][0] == "D-"


# Requests that cannot be met


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frac_bits": 0}, "frac_bits=0: designs exist for 1 to 12"),
        ({"frac_bits": 13}, "frac_bits=13: designs exist for 1 to 12"),
        ({"form": "spline"}, "form='spline': choose piecewise-linear, indexed-table or table"),
        ({"search": "greedy"}, "search='greedy': choose optimal, anneal or logic"),
        ({"index_bits": 9}, "index_bits=9: kernels index with 6, 7 or 8 bits"),
        ({"entries": 0}, "entries=0: must lie in 1 to 4096"),
        ({"bound_bits": -1}, "bound_bits=-1: must be 1 or more, or 0 for free bounds"),
        ({"swamping": 1e-9}, "swamping=1e-09: no design meets it; tables reach over 12 octaves"),
        ({"swamping": 1.0}, "swamping=1: no design meets it"),
        ({"swamping": float("nan")}, "swamping=nan: no design meets it"),
        ({"swamping": 0.01, "form": "table"}, "swamping: a uniform table ends where its d_max says"),
        ({"segments": 0}, "segments=0): must be at least 1"),
        ({"segments": 100000}, "segments=100000: D+ has only 97 distances at frac_bits=3"),
        ({"segments": 97}, "segments=97: D- has only 96 distances at frac_bits=3"),
        ({"segments": 1}, "no table of 1 segments satisfies"),
        ({"segments": 2, "swamping": 0.1}, "no table of 2 segments satisfies"),
        ({"swamping": 0.95, "exact_through": 2}, "swamping=0.95: end=1 conflicts with exact_through=2: D is not 0 at"),
        ({"swamping": 0.001, "exact_through": 50}, "swamping=0.001: end=80 conflicts with exact_through=50: D is 0 at"),
        ({"exponents": ()}, "name at least one slope exponent"),
        ({"exponents": (11,)}, "must lie in -31 to 10"),
        ({"exponents": (-9,), "segments": 3}, "no table of 3 segments satisfies"),
        ({"weights": "heavy"}, "heavy: no such file"),
        ({"segments": 1, "exact_through": -1, "exponents": (-1,), "symmetric": False}, "zero_bias: D+ keeps a mean"),
    ],
    ids=str,
)
def test_an_impossible_request_is_one_line_that_names_the_condition(fields, message):
    with pytest.raises(SpecificationError) as caught:
        design(**{"frac_bits": 3, **fields})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_annealing_refuses_what_it_cannot_reach():
    with pytest.raises(SpecificationError, match="annealing found no table of 2 segments"):
        design(3, segments=2, symmetric=False, search="anneal", schedule=Schedule(steps=20, chains=2))


@pytest.mark.parametrize(
    ("fields", "absent"),
    [
        ({}, ("schedule", "prices", "index_bits", "entries", "swamping", "index")),
        ({"search": "anneal"}, ("index_bits", "entries")),
        ({"form": "indexed-table"}, ("segments", "schedule", "search", "bound_bits")),
        ({"form": "table"}, ("segments", "zero_bias", "symmetric", "exact_through", "index_bits")),
    ],
    ids=str,
)
def test_a_request_as_data_leaves_out_what_does_not_count(fields, absent):
    data = json.loads(json.dumps(DesignRequest(5, **fields).to_dict()))
    assert data["frac_bits"] == 5
    assert not set(absent) & set(data)


def test_table_errors_are_zero_only_for_the_function_itself():
    target = gaussian_target(1, 4)
    exact = np.zeros(int(target.distance[-1]) + 1, dtype=np.int32)
    exact[target.distance] = target.nearest
    assert 0 < table_errors(exact, target).rms < 0.29
    assert table_errors(exact, target).max <= 0.5
