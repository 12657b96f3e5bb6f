"""The command that a report gives makes its run again, to the last bit."""

import shlex
from pathlib import Path

import pytest
from synthetic_runs import make_run

from slipstick.cli import main
from slipstick.report import contents_of, read_runs, render_contents
from slipstick.report.commands import OUT, command_of, links_of, relative_paths
from slipstick.report.runs import RunRecord
from slipstick.train import train
from slipstick.train.config import Experiment

SMALL = {
    "subset": {"train": 40, "test": 20},
    "model": {"name": "mlp", "hidden": [8]},
    "batch": 10,
    "epochs": 2,
    "log_every": 2,
}


def what_it_gave(run: RunRecord) -> list[tuple[object, ...]]:
    return [(row.step, row.train_loss, row.test_loss, row.test_accuracy) for row in run.rows]


@pytest.mark.parametrize(
    "keys",
    [
        {"arithmetic": "LNS(5,5) hamad2025", "update": "LNS(5,7) exact", "seed": 3, "label": 'a "label", with $signs'},
        {"quantize": "miyashita2016", "threads": 1, "variant": "of five bits"},
        {"arithmetic": "fp32"},
    ],
    ids=["logarithms", "recipe", "float32"],
)
def test_the_command_makes_the_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    train(Experiment(**{"name": "trial", "out": "run s", **SMALL, **keys}), quiet=True)
    (run,) = read_runs(Path("run s"))
    program, *arguments = shlex.split(command_of(run))
    assert program == "slipstick"
    assert main(arguments) == 0, capsys.readouterr().err
    (again,) = read_runs(Path(OUT))
    assert what_it_gave(again) == what_it_gave(run)
    assert again.folder.relative_to(OUT) == run.folder.relative_to("run s")


def test_float32_is_repeated_with_its_threads_and_recorded_distances_with_their_option(tmp_path: Path) -> None:
    make_run(tmp_path / "fp32", 0.9, started="1")
    make_run(tmp_path / "mine", 0.9, arithmetic="LNS(5,5) exact", started="2")
    (tmp_path / "mine" / "distances.json").write_text("{}")
    commands = [command_of(run) for run in read_runs(tmp_path)]
    assert commands[0].endswith("experiment.toml --out reproduced --set threads=2")
    assert commands[1].endswith("experiment.toml --out reproduced --record-d")


def test_links_are_relative_to_the_page_and_lead_to_files(tmp_path: Path) -> None:
    make_run(tmp_path / "all runs" / "a#1", 0.9)
    (run,) = read_runs(tmp_path)
    links = dict(links_of(run, tmp_path / "pages"))
    assert list(links) == ["experiment.toml", "metrics.csv", "result.json", "environment.json"]
    assert links["metrics.csv"] == "../all%20runs/a%231/metrics.csv"
    assert links_of(run, None) == []
    text = render_contents(contents_of([run]), tmp_path)
    assert '<a href="all%20runs/a%231/metrics.csv">metrics.csv</a>' in text
    assert "slipstick train &#39;" in text


def test_paths_that_depend_on_the_directory_are_told(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9, data="../data/cifar10")
    make_run(tmp_path / "b", 0.9, data="uoft-cs/cifar10")
    first, second = read_runs(tmp_path)
    assert (relative_paths(first), relative_paths(second)) == (["../data/cifar10"], [])
    assert "The experiments name ../data/cifar10" in render_contents(contents_of([first]))
