"""Weights of distances: mean 1, regimes are what two random operands give, and a measured file is taken as it is."""

import json

import numpy as np
import pytest

from slipstick import LNS, SpecificationError
from slipstick.arithmetic import DistanceHistogram
from slipstick.arithmetic.distances import FILE_NAME, RecordedDistances, bins
from slipstick.design import DesignRequest, Weights, design_adder, gaussian_target, table_errors
from slipstick.design.weights import REGIMES, UNSEEN_SHARE

SIGNS = (1, -1)

signs = pytest.mark.parametrize("sign", SIGNS)


def recorded(folder, frac_bits=4, plus=(), minus=()):
    """The path of a distances.json with these counts from d = 0 on, in forward sums."""
    counts = [np.pad(np.asarray(c, np.float64), (0, bins(frac_bits) - len(c))) for c in (plus, minus)]
    part = DistanceHistogram(frac_bits, *counts)
    run = RecordedDistances(LNS(5, frac_bits), 1, {("forward", "sums"): part})
    (folder / FILE_NAME).write_text(run.to_json())
    return folder / FILE_NAME


@signs
@pytest.mark.parametrize("frac_bits", [1, 5, 8])
def test_uniform_weights_are_one(frac_bits, sign):
    target = gaussian_target(sign, frac_bits)
    np.testing.assert_array_equal(Weights().of(target), np.ones(len(target.distance)))


@signs
@pytest.mark.parametrize("name", REGIMES)
def test_regimes_have_mean_one_and_no_distance_without_weight(name, sign):
    weights = Weights(name).of(gaussian_target(sign, 5))
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).all()


@signs
@pytest.mark.parametrize("name", REGIMES)
def test_regimes_are_the_distances_between_normal_operands(name, sign):
    """A Monte Carlo of d = |La - Lb| on the grid; operands of every sign alike, so that one sample serves both."""
    frac_bits, count = 2, 400_000
    draw = np.random.default_rng(7)
    octaves = draw.choice(np.array(REGIMES[name], dtype=np.float64), count)
    ratio = draw.standard_normal(count) / draw.standard_normal(count) * np.exp2(octaves)
    d = np.rint(np.abs(np.log2(np.abs(ratio))) * (1 << frac_bits)).astype(np.int64)
    target = gaussian_target(sign, frac_bits)
    seen = np.bincount(d, minlength=int(target.distance[-1]) + 1)[target.distance].astype(np.float64)
    expected = Weights(name).of(target) / len(target.distance) * seen.sum()
    assert (np.abs(seen - expected) <= 6 * np.sqrt(expected) + 1).all()


def test_operands_of_one_magnitude_meet_nearer_than_others():
    target = gaussian_target(-1, 4)
    small, mixed, large = ((Weights(name).of(target) * target.distance).mean() for name in ("small", "mixed", "large"))
    assert small < mixed < large


@signs
def test_a_measured_file_weighs_as_often_as_it_counted(tmp_path, sign):
    plus, minus = np.arange(30.0), np.arange(60.0)[::-1] ** 2
    path = recorded(tmp_path, 4, plus, minus)
    target = gaussian_target(sign, 4)
    counts = np.zeros(int(target.distance[-1]) + 1)
    given = plus if sign > 0 else minus
    counts[: len(given)] = given
    share = counts[target.distance] / counts[target.distance].sum()
    expected = ((1 - UNSEEN_SHARE) * share + UNSEEN_SHARE / len(share)) * len(share)
    for name in (str(path), str(tmp_path)):  # the file, or the run folder that it lies in
        weights = Weights(name).of(target)
        np.testing.assert_allclose(weights, expected)
        assert weights.mean() == pytest.approx(1)


@signs
def test_distances_that_never_occurred_get_the_uniform_share(tmp_path, sign):
    target = gaussian_target(sign, 4)
    counts = np.zeros(50)
    counts[7] = 1e6
    weights = Weights(str(recorded(tmp_path, 4, counts, counts))).of(target)
    unseen = target.distance != 7
    np.testing.assert_allclose(weights[unseen], UNSEEN_SHARE)
    assert weights[~unseen].sum() == pytest.approx((1 - UNSEEN_SHARE) * len(weights) + UNSEEN_SHARE)


def test_distances_beyond_the_domain_do_not_count(tmp_path):
    target = gaussian_target(1, 3)
    counts = np.zeros(bins(3))
    counts[5], counts[-1] = 1.0, 1e9
    weights = Weights(str(recorded(tmp_path, 3, counts, counts))).of(target)
    assert weights.mean() == pytest.approx(1)
    assert weights.argmax() == 5


def test_a_file_of_another_width_is_refused(tmp_path):
    path = recorded(tmp_path, 4, np.ones(9), np.ones(9))
    with pytest.raises(SpecificationError, match="recorded with frac_bits=4, the design has 5; record a run") as caught:
        Weights(str(path)).of(gaussian_target(1, 5))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("sign", "name"), [(1, "equal"), (-1, "opposite")])
def test_a_file_without_such_distances_is_refused(tmp_path, sign, name):
    counts = [np.ones(9), np.zeros(9)][::sign]
    path = recorded(tmp_path, 4, *counts[::-1])
    with pytest.raises(SpecificationError, match=f"holds no distance of {name} signs"):
        Weights(str(path)).of(gaussian_target(sign, 4))


def test_a_file_that_is_none_is_refused(tmp_path):
    target = gaussian_target(1, 4)
    with pytest.raises(SpecificationError, match="no such file"):
        Weights(str(tmp_path / "none.json")).of(target)
    (tmp_path / "list.json").write_text(json.dumps([1, 2]))
    with pytest.raises(SpecificationError, match="not recorded distances"):
        Weights(str(tmp_path / "list.json")).of(target)


def test_weighted_errors_count_the_weights():
    target = gaussian_target(1, 3)
    table = np.zeros(int(target.distance[-1]) + 1, dtype=np.int32)
    table[target.distance] = target.nearest
    table[10] += 3
    weights = np.full(len(target.distance), 0.5)
    weights[10] = len(weights) - 0.5 * (len(weights) - 1)
    error = table[target.distance] - target.real
    errors = table_errors(table, target, weights)
    assert errors.rms == pytest.approx(np.sqrt((weights * error**2).mean()))
    assert errors.bias == pytest.approx((weights * error).mean())
    assert errors.max == pytest.approx(np.abs(error).max())


def test_a_design_for_measured_distances_serves_them_best(tmp_path):
    """All weight on three distances of each function: the design is correctly rounded there."""
    counts = np.zeros(200)
    counts[[3, 20, 45]] = 1.0
    path = recorded(tmp_path, 4, counts, counts)
    adder = design_adder(
        DesignRequest(4, segments=4, weights=str(path), zero_bias=False, exact_through=-1, symmetric=False)
    )
    for table, sign in zip(adder.tables(LNS(5, 4)), SIGNS, strict=True):
        target = gaussian_target(sign, 4)
        for d in (3, 20, 45):
            assert table[d] == target.nearest[d - target.first]
