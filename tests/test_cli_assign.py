"""``slipstick assign``: from nothing to the table, the fixed-point run and the cost; interrupted, it goes on."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from slipstick.cli import main
from slipstick.precision.assignment import Assignment
from slipstick.precision.probe import Probe
from slipstick.train import load_experiment
from slipstick.train.config import SGD, Cosine
from slipstick.train.interrupts import StopRequest

EXPERIMENTS = Path(__file__).parents[1] / "experiments"

TRIAL = """
data = "digits"
subset = {train = 60, test = 20}
batch = 10
epochs = 1
seed = 3
threads = 1
schedule = {kind = "cosine", eta_min = 0.001}
[model]
name = "cnn"
width = 0.25
[optimizer]
name = "sgd"
lr = 0.1
momentum = 0.0
"""

PROGRAM = """
import torch
from torch import nn
x = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, (x.sum(dim=1) > 0).long()), batch_size=6)
def build():
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)), loader
class Aside(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(5, 2), nn.Linear(5, 2)
    def forward(self, x):
        return self.used(x)
def aside():
    return Aside(), loader
def many():
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 20)), loader
def frozen():
    model, _ = build()
    model[0].weight.requires_grad_(False)
    return model, loader
"""

ASSIGN = ["assign", "trial.toml", "--samples", "6"]
RUN = Path("runs/trial")
PROBED = RUN / "fp32--probed"
ANSWER = RUN / "assignments/fixed-target-0.01-released"


class StopAtOnce(StopRequest):
    """As if Ctrl-C came in the first step."""

    @property
    def requested(self) -> int:
        return 2


def file_times() -> dict[Path, int]:
    """Of all that is computed; the report of the runs is written again, and a lock taken again."""
    files = (path for path in Path("runs").rglob("*") if path.is_file() and path.suffix != ".html")
    return {path: path.stat().st_mtime_ns for path in files if path.name != ".lock"}


def fixed_point_run() -> Path:
    (folder,) = RUN.glob("assigned-b-min-*")
    return folder


def outcome() -> tuple[str, dict[str, object]]:
    """The assignment, and how the training with it ended."""
    result = json.loads((fixed_point_run() / "result.json").read_text())
    del result["elapsed_seconds"]
    return (ANSWER / "assignment.json").read_text(), result


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_program", None)
    Path("trial.toml").write_text(TRIAL)
    Path("own_program.py").write_text(PROGRAM)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs as the whole command leaves them."""
    place = tmp_path_factory.mktemp("complete")
    (place / "trial.toml").write_text(TRIAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(ASSIGN) == 0
    return place / "runs"


@pytest.fixture
def done(complete: Path) -> None:
    shutil.copytree(complete, "runs")


def one_line(capsys: pytest.CaptureFixture[str], command: list[str]) -> str:
    """The error of a command that fails for a mistake of the user: one line, nothing on stdout."""
    capsys.readouterr()
    assert main(command) == 2
    captured = capsys.readouterr()
    line = captured.err.splitlines()[-1]
    assert line.startswith("slipstick: ")
    assert captured.out == ""
    return line.removeprefix("slipstick: ")


def test_one_command_goes_from_nothing_to_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ASSIGN) == 0
    captured = capsys.readouterr()
    stages = [line.partition(":")[0] for line in captured.err.splitlines() if not line.startswith(("fp32", "assigned"))]
    assert stages == ["probe", "assignment", "training", "cost"]
    rows = [line.split() for line in captured.out.splitlines() if line]
    assert rows[0][:2] == ["trial:", "B_min"]
    assert [row[0] for row in rows[2:6]] == ["0", "3", "7", "12"]
    designs = ["fp32", "assigned", "uniform 8", "uniform 16", "binarised", "ternary gradients"]
    assert [cost["design"] for cost in json.loads((ANSWER / "cost.json").read_text())] == designs
    assert [" ".join(row).startswith(name) for row, name in zip(rows[-6:], designs, strict=True)] == [True] * 6
    assert "C_R (10^6 bits)  C_C (10^9 full adders)  C_M (10^6 bits)" in captured.out
    assert {path.name for path in ANSWER.iterdir()} == {
        "assignment.json", "assignment.png", "cost.json", "question.json", "report.html",
    }  # fmt: skip
    found = Assignment.from_dict(json.loads((ANSWER / "assignment.json").read_text()))
    run = load_experiment(fixed_point_run() / "experiment.toml")
    assert run.assignment is not None
    assert [layer.weight for layer in run.assignment.layers] == [layer.weight for layer in found.layers]
    assert (run.optimizer.name, run.optimizer.lr, run.variant) == ("accumulator-sgd", 0.1, None)


def test_the_same_command_again_computes_nothing(done: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("slipstick.train.loop", "slipstick.assign.probe_training"):
        monkeypatch.delattr(f"{place}.load_data")
    before = file_times()
    assert main(ASSIGN) == 0
    assert main([*ASSIGN, "--no-train"]) == 0
    assert file_times() == before


def _stop_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipstick.train.loop.StopRequest", StopAtOnce)


def _interrupt(monkeypatch: pytest.MonkeyPatch, target: object, name: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target, name, interrupted)


@pytest.mark.parametrize("stage", ["probe", "noise gains", "assignment", "training"])
def test_interrupted_at_any_stage_the_same_command_goes_on(
    stage: str, complete: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if stage == "training":
        assert main([*ASSIGN, "--no-train"]) == 0
    with monkeypatch.context() as patch:
        if stage in ("probe", "training"):
            _stop_training(patch)
        elif stage == "noise gains":
            _interrupt(patch, Probe, "statistics")
        else:
            _interrupt(patch, sys.modules["slipstick.precision.figure"], "save_figure")
        assert main([*ASSIGN, "--train"]) == 130
    assert capsys.readouterr().err.endswith("; continue with: slipstick assign trial.toml --samples 6 --train\n")
    before = file_times()
    assert main(ASSIGN) == 0
    kept = {path for path, time in file_times().items() if before.get(path) == time}
    assert (PROBED / "metrics.csv" in kept) == (stage != "probe")
    assert (PROBED / "statistics.json" in kept) == (stage in ("assignment", "training"))
    assert (ANSWER / "question.json" in kept) == (stage == "training")
    resumed = outcome()
    shutil.rmtree("runs")
    shutil.copytree(complete, "runs")
    assert resumed == outcome()


def test_another_question_is_answered_from_the_same_statistics(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = file_times()
    assert main([*ASSIGN, "--no-train", "--target", "0.1", "--constants", "paper", "--smallest-lr", "0.001"]) == 0
    assert main([*ASSIGN, "--no-train", "--minimum-bits", "4"]) == 0
    assert "B_min 4, " in capsys.readouterr().out
    assert before.items() <= file_times().items()
    names = {path.name for path in ANSWER.parent.iterdir()}
    assert names == {"fixed-target-0.01-released", "fixed-target-0.1-paper-lr-0.001", "fixed-min-4-released"}
    released, paper = (
        Assignment.from_dict(json.loads((ANSWER.parent / name / "assignment.json").read_text()))
        for name in ("fixed-target-0.01-released", "fixed-target-0.1-paper-lr-0.001")
    )
    for few, many in zip(paper.layers, released.layers, strict=True):
        assert many.activation_gradient.range >= 4 * few.activation_gradient.range


def test_more_samples_are_measured_and_assigned_anew(done: None) -> None:
    before = file_times()
    assert main(["assign", "trial.toml", "--samples", "7", "--no-train"]) == 0
    changed = {path.name for path, time in file_times().items() if before.get(path) != time}
    assert changed == {"statistics.json", "assignment.json", "assignment.png", "cost.json", "question.json"}


def test_overwrite_begins_anew_and_ends_the_same(done: None) -> None:
    before, times = outcome(), file_times()
    assert main([*ASSIGN, "--overwrite"]) == 0
    assert outcome() == before
    assert not [path for path, time in file_times().items() if times.get(path) == time]


def test_logarithmic_formats_are_assigned_and_not_trained(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = file_times()
    assert main([*ASSIGN, "--format", "lns"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("trial: F_min ")
    assert "one format for all tensors: LNS(" in out
    lines = out.splitlines()
    (assigned,) = (line for line in lines if line.startswith("assigned "))
    assert assigned.split()[3] == ">"  # C_R (times less), then C_C: the part that is defined
    assert lines[-1].startswith(">: without sums of logarithms")
    assert before.items() <= file_times().items()
    assert main([*ASSIGN, "--format", "lns", "--explain", "0.weight"]) == 0
    assert "EFQN" in capsys.readouterr().out
    assert one_line(capsys, [*ASSIGN, "--format", "lns", "--train"]) == (
        "--train: only an experiment with weights in fixed point is trained as assigned, not format 'lns'"
    )


def test_a_mixed_assignment_is_trained_and_explained(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = file_times()
    command = [*ASSIGN, "--format", "mixed"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("trial: B_min ")
    assert "bits with (I,F) are of LNS(I,F)" in captured.out
    assert "training: the same as assigned, in " in captured.err
    assert before.items() <= file_times().items()
    answer = ANSWER.parent / "mixed-target-0.01-released"
    found = Assignment.from_dict(json.loads((answer / "assignment.json").read_text()))
    assert found.is_mixed
    new = {path.parent for path in set(file_times()) - set(before) if path.name == "experiment.toml"}
    (run,) = (load_experiment(folder / "experiment.toml") for folder in new)
    assert run.assignment is not None
    assert [layer.activation_gradient for layer in run.assignment.layers] == [
        layer.activation_gradient for layer in found.layers
    ]
    times = file_times()
    assert main(command) == 0
    assert file_times() == times
    capsys.readouterr()
    assert main([*command, "--explain", "7.activation_gradient", "--explain", "7.weight"]) == 0
    explained = capsys.readouterr().out
    assert "would take" in explained
    assert "weights stay in fixed point" in explained


def test_explanations_are_read_from_the_assignment(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(PROBED)
    before = file_times()
    assert main(["assign", "trial.toml", "--explain", "7.weight_gradient", "--explain", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("7.weight_gradient: ")
    assert "RQB" in lines[2]
    assert [line.partition(":")[0] for line in lines if line.startswith("12.")] == [
        f"12.{kind}" for kind in ("weight", "activation", "weight_gradient", "activation_gradient", "accumulator")
    ]
    assert file_times() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--explain", "12.wieght"], "12.wieght: layer 12 has no tensor 'wieght'; did you mean 12.weight?"),
        (["--explain", "7x.weight"], "7x: no layer of trial; there are 7, "),
        (
            ["--target", "0.5", "--explain", "12"],
            "runs/trial/assignments/fixed-target-0.5-released: holds no assignment (there is fixed-target-0.01-release",
        ),
        (
            ["--set", "model.width=0.5"],
            'runs/trial/fp32--probed: was started with model = {"name": "cnn", "width": 0.2',
        ),
        (["--set", "model.width=0.5", "--explain", "12"], "runs/trial/fp32--probed: was started with model = "),
        (["--every", "2"], "probe: was started with every = 1, not 2; change it back"),
        (["--target", "1e-14"], "target 1e-14: predicted mismatch is "),
        (["--target", "1e-14", "--format", "lns"], "target 1e-14: predicted mismatch is "),
        (["--target", "1e-14", "--format", "mixed"], "target 1e-14: predicted mismatch is "),
        (["--ignore", "0"], "probe: the saved state is not of these layers"),
    ],
)
def test_what_does_not_fit_what_is_on_disk_is_one_line(
    done: None, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    before = file_times()
    assert one_line(capsys, [*ASSIGN, *options]).startswith(message)
    assert file_times() == before


def test_an_assignment_of_another_model_is_not_taken_for_this_one(
    done: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(PROBED)
    for options in ([], ["--explain", "12"]):
        error = one_line(capsys, [*ASSIGN, "--set", "model.width=0.5", *options])
        assert error.startswith(f"{ANSWER}: holds the assignment of another model, ")
        assert error.endswith("use --overwrite, or another --out or name")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trial.toml --set epoch=3", "--set: epoch: unknown key; did you mean 'epochs'?"),
        ("none.toml", "none.toml: no such experiment file"),
        ("trial.toml --target 1.5", "target=1.5: a probability of mismatch must lie between 0 and 1"),
        ("trial.toml --minimum-bits 40", "minimum_bits=40: must be an integer from 1 to 24"),
        ("trial.toml --format lns --minimum-bits 20", "minimum_frac_bits=20: must be an integer from 0 to 16"),
        ("trial.toml --smallest-lr 0", "smallest_lr=0.0: must be a positive number"),
        ("trial.toml --constants theirs", "constants 'theirs': choose one of paper, released"),
        ("trial.toml --format float", "format 'float': choose one of fixed, lns, mixed"),
        ("trial.toml --format mixed --minimum-bits 25", "minimum_bits=25: must be an integer from 1 to 24"),
        (
            "trial.toml --format mixed --mismatch",
            "--mismatch: is measured of an experiment in fixed point, not of format 'mixed'; leave it out",
        ),
        ("trial.toml --samples 0", "probe: samples = 0 must be a positive integer"),
        ("trial.toml --draws 0", "probe: draws = 0 must be a positive integer"),
        ("trial.toml --epochs 3", "--epochs 3: is of programs; an experiment takes --set epochs=3"),
        ("trial.toml --explain 12", f"{ANSWER}: holds no assignment; assign first, without --explain"),
        ("own_program:build --set epochs=3", "--set epochs=3: is of experiments; own_program:build is a program"),
        (
            "own_program:build --mismatch",
            "--mismatch: is measured of an experiment in fixed point, not of a program; lea",
        ),
        (
            "own_program:build --train",
            "--train: only an experiment with weights in fixed point is trained as assigned, n",
        ),
        (
            "trial.toml --set optimizer.momentum=0.9 --set optimizer.weight_decay=1e-4",
            "trial: an assigned training is plain SGD, which the float32 one must be too, not 'sgd' as given; add "
            "--set optimizer.momentum=0 --set optimizer.weight_decay=0, or --no-train",
        ),
        (
            "trial.toml --set optimizer={name='adam',lr=0.01}",
            "trial: an assigned training is plain SGD, which the float32 one must be too, not 'adam' as given; add "
            "--set 'optimizer={name=\"sgd\", lr=0.01, momentum=0.0}', or --no-train",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    assert one_line(capsys, ["assign", *command.split()]).startswith(message)
    assert not Path("runs").exists()


def test_an_optimiser_with_momentum_is_assigned_without_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASSIGN, "--set", "optimizer.momentum=0.5", "--no-train"]) == 0
    assert "fp32               " in capsys.readouterr().out
    assert not list(RUN.glob("assigned-*"))


def test_a_program_is_assigned(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["assign", "own_program:build", "--epochs", "2", "--smallest-lr", "0.001", "--samples", "12"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("own_program:build: B_min ")
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == ["probe", "assignment", "cost"]
    answer = Path("runs/own_program-build/assignments/fixed-target-0.01-released-lr-0.001")
    found = Assignment.from_dict(json.loads((answer / "assignment.json").read_text()))
    assert [layer.name for layer in found.layers] == ["0", "2"]
    before = file_times()
    _interrupt(monkeypatch, Probe, "statistics")
    assert main(command) == 0
    assert file_times() == before
    error = one_line(capsys, ["assign", "own_program:build"])
    assert error.startswith("runs/own_program-build/probed: was trained for 2 epochs; give as many or more, or --over")
    assert main([*command, "--explain", "2.accumulator"]) == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("own_program:absent", "own_program:absent: cannot be imported (module 'own_program' has no attribute"),
        ("no_such_module:build", "no_such_module:build: cannot be imported (No module named 'no_such_module')"),
        ("own_program:aside", "probe: unused is never reached in the forward pass of Aside; remove it, or ignore it"),
        ("own_program:frozen", "probe: 0.weight: its gradient was zero at every snapshot; train it (requires_grad), "),
    ],
)
def test_a_program_that_cannot_be_assigned_is_one_line(
    capsys: pytest.CaptureFixture[str], target: str, message: str
) -> None:
    assert one_line(capsys, ["assign", target, "--samples", "6"]).startswith(message)


def test_a_layer_that_is_ignored_stays_in_float32(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assign", "own_program:aside", "--samples", "6", "--ignore", "unused"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].startswith("used ")
    assert rows[3].startswith("ranges are")


@pytest.mark.parametrize("name", ["sakr2019-resnet20-cifar10", "sakr2019-convnet-cifar10", "sakr2019-transformer"])
def test_the_papers_experiments_can_be_trained_as_assigned(name: str) -> None:
    experiment = load_experiment(EXPERIMENTS / f"{name}.toml")
    assert isinstance(experiment.optimizer, SGD)
    assert (experiment.optimizer.momentum, experiment.optimizer.weight_decay) == (0, 0)
    assert isinstance(experiment.schedule, Cosine)
    assert experiment.schedule.eta_min >= 0.001


def test_the_mismatch_is_measured_beside_the_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASSIGN, "--no-train", "--mismatch"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((ANSWER / "mismatch.json").read_text())
    assigned = json.loads((ANSWER / "assignment.json").read_text())["minimum_bits"]
    assert [row["minimum_bits"] for row in rows] == list(range(1, assigned + 3))
    predicted = [row["predicted"] for row in rows]
    assert predicted == sorted(predicted, reverse=True)
    assert all(0 <= row["measured"] <= 1 and row["measured"] * 20 % 1 < 1e-9 for row in rows)  # of 20 test images
    header = next(line for line in printed.splitlines() if line.startswith("B_min "))
    assert "predicted at most" in header
    fewest = min(row["minimum_bits"] for row in rows if row["measured"] <= 0.01)
    assert f"--minimum-bits {fewest} is the least with a measured mismatch of at most 0.01" in printed


TRANSFORMER = """
name = "text"
data = "python-docs"
subset = {train = 40, test = 8}
batch = 10
epochs = 1
threads = 1
schedule = {kind = "cosine", eta_min = 0.005}
[model]
name = "transformer"
width = 8
layers = 1
heads = 2
context = 8
[optimizer]
name = "sgd"
lr = 0.5
momentum = 0.0
"""


@pytest.mark.parametrize("format", ["fixed", "lns", "mixed"])
def test_a_transformer_is_assigned_in_every_format_and_trained_where_weights_are_integers(
    format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.toml").write_text(TRANSFORMER)
    assert main(["assign", "text.toml", "--samples", "4", "--format", format]) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    layers = ["embedding", "position", *(f"blocks.0.attention.{name}" for name in ("query", "key", "value"))]
    assert [row[0] for row in rows[2:7]] == layers
    assert [row[0] for row in rows[7:11]] == [
        "blocks.0.attention.projection", "blocks.0.expand", "blocks.0.contract", "head",
    ]  # fmt: skip
    runs = list(Path("runs/text").glob("assigned-*/result.json"))
    assert len(runs) == (format != "lns")
    assert all(json.loads(run.read_text())["status"] == "finished" for run in runs)


def test_a_range_that_clips_the_gradient_of_many_logits_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    warning = "warning: the gradient of 20 logits reaches 4.4 sigma, which the constants clip; use --constants released"
    command = ["assign", "own_program:many", "--samples", "12", "--target", "0.9"]
    assert main([*command, "--constants", "paper"]) == 0
    assert warning in capsys.readouterr().err
    assert main(command) == 0
    assert "warning" not in capsys.readouterr().err
