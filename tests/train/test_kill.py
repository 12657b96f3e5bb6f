"""Killed with SIGKILL at random moments and resumed each time, a run ends in the codes and rows of one left alone.

On failure the report of every kill is printed: its number, when it fell after the start of its process, whether it was
aimed at a checkpoint, and what lay half written in the folder afterwards. The seed makes the same delays again; where
they fall still depends on the machine.
"""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slipstick.train import Experiment
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.stored_tensors import load_tensors

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

TIMES = ("step_seconds", "elapsed_seconds")
SERVER = Path(__file__).with_name("kill_server.py")


def experiment(out: Path, **fields: object) -> Experiment:
    """Ten steps an epoch, with what has a state: momentum, batch normalisation, a schedule, augmentation."""
    small = {
        "augment": {"flip": True, "pad": 1},
        "model": {"name": "cnn", "width": 0.25},
        "schedule": {"kind": "cosine"},
        "arithmetic": "LNS(5,4) exact",
        "update": "LNS(5,8) exact",
        "batch": 10,
        "epochs": 2,
        "log_every": 3,
        "checkpoint_steps": 2,
        "seed": 7,
        "threads": 1,
    }
    return Experiment(name="trial", out=str(out), **{**small, **fields})


def kill(chosen: Experiment, kills: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the server says of every kill and of every run."""
    command = [sys.executable, str(SERVER), chosen.model_dump_json(), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    print(f"seed {seed}", done.stdout, done.stderr, sep="\n")  # pytest shows it where the test fails
    assert done.returncode == 0, f"seed {seed}: {done.stderr.splitlines()[-1]}"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line for line in lines if "kill" in line], [line for line in lines if "run" in line]


def rows(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without the times."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def accuracies_on_the_board(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("epoch/test_accuracy")]


def require_same_end(broken: Path, whole: Path) -> None:
    same, index = newest_index(whole), newest_index(broken)
    tensors, others = (load_tensors(folder / each["tensors"]) for folder, each in ((whole, same), (broken, index)))
    differ = [name for name in tensors if not tensors[name].equal(others[name])]
    assert not differ, f"{broken}: other codes in {differ}"
    assert index["tensors_sha256"] == same["tensors_sha256"]
    assert index["generator"] == same["generator"]
    assert rows(broken) == rows(whole)
    results = (json.loads((folder / "result.json").read_text()) for folder in (broken, whole))
    ends = [{key: value for key, value in result.items() if key != "elapsed_seconds"} for result in results]
    assert ends[0] == ends[1]
    assert not list(broken.glob("*.part")) + list(broken.glob(".*.part"))
    assert not list(broken.glob("*.damaged"))
    tensors_only = {file.stem for file in broken.glob("checkpoint-*.safetensors")}
    assert tensors_only == {file.stem for file in broken.glob("checkpoint-*.json")}


def require_same_ends(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        require_same_end(Path(run["run"]), Path(run["whole"]))


def summary(kills: list[dict[str, Any]]) -> str:
    return f"{len(kills)} kills, each resumed; {inside(kills)} fell inside the writing of a checkpoint"


def inside(kills: list[dict[str, Any]]) -> int:
    """How many fell between the first byte of a checkpoint and its last."""
    return sum(bool(each["checkpoint part"] or each["tensors alone"]) for each in kills)


def test_a_run_killed_five_times_ends_in_the_same_codes(tmp_path: Path) -> None:
    kills, runs = kill(experiment(tmp_path), 5, seed=1)
    print(summary(kills))
    assert len(kills) == 5
    require_same_ends(runs)


@pytest.mark.long
def test_two_hundred_kills_are_survived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(2**31)
    kills, runs = kill(experiment(tmp_path, epochs=8), 200, seed)
    with capsys.disabled():
        print(f"\nseed {seed}: {summary(kills)}, {len(runs)} runs")
    assert len(kills) == 200
    assert inside(kills) >= 20
    require_same_ends(runs)
