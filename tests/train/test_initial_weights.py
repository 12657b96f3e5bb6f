"""Runs that start from the weights of others, and runs that only evaluate them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from test_loop import StopAfter, experiment, final_bits

import slipstick as ss
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.report import operators_table, read_run, render_report, runs_table
from slipstick.train import Data, Interrupted, compare, load_comparison, load_data, load_experiment, run_folder, train
from slipstick.train.checkpoint_files import newest_index, write_index
from slipstick.train.checkpoints import read_model_state
from slipstick.train.config import Comparison, Experiment
from slipstick.train.experiment_files import experiment_toml
from slipstick.train.initial_weights import load_initial_weights, without_quantisers
from slipstick.train.loop import Run
from slipstick.train.metrics import read_metrics
from slipstick.train.optimizers import learning_rate
from slipstick.train.run_folder import read_experiment, read_result

ADAM = {"name": "adam", "lr": 0.001}
MADAM = {"name": "madam", "lr": 2**-7, "additive": {"lr": 0.01}}
SOURCES = {
    "fp32": {},
    "arithmetic": {"arithmetic": "LNS(5,4) exact", "update": "LNS(5,8) exact"},
    "master copy": {"quantize": "miyashita2016", "optimizer": ADAM},
    "stored weights": {"quantize": "lns-madam2021", "optimizer": MADAM},
}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Experiment:
    """An fp32 run of one epoch; its folder is only read."""
    source = experiment(tmp_path_factory.mktemp("source"), epochs=1)
    train(source, data, quiet=True)
    return source


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    tensors, is_quantised = read_model_state(folder)
    return without_quantisers(tensors) if is_quantised else tensors


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_an_evaluation_gives_what_the_trained_run_ended_with(tmp_path: Path, data: Data, trained: Experiment) -> None:
    chosen = experiment(tmp_path, epochs=0, weights=str(run_folder(trained)))
    result, before = train(chosen, data, quiet=True), read_result(run_folder(trained))
    assert before is not None
    assert (result.status, result.epochs, result.steps) == ("finished", 0, 0)
    assert (result.test_loss, result.accuracy) == (before.test_loss, before.accuracy)
    assert (result.best_accuracy, result.median_last_accuracy) == (before.accuracy, before.accuracy)
    (row,) = read_metrics(run_folder(chosen))
    assert (row.kind, row.epoch, row.step, row.test_loss) == ("epoch", 0, 0, before.test_loss)
    assert (row.lr, row.train_loss, row.train_accuracy, row.step_seconds) == (None, None, None, None)
    assert equal(state_of(run_folder(chosen)), state_of(run_folder(trained)))


@pytest.mark.parametrize("source", SOURCES)
def test_weights_come_from_any_kind_of_run(tmp_path: Path, data: Data, source: str) -> None:
    given = experiment(tmp_path, epochs=1, **SOURCES[source])
    train(given, data, quiet=True)
    model = Run(experiment(tmp_path, weights=str(run_folder(given))), data).model
    resumed = Run(given, data)
    resumed._restore(run_folder(given))
    plain = ss.dequantize(resumed.model) if resumed.quantization is not None else resumed.model
    assert equal(model.state_dict(), plain.state_dict())


def test_a_recipe_is_calibrated_on_the_weights_given(data: Data, trained: Experiment) -> None:
    fields = {"quantize": "miyashita2016-inference"}
    weights, fresh = (
        Run(experiment(Path(), **fields, **more), data).model.state_dict()
        for more in ({"weights": str(run_folder(trained))}, {})
    )
    source = state_of(run_folder(trained))
    ranges = [name for name in weights if name.endswith("parametrizations.weight.0.maximum")]
    assert len(ranges) == 4
    for name in ranges:
        layer = name.removesuffix(".parametrizations.weight.0.maximum")
        assert weights[name] == source[f"{layer}.weight"].abs().max()
    inputs = [name for name in weights if name.endswith("activation.maximum")]
    assert inputs
    assert any(weights[name] != fresh[name] for name in inputs)


def test_an_arithmetic_starts_from_the_weights_on_its_grid(data: Data, trained: Experiment) -> None:
    chosen = experiment(Path(), arithmetic="LNS(5,5) hamad2025", weights=str(run_folder(trained)))
    format = ss.LNS(5, 5)
    source = state_of(run_folder(trained))
    for name, tensor in Run(chosen, data).model.named_parameters():
        assert torch.equal(tensor, format.decode(format.encode(source[name])))


def test_the_optimiser_starts_anew(data: Data, trained: Experiment) -> None:
    run = Run(experiment(Path(), weights=str(run_folder(trained))), data)
    assert not run.optimizer.state
    assert run.position.epoch == 0


@pytest.mark.parametrize("recipe", [None, "linear2016-inference"])
def test_resuming_needs_no_weights_and_ends_in_the_same_bits(
    tmp_path: Path, data: Data, trained: Experiment, recipe: str | None
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(run_folder(trained), weights)
    fields = {"weights": str(weights), "quantize": recipe}
    whole, broken = (experiment(tmp_path / name, **fields) for name in ("whole", "broken"))
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(3))
    shutil.rmtree(weights)
    torch.manual_seed(0)
    assert train(broken, data, resume=True, quiet=True).steps == 8
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))
    with pytest.raises(SpecificationError, match="no such folder; train that run first"):
        train(broken, data, overwrite=True, quiet=True)


def test_a_run_is_not_resumed_from_other_weights(tmp_path: Path, data: Data, trained: Experiment) -> None:
    first, moved, other = tmp_path / "first", tmp_path / "moved", experiment(tmp_path, epochs=1, seed=8)
    shutil.copytree(run_folder(trained), first)
    chosen = experiment(tmp_path / "out", epochs=0, weights=str(first))
    result = train(chosen, data, quiet=True)
    first.rename(moved)
    elsewhere = experiment(tmp_path / "out", epochs=0, weights=str(moved))
    assert train(elsewhere, data, resume=True, quiet=True) == result
    nowhere = experiment(tmp_path / "out", epochs=0, weights=str(tmp_path / "nowhere"))
    with pytest.raises(SpecificationError, match="was started with weights = "):
        train(nowhere, data, resume=True, quiet=True)
    train(other, data, quiet=True)
    shutil.copytree(run_folder(other), first)
    with pytest.raises(SpecificationError, match=r"was started from other weights than .*/first holds now; use --over"):
        train(chosen, data, resume=True, quiet=True)
    with pytest.raises(SpecificationError, match=r'was started with weights = ".*", not default'):
        train(experiment(tmp_path / "out", epochs=0), data, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "cnn", "width": 0.5}, r"its tensor '0\.weight' has the shape \(4, 1, 3, 3\), not \(8, 1, 3, 3\)"),
        ({"name": "mlp", "hidden": [8]}, r"its tensor '1\.weight' has the shape \(4,\), not \(8, 64\)"),
        ({"name": "resnet20", "width": 0.25}, r"has no tensor 'conv\.weight', which this network has; use the model"),
    ],
)
def test_another_network_is_one_line(
    tmp_path: Path, data: Data, trained: Experiment, model: dict[str, object], message: str
) -> None:
    chosen = experiment(tmp_path, model=model, weights=str(run_folder(trained)))
    with pytest.raises(SpecificationError, match=message) as error:
        train(chosen, data, quiet=True)
    assert str(run_folder(trained)) in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_tensor_that_the_network_has_not_is_named(trained: Experiment) -> None:
    with pytest.raises(SpecificationError, match=r"has a tensor '0\.bias', which this network has not"):
        load_initial_weights(torch.nn.Sequential(), str(run_folder(trained)))


def test_a_folder_that_holds_no_run_is_one_line(tmp_path: Path, data: Data, trained: Experiment) -> None:
    runs = run_folder(trained).parent
    for weights, message in (
        (tmp_path / "none", "none: no such folder; train that run first, or give another"),
        (runs, "holds no checkpoint; give the folder of one trained run"),
        (tmp_path / "out" / "trial" / "fp32", "is the folder of this run itself"),
    ):
        with pytest.raises(SpecificationError, match=message) as error:
            train(experiment(tmp_path / "out", weights=str(weights)), data, quiet=True)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["tensors", "index", "version"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, data: Data, trained: Experiment, damage: str) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(run_folder(trained), weights)
    for index in weights.glob("checkpoint-*.json"):
        tensors = index.with_suffix(".safetensors")
        match damage:
            case "tensors":
                tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
            case "index":
                index.write_text("{}")
            case "version":
                write_index(index, {"version": 9})
    with pytest.raises(SpecificationError, match=r"weights = .*: its checkpoint cannot be read \(") as error:
        train(experiment(tmp_path, weights=str(weights)), data, quiet=True)
    assert "\n" not in str(error.value)


def test_missing_weights_of_a_later_run_stop_a_comparison_before_it_starts(tmp_path: Path) -> None:
    runs = (
        experiment(tmp_path, epochs=0),
        experiment(tmp_path, epochs=0, arithmetic="LNS(5,5)", weights="nowhere"),
    )
    with pytest.raises(SpecificationError, match="nowhere: no such folder"):
        compare(Comparison(name="trial", out=str(tmp_path), runs=runs), quiet=True)
    assert not list(tmp_path.iterdir())


def test_weights_are_a_key_of_files_rows_and_overrides(
    tmp_path: Path, data: Data, trained: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_folder(trained).parents[1])
    relative, absolute = "trial/fp32", str(run_folder(trained).resolve())
    file = tmp_path / "trial.toml"
    file.write_text(f'weights = "{relative}"\nepochs = 0\n')
    chosen = load_experiment(file)
    assert chosen.weights == absolute
    assert f'weights = "{absolute}"' in experiment_toml(chosen)
    file.write_text("epochs = 0\n")
    assert load_experiment(file).weights is None
    assert "weights" not in experiment_toml(load_experiment(file))
    assert load_experiment(file, [f"weights={relative}"]).weights == absolute
    file.write_text(f'[[runs]]\narithmetic = "fp32"\n[[runs]]\nquantize = "fp8"\nweights = "{relative}"\n')
    assert [run.weights for run in load_comparison(file).runs] == [None, absolute]
    file.write_text('weights = ""\n')
    with pytest.raises(SpecificationError, match="weights = '': String should have at least 1 character"):
        load_experiment(file)


@pytest.mark.parametrize("schedule", [{"kind": "cosine"}, {"kind": "cosine", "per": "epoch"}, {"kind": "constant"}])
def test_no_epochs_evaluate_the_initial_network(tmp_path: Path, data: Data, schedule: dict[str, str]) -> None:
    chosen = experiment(tmp_path, epochs=0, schedule=schedule)
    result = train(chosen, data, quiet=True)
    assert (result.test_loss, result.accuracy) == Run(chosen, data).evaluate()
    assert learning_rate(chosen, 0, 4) == chosen.optimizer.lr


def test_a_broken_evaluation_starts_again(tmp_path: Path, data: Data, trained: Experiment) -> None:
    chosen = experiment(tmp_path, epochs=0, weights=str(run_folder(trained)), quantize="miyashita2016-inference")
    result = train(chosen, data, quiet=True)
    (run_folder(chosen) / "result.json").unlink()
    again = train(chosen, data, resume=True, quiet=True)
    assert (again.test_loss, again.accuracy, again.epochs) == (result.test_loss, result.accuracy, 0)
    assert len(read_metrics(run_folder(chosen))) == 1


def test_a_nan_in_an_evaluation_is_a_result(tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NonFiniteError("log: NaN")

    monkeypatch.setattr(Run, "evaluate", fail)
    result = train(experiment(tmp_path, epochs=0), data, quiet=True)
    assert (result.status, result.message, result.accuracy) == ("diverged", "log: NaN (evaluation)", None)


def test_evaluations_are_compared_and_reported(
    tmp_path: Path, data: Data, trained: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"epochs": 0, "weights": str(run_folder(trained))}
    choices = ({}, {"quantize": "linear2016-inference"}, {"arithmetic": "LNS(5,5) hamad2025"})
    runs = tuple(experiment(tmp_path, **fields, **choice) for choice in choices)
    results = compare(Comparison(name="trial", out=str(tmp_path), runs=runs))
    assert [result.status for result in results] == ["finished"] * 3
    assert capsys.readouterr().err.count("not trained  test loss") == 3
    records = [read_run(run_folder(run)) for run in runs]
    assert runs_table(records).row_count == 3
    assert operators_table(records).row_count == 0
    text = render_report(records)
    assert "One network evaluated 3 times: the same weights" in text
    assert "no training, only evaluation" in text
    assert str(run_folder(trained)) in text
    assert "Curves" not in text
    mixed = render_report([read_run(run_folder(trained)), *records])
    assert "differ in the arithmetic and in weights, epochs" in mixed
    assert "Curves" in mixed


def test_the_run_folder_says_what_it_started_from(tmp_path: Path, data: Data, trained: Experiment) -> None:
    chosen = experiment(tmp_path, epochs=0, weights=str(run_folder(trained)))
    train(chosen, data, quiet=True)
    record = json.loads((run_folder(chosen) / "initial_weights.json").read_text())
    source = newest_index(run_folder(trained))
    assert record == {"folder": chosen.weights, "tensors_sha256": source["tensors_sha256"]}
    assert read_experiment(run_folder(chosen)) == chosen
    assert not (run_folder(trained) / "initial_weights.json").exists()
