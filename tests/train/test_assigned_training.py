"""Experiments by a precision assignment: from TOML to a run that resumes in the same bits."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_loop import StopAfter, final_bits
from test_quantized_training import experiment

from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment, LayerAssignment, LogPrecision, Precision, Reason
from slipstick.report import read_run
from slipstick.train import Data, Interrupted, load_comparison, load_data, load_experiment, run_folder, run_label, train
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.config import Experiment
from slipstick.train.experiment_files import experiment_toml
from slipstick.train.loop import Run

SGD = {"name": "accumulator-sgd", "lr": 0.05}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


def layer_of(name: str, bits: int) -> LayerAssignment:
    weight = Precision(bits, 1.0)
    return LayerAssignment(
        name,
        weight=weight,
        activation=Precision(6, 8.0),
        weight_gradient=Precision(12, 1.0),
        activation_gradient=Precision(14, 0.5),
        accumulator=Precision(12, weight.step / 2),
        reasons={"weight": Reason("EFQN", "a range", "its bits")},
    )


def assignment(bits: int = 9) -> Assignment:
    torch.manual_seed(0)
    names = [n for n, m in Run(experiment(Path()), load_data(experiment(Path()))).model.named_modules() if conv(m)]
    return Assignment("cnn", tuple(layer_of(name, bits) for name in names), 5, 0.009, 0.01)


def conv(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Conv2d | torch.nn.Linear)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("assigned") / "c0.json"
    path.write_text(json.dumps(assignment().to_dict()))
    return str(path)


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_an_interrupted_and_resumed_run_ends_in_the_same_bits(
    tmp_path: Path, data: Data, file: str, stop_after: int
) -> None:
    whole, broken = (experiment(tmp_path / name, precision=file, optimizer=SGD) for name in ("whole", "broken"))
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(stop_after))
    torch.manual_seed(0)
    result = train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))
    assert (result.status, result.steps) == ("finished", 8)


def test_a_checkpoint_holds_the_integers_and_their_numbers(tmp_path: Path, data: Data, file: str) -> None:
    chosen = experiment(tmp_path, precision=file, optimizer=SGD)
    train(chosen, data, quiet=True)
    tensors = load_file(run_folder(chosen) / newest_index(run_folder(chosen))["tensors"])
    moved = 0
    for layer in assignment().layers:
        codes, residue = (tensors[f"optimizer.{layer.name}.weight.{key}"] for key in ("weight", "accumulator"))
        assert (codes.dtype, residue.dtype) == (torch.int32, torch.int32)
        assert torch.equal(tensors[f"model.{layer.name}.weight"], codes * layer.weight.step)
        moved += int(residue.count_nonzero())
    assert moved > 0
    assert not any(name.startswith("optimizer.") and tensor.is_floating_point() for name, tensor in tensors.items())


def test_the_loss_tracks_that_of_fp32(tmp_path: Path, file: str) -> None:
    small = {"subset": {"train": 400, "test": 20}, "augment": {}, "epochs": 3}
    plain = experiment(tmp_path, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.0}, **small)
    assigned = experiment(tmp_path, precision=file, optimizer={**SGD, "lr": 0.1}, **small)
    for each in (plain, assigned):
        train(each, quiet=True)
    losses = [[row.train_loss for row in read_run(run_folder(each)).epochs] for each in (plain, assigned)]
    assert losses[1] == pytest.approx(losses[0], rel=0.25)
    assert losses[1][-1] < losses[1][0] / 3


def test_the_run_says_what_it_is_trained_in(tmp_path: Path, data: Data, file: str) -> None:
    chosen = experiment(tmp_path, precision=file, optimizer=SGD, epochs=1)
    other = experiment(tmp_path, precision=assignment(8).to_dict(), optimizer=SGD)
    assert run_label(chosen).startswith("assigned B_min 5 ")
    assert run_folder(chosen).name == "assigned-b-min-5-" + run_label(chosen)[-8:]
    assert run_folder(other) != run_folder(chosen)
    first, *rest = assignment().layers
    mixed = replace(assignment(), layers=(replace(first, activation=LogPrecision(3, 2, 8.0)), *rest))
    assert run_label(experiment(tmp_path, precision=mixed.to_dict(), optimizer=SGD)).startswith(
        "assigned mixed B_min 5 "
    )
    assert not chosen.is_fp32
    train(chosen, data, quiet=True)
    record = read_run(run_folder(chosen))
    assert record.width == 9
    assert record.experiment == chosen
    index = newest_index(run_folder(chosen))
    assert index["execution"]["recipe"]["name"] == "assigned B_min 5"


def test_a_run_keeps_its_assignment_when_the_file_is_gone(tmp_path: Path, data: Data) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(assignment().to_dict()))
    chosen = experiment(tmp_path, precision=str(path), optimizer=SGD)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(2))
    path.unlink()
    kept = Experiment.model_validate(tomllib.loads((run_folder(chosen) / "experiment.toml").read_text()))
    assert kept == chosen
    assert kept.assignment == replace(
        assignment(), layers=tuple(replace(layer, reasons={}) for layer in assignment().layers)
    )
    assert train(kept, data, resume=True, quiet=True).status == "finished"


def test_experiment_files(tmp_path: Path, file: str) -> None:
    path = tmp_path / "trial.toml"
    path.write_text(f"""
        precision = "{file}"
        [optimizer]
        name = "accumulator-sgd"
        lr = 0.1
        bound = 1.0
    """)
    chosen = load_experiment(path)
    assert (chosen.optimizer.name, chosen.optimizer.bound) == ("accumulator-sgd", 1.0)
    assert chosen.assignment is not None
    assert Experiment.model_validate(tomllib.loads(experiment_toml(chosen))) == chosen


def test_a_comparison_of_assignments_with_fp32(tmp_path: Path, file: str) -> None:
    path = tmp_path / "trial.toml"
    path.write_text(f"""
        optimizer = {{name = "accumulator-sgd", lr = 0.1}}
        [[runs]]
        arithmetic = "fp32"
        optimizer = {{name = "sgd", lr = 0.1, momentum = 0.0}}
        [[runs]]
        precision = "{file}"
        [[runs]]
        precision = "{file}"
        optimizer = {{name = "accumulator-sgd", lr = 0.01}}
    """)
    runs = load_comparison(path).runs
    assert [run.is_fp32 for run in runs] == [True, False, False]
    assert [run.optimizer.lr for run in runs] == [0.1, 0.1, 0.01]
    assert [run_label(run).partition(",")[2] for run in runs] == ["", "", " lr=0.01"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": SGD}, "optimizer 'accumulator-sgd' needs an assignment; give precision = its file"),
        ({"precision": "FILE"}, "precision goes with optimizer 'accumulator-sgd', which keeps .*, not 'sgd'"),
        ({"precision": "FILE", "optimizer": SGD, "quantize": "fp8"}, "precision and quantize both say how .*; keep"),
        (
            {"precision": "FILE", "optimizer": SGD, "arithmetic": "LNS(5,5)"},
            r"precision rounds fp32 training; it does not go with arithmetic = 'LNS\(5,5\)'",
        ),
        ({"precision": "none.json", "optimizer": SGD}, "precision = 'none.json': none.json: no such file"),
        ({"precision": "FILE", "optimizer": {**SGD, "momentum": 0.9}}, "optimizer.momentum = 0.9: .* drop it"),
        ({"precision": "FILE", "optimizer": {**SGD, "nesterov": True}}, "optimizer.nesterov: unknown key; known are"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, file: str, fields: dict[str, object], message: str) -> None:
    path = tmp_path / "trial.toml"
    given = {key: file if value == "FILE" else value for key, value in fields.items()}
    tables = {key: value for key, value in given.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in given.items() if key not in tables]
    for key, table in tables.items():
        lines += [f"[{key}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    path.write_text("\n".join(lines))
    with pytest.raises(SpecificationError, match=rf"^\S*trial\.toml: {message}") as error:
        load_experiment(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_an_assignment_of_another_model_is_refused_before_anything_is_written(tmp_path: Path, data: Data) -> None:
    given = Assignment("other", (layer_of("features.0", 9),), 5, 0.009, 0.01)
    chosen = experiment(tmp_path / "out", precision=given.to_dict(), optimizer=SGD)
    with pytest.raises(SpecificationError, match=r"match = 'features\.0' matches no layer"):
        train(chosen, data, quiet=True)
    assert not (tmp_path / "out").exists()


def test_an_experiment_without_an_assignment_is_written_as_it_was(data: Data) -> None:
    text = experiment_toml(experiment(Path()))
    assert "precision" not in text
