import json
import re
import tomllib
from pathlib import Path

import pytest

from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment, LayerAssignment, Precision
from slipstick.train import load_comparison, load_experiment, run_folder, run_label
from slipstick.train.config import VGG, Experiment
from slipstick.train.experiment_files import experiment_toml

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))
MINIMAL = 'arithmetic = "fp32"\n[model]\nname = "vgg11"\n'


def experiment_file(folder: Path, text: str = MINIMAL) -> Path:
    path = folder / "trial.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = -1", "trial.toml: epochs = -1: must be greater than or equal to 0"),
        ("epoch = 3", "trial.toml: epoch: unknown key; did you mean 'epochs'?"),
        ("[optimizer]\nname = 'sgd'\nrate = 1", "trial.toml: optimizer.rate: unknown key; known are name, lr"),
        ("[optimizer]\nname = 'lion'", "trial.toml: optimizer.name = 'lion': choose one of 'sgd', 'adam', 'adamw'"),
        ("[optimizer]\nlr = 0.1", "trial.toml: optimizer.name: this key is missing"),
        ("[optimizer]\nname = 'sgd'\nlr = inf", "trial.toml: optimizer.lr = inf: must be a finite number"),
        ("[optimizer]\nname = 'sgd'\nnesterov = true\nmomentum = 0", "optimizer: nesterov = true needs momentum > 0"),
        ("[model]\nname = 'cnn'\nhead = 'linear'", "trial.toml: model.head: unknown key; known are name, width"),
        ("model = 3", "trial.toml: model = 3: must be a table"),
        ("[schedule]\nkind = 'step'", "trial.toml: schedule.epochs: this key is missing"),
        ("arithmetic = 'LNS(99,5)'", "trial.toml: arithmetic = 'LNS(99,5)': LNS(int_bits=99)"),
        ("arithmetic = 'LNS(5,5) nosuch'", "add='nosuch': no such adder; choose one of exact"),
        ("arithmetic = {format = 'LNS(5,5)', speed = 1}", "unknown key 'speed'; known are"),
        ("update = 'LNS(5,9) exact'", "does not go with arithmetic = 'fp32'; drop it"),
        ("name = '../elsewhere'", "trial.toml: name = '../elsewhere': String should match pattern"),
        ("epochs = 'many'", "trial.toml: epochs = 'many': must be a valid integer"),
        ("epochs = 'many'\nbatch = 1", "(and 1 more)"),
        ("epochs = ", "trial.toml: not valid TOML: Invalid value (at end of document)"),
        ("arithmetics = ['fp32']", "lists several runs; start it with 'slipstick compare"),
    ],
)
def test_a_mistake_is_one_line_naming_file_key_and_way_out(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        load_experiment(experiment_file(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=r"none\.toml: no such experiment file"):
        load_experiment(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "--set 'epochs': write key=value"),
        ("epochs=-1", "--set: epochs = -1: must be greater than or equal to 0"),
        ("model.depth=3", "--set: model.depth: unknown key"),
        ("model.name.first=3", "--set 'model.name.first=3': 'name' is a single value, not a table"),
    ],
)
def test_a_bad_override_is_named_as_such(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        load_experiment(experiment_file(tmp_path), [override])
    assert message in str(error.value)


def test_overrides_set_dotted_keys_and_bare_words(tmp_path: Path) -> None:
    overrides = ["epochs=3", "optimizer.name=adam", "optimizer.lr=2e-3", "data=some/folder", "model.width=0.5"]
    experiment = load_experiment(experiment_file(tmp_path), overrides, out=tmp_path / "elsewhere")
    assert (experiment.epochs, experiment.optimizer.lr, experiment.data) == (3, 2e-3, "some/folder")
    assert isinstance(experiment.model, VGG)
    assert experiment.model.width == 0.5
    assert run_folder(experiment) == tmp_path / "elsewhere" / "trial" / "fp32"


def test_the_resolved_toml_reads_back_as_the_same_experiment() -> None:
    table = {"format": {"int_bits": 5, "frac_bits": 5}, "add": {"kind": "exact"}, "order": "Blocked(64)"}
    experiment = Experiment(name="a", label='a "quoted" \\ name', arithmetic=table, update="LNS(5,9) exact")
    assert Experiment.model_validate(tomllib.loads(experiment_toml(experiment))) == experiment


def test_the_demonstration_has_four_runs_that_differ_in_arithmetic_only() -> None:
    runs = load_comparison().runs
    assert [run_label(run) for run in runs] == [
        "fp32",
        "LNS(5,5) hamad2025",
        "LNS(4,10) sanyal2019-lut",
        "LNS(4,10) sanyal2019-bitshift",
    ]
    assert len({run.model_copy(update={"arithmetic": "fp32"}).model_dump_json() for run in runs}) == 1


def test_arithmetics_given_replace_those_of_the_file() -> None:
    comparison = load_comparison(arithmetics=["fp32", "LNS(5,5) exact Blocked(64)"])
    assert [run_folder(run).name for run in comparison.runs] == ["fp32", "lns-5-5-exact-blocked-64"]


def test_what_arithmetics_given_would_replace_is_refused() -> None:
    with pytest.raises(SpecificationError, match="--set update: --arithmetic replaces it"):
        load_comparison(None, ['update="LNS(5,9) exact"'], ["LNS(5,3) designed"])


def test_runs_have_their_own_update_and_folder(tmp_path: Path) -> None:
    text = """
    [[runs]]
    arithmetic = "LNS(5,5) exact"
    [[runs]]
    arithmetic = "LNS(5,5) exact"
    update = "LNS(5,9) exact"
    label = "wider update"
    """
    first, second = load_comparison(experiment_file(tmp_path, text)).runs
    assert run_folder(first).name == "lns-5-5-exact"
    assert run_folder(second).name == "lns-5-5-exact--update-lns-5-9-exact"
    assert (run_label(first), run_label(second)) == ("LNS(5,5) exact", "wider update")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arithmetics = ['fp32', 'fp32']", "the run 'fp32' is listed twice"),
        ("arithmetics = ['fp32']\n[[runs]]\narithmetic = 'fp32'", "has both 'runs' and 'arithmetics'"),
        ("arithmetic = 'fp32'\narithmetics = ['fp32']", "lists its runs"),
        ("arithmetics = []", "'runs' must be a list of tables"),
        ("arithmetics = [3]", "runs[0]: arithmetic = 3"),
        ("[[runs]]\nupdate = 'fp32'", "runs[0]: arithmetic: this key is missing"),
        (
            "[[runs]]\narithmetic = 'fp32'\nseed = 3",
            "runs[0]: seed: unknown key; known are arithmetic, update, override, label",
        ),
    ],
)
def test_a_mistake_in_the_runs_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        load_comparison(experiment_file(tmp_path, text))
    assert message in str(error.value)


def test_adders_given_as_numbers_have_folders_of_their_own() -> None:
    def run(offset: int) -> Experiment:
        segments = {"bound": [64], "exponent": [-1], "offset": [offset]}
        adder = {"kind": "piecewise-linear", "frac_bits": 5, "plus": segments, "minus": segments}
        return Experiment(name="a", arithmetic={"format": "LNS(5,5)", "add": adder})

    assert run_folder(run(32)) == run_folder(run(32))
    assert run_folder(run(32)) != run_folder(run(31))


EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))


@pytest.mark.parametrize("path", [p for p in EXPERIMENTS if not p.name.startswith("sweep-")], ids=lambda p: p.name)
def test_every_experiment_of_the_project_is_valid(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for bits, given in enumerate(sorted(set(re.findall(r'"(\S*assignment\.json)"', path.read_text()))), start=10):
        Path(given).parent.mkdir(parents=True)  # as an earlier command makes it
        layer = LayerAssignment("0", *(Precision(bits, 1.0),) * 4, Precision(bits, 2.0**-bits))
        Path(given).write_text(json.dumps(Assignment("any", (layer,), 4, 0.009, 0.01).to_dict()))
    comparison = load_comparison(path)
    assert comparison.name == path.stem
