"""Histograms of distances are plain data: they add up, survive their file, and refuse what they cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest

from slipstick import LNS, SpecificationError
from slipstick.arithmetic import DistanceHistogram, load_distances
from slipstick.arithmetic.distances import FILE_NAME, RecordedDistances, bins, read_distances

PARTS = (("forward", "sums"), ("forward", "elements"), ("backward", "sums"), ("update", "elements"))


def histogram(frac_bits: int = 2, seed: int = 0) -> DistanceHistogram:
    plus, minus = np.random.default_rng(seed).integers(0, 99, (2, bins(frac_bits))) / 3
    plus[50:] = 0.0
    return DistanceHistogram(frac_bits, plus, minus, 7.25 + seed)


def recorded(**finer: int) -> RecordedDistances:
    """A part for each of PARTS; the kinds named in ``finer`` with more fraction bits."""
    parts = {key: histogram(2 + finer.get(key[1], 0), seed) for seed, key in enumerate(PARTS)}
    return RecordedDistances(LNS(5, 2), 3, parts)


def same(a: DistanceHistogram, b: DistanceHistogram) -> bool:
    counts = np.array_equal(a.plus, b.plus) and np.array_equal(a.minus, b.minus)
    return counts and (a.frac_bits, a.zero) == (b.frac_bits, b.zero)


def test_a_bin_for_every_distance_up_to_24_octaves() -> None:
    assert len(DistanceHistogram.empty(5).plus) == 24 * 32 + 1
    assert DistanceHistogram.empty(0).additions == 0


def test_merging_adds() -> None:
    a, b = histogram(seed=1), histogram(seed=2)
    both = a.merge(b)
    np.testing.assert_array_equal(both.plus, a.plus + b.plus)
    assert both.zero == a.zero + b.zero
    assert both.additions == pytest.approx(a.additions + b.additions)
    with pytest.raises(SpecificationError, match="frac_bits=2 and 3 do not add up"):
        a.merge(histogram(3))


def test_a_histogram_survives_json() -> None:
    data = json.loads(json.dumps(histogram().to_dict()))
    assert len(data["plus"]) == 50
    assert same(DistanceHistogram.from_dict(data), histogram())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plus": [1, -1]}, "plus: -1.0 is no number of additions"),
        ({"minus": [1, float("nan")]}, "minus: nan is no number of additions"),
        ({"plus": ["1"]}, "plus: .'1'. where counts are due"),
        ({"plus": 3}, "plus: 3 where counts are due"),
        ({"zero": "many"}, "zero: .'many'. where counts are due"),
        ({"zero": 10**400}, "not a histogram of distances"),
        ({"plus": [0.0] * 98}, "plus: 98 counts, but frac_bits=2 has 97 bins"),
        ({"zero": -2}, "zero: -2.0 is no number of additions"),
        ({"frac_bits": 40}, "frac_bits=40"),
    ],
)
def test_a_histogram_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        DistanceHistogram.from_dict({**histogram().to_dict(), **change})


def test_a_histogram_without_a_key_is_refused() -> None:
    with pytest.raises(SpecificationError, match="needs the key 'minus'"):
        DistanceHistogram.from_dict({"frac_bits": 2, "plus": [], "zero": 0})


def test_a_file_gives_back_what_was_recorded(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(recorded().to_json())
    back = read_distances(tmp_path)
    assert (back.format, back.steps, back.parts.keys()) == (LNS(5, 2), 3, recorded().parts.keys())
    assert all(same(back.parts[key], part) for key, part in recorded().parts.items())
    data = json.loads((tmp_path / FILE_NAME).read_text())
    assert (data["frac_bits"], data["steps"], list(data["phases"])) == (2, 3, ["forward", "backward", "update"])


def test_loading_sums_the_chosen_parts(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(recorded().to_json())
    parts = recorded().parts
    first = parts["forward", "sums"].merge(parts["forward", "elements"]).merge(parts["backward", "sums"])
    assert same(load_distances(tmp_path), first)
    assert same(load_distances(file), first)
    assert same(load_distances(file, ("update",)), parts["update", "elements"])
    assert same(load_distances(file, ("forward", "update"), ("sums",)), parts["forward", "sums"])


def test_parts_of_different_formats_are_not_summed(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(recorded(sums=3).to_json())
    with pytest.raises(SpecificationError, match="forward sums were added with frac_bits=5, forward elements with 2"):
        load_distances(tmp_path)
    assert load_distances(tmp_path, kinds=("sums",)).frac_bits == 5


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    good = recorded().to_dict()
    for content, message in (
        (None, "no such file; `slipstick train ... --record-d` writes one"),
        ("{", "cannot be read"),
        ("[]", "not recorded distances"),
        (json.dumps({**good, "steps": -1}), "steps = -1"),
        (json.dumps({**good, "frac_bits": 7}), "frac_bits = 7"),
        (json.dumps({**good, "phases": {"sideways": {"sums": histogram().to_dict()}}}), "'sideways' is none"),
        (json.dumps({**good, "phases": {}}), "holds no sums or elements of forward or backward"),
        (json.dumps({key: good[key] for key in ("format", "steps")}), "need the key"),
    ):
        if content is not None:
            file.write_text(content)
        with pytest.raises(SpecificationError) as caught:
            load_distances(tmp_path)
        assert message in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    file.write_text(recorded().to_json())
    with pytest.raises(SpecificationError, match="'back' is none; known are forward, backward, update"):
        load_distances(tmp_path, ("back",))  # type: ignore[arg-type]


def test_runs_of_one_format_merge() -> None:
    alone = RecordedDistances(LNS(5, 2), 1, {("update", "sums"): histogram()})
    both = recorded().merge(alone).merge(alone)
    assert both.steps == 5
    assert same(both.parts["update", "sums"], histogram().merge(histogram()))
    assert same(both.parts["forward", "sums"], recorded().parts["forward", "sums"])
    with pytest.raises(SpecificationError, match=r"LNS\(5,2\) and of LNS\(4,2\) do not add up"):
        both.merge(RecordedDistances(LNS(4, 2)))
