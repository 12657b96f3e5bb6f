"""Groups of seeds: intervals as published, pairing only where it is fair, everything else marked."""

import statistics
from pathlib import Path

import pytest
from synthetic_runs import make_run

from slipstick.report import read_runs
from slipstick.report.against_fp32 import difference_to_fp32
from slipstick.report.intervals import interval, interval_of_difference
from slipstick.report.rows import comparison_rows
from slipstick.report.seeds import RunGroup, group_runs


def groups_of(folder: Path) -> list[RunGroup]:
    return group_runs(read_runs(folder))


@pytest.mark.parametrize(
    ("n", "quantile"),
    [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (31, 2.042)],  # of every table of Student's t
)
def test_an_interval_is_students(n: int, quantile: float) -> None:
    values = [0.9 + 0.01 * (i % 2) + 0.001 * i for i in range(n)]
    found = interval(values)
    assert found is not None
    assert found.half == pytest.approx(quantile * statistics.stdev(values) / n**0.5, rel=1e-3)
    assert (found.mean, found.n) == (pytest.approx(statistics.fmean(values)), n)


def test_one_seed_has_no_interval_and_none_no_mean() -> None:
    one = interval([0.5])
    assert one is not None
    assert (one.mean, one.half, one.n) == (0.5, None, 1)
    assert interval([]) is None


def test_unpaired_differences_have_welchs_interval() -> None:
    # Welch 1938 as every text has it: here 27.5 - 12, s^2 = 41.67 and 6.67, n = 4 each: 3.93 degrees of freedom
    found = interval_of_difference([20.0, 25.0, 30.0, 35.0], [9.0, 11.0, 13.0, 15.0])
    assert found is not None
    assert found.mean == pytest.approx(15.5)
    assert found.half == pytest.approx(2.797 * (41.6667 / 4 + 6.6667 / 4) ** 0.5, rel=5e-3)
    assert interval_of_difference([1.0], [2.0, 3.0]).half is None  # type: ignore[union-attr]
    assert interval_of_difference([], [2.0]) is None


def test_runs_that_differ_in_their_seed_only_are_one_group(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        make_run(
            tmp_path / f"a{seed}", 0.9 + seed / 100, seed=seed, out=f"runs/{seed}", name=f"n{seed}", label=f"x {seed}"
        )
    make_run(tmp_path / "b", 0.8, seed=0, batch=32)
    first, second = groups_of(tmp_path)
    assert [run.experiment.seed for run in first.runs] == [0, 1, 2]
    assert first.accuracy is not None
    assert first.accuracy.mean == pytest.approx(0.91)
    assert (first.accuracy.n, len(second.runs)) == (3, 1)


def test_a_run_made_twice_is_one_seed(tmp_path: Path) -> None:
    for copy, accuracy in enumerate((0.9, 0.9, 0.8)):
        make_run(tmp_path / f"{copy}", accuracy, seed=copy // 2)
    (group,) = groups_of(tmp_path)
    assert group.accuracy is not None
    assert (group.accuracy.n, group.accuracy.mean) == (2, pytest.approx(0.85))
    assert comparison_rows([group])[0].seeds == "2"


def test_groups_that_would_have_one_label_are_told_apart(tmp_path: Path) -> None:
    for place, rate in enumerate((0.1, 0.05)):
        make_run(tmp_path / f"{place}", 0.9, optimizer={"name": "sgd", "lr": rate}, label="mine")
    assert [group.label for group in groups_of(tmp_path)] == ["mine, optimizer.lr=0.1", "mine, optimizer.lr=0.05"]


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    for seed, (base, mine) in enumerate([(0.90, 0.88), (0.80, 0.77), (0.70, 0.69)]):
        make_run(tmp_path / f"fp32{seed}", base, seed=seed)
        make_run(tmp_path / f"mine{seed}", mine, seed=seed, arithmetic="LNS(5,5) exact")
    make_run(tmp_path / "mine3", 0.1, seed=3, arithmetic="LNS(5,5) exact")  # has no partner: does not count
    groups = groups_of(tmp_path)
    difference = difference_to_fp32(groups[1], groups)
    assert difference is not None
    assert difference.points is not None
    assert (difference.paired, difference.mark, difference.points.n) == (True, "", 3)
    assert difference.points.mean == pytest.approx(-2.0)
    assert difference.points.half == pytest.approx(4.303 * 1.0 / 3**0.5, rel=1e-3)
    assert difference_to_fp32(groups[0], groups) is None


def test_other_seeds_or_budgets_are_not_paired_and_marked(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / f"fp32{seed}", 0.9 + seed / 100, seed=seed, started="1")
        make_run(tmp_path / f"later{seed}", 0.8, seed=seed + 2, arithmetic="LNS(5,5) exact", started="2")
        make_run(tmp_path / f"longer{seed}", 0.8, seed=seed, epochs=6, arithmetic="LNS(5,5) exact", started="3")
        lr = {"name": "sgd", "lr": 0.02}
        make_run(tmp_path / f"tuned{seed}", 0.8, seed=seed, optimizer=lr, arithmetic="LNS(5,5) exact", started="4")
    groups = groups_of(tmp_path)
    marks = [difference.mark for group in groups[1:] if (difference := difference_to_fp32(group, groups))]
    assert marks == ["not paired", "not paired; other epochs", "other optimizer"]


def test_each_group_is_compared_with_the_float32_most_like_it(tmp_path: Path) -> None:
    for place, epochs in enumerate((2, 6)):
        make_run(tmp_path / f"fp32{place}", 0.9 - place / 10, epochs=epochs, started=f"{place}")
        make_run(tmp_path / f"mine{place}", 0.5, epochs=epochs, arithmetic="LNS(5,5) exact", started=f"{2 + place}")
    groups = groups_of(tmp_path)
    found = [
        difference.points.mean for g in groups if (difference := difference_to_fp32(g, groups)) and difference.points
    ]
    assert found == [pytest.approx(-40.0), pytest.approx(-30.0)]


def test_means_are_over_finished_runs_and_say_so(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9, seed=0)
    make_run(tmp_path / "b", 0.2, seed=1, status="diverged")
    make_run(tmp_path / "c", 0.3, seed=2, status=None)
    (row,) = comparison_rows(groups_of(tmp_path))
    assert (row.accuracy, row.seeds) == ("90.0 %", "1")
    assert row.note == "1 finished, 1 diverged, 1 not finished; means of the finished"


def test_a_group_without_a_finished_run_tells_how_far_it_came(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.3, seed=2, status=None, epochs=4)
    (row,) = comparison_rows(groups_of(tmp_path))
    assert row.note == "not finished: after epoch 2 of 4"
    make_run(tmp_path / "b", 0.3, seed=2, status="diverged", epochs=2)
    assert comparison_rows(groups_of(tmp_path / "b"))[0].note == "diverged: the loss became nan"
