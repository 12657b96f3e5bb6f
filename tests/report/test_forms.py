"""Markdown and CSV have the page's figures; runs are found wherever they are."""

import csv
import io
from pathlib import Path

import pytest
from synthetic_runs import ARITHMETICS, make_run, make_study

from slipstick.arithmetic import LogArithmetic
from slipstick.cli import main
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.report import contents_of, find_runs, read_contents, read_runs, render_csv, render_markdown
from slipstick.report.adder_figures import adder_plot, used_adders
from slipstick.report.colours import MOST, group_looks
from slipstick.report.csv_table import COLUMNS
from slipstick.report.figures import accuracy_points, seeds_curve
from slipstick.report.seeds import group_runs
from slipstick.report.svg import OTHERS, REFERENCE
from slipstick.train.config import Experiment


def tables(text: str) -> list[list[list[str]]]:
    """Of a Markdown text: rows of cells, without the line of dashes."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [
        [[c.strip() for c in line.replace("\\|", "/").strip("|").split("|")] for line in (b[0], *b[2:])] for b in blocks
    ]


def test_markdown_has_the_figures_of_the_groups(tmp_path: Path) -> None:
    contents = read_contents([make_study(tmp_path, seeds=3, arithmetics=ARITHMETICS[:3])])
    text = render_markdown(contents)
    results, *fronts = tables(text)
    assert [row[0] for row in results[1:]] == ["fp32", "LNS(5,8) hamad2025", "LNS(5,5) exact"]
    for row, shown in zip(contents.rows, results[1:], strict=True):
        assert shown[3] == f"{row.accuracy} ± {row.accuracy_half}"
    assert len({len(row) for row in results}) == 1
    assert len(fronts) == 4  # two costs, what was watched, adders
    assert text.count("slipstick train ") == 9


def test_markdown_keeps_tables_whole_whatever_labels_say(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9, label="a|b *c* <d>\\")
    (results,) = tables(render_markdown(contents_of(read_runs(tmp_path))))
    assert results[1][0] == "a/b \\*c\\* \\<d\\>\\\\"
    assert len(results[0]) == len(results[1])


def test_csv_has_a_row_a_run_in_full_precision_and_its_columns_stay(tmp_path: Path) -> None:
    accuracy = 0.1 + 0.2
    make_run(tmp_path / "a", accuracy, label='a, "b"', started="1")
    make_run(tmp_path / "b", 0.5, status=None, arithmetic="LNS(5,5) exact", watched=True, started="2")
    first, second = csv.DictReader(io.StringIO(render_csv(contents_of(read_runs(tmp_path)))))
    assert tuple(first) == COLUMNS
    assert (float(first["accuracy"]), first["group"], first["bits"]) == (accuracy, 'a, "b"', "32")
    assert (second["status"], second["epochs"], second["message"]) == ("not finished", "2", "")
    assert int(second["warnings"]) > 0
    assert COLUMNS[:6] == ("group", "folder", "experiment", "arithmetic", "update", "override")


def test_csv_has_the_parameters_and_values_of_trials(tmp_path: Path) -> None:
    text = render_csv(read_contents([make_study(tmp_path, seeds=2, arithmetics=ARITHMETICS[:2], watched=False)]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0])[len(COLUMNS) :] == ("param.arithmetic", "param.seed", "value.accuracy", "value.full_adders")
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert {float(row["value.full_adders"]) for row in rows} == {9e6, 4e6}


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    make_run(tmp_path / "one", 0.9, started="3")
    make_run(tmp_path / "sweep" / "trials" / "0007" / "made" / "fp32", 0.9, started="1")
    make_run(tmp_path / "sweep" / "trials" / "0008" / "made" / "fp32", 0.9, started="2")
    (tmp_path / "sweep" / "trials" / "0009").mkdir()
    make_run(tmp_path / ".hidden" / "fp32", 0.9)
    found = find_runs([tmp_path / "one", tmp_path, tmp_path / "sweep"])
    names = [run.folder.relative_to(tmp_path).parts[-3 if "sweep" in str(run.folder) else -1] for run in found.runs]
    assert names == ["0007", "0008", "one"]


def test_a_run_that_cannot_be_read_is_told_and_the_others_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "good", 0.9)
    make_run(tmp_path / "bad", 0.9)
    (tmp_path / "bad" / "result.json").write_text("{")
    (line,) = find_runs([tmp_path]).left_out
    assert "bad: not a readable run folder" in line
    with pytest.raises(SpecificationError, match="not a readable run folder"):
        read_runs(tmp_path)
    assert main(["report", str(tmp_path), "--format", "md"]) == 0
    told = capsys.readouterr()
    assert "left out: " in told.err
    assert "bad: not a readable run folder" in told.out


def test_a_run_just_started_has_no_figures_yet(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9, status=None)
    (tmp_path / "a" / "metrics.csv").unlink()
    contents = contents_of(read_runs(tmp_path))
    assert (contents.rows[0].accuracy, contents.rows[0].note) == ("–", "not finished")  # noqa: RUF001
    assert "not finished" in render_markdown(contents)


@pytest.mark.parametrize("form", ["md", "csv"])
def test_the_command_writes_text_to_standard_output_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    make_run(tmp_path / "a", 0.9)
    assert main(["report", str(tmp_path / "a"), "--format", form]) == 0
    text = capsys.readouterr().out
    assert text == (render_markdown if form == "md" else render_csv)(read_contents([tmp_path / "a"]))
    assert main(["report", str(tmp_path / "a"), "--format", form, "--out", str(tmp_path / "text")]) == 0
    assert (tmp_path / "text").read_text() == text
    assert main(["report", str(tmp_path / "a"), "--format", form, "--out", str(tmp_path / "no" / "text")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_several_folders_make_one_page_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "a", 0.9, seed=0)
    make_run(tmp_path / "b", 0.8, seed=1)
    monkeypatch.chdir(tmp_path)
    assert main(["report", "a", "b"]) == 0
    assert "2 runs in 1 arithmetics" in (tmp_path / "report.html").read_text()


def test_a_curve_is_the_mean_where_all_seeds_have_a_value(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9, seed=0)
    make_run(tmp_path / "b", 0.7, seed=1)
    (group,) = group_runs(read_runs(tmp_path))
    curve = seeds_curve(group, accuracy_points)
    assert curve.x == [1, 2, 3, 4]
    assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((80, 70, 90))
    shorter = {1: 5.0, 3: 6.0}
    mixed = seeds_curve(group, lambda run: shorter if run.experiment.seed else {1: 1.0, 2: 2.0, 3: 4.0})
    assert (mixed.x, mixed.mean) == ([1, 3], [3.0, 5.0])
    assert seeds_curve(group, lambda run: {}).x == []


def test_the_most_accurate_have_colours_and_no_two_the_same(tmp_path: Path) -> None:
    for place in range(MOST + 4):
        make_run(
            tmp_path / f"{place:02d}", 0.5 + place / 100, batch=10 + place, arithmetic="LNS(5,5) exact", started="1"
        )
    make_run(tmp_path / "fp32", 0.4, started="2")
    looks = group_looks(group_runs(read_runs(tmp_path)))
    assert looks[-1].colour == REFERENCE
    assert [look.colour for look in looks[:4]] == [OTHERS] * 4
    own = [look.colour for look in looks if look.own]
    assert len(own) == len(set(own)) == MOST + 1


def test_each_adder_is_told_once_with_its_errors() -> None:
    given = [
        {"arithmetic": "fp32"},
        {"arithmetic": "LNS(5,5) hamad2025", "update": "LNS(5,6) exact"},
        {"arithmetic": "LNS(4,5) hamad2025", "override": {"head": "LNS(5,5) exact"}},
        {"arithmetic": LogArithmetic(LNS(5, 5), "hamad2025", accumulator=LogArithmetic(LNS(7, 7))).to_dict()},
    ]
    used = used_adders([Experiment(name="a", **keys) for keys in given])
    assert [each.title for each in used] == [
        "hamad2025, 5 fraction bits",
        "exact, 6 fraction bits",
        "exact, 5 fraction bits",
        "exact, 7 fraction bits",
    ]
    assert [str(format) for format in used[0].formats] == ["LNS(5,5)", "LNS(4,5)"]
    plus, minus = used[0].errors or ()
    assert (round(plus.rms, 3), round(minus.rms, 3), round(minus.max, 1)) == (0.407, 0.426, 1.9)  # as the README has it
    plot = adder_plot(used[0])
    assert plot.title == "hamad2025, 5 fraction bits"
    assert plot.svg.count("<path") > 10


def test_cancelling_distances_count_for_no_error() -> None:
    (used,) = used_adders([Experiment(name="a", arithmetic="LNS(5,5) sanyal2019-lut")])
    assert used.cancels_to == 7  # a step of half an octave is 16 distances; the first 7 round to index 0
    assert used.errors is not None
    assert used.errors[1].max < 100
