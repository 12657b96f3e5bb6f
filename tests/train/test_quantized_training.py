"""Experiments whose tensors are rounded by role: from TOML to a run that resumes in the same bits."""

import tomllib
import warnings
from pathlib import Path

import pytest
import torch
from test_loop import StopAfter, experiment, final_bits

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.report import read_run
from slipstick.train import Data, Interrupted, load_comparison, load_data, load_experiment, run_folder, run_label, train
from slipstick.train.checkpoint_files import newest_index, write_index
from slipstick.train.checkpoints import load_checkpoint
from slipstick.train.config import Experiment
from slipstick.train.experiment_files import experiment_toml
from slipstick.train.loop import Run
from slipstick.train.optimizers import build_optimizer, set_learning_rate

MADAM = {"name": "madam", "lr": 2**-7, "additive": {"lr": 0.01, "momentum": 0.9}}
SGD = {"name": "sgd", "lr": 0.02}
RUNS = {
    "lns-madam2021": MADAM,
    "wage": {"name": "sgd", "lr": 2**-4, "momentum": 0.0},
    "luq2021": SGD,
    "miyashita2016": {"name": "adam", "lr": 0.001},
}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


@pytest.mark.parametrize("recipe", RUNS)
def test_an_interrupted_and_resumed_run_ends_in_the_same_bits(tmp_path: Path, data: Data, recipe: str) -> None:
    fields = {"quantize": recipe, "optimizer": RUNS[recipe]}
    whole, broken = (experiment(tmp_path / name, **fields) for name in ("whole", "broken"))
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(3))
    torch.manual_seed(0)
    result = train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))
    assert (result.status, result.steps) == ("finished", 8)


@pytest.mark.parametrize("recipe", ["miyashita2016-inference", "linear2016-inference"])
def test_calibrated_ranges_are_those_of_the_first_training_images(tmp_path: Path, data: Data, recipe: str) -> None:
    chosen = experiment(tmp_path, quantize=recipe, epochs=1)
    run = Run(chosen, data)
    ranges = {n: t.clone() for n, t in run.model.state_dict().items() if n.endswith("activation.maximum")}
    assert ranges
    assert all(bool(t > 0) for t in ranges.values())
    train(chosen, data, quiet=True)
    load_checkpoint(run_folder(chosen), run.model, run.optimizer, run.quantization)
    assert all(torch.equal(run.model.state_dict()[n], t) for n, t in ranges.items())


def test_stored_weights_end_on_their_grid(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, quantize="lns-madam2021", optimizer=MADAM)
    run = Run(chosen, data)
    train(chosen, data, quiet=True)
    load_checkpoint(run_folder(chosen), run.model, run.optimizer, run.quantization)
    run.model.train()(torch.zeros(2, data.channels, *data.size))  # raises where a weight is off its grid
    table = str(run.quantization)
    assert "no master copy" in table
    assert table.count("MultiBaseLNS(16,2048)") == 4


def test_madam_trains_without_a_recipe_too(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, optimizer=MADAM, epochs=1)
    assert train(chosen, data, quiet=True).status == "finished"
    assert run_folder(chosen).name == "fp32--madam"


def test_the_optimisers_options_arrive() -> None:
    given = {**MADAM, "beta2": 0.99, "g_bound": 3.0, "round_gradient": False, "bias_correction": False, "p_scale": 0.0}
    weight, bias = (torch.nn.Parameter(torch.ones(size)) for size in ((2, 2), (2,)))
    optimizer = build_optimizer(Experiment(name="a", optimizer=given), [("weight", weight), ("bias", bias)])
    madam, sgd = optimizer.param_groups
    assert isinstance(optimizer, ss.optim.Madam)
    assert {key: madam[key] for key in ("lr", "beta2", "g_bound", "p_scale", "weight_decay", "base")} == {
        "lr": 2**-7, "beta2": 0.99, "g_bound": 3.0, "p_scale": None, "weight_decay": None, "base": None,
    }  # fmt: skip
    assert (madam["round_gradient"], madam["bias_correction"]) == (False, False)
    assert (sgd["rule"], sgd["momentum"], sgd["param_names"]) == ("sgd", 0.9, ["bias"])
    set_learning_rate(optimizer, 2**-8)
    assert (madam["lr"], sgd["lr"]) == (2**-8, 0.005)


def test_parameters_that_madam_cannot_move_are_named(data: Data) -> None:
    with pytest.warns(UserWarning, match=r"so no factor moves them: 1\.bias, 4\.bias, 8\.bias; give biases"):
        Run(experiment(Path(), optimizer={"name": "madam"}), data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Run(experiment(Path(), optimizer=MADAM, quantize="lns-madam2021"), data)


def test_a_run_starts_from_the_same_weights_as_fp32(data: Data) -> None:
    plain, rounded = Run(experiment(Path()), data), Run(experiment(Path(), quantize="fp8"), data)
    ss.dequantize(rounded.model)
    pairs = zip(plain.model.parameters(), rounded.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_infinite_gradients_are_a_diverged_run(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, quantize="fp8", optimizer={"name": "sgd", "lr": 1e30})
    result = train(chosen, data, quiet=True)
    assert result.status == "diverged"
    assert "\n" not in result.message


def test_another_recipe_of_the_same_name_is_not_resumed(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, quantize="fp8")
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(1))
    index = newest_index(run_folder(chosen))
    index["execution"]["recipe"]["weight"]["format"] = "E5M2"
    write_index(run_folder(chosen) / "checkpoint-00001.json", index)
    with pytest.raises(SpecificationError, match="this build's recipe 'fp8' is not what it was started with"):
        train(chosen, data, resume=True, quiet=True)


def test_a_checkpoint_without_a_recipe_is_as_it_was(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, epochs=1)
    train(chosen, data, quiet=True)
    index = newest_index(run_folder(chosen))
    assert "rounding_generators" not in index
    assert index["execution"] == {"compute": None, "update": None}


def test_inline_tables_change_a_recipe_and_name_the_run(tmp_path: Path) -> None:
    file = tmp_path / "bits.toml"
    file.write_text(
        """
        [model]
        name = "cnn"
        [[runs]]
        arithmetic = "fp32"
        [[runs]]
        quantize = "miyashita2016"
        [[runs]]
        quantize = {recipe = "miyashita2016", weight = {format = {bits = 4}}}
        [[runs]]
        quantize = {recipe = "miyashita2016", name = "3 bits", weight = {format = {bits = 3}}}
        label = "three bits"
        [[runs]]
        quantize = "lns-madam2021"
        optimizer = {name = "madam", additive = {lr = 0.01}}
        """
    )
    runs = load_comparison(file).runs
    assert [run.recipe.weight.format.bits if run.recipe else None for run in runs] == [None, 5, 4, 3, 8]
    assert [run.optimizer.name for run in runs] == ["sgd"] * 4 + ["madam"]
    labels, folders = [run_label(run) for run in runs], [run_folder(run).name for run in runs]
    assert labels[:2] + labels[3:] == ["fp32", "miyashita2016", "three bits", "lns-madam2021, madam"]
    assert labels[2].startswith("miyashita2016 ")
    assert folders[:2] + folders[4:] == ["fp32", "miyashita2016", "lns-madam2021--madam"]
    assert folders[3].startswith("3-bits-")
    assert len(set(folders)) == 5
    for run in runs:
        assert Experiment.model_validate(tomllib.loads(experiment_toml(run))) == run


def test_a_file_of_one_quantised_run_is_also_a_comparison(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text('quantize = "fp8"\n[model]\nname = "cnn"\n')
    assert load_experiment(file).recipe == ss.recipe("fp8")
    assert [run_label(run) for run in load_comparison(file).runs] == ["fp8"]
    assert [run_label(run) for run in load_comparison(file, arithmetics=["fp32"]).runs] == ["fp32"]
    overridden = load_experiment(file, ["quantize={recipe = 'fp8', seed = 3}"])
    assert overridden.recipe.seed == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('quantize = "fp7"', "trial.toml: quantize = 'fp7': recipe = 'fp7': choose one of fp8"),
        ("quantize = 8", "trial.toml: quantize = 8: must be"),
        ('quantize = {recipe = "fp8", wieght = 1}', "trial.toml: quantize: recipe: unknown key 'wieght'; did you mean"),
        ('quantize = {recipe = "fp8", weight = {format = "E9"}}', "quantize: recipe 'fp8': weight: format = 'E9'"),
        ('quantize = "fp8"\narithmetic = "LNS(5,5)"', "quantize rounds fp32 training; it does not go with arithmetic"),
        ("[optimizer]\nname = 'madam'\nadditive = {momentum = 0.9}", "optimizer.additive.lr: this key is missing"),
        ("[optimizer]\nname = 'madam'\nmomentum = 0.9", "optimizer.momentum: unknown key"),
        ('quantize = "fp8"\n[[runs]]\narithmetic = "fp32"', "lists several runs"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "trial.toml").write_text(text)
    with pytest.raises(SpecificationError) as error:
        load_experiment(tmp_path / "trial.toml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pattern_without_a_layer_is_an_error_before_anything_is_written(tmp_path: Path, data: Data) -> None:
    given = {"recipe": "fp8", "layers": [{"match": "features.*", "full_precision": True}]}
    with pytest.raises(SpecificationError, match=r"match = 'features\.\*' matches no layer; there are: 0, 3, 7, 12"):
        train(experiment(tmp_path, quantize=given), data, quiet=True)
    assert not list(tmp_path.iterdir())


def test_the_report_knows_the_bits(tmp_path: Path, data: Data) -> None:
    for recipe, bits in (("miyashita2016", 6), ("lns-madam2021", 8), ("luq2021", 4), ("wage", 8)):
        chosen = experiment(
            tmp_path, quantize=recipe, optimizer=RUNS[recipe], epochs=1, subset={"train": 10, "test": 5}
        )
        train(chosen, load_data(chosen), quiet=True)
        record = read_run(run_folder(chosen))
        assert record.width == bits
        assert not record.experiment.is_fp32
