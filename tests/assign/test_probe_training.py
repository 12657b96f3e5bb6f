"""Trainings that are probed, by the project's loop and of a user's program: interrupted, they end the same."""

import json
import sys
from pathlib import Path

import pytest
import torch

from interruptions import StopAfter
from slipstick.assign.probe_options import ProbeOptions
from slipstick.assign.probe_program import probe_program
from slipstick.assign.probe_training import probe_training
from slipstick.assign.run_control import RunControl
from slipstick.errors import SpecificationError
from slipstick.precision.statistics import Statistics
from slipstick.train import Data, Interrupted, load_data, run_folder, train
from slipstick.train.checkpoints import read_model_state
from slipstick.train.config import Experiment

FEW = ProbeOptions(samples=7)
QUIET, RESUMED = RunControl(quiet=True), RunControl(quiet=True, resume=True)


def experiment(out: Path, **fields: object) -> Experiment:
    small = {
        "subset": {"train": 40, "test": 20},
        "model": {"name": "cnn", "width": 0.25},
        "schedule": {"kind": "cosine", "eta_min": 0.001},
        "batch": 10,
        "epochs": 2,
        "seed": 7,
        "threads": 1,
    }
    return Experiment(name="trial", out=str(out), **{**small, **fields})


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


def probed(out: Path, data: Data, **options: object) -> Statistics:
    return probe_training(experiment(out), data, options=FEW, control=RunControl(quiet=True, **options))


def test_an_interrupted_training_resumes_to_the_same_statistics(tmp_path: Path, data: Data) -> None:
    whole = probed(tmp_path / "whole", data)
    for steps in (1, 6):
        out = tmp_path / str(steps)
        with pytest.raises(Interrupted):
            probed(out, data, stop=StopAfter(steps))
        assert probed(out, data, resume=True) == whole
    assert (whole.model, whole.samples, whole.steps) == ("Sequential", 7, 8)
    assert whole.batch == 10
    assert 0.001 < whole.smallest_lr < 0.01


def test_a_run_is_the_same_bits_with_and_without_a_probe(tmp_path: Path, data: Data) -> None:
    probed(tmp_path / "probed", data)
    plain = experiment(tmp_path / "plain")
    train(plain, data, quiet=True)
    first, _ = read_model_state(run_folder(experiment(tmp_path / "probed")))
    second, _ = read_model_state(run_folder(plain))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_statistics_of_a_complete_run_are_read_not_measured_again(tmp_path: Path, data: Data) -> None:
    found = probed(tmp_path, data)
    file = run_folder(experiment(tmp_path)) / "statistics.json"
    saved = json.loads(file.read_text())
    saved["statistics"]["model"] = "of the file"
    file.write_text(json.dumps(saved))
    assert probed(tmp_path, data, resume=True).model == "of the file"
    more = probe_training(experiment(tmp_path), data, options=ProbeOptions(samples=9), control=RESUMED)
    assert (more.samples, more.model) == (9, "Sequential")
    assert probed(tmp_path, data, overwrite=True) == found


def test_a_run_that_nobody_watched_cannot_be_probed(tmp_path: Path, data: Data) -> None:
    train(experiment(tmp_path), data, quiet=True)
    with pytest.raises(SpecificationError, match="was not watched from its beginning; use --overwrite"):
        probed(tmp_path, data, resume=True)
    started = experiment(tmp_path / "started")
    with pytest.raises(Interrupted):
        train(started, data, quiet=True, stop=StopAfter(1))
    with pytest.raises(SpecificationError, match="was not watched from its beginning"):
        probed(tmp_path / "started", data, resume=True)


def test_a_probed_run_may_be_read_and_resumed_as_any_other(tmp_path: Path, data: Data) -> None:
    with pytest.raises(Interrupted):
        probed(tmp_path, data, stop=StopAfter(1))
    assert train(experiment(tmp_path), data, resume=True, quiet=True).status == "finished"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arithmetic": "LNS(5,5) exact"}, "is no plain fp32 training"),
        ({"epochs": 0}, "there is no training to probe"),
        ({"optimizer": {"name": "sgd", "lr": 1e30}}, "the training diverged .* nothing can be assigned"),
    ],
)
def test_what_cannot_be_probed_is_refused(tmp_path: Path, data: Data, fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        probe_training(experiment(tmp_path, **fields), data, options=FEW, control=QUIET)


def test_text_is_probed_with_random_signs(tmp_path: Path) -> None:
    tiny = {"name": "transformer", "width": 8, "layers": 1, "heads": 2, "context": 8}
    chosen = experiment(tmp_path, data="python-docs", model=tiny, epochs=1)
    found = probe_training(chosen, options=ProbeOptions(samples=3), control=QUIET)
    assert found.samples == 3 * 8
    assert {"embedding", "position", "blocks.0.attention.query", "head"} <= {layer.name for layer in found.layers}


PROGRAM = """
import torch
from torch import nn
def build():
    x = torch.randn(24, 5)
    data = torch.utils.data.TensorDataset(x, (x.sum(dim=1) > 0).long())
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 2))
    return model, torch.utils.data.DataLoader(data, batch_size=6, shuffle=True)
def with_optimizer():
    model, loader = build()
    return model, loader, torch.optim.SGD(model.parameters(), lr=0.25)
def wide():
    model, loader, optimizer = with_optimizer()
    optimizer.param_groups[0]["lr"] = 1e30
    return model, loader, optimizer
def nothing():
    return nn.Linear(2, 2)
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_program", None)


def test_a_program_interrupted_resumes_to_the_same_statistics(tmp_path: Path) -> None:
    whole = probe_program("own_program:build", tmp_path / "whole", epochs=3, options=FEW, control=QUIET)
    assert (whole.steps, whole.samples, whole.smallest_lr) == (12, 7, 0.01)
    assert whole.batch == 6
    with pytest.raises(Interrupted, match="stopped in epoch 2"):
        probe_program(
            "own_program:build",
            tmp_path / "b",
            epochs=3,
            options=FEW,
            control=RunControl(quiet=True, stop=StopAfter(5)),
        )
    torch.manual_seed(1)
    resumed = probe_program("own_program:build", tmp_path / "b", epochs=3, options=FEW, control=RESUMED)
    assert resumed == whole
    assert probe_program("own_program:build", tmp_path / "b", epochs=3, options=FEW, control=RESUMED) == whole


def test_a_program_may_bring_its_optimiser(tmp_path: Path) -> None:
    found = probe_program("own_program:with_optimizer", tmp_path / "a", options=FEW, control=QUIET)
    assert found.smallest_lr == 0.25


def test_a_folder_of_a_program_is_neither_replaced_nor_mixed_up(tmp_path: Path) -> None:
    probe_program("own_program:build", tmp_path / "a", options=FEW, control=QUIET)
    with pytest.raises(SpecificationError, match="holds a started run; add --resume"):
        probe_program("own_program:build", tmp_path / "a", options=FEW, control=QUIET)
    with pytest.raises(SpecificationError, match=r"holds a run of .*own_program:build.*; choose another --out"):
        probe_program("own_program:with_optimizer", tmp_path / "a", options=FEW, control=RESUMED)
    found = probe_program(
        "own_program:with_optimizer", tmp_path / "a", options=FEW, control=RunControl(quiet=True, overwrite=True)
    )
    assert found.smallest_lr == 0.25


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("own_program", "must be package.module:function"),
        ("own_program:absent", "cannot be imported .*absent"),
        ("no_such_module:build", "cannot be imported .*no_such_module"),
        ("own_program:nothing", "returned Linear; it must return"),
        ("own_program:wide", "the loss became .*; lower the learning rate"),
    ],
)
def test_a_target_that_cannot_be_trained_is_refused(tmp_path: Path, target: str, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        probe_program(target, tmp_path / "a", epochs=3, options=FEW, control=QUIET)


def test_an_impossible_number_of_samples_is_refused() -> None:
    with pytest.raises(SpecificationError, match="samples = 0 must be a positive integer"):
        ProbeOptions(samples=0)
