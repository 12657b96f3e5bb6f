"""``slipstick hardware`` from a TOML file to a folder, and what it says where it cannot."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick.cli import main

STUDY = """
clock_ns = 2.0
cycles = 64
vectors = 1000
[sweep]
targets = [0.6]
adders = ["brent-kung"]
covers = ["area"]
full_adders = ["gates"]
multipliers = ["booth"]
[[units]]
kind = "fixed"
bits = 3
accumulator_bits = 8
label = "linear"
[[units]]
kind = "log"
arithmetic = "LNS(2,1) exact"
label = "logarithms"
[[networks]]
name = "a perceptron"
model = {name = "mlp", hidden = [4]}
image = [1, 8, 8]
batch = 2
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(STUDY)
    return tmp_path


@pytest.mark.usefixtures("nangate")
def test_a_study_becomes_a_folder(here, capsys):
    assert main(["hardware", "small.toml", "--cache", "kept"]) == 0
    out, err = capsys.readouterr()
    assert "against linear" in out
    assert "a perceptron: a training step of 2" in out
    assert "D+ rms" in out
    assert "folder: runs/small" in out
    assert "logarithms: proof" in err
    folder = here / "runs" / "small"
    assert {path.name for path in folder.iterdir()} == {"plots", "report.html", "results.json", "study.json", "units"}
    assert "logarithms" in (folder / "report.html").read_text()
    assert list((folder / "plots").glob("*.svg"))
    assert main(["hardware", "small.toml", "--cache", "kept"]) == 0  # again, from what is there
    assert capsys.readouterr().out == out


@pytest.mark.usefixtures("nangate")
def test_a_unit_that_differs_ends_with_an_error(here, capsys, monkeypatch):
    step = "slipstick.hardware.candidates.fixed_step"
    monkeypatch.setattr(step, lambda mac, a, b, acc: acc)
    assert main(["hardware", "small.toml", "--cache", "kept"]) == 1
    out, err = capsys.readouterr()
    assert "FAILED: fixed_mac_3x3_8_wrap = software, random" in out
    assert "slipstick: linear: fixed_mac_3x3_8_wrap = software, random:" in err
    assert "differ, first row" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.toml"], "nothing.toml: no such experiment file"),
        (["small.toml", "--set", "library=nobody"], "nobody"),
        (["small.toml", "--set", "clock_ns=-1"], "--set: clock_ns = -1: must be greater than 0"),
    ],
)
def test_mistakes_are_one_line(here, capsys, arguments, message):
    assert main(["hardware", *arguments]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("slipstick: ")
    assert message in err


def test_a_missing_package_names_the_extra(here, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("slipstick.hardware", "amaranth"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amaranth", None)
    assert main(["hardware", "small.toml"]) == 2
    assert "pip install 'slipstick[hardware]'" in capsys.readouterr().err
