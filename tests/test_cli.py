import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import slipstick
from slipstick.cli import main

FAST = """
subset = {train = 40, test = 20}
batch = 10
epochs = 2
log_every = 2
[model]
name = "mlp"
hidden = [8]
"""


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("trial.toml").write_text(FAST)
    return "trial.toml"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train none.toml", "slipstick: none.toml: no such experiment file"),
        ("train trial.toml --set epoch=3", "slipstick: --set: epoch: unknown key; did you mean 'epochs'?"),
        ("train trial.toml --set data=./nothing", "slipstick: data './nothing': no such folder"),
        ("train trial.toml --set arithmetic=LNS(5,5)fast", "slipstick: --set: arithmetic = 'LNS(5,5)fast': "),
        ("train trial.toml --set model={name='vgg11'}", "slipstick: model vgg11: images of 8x8; it needs 32x32"),
        ("train trial.toml --out trial.toml", "slipstick: trial.toml/trial/fp32: cannot be written: "),
        ("design-exp --frac-bits 15", "slipstick: exponential_target(frac_bits=15): must be"),
        ("design-exp --frac-bits 3 --segments 999", "slipstick: designed_exponential(segments=999): must be"),
        ("design-exp --frac-bits 3 --out no/exp.json", "slipstick: no/exp.json: its folder does not exist"),
        ("compare --arithmetic LNS(99,5)", "slipstick: --arithmetic: arithmetic = 'LNS(99,5)'"),
        ("compare --set subset.train=9999", "slipstick: subset.train = 9999: the data has 1352 images"),
        ("report none", "slipstick: none: no such folder of runs"),
    ],
)
def test_a_mistake_is_one_line_and_status_2_and_writes_nothing(
    experiment: str, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert os.listdir() == ["trial.toml"]


@pytest.mark.parametrize("command", [["nosuch"], ["train"], ["train", "a.toml", "--fast"]])
def test_a_command_that_does_not_parse_has_status_2(command: list[str]) -> None:
    assert main(command) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"slipstick {slipstick.__version__}\n"


def test_train_prints_the_run_and_refuses_to_replace_it(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", experiment]) == 0
    assert "run folder: runs/trial/fp32" in capsys.readouterr().out
    assert main(["train", experiment]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", experiment, "--resume"]) == 0
    assert main(["train", experiment, "--overwrite", "--set", "epochs=1"]) == 0


def test_a_diverged_run_has_status_1(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", experiment, "--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e30"]) == 1
    assert "the loss became" in capsys.readouterr().err


def test_compare_prints_a_table_and_writes_the_report(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", experiment, "--arithmetic", "fp32", "--arithmetic", "LNS(5,5) hamad2025"]) == 0
    out = capsys.readouterr().out
    assert "LNS(5,5) hamad2025" in out
    assert f"report: {Path('runs/trial/report.html').resolve()}" in out.splitlines()
    assert main(["report", "runs/trial"]) == 0


def test_design_exp_writes_a_table_that_an_arithmetic_takes(
    experiment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["design-exp", "--frac-bits", "3", "--segments", "6", "--out", "exp.json"]) == 0
    printed = capsys.readouterr().out
    assert "correctly rounded" in printed
    assert 'exp=exp.json"' in printed
    assert main(["train", experiment, "--set", "epochs=1", "--set", "arithmetic=LNS(5,3) exact exp=exp.json"]) == 0


def test_doctor_names_versions_and_adders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert slipstick.__version__ in out
    assert "hamad2025" in out


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_checkpoints_and_says_how_to_go_on(experiment: str, number: int) -> None:
    command = ["train", experiment, "--set", "epochs=100000", "--overwrite"]
    process = subprocess.Popen([sys.executable, "-m", "slipstick.cli", *command], stderr=subprocess.PIPE, text=True)
    folder = Path("runs/trial/fp32")
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoint-*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last = err.splitlines()[-1]
    assert last.startswith("slipstick: runs/trial/fp32: stopped after step ")
    assert last.endswith("continue with: slipstick train trial.toml --set epochs=100000 --resume")
    assert not list(Path("runs/trial/fp32").glob("*.part"))


def test_importing_slipstick_loads_none_of_it() -> None:
    heavy = (
        "slipstick.train",
        "slipstick.report",
        "slipstick.watch",
        "slipstick.cli",
        "typer",
        "rich",
        "pydantic",
        "matplotlib",
        "datasets",
    )
    code = f"import sys, slipstick; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
