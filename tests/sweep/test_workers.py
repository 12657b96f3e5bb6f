"""Several workers on one study; some are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from slipstick.sweep import Study, TrialRecord, load_study, open_study, read_trials
from slipstick.sweep.folder_lock import FolderLock, is_abandoned
from slipstick.sweep.trials import ATTEMPT, DEATHS, NUMBER, queue_trials
from slipstick.train import Interrupted, run_folder, train
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.interrupts import StopRequest
from slipstick.train.run_folder import read_experiment
from sweep.studies import run, start_worker, write_study

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and locks")

TOP = 'trials = 6\nsampler = "random"'
VICTIM = Path(__file__).parent / "victim.py"
LONG = ("--set", "experiment.epochs=120", "--set", 'experiment.arithmetic="LNS(4,4) exact"')


def wait_for(plan: Study, true: Callable[[list[TrialRecord]], bool], seconds: float = 120) -> list[TrialRecord]:
    """What the storage says as soon as that holds."""
    deadline = time.monotonic() + seconds
    study = None
    while time.monotonic() < deadline:
        try:
            study = study or open_study(plan, create=False)
            records = read_trials(study)
        except Exception:  # not there yet
            records = []
        if records and true(records):
            return records
        time.sleep(0.05)
    raise TimeoutError


def weights(folder: Path) -> str:
    return str(newest_index(folder)["tensors_sha256"])


def require_nothing_lost(tmp_path: Path, plan: Study, trials: int) -> None:
    """All have finished, one of them in two attempts, in the bits of one attempt."""
    records = read_trials(open_study(plan, create=False))
    assert [(r.number, r.outcome) for r in records] == [(i, "finished") for i in range(trials)]
    (taken,) = (r.number for r in records if r.attempt == 2)
    assert sum(r.attempt for r in records) == trials + 1
    (folder,) = (tmp_path / f"runs/study/trials/{taken:04d}").glob("*--trial-*")
    assert len(json.loads((folder / "environment.json").read_text())) == 2  # it was gone on with
    again = read_experiment(folder).model_copy(update={"out": str(tmp_path / "again")})
    train(again, quiet=True)
    assert weights(folder) == weights(run_folder(again))


def test_a_killed_workers_trial_is_gone_on_with(tmp_path: Path) -> None:
    path = write_study(tmp_path, TOP)
    overrides = ("experiment.epochs=4", "trials=2", "experiment.arithmetic=LNS(4,4) exact")
    victim = subprocess.run([sys.executable, str(VICTIM), str(path), *overrides], capture_output=True, check=False)
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    plan, _ = load_study(path, overrides)
    left = read_trials(open_study(plan, create=False))
    assert [(r.outcome, r.last and r.last.epoch) for r in left] == [("interrupted", 2), ("waiting", None)]
    run(path, *overrides)
    require_nothing_lost(tmp_path, plan, trials=2)


@pytest.mark.long
def test_of_two_commands_one_is_killed_and_no_trial_is_lost(tmp_path: Path) -> None:
    path = write_study(tmp_path, TOP)
    plan, _ = load_study(path, LONG[1::2])
    workers = [start_worker(path, *LONG) for _ in range(2)]

    def the_second_is_amid_a_trial(records: list[TrialRecord]) -> bool:
        running = {r.process: r.last.epoch for r in records if r.outcome == "running" and r.last is not None}
        return running.get(workers[1].pid, 120) <= 10

    try:
        wait_for(plan, the_second_is_amid_a_trial)
        workers[1].kill()
        workers[1].communicate(timeout=60)
        out, err = workers[0].communicate(timeout=200)
    finally:
        for worker in workers:
            worker.kill()
    assert workers[0].returncode == 0, err
    assert "study: 6 of 6 trials have ended (6 finished)" in out
    require_nothing_lost(tmp_path, plan, trials=6)


@pytest.mark.long
def test_a_stopped_worker_says_how_to_go_on(tmp_path: Path) -> None:
    path = write_study(tmp_path, TOP.replace("6", "1"))
    plan, _ = load_study(path, LONG[1::2])
    worker = start_worker(path, *LONG)
    try:
        wait_for(plan, lambda records: records[0].last is not None)
        worker.send_signal(signal.SIGTERM)
        _, err = worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 128 + signal.SIGTERM
    assert "stopped in trial 0; continue with: slipstick sweep" in err.splitlines()[-1]


def test_a_stopped_trial_goes_on_with_the_same_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopAfter(StopRequest):
        left = 5

        @property
        def requested(self) -> int | None:
            self.left -= 1
            return signal.SIGTERM if self.left < 0 else None

    path = write_study(tmp_path, TOP.replace("6", "2"))
    plan, _ = load_study(path)
    with monkeypatch.context() as patch:
        patch.setattr("slipstick.sweep.worker.StopRequest", StopAfter)
        with pytest.raises(Interrupted, match="stopped in trial 0"):
            run(path)
    stopped = read_trials(open_study(plan, create=False))
    assert [(r.outcome, r.deaths, r.last and r.last.epoch) for r in stopped] == [
        ("interrupted", 0, 1),
        ("waiting", 0, None),
    ]
    records = run(path)
    assert [(r.outcome, r.attempt) for r in records] == [("finished", 2), ("finished", 1)]
    assert records[0].parameters == stopped[0].parameters
    (folder,) = (tmp_path / "runs/study/trials/0000").glob("*--trial-0")
    assert len(json.loads((folder / "environment.json").read_text())) == 2


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_trial_whose_workers_always_die_fails(tmp_path: Path) -> None:
    path = write_study(tmp_path, TOP.replace("6", "1"))
    plan, space = load_study(path)
    study = open_study(plan)
    for attempt in (1, 2, 3):
        queue_trials(study, plan, space)
        (record,) = read_trials(study)
        assert (record.outcome, record.attempt) == ("waiting", attempt)
        study.tell(study.ask().number, state=TrialState.FAIL)
    queue_trials(study, plan, space)
    (record,) = read_trials(study)
    assert (record.outcome, record.reason) == ("failed", "its worker died 3 times")


def test_of_two_attempts_made_at_once_the_later_one_is_surplus(tmp_path: Path) -> None:
    path = write_study(tmp_path, "trials = 2\nsampler = 'random'")
    plan, _ = load_study(path, ["experiment.epochs=1"])
    study = open_study(plan)
    study.set_user_attr("slipstick study", json.loads(json.dumps(plan.definition)))
    for number in (0, 1, 0, 1):
        study.enqueue_trial({}, {NUMBER: number, ATTEMPT: 1, DEATHS: 0})
    records = run(path, "experiment.epochs=1")
    assert [(r.number, r.outcome) for r in records] == [(0, "finished"), (1, "finished")]
    assert [t.state.name for t in study.get_trials()] == ["COMPLETE", "COMPLETE", "WAITING", "WAITING"]


def test_a_lock_is_its_owners_until_it_is_gone(tmp_path: Path) -> None:
    assert not is_abandoned(tmp_path)  # nobody was ever there
    child = os.fork()
    if child == 0:
        with FolderLock(tmp_path):
            (tmp_path / "ready").touch()
            time.sleep(60)
        os._exit(0)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    assert not is_abandoned(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert is_abandoned(tmp_path)
