"""The dynamic programme finds the optimum, and its conditions hold."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from slipstick.arithmetic import Exact, Segments
from slipstick.design import Constraints, OptimalSegments, adder_errors, gaussian_target, optimal_segments, table_errors
from slipstick.design.segment_errors import SegmentErrors
from slipstick.design.shipped import INDEX, unconstrained_adder
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

SIGNS = (1, -1)


def values(segments, target):
    return segments.values(np.arange(int(target.distance[-1]) + 1), -target.sign)


def solve(target, constraints, tilt=0.0, weights=None):
    weights = np.ones(len(target.distance)) if weights is None else weights
    return OptimalSegments(SegmentErrors(target, constraints, weights), constraints, tilt)


def exhaustive_least_error(target, count):
    """Least sum of squared errors of ``count`` segments, by trying all bounds, slopes and intercepts."""
    d = target.distance
    real = target.nearest + target.remainder / 2.0**20
    n = len(d)

    def piece(i, j):
        offsets = np.arange(-12, 13)[:, None]
        least = np.inf
        for exponent in range(-6, 7):
            line = -target.sign * Segments((n,), (exponent,), (0,)).values(d[i : j + 1], 1)
            centre = int(np.rint((real[i : j + 1] - line).mean()))
            least = min(least, float(((line + centre + offsets - real[i : j + 1]) ** 2).sum(axis=1).min()))
        return least

    cost = {(i, j): piece(i, j) for i in range(n) for j in range(i, n)}
    tail = np.concatenate([np.cumsum((real**2)[::-1])[::-1], [0.0]])
    least = np.inf
    for bounds in combinations(range(n), count):
        starts = (0, *(b + 1 for b in bounds[:-1]))
        total = sum(cost[i, j] for i, j in zip(starts, bounds, strict=True)) + tail[bounds[-1] + 1]
        least = min(least, float(total))
    return least


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_table_found_by_exhaustive_search_is_better(sign, count):
    target = gaussian_target(sign, 1)
    table = values(optimal_segments(target, Constraints(segments=count)), target)
    error = table_errors(table, target).rms ** 2 * len(target.distance)
    fewer = min(exhaustive_least_error(target, k) for k in range(1, count + 1))
    assert error == pytest.approx(fewer, abs=1e-9)


@pytest.mark.parametrize("frac_bits", [1, 2, 3, 4])
def test_enough_segments_give_the_correctly_rounded_table(frac_bits):
    format = LNS(5, frac_bits)
    adder = unconstrained_adder(frac_bits, segments=24 if frac_bits == 1 else 40)
    for table, exact in zip(adder.tables(format), Exact().tables(format), strict=True):
        np.testing.assert_array_equal(table, exact)


@pytest.mark.parametrize("sign", SIGNS)
def test_error_never_grows_with_the_number_of_segments(sign):
    target = gaussian_target(sign, 3)
    errors = [
        table_errors(values(optimal_segments(target, Constraints(segments=m)), target), target).rms
        for m in range(1, 12)
    ]
    assert all(more <= fewer for fewer, more in pairwise(errors))


@pytest.mark.parametrize(
    ("frac_bits", "plus", "minus"), [(3, 0.219, 0.208), (4, 0.234, 0.230), (5, 0.256, 0.300), (6, 0.305, 0.452)]
)
def test_known_optima_of_sixteen_pieces_of_which_one_is_the_zero_tail(frac_bits, plus, minus):
    # An independent programme counted the zeros beyond the last bound as a segment and left out d = 0.
    errors = adder_errors(unconstrained_adder(frac_bits, segments=15), frac_bits)
    count = len(gaussian_target(-1, frac_bits).distance)
    assert errors[0].rms * ((count + 1) / count) ** 0.5 == pytest.approx(plus, abs=6e-4)
    assert errors[1].rms == pytest.approx(minus, abs=6e-4)


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("exact_through", [0, 2, 4, 9])
def test_pinned_distances_are_correctly_rounded(sign, exact_through):
    target = gaussian_target(sign, 5)
    table = values(optimal_segments(target, Constraints(exact_through=exact_through)), target)
    pinned = target.distance <= exact_through
    np.testing.assert_array_equal(table[target.distance[pinned]], target.nearest[pinned])


@pytest.mark.parametrize("sign", SIGNS)
def test_tables_are_constant_on_the_classes_asked_for(sign):
    target = gaussian_target(sign, 5)
    classes = INDEX[5].of(np.arange(int(target.distance[-1]) + 1))
    table = values(optimal_segments(target, Constraints(index=INDEX[5])), target)
    for number in np.unique(classes[target.distance]):
        assert len(set(table[target.distance][classes[target.distance] == number])) == 1


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("end", [10, 30, 36, 50])
def test_tables_end_where_asked(sign, end):
    target = gaussian_target(sign, 3)
    table = values(solve(target, Constraints()).segments(end), target)
    np.testing.assert_array_equal(table, values(optimal_segments(target, Constraints(end=end)), target))
    assert np.flatnonzero(table)[-1] == end
    assert table[end] * sign > 0


@pytest.mark.parametrize("sign", SIGNS)
def test_a_larger_multiplier_never_raises_the_mean_error(sign):
    target = gaussian_target(sign, 4)
    biases = [
        table_errors(values(solve(target, Constraints(), tilt=m).segments(), target), target).bias
        for m in np.linspace(-0.5, 0.5, 11)
    ]
    assert all(later <= earlier for earlier, later in pairwise(biases))


def test_impossible_requests_are_refused():
    with pytest.raises(SpecificationError, match="segments=0"):
        Constraints(segments=0)
    with pytest.raises(SpecificationError, match="frac_bits=13"):
        gaussian_target(1, 13)
    with pytest.raises(SpecificationError, match="no table of 2 segments satisfies"):
        optimal_segments(gaussian_target(-1, 3), Constraints(segments=2, exact_through=8))
