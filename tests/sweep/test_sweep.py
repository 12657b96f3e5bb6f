import csv
import json
from pathlib import Path

import pytest

from slipstick.cli import main
from slipstick.errors import SpecificationError, StorageError
from slipstick.report import read_runs
from slipstick.report.intervals import interval
from slipstick.sweep import front, load_study, worker
from slipstick.sweep.space import Choices, Range
from slipstick.train.checkpoint_files import has_checkpoint
from sweep.studies import EXPERIMENT, SPACE, run, write_study

ARITHMETICS = """
[space]
arithmetic = "LNS({i},{f}) {adder}"
i = [4]
f = [3, 5]
adder = ["exact", "hamad2025"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "study"


def test_a_grid_has_every_point_once_and_impossible_ones_do_not_end_it(tmp_path: Path, folder: Path) -> None:
    path = write_study(tmp_path, 'objectives = ["accuracy", "full_adders", "bits"]\nsampler = "grid"', ARITHMETICS)
    records = run(path, "experiment.epochs=1")
    points = [(r.parameters["f"], r.parameters["adder"]) for r in records]
    assert points == [(3, "exact"), (3, "hamad2025"), (5, "exact"), (5, "hamad2025")]
    assert [r.outcome for r in records] == ["finished", "impossible", "finished", "finished"]
    assert "no table for frac_bits=3" in records[1].reason
    assert "no table for frac_bits=3" in (folder / "trials/0001/trial.log").read_text()
    assert "epoch 1/1" in (folder / "trials/0000/trial.log").read_text()
    plan, _ = load_study(path)
    best = front(plan, records)
    assert records[0] in best  # the fewest bits
    rows = list(csv.DictReader((folder / "study.csv").open()))
    assert [row["outcome"] for row in rows] == [r.outcome for r in records]
    assert [row["best"] for row in rows] == ["1" if r in best else "0" for r in records]
    (found,) = read_runs(folder / "trials/0000")
    assert float(rows[0]["accuracy"]) == found.accuracy


def test_the_front_is_what_no_other_beats_and_the_best_is_the_first() -> None:
    from dataclasses import replace

    from slipstick.sweep import best_first
    from slipstick.sweep.config import Study
    from slipstick.sweep.trials import TrialRecord

    blank = TrialRecord(0, "finished", "", {}, None, {}, None, 1, 0, "", None, None, None, None)
    values = [(0.5, 10.0), (0.9, 30.0), (0.5, 20.0), (0.9, 30.0), (0.4, 9.0), (0.8, 31.0)]
    records = [replace(blank, number=i, values=v) for i, v in enumerate(values)]
    records.append(replace(blank, number=6, outcome="failed"))
    two = Study(name="s", objectives=("accuracy", "bits"), experiment={}, space={})
    assert {r.number for r in front(two, records)} == {0, 1, 3, 4}
    one = Study(name="s", objectives=("loss",), experiment={}, space={})
    assert best_first(one, [replace(r, values=r.values and r.values[:1]) for r in records])[0].number == 4


def test_points_depend_on_seed_and_number_alone_and_the_same_command_goes_on(tmp_path: Path, folder: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for each in (whole, parts):
        each.mkdir()
    top = 'sampler = {name = "random", seed = 3}'
    at_once = run(write_study(whole, top), "trials=4", "experiment.epochs=1")
    path = write_study(parts, top)
    run(path, "trials=1", "experiment.epochs=1")
    run(path, "trials=3", "experiment.epochs=1")
    again = run(path, "trials=4", "experiment.epochs=1")
    assert [r.parameters for r in again] == [r.parameters for r in at_once]
    assert [r.values for r in again] == [r.values for r in at_once]
    starts = [json.loads(file.read_text()) for file in parts.glob("runs/study/trials/*/*/environment.json")]
    assert [len(each) for each in starts] == [1] * 4


def test_a_study_is_not_gone_on_with_as_another_one(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    run(path, "trials=1", "experiment.epochs=1")
    with pytest.raises(SpecificationError, match=r"study: was started with experiment.epochs = 1, not 2; change it"):
        run(path, "trials=1")
    (tmp_path / "runs/study/study.db").unlink()
    with pytest.raises(SpecificationError, match="holds trials that the storage does not know; remove it"):
        run(path, "trials=1")


def test_over_seeds_values_are_means_with_intervals_and_all_runs_are_kept(tmp_path: Path, folder: Path) -> None:
    path = write_study(tmp_path, 'seeds = [1, 2, 3]\nobjectives = ["loss"]')
    (record,) = run(path, "trials=1", "experiment.epochs=1")
    losses = [r.result.test_loss for r in read_runs(folder / "trials/0000") if r.result]
    assert sorted(losses) == sorted(record.figures["loss_by_seed"])
    assert len(set(losses)) == 3
    assert record.values == (pytest.approx(sum(losses) / 3),)
    over = interval(losses)
    assert over is not None
    assert over.half is not None
    bounds = (over.mean - over.half, over.mean + over.half)
    assert (record.figures["loss_low"], record.figures["loss_high"]) == pytest.approx(bounds)


def test_the_median_pruner_ends_what_is_worse_and_its_folder_resumes(tmp_path: Path, folder: Path) -> None:
    space = "[space]\noptimizer.lr = [0.3, 0.2, 1e-6, 0.1]"
    top = 'objectives = ["loss"]\nsampler = "grid"\npruner = {name = "median", startup = 2}'
    records = run(write_study(tmp_path, top, space), "experiment.epochs=4", "experiment.subset.train=256")
    assert records[2].outcome == "pruned"
    assert records[2].reason.startswith("after epoch 1 of 4")
    assert records[2].last is not None
    assert records[2].last.epoch == 1
    (run_folder,) = (folder / "trials/0002").glob("*--trial-2")
    assert has_checkpoint(run_folder)
    assert not (run_folder / "result.json").exists()
    assert [r.outcome for r in records[:2]] == ["finished", "finished"]


def test_a_trial_whose_last_epoch_is_trained_is_not_pruned(tmp_path: Path) -> None:
    space = "[space]\noptimizer.lr = [0.3, 0.2, 1e-6]"
    top = 'objectives = ["loss"]\nsampler = "grid"\npruner = {name = "median", startup = 1}'
    records = run(write_study(tmp_path, top, space), "experiment.epochs=1")
    assert [r.outcome for r in records] == ["finished"] * 3


def test_a_failed_trial_keeps_its_trace_and_may_be_tried_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room for this")

    path = write_study(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("slipstick.sweep.trial.costs", broken)
        (record,) = run(path, "trials=1", "experiment.epochs=1")
    assert (record.outcome, record.reason) == ("failed", "MemoryError: no room for this")
    assert "Traceback" in (folder / "trials/0000/trial.log").read_text()
    assert run(path, "trials=1", "experiment.epochs=1")[0].outcome == "failed"
    (record,) = run(path, "trials=1", "experiment.epochs=1", retry_failed=True)
    assert (record.outcome, record.attempt) == ("finished", 2)


def test_a_full_disk_ends_the_sweep_which_goes_on_with_the_same_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("trial.log: no space left")

    path = write_study(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("slipstick.sweep.trial.costs", full)
        with pytest.raises(StorageError, match="no space left"):
            run(path, "trials=2", "experiment.epochs=1")
    records = run(path, "trials=2", "experiment.epochs=1")
    assert [(record.outcome, record.attempt) for record in records] == [("finished", 2), ("finished", 1)]


def test_a_diverged_trial_is_told_apart(tmp_path: Path) -> None:
    (record,) = run(write_study(tmp_path, space="[space]\noptimizer.lr = [1e30]"), "trials=1")
    assert record.outcome == "diverged"
    assert "the loss became" in record.reason


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("postgres", "storage: no URL of a database; write e.g. sqlite:///"),
        ("oracul://h/d", "storage = 'oracul://h/d': no kind of database; write"),
        ("sqlite:///:memory:", "storage = 'sqlite:///%3Amemory%3A': is lost with this process; name a file"),
        ("sqlite:////nowhere/at/all.db", "storage = 'sqlite:////nowhere/at/all.db': its folder does not exist"),
        (
            "postgresql+pg8000://me:secret@h/d",
            "storage = 'postgresql+pg8000://me:***@h/d': needs the package 'pg8000'; ",
        ),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/d", "storage = 'postgresql+psycopg://me:***@127.0.0.1:9/d': "),
    ],
)
def test_a_storage_that_cannot_be_is_one_line_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], storage: str, message: str
) -> None:
    if "psycopg" in storage:
        pytest.importorskip("psycopg")
    path = write_study(tmp_path)
    assert main(["sweep", str(path), "--set", f"storage={storage}"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"slipstick: {message}")
    assert printed.count("\n") == 1
    assert "secret" not in printed


def test_the_command_prints_the_best_and_status_shows_every_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, space="[space]\noptimizer.lr = [0.5, 0.1]")
    assert main(["sweep", str(path), "--status"]) == 2
    assert "no study there yet; start it without --status" in capsys.readouterr().err
    assert main(["sweep", str(path), "--trials", "2", "--set", "sampler=grid", "--set", "experiment.epochs=1"]) == 0
    printed = capsys.readouterr()
    assert "best trials" in printed.out
    assert "study: 2 of 2 trials have ended (2 finished)" in printed.out
    assert "trial 1: optimizer.lr = 0.1" in printed.err
    assert main(["sweep", str(path), "--status", "--set", "sampler=grid"]) == 0
    shown = capsys.readouterr().out
    assert "running and latest trials" in shown
    assert "1/1: 0." in shown


def test_without_a_finished_trial_the_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path, space="[space]\noptimizer.lr = [1e30]")
    assert main(["sweep", str(path), "--trials", "1"]) == 1
    assert "no trial has finished; trial 0: the loss became" in capsys.readouterr().err


def test_without_optuna_the_command_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name.split(".")[:2] == ["slipstick", "sweep"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["sweep", str(write_study(tmp_path))]) == 2
    assert capsys.readouterr().err == (
        "slipstick: slipstick sweep needs the package 'optuna'; pip install 'slipstick[sweep]'\n"
    )


def test_ranges_list_what_a_grid_can_and_draw_only_what_they_hold() -> None:
    assert Range(3, 9, 2).grid() == (3, 5, 7, 9)
    assert Range(0.1, 0.3, 0.1).grid() == pytest.approx((0.1, 0.2, 0.3))
    assert Range(0.1, 0.3).grid() is None
    assert Range(1, 8, log=True).grid() is None
    tables = Choices(({"name": "sgd"}, {"name": "madam"}))
    assert [tables.meant(value) for value in tables.values] == list(tables.given)


def test_a_storage_that_goes_away_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.exceptions import StorageInternalError

    def gone(*_: object) -> None:
        raise StorageInternalError("An exception is raised during the commit.") from OSError("server closed")

    monkeypatch.setattr(worker, "queue_trials", gone)
    with pytest.raises(SpecificationError, match="server closed; the same command goes on once it answers"):
        run(write_study(tmp_path, experiment=EXPERIMENT, space=SPACE))
