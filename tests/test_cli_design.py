"""``slipstick design``: a table to compare, a file that loads, a picture, and one line for every mistake."""

import json
import os
import shlex
from pathlib import Path

import pytest

from slipstick import LNS, LogArithmetic
from slipstick.arithmetic import load_adder
from slipstick.cli import design as command
from slipstick.cli import main
from slipstick.train.atomic_files import write_json

SMALL = "design --frac-bits 3 --segments 4 --exact-through 0"
ANNEALED = f"{SMALL} --search anneal --steps 60 --chains 3 --seed 5"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def run(line: str) -> int:
    return main(shlex.split(line))


def test_a_design_is_printed_beside_the_optimum_and_the_published_neighbours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("design --frac-bits 4 --segments 8") == 0
    out = capsys.readouterr().out
    for row in (
        "this design",
        "optimum, 8 segments",
        "optimum, 16 segments",
        "exact, rounded",
        "designed",
        "hamad2025, F = 5",
        "sanyal2019-lut",
    ):
        assert f"\n  {row} " in out
    errors = next(line for line in out.splitlines() if "optimum, 16 segments" in line)
    assert errors.split()[3:5] == ["0.233", "-0.032"]
    record = json.loads(Path("design-F4-8-segments.json").read_text())
    own = next(line for line in out.splitlines() if "this design" in line).split()
    plus, minus = record["evaluation"]["plus"], record["evaluation"]["minus"]
    assert own[2:5] == [f"{plus['rms']:.3f}", f"{plus['bias']:+.3f}", f"{plus['max']:.1f}"]
    assert own[5:8] == [f"{minus['rms']:.3f}", f"{minus['bias']:+.3f}", f"{minus['max']:.1f}"]
    assert out.splitlines()[-2:] == [
        "design: design-F4-8-segments.json   picture: design-F4-8-segments.png",
        'use it: slipstick compare --arithmetic "LNS(5,4) design-F4-8-segments.json"',
    ]
    assert load_adder("design-F4-8-segments.json").tables(LNS(5, 4))[0].tolist() == record["tables"]["plus"]
    assert Path("design-F4-8-segments.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(os.listdir()) == ["design-F4-8-segments.json", "design-F4-8-segments.png"]


def test_the_command_in_a_file_gives_the_file_again(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--swamping 0.0398123 --no-zero-bias --weights mixed --bound-bits 4 --exponents=-5,-3,-1,2 --no-symmetric"
    assert run(f"{SMALL} {options} --out first.json --plot first.svg") == 0
    first = json.loads(Path("first.json").read_text())
    again = first["command"].removeprefix("slipstick ")
    assert run(f"{again} --out again.json --plot first.svg") == 0
    assert json.loads(Path("again.json").read_text()) == first
    assert "weighted by mixed: D+ RMS" in capsys.readouterr().out
    assert Path("first.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("--form indexed-table --index-bits 6 --index-bits 7", "design-F3-7-bit-index"),
        ("--form table --entries 9", "design-F3-9-entries"),
    ],
)
def test_other_forms_are_designed_too(options: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"design --frac-bits 3 {options}") == 0
    assert "optimum" not in capsys.readouterr().out
    record = json.loads(Path(f"{name}.json").read_text())
    assert run(f"{record['command'].removeprefix('slipstick ')} --out again.json") == 0
    assert json.loads(Path("again.json").read_text()) == record
    arithmetic = LogArithmetic(LNS(5, 3), add=f"{name}.json")
    assert arithmetic.tables[0].tolist() == record["tables"]["plus"]


def test_tables_of_least_logic_are_a_design_like_others(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--frac-bits 3 --search logic --exact-through 1 --steps 900 --seed 2 --like designed-4 --end 39"
    assert run(f"design {options}") == 0
    out = capsys.readouterr().out
    assert "\n  this design " in out
    assert out.splitlines()[-1] == 'use it: slipstick compare --arithmetic "LNS(5,3) design-F3-logic.json"'
    text = Path("design-F3-logic.json").read_text()
    record = json.loads(text)
    assert record["command"] == f"slipstick design {options}"
    assert record["seed"] == 2
    assert len(record["tables"]["plus"]) == 41
    assert load_adder("design-F3-logic.json").to_dict() == record["adder"]
    assert run(f"{record['command'].removeprefix('slipstick ')} --out again.json --plot again.svg") == 0
    assert Path("again.json").read_text() == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--search logic --like none", "like='none': no such adder to take bounds from (add='none'"),
        ("--search logic --like designed-4 --end 9", "end=9: D+(10) has no value with an error of"),
        ("--search logic --steps 0", "steps=0: must be 1 or more"),
        ("--resume", "design-F3-4-segments.annealing.json: there is no interrupted annealing to resume"),
        ("--index 2,x,63", "--index '2,x,63': write integers with commas between"),
        ("--index 2,63", "--index '2,63': write 3 integers with commas between"),
        ("--index 2,70,63", "needs shift in 0..16 and base <= top"),
        ("--exponents=fast", "--exponents 'fast': write integers with commas between"),
        ("--exponents=99", "must lie in -31 to 10"),
        ("--out none/x.json", "none/x.json: its folder does not exist; make it first"),
        ("--out x.json --plot none/x.png", "none/x.png: its folder does not exist; make it first"),
        ("--out design", "design: its name must end in .json"),
        ("--plot x.txt", "x.txt: its name must end in .png or .pdf or .svg"),
        ("--swamping 1e-9", "swamping=1e-09: no design meets it"),
        ("--swamping 0.95 --exact-through 4", "swamping=0.95: end=1 conflicts with exact_through=4: D is not 0"),
        ("--segments 100000", "segments=100000: D+ has only 97 distances"),
        ("--segments 1 --exact-through 4", "no table of 1 segments satisfies"),
        ("--frac-bits 13", "frac_bits=13: designs exist for 1 to 12"),
        ("--weights nothing", "nothing: no such file"),
        ("--form spline", "form='spline': choose piecewise-linear, indexed-table or table"),
        ("--search greedy", "search='greedy': choose optimal, anneal or logic"),
        ("--search anneal --steps 0", "needs steps, chains >= 1"),
        ("--search anneal --price-segment -1", "Prices(segment=-1.0): must lie in 0 to 1000"),
    ],
)
def test_a_mistake_is_one_line_and_status_2_and_writes_nothing(
    options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{SMALL} {options}") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("slipstick: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert os.listdir() == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "locked").mkdir(mode=0o500)
    assert run(f"{SMALL} --out locked/x.json") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_in_the_way_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.json").mkdir()
    assert run(f"{SMALL} --out x.json") == 2
    err = capsys.readouterr().err
    assert err.startswith("slipstick: ")
    assert "cannot be written" in err
    assert err.count("\n") == 1


def stop_after_saves(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C as soon as the state has been saved so often."""
    saves = 0

    def save(path: Path, data: object) -> None:
        nonlocal saves
        write_json(path, data)
        saves += 1
        if saves == count:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "write_json", save)


def test_an_interrupted_annealing_resumes_to_the_same_design(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(f"{ANNEALED} --out whole.json") == 0
    with monkeypatch.context() as stopped:
        stop_after_saves(stopped, 3)
        assert run(f"{ANNEALED} --out x.json") == 130
    again = f"slipstick {ANNEALED} --out x.json --resume"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"slipstick: x.annealing.json: annealing stopped; continue with: {again}"
    assert not Path("x.json").exists()
    with monkeypatch.context() as stopped:  # a second time, in the other function
        stop_after_saves(stopped, 12)
        assert run(again.removeprefix("slipstick ")) == 130
    assert run(again.removeprefix("slipstick ")) == 0
    assert json.loads(Path("x.json").read_text()) == json.loads(Path("whole.json").read_text())
    assert not Path("x.annealing.json").exists()


def test_an_annealing_resumes_only_for_the_same_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopped:
        stop_after_saves(stopped, 1)
        assert run(f"{ANNEALED} --out x.json") == 130
    assert run(f"{ANNEALED} --out x.json --resume --seed 6") == 2
    assert "x.annealing.json: belongs to another request; delete it to start anew" in capsys.readouterr().err
    for text, message in (("[]", "is no started annealing"), ("{", "cannot be read"), ('{"request": {}}', "is no")):
        Path("x.annealing.json").write_text(text)
        assert run(f"{ANNEALED} --out x.json --resume") == 2
        err = capsys.readouterr().err
        assert f"x.annealing.json: {message}" in err
        assert err.count("\n") == 1
