"""Designed tables: no other entries are better, their conditions hold, and fast kernels take them."""

from functools import lru_cache

import numpy as np
import pytest

from slipstick import Blocked, LogArithmetic, Sequential, SpecificationError, Tree
from slipstick.arithmetic import IndexedTable, Table
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.design import DesignRequest, Weights, design_adder, evaluate, gaussian_target, table_errors
from slipstick.design.cost import index_forms
from slipstick.formats import LNS
from slipstick.kernels import native
from slipstick.kernels.spec import kernel_spec

SIGNS = (1, -1)


@lru_cache(maxsize=64)
def designed(request):
    return design_adder(request)


def design(frac_bits, index_bits=6, **fields):
    return designed(DesignRequest(frac_bits, form="indexed-table", index_bits=index_bits, **fields))


def on_domain(adder, frac_bits):
    tables, targets = adder.tables(LNS(5, frac_bits)), [gaussian_target(sign, frac_bits) for sign in SIGNS]
    return [(target.on_domain(table), target) for table, target in zip(tables, targets, strict=True)]


def squared_error(adder, frac_bits, weights="uniform"):
    pairs = on_domain(adder, frac_bits)
    return sum(float((Weights(weights).of(t) * (v - t.real) ** 2).sum()) for v, t in pairs)


def with_entry(adder, name, number, step):
    entries = list(getattr(adder, name))
    entries[number] += step
    return IndexedTable(**{**vars(adder), name: tuple(entries)})


@pytest.mark.parametrize("weights", ["uniform", "small", "large"])
@pytest.mark.parametrize("frac_bits", [4, 5, 6])
def test_no_entry_is_better_one_higher_or_lower(frac_bits, weights):
    adder = design(frac_bits, weights=weights, zero_bias=False, symmetric=False, exact_through=-1)
    least = squared_error(adder, frac_bits, weights)
    for name in ("plus", "minus"):
        for number in range(name == "minus", adder.index.top):
            for step in (-1, 1):
                assert squared_error(with_entry(adder, name, number, step), frac_bits, weights) >= least - 1e-9


@pytest.mark.parametrize("frac_bits", [4, 5, 6])
def test_no_other_index_of_as_many_bits_is_better(frac_bits):
    """Entries are rounded means of the classes, summed here one class at a time."""
    least = squared_error(design(frac_bits, zero_bias=False, symmetric=False, exact_through=-1), frac_bits)
    targets = [gaussian_target(sign, frac_bits) for sign in SIGNS]
    for form in index_forms(6)[::3]:
        error = 0.0
        for target in targets:
            classes = form.of(target.distance)
            sums, counts = (np.bincount(classes, of, form.top + 1) for of in (target.real, None))
            entries = np.rint(sums / np.maximum(counts, 1))
            entries[form.top] = 0
            error += float(((entries[classes] - target.real) ** 2).sum())
        assert least <= error + 1e-9


@pytest.mark.parametrize("frac_bits", [1, 2, 3, 4])
@pytest.mark.parametrize("index_bits", [7, 8])
def test_narrow_tables_are_correctly_rounded(frac_bits, index_bits):
    adder = design(frac_bits, index_bits, zero_bias=False, symmetric=False)
    for values, target in on_domain(adder, frac_bits):
        np.testing.assert_array_equal(values, target.nearest)


@pytest.mark.parametrize("weights", ["uniform", "mixed"])
@pytest.mark.parametrize(("frac_bits", "index_bits"), [(4, 6), (5, 6), (5, 7), (6, 7), (7, 7), (8, 8)])
def test_zero_bias(frac_bits, index_bits, weights):
    evaluation = evaluate(design(frac_bits, index_bits, weights=weights), frac_bits, Weights(weights))
    assert abs(evaluation.weighted_plus.bias) <= 0.02
    assert abs(evaluation.weighted_minus.bias) <= 0.02


@pytest.mark.parametrize("weights", ["uniform", "small"])
@pytest.mark.parametrize("zero_bias", [True, False])
@pytest.mark.parametrize(("frac_bits", "index_bits"), [(3, 6), (4, 7), (5, 8), (6, 8)])
def test_symmetric_tables_end_at_one_distance_and_have_no_gap(frac_bits, index_bits, zero_bias, weights):
    plus, minus = design(frac_bits, index_bits, zero_bias=zero_bias, weights=weights).tables(LNS(5, frac_bits))
    assert (plus[:-1] > 0).all()
    assert (minus[1:-1] < 0).all()


@pytest.mark.parametrize("exact_through", [0, 1, 4, 9])
def test_exact_through_pins_subtraction_and_doubling(exact_through):
    (plus, of_plus), (minus, of_minus) = on_domain(design(6, exact_through=exact_through), 6)
    assert plus[0] == of_plus.nearest[0] == 64
    np.testing.assert_array_equal(minus[:exact_through], of_minus.nearest[:exact_through])


@pytest.mark.parametrize("zero_bias", [True, False])
@pytest.mark.parametrize(
    ("frac_bits", "index_bits", "swamping"), [(4, 6, 0.03), (4, 7, 0.01), (5, 7, 0.004), (6, 8, 0.02)]
)
def test_every_update_from_the_threshold_on_moves_a_weight(frac_bits, index_bits, swamping, zero_bias):
    adder = design(frac_bits, index_bits, swamping=swamping, zero_bias=zero_bias)
    plus, minus = adder.tables(LNS(5, frac_bits))
    assert (plus[:-1] > 0).all()
    assert (minus[1:-1] < 0).all()
    end, wanted = len(plus) - 2, -np.log2(swamping) * (1 << frac_bits)
    assert end >= wanted
    classes = adder.index.of(np.arange(end + 1))
    assert not any(classes[d] != classes[d + 1] for d in range(int(np.ceil(wanted)), end))


@pytest.mark.parametrize(
    ("frac_bits", "index_bits", "fields", "message"),
    [
        (5, 6, {"exact_through": 300}, "exact_through=300: an index of 6 bits tells distances up to 62 apart"),
        (10, 6, {"swamping": 0.01}, "swamping=0.01: at frac_bits=10 that is d=6804, and no index of 6 bits"),
    ],
)
def test_an_impossible_request_names_the_condition(frac_bits, index_bits, fields, message):
    with pytest.raises(SpecificationError) as caught:
        design(frac_bits, index_bits, **fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(native.current_isa() == "portable", reason="this machine has no byte kernels")
@pytest.mark.parametrize(("frac_bits", "index_bits"), [(3, 6), (4, 7), (5, 6), (5, 7), (5, 8), (6, 6), (6, 7), (6, 8)])
def test_kernels_look_designed_tables_up_by_class(frac_bits, index_bits):
    arithmetic = LogArithmetic(LNS(4, frac_bits), add=design(frac_bits, index_bits))
    assert native.plan_name(kernel_spec(arithmetic).native).startswith(("bytes", "steps"))


@pytest.mark.skipif(native.current_isa() == "portable", reason="this machine has no byte kernels")
def test_the_table_for_vector_kernels_has_the_fewest_slices_or_the_smallest_permutation():
    path = {"avx2": "steps-48-by-8", "avx512": "bytes-64-near"}[native.current_isa()]
    for order in (Tree(16), Blocked(64), Sequential()):
        arithmetic = LogArithmetic(LNS(5, 5), "designed-simd", order)
        assert native.plan_name(kernel_spec(arithmetic).native, 4608) == path


def test_progress_ends_at_or_below_its_end():
    from slipstick.design.search import Designer

    seen = []
    Designer(DesignRequest(4, form="indexed-table"), lambda what, share: seen.append((what, share))).run()
    assert {what for what, _ in seen} == {"index forms"}
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


@pytest.mark.parametrize("weights", ["uniform", "small"])
@pytest.mark.parametrize(("frac_bits", "entries"), [(3, 12), (5, 20), (6, 5)])
def test_no_other_uniform_table_of_as_many_entries_is_better(frac_bits, entries, weights):
    def error(table):
        total = 0.0
        for values, target in on_domain(table, frac_bits):
            live = values != CANCEL
            weight = Weights(weights).of(target)[live]
            total += float((weight * (values - target.real)[live] ** 2).sum() / weight.sum())
        return total

    best = designed(DesignRequest(frac_bits, form="table", entries=entries, weights=weights))
    assert isinstance(best, Table)
    assert best.d_max / best.step <= entries
    steps = [2.0**k for k in range(-frac_bits, 2)]
    others = [Table(s, s * n) for s in steps for n in range(1, entries + 1) if s * n <= 12]
    assert error(best) <= min(map(error, others)) + 1e-9


def test_more_entries_are_never_worse():
    errors = []
    for entries in (5, 20, 80, 400):
        adder = designed(DesignRequest(4, form="table", entries=entries))
        minus = adder.tables(LNS(5, 4))[1]
        errors.append(table_errors(np.where(minus == CANCEL, 0, minus), gaussian_target(-1, 4)).rms)
    assert errors[-1] < 0.24  # correctly rounded
    assert errors == sorted(errors, reverse=True)
