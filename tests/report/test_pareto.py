"""The points that no other one beats, against the definition itself."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import make_run, make_study

from slipstick.report import contents_of, read_contents, read_runs
from slipstick.report.pareto import Point, non_dominated
from slipstick.report.study import find_trials

small = st.integers(0, 6).map(float)


def beats(first: Point, second: Point) -> bool:
    return first != second and first[0] <= second[0] and first[1] >= second[1]


@settings(max_examples=60)
@given(st.lists(st.tuples(small, small), max_size=12))
def test_the_front_is_what_nothing_beats_by_ascending_cost(points: list[Point]) -> None:
    found = non_dominated(points)
    assert sorted(found) == [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def test_costs_are_bits_and_whatever_a_sweep_measured(tmp_path: Path) -> None:
    contents = read_contents([make_study(tmp_path, seeds=2, watched=False)])
    assert [front.cost for front in contents.fronts] == ["bits of an operand", "full adders"]
    bits, adders = contents.fronts
    labels = ["LNS(5,3) exact", "LNS(5,4) designed", "LNS(5,5) exact", "LNS(5,8) hamad2025", "fp32"]
    assert [point.group.label for point in bits.best] == labels
    assert [point.cost for point in adders.best] == [8e5, 1.1e6, 1.6e6, 4e6, 9e6]
    assert all(point.accuracy.n == 2 for point in bits.best)


def test_one_cost_for_all_or_an_unfinished_run_makes_no_front(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9)
    make_run(tmp_path / "b", 0.8, batch=32)
    make_run(tmp_path / "c", 0.8, arithmetic="LNS(5,5) exact", status=None)
    assert contents_of(read_runs(tmp_path)).fronts == ()


def test_a_study_is_read_tolerantly(tmp_path: Path) -> None:
    make_run(tmp_path / "trials" / "0000", 0.9)
    (tmp_path / "study.csv").write_text(
        "trial,state,folder,extra,param.optimizer.lr,value.accuracy,value.energy\n"
        "0,COMPLETE,trials/0000,x,0.1,0.9,nan\n"
        "1,FAIL,,,0.2,,\n"
        "2,PRUNED,trials/none,,0.3,0.5,abc\n"
        "3\n"
    )
    first, *others = find_trials([tmp_path])
    assert (first.trial, first.state, first.values) == ("0", "complete", {"accuracy": 0.9})
    assert first.parameters == {"optimizer.lr": "0.1"}
    assert first.folder == (tmp_path / "trials" / "0000").resolve()
    assert [(trial.state, trial.folder) for trial in others] == [("fail", None), ("pruned", None), ("", None)]
    contents = read_contents([tmp_path])
    assert contents.trial_of == (first,)


def test_a_study_whose_columns_have_no_prefix_is_read_too(tmp_path: Path) -> None:
    make_run(tmp_path / "trials" / "0000" / "made" / "fp32", 0.9)
    (tmp_path / "study.csv").write_text(
        "trial,outcome,best,arithmetic,optimizer.lr,bits,energy,accuracy,accuracy_low,epochs,host,folder,reason\n"
        "0,finished,1,fp32,0.1,5e6,2.5,0.9,0.8,4,here,trials/0000,\n"
    )
    (trial,) = find_trials([tmp_path])
    assert trial.state == "finished"
    assert trial.parameters == {"arithmetic": "fp32", "optimizer.lr": "0.1"}
    assert trial.values == {"bits": 5e6, "energy": 2.5, "accuracy": 0.9}
    assert read_contents([tmp_path]).trial_of == (trial,)
