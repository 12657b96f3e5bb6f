"""What a watch wrote, read and drawn: each number once, from the file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import LAYERS, make_run, write_watch

from slipstick.errors import SpecificationError
from slipstick.report import contents_of, read_runs, render_contents
from slipstick.report.codes_over_time import _rates, roles_of, watch_plots
from slipstick.report.heat_maps import MOST_COLUMNS, Panel, per_cents
from slipstick.report.warnings import given_warnings
from slipstick.report.watch import kind_of, read_watch
from slipstick.report.watch_summary import SQNR, SWAMPED, share_text, summarise, worst_text
from slipstick.watch.look import ROLES

NOTHING = {"zero": 0, "saturated": 0, "underflow": 0}


def write(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "watch.jsonl").write_text("".join(lines))
    return folder


def look(step: int, *warnings: str, saturated: int = 0, unchanged: int = 0, sqnr: float | None = 20.0) -> str:
    tensor = {"layer": "a.0", "role": "weight", "count": 200, "zero": 3, "saturated": saturated, "underflow": 1}
    data = {
        "step": step,
        "epoch": 1,
        "lr": 0.1,
        "tensors": [
            {**tensor, "octaves": {"-2": 7, "1": 190}},
            {"layer": "a.0", "role": "weight_gradient", "count": 40, **NOTHING, "octaves": {"-9": 40}},
        ],
        "updates": [{"layer": "a.0", "count": 40, "unchanged": unchanged}],
        "gradients": [{"layer": "a.0", "sqnr_db": sqnr, "vanished": 0.0}],
        "warnings": list(warnings),
    }
    return json.dumps(data) + "\n"


def test_lines_are_read_and_a_cut_one_is_left_out(tmp_path: Path) -> None:
    first, second = read_watch(write(tmp_path, look(10), look(20, saturated=5), look(30)[:50]))
    assert (first.step, second.step) == (10, 20)
    tensor = second.tensors[0].counts
    assert (tensor.count, tensor.zero, tensor.saturated, tensor.underflow) == (200, 3, 5, 1)
    assert tensor.octaves == {-2: 7, 1: 190}
    assert first.gradients[0].sqnr_db == 20.0
    assert read_watch(tmp_path / "none") == []


@pytest.mark.parametrize("damage", ["nonsense\n", "[1]\n", '{"epoch": 1}\n', '{"step": 1, "tensors": [{}]}\n'])
def test_a_damaged_line_is_named(tmp_path: Path, damage: str) -> None:
    with pytest.raises(SpecificationError, match=r"watch\.jsonl: line 2: cannot be understood"):
        read_watch(write(tmp_path, look(10), damage, look(20)))


def test_a_damaged_file_is_told_and_the_rest_reported(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9)
    write(tmp_path / "a", "nonsense\n")
    contents = contents_of(read_runs(tmp_path))
    assert contents.watched == ()
    assert "watch.jsonl: line 1" in contents.left_out[0]
    assert "Left out: could not be read" in render_contents(contents)


def test_a_summary_has_the_worst_layer_at_the_last_look(tmp_path: Path) -> None:
    make_run(tmp_path / "a", 0.9)
    write(tmp_path / "a", look(10, saturated=100, unchanged=40), look(20, saturated=5, unchanged=10, sqnr=3.25))
    found = summarise(read_runs(tmp_path)[0], read_watch(tmp_path / "a"))
    assert (found.worst["saturated"].value, found.worst["saturated"].where) == (0.025, "a.0, weights")
    assert (found.worst[SWAMPED].value, found.worst[SWAMPED].where) == (0.25, "a.0")
    assert worst_text(SQNR, found.worst[SQNR]) == "3.2 dB"
    assert found.looks == 2


def test_warnings_that_differ_in_numbers_only_are_one(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / f"{seed}", 0.9, seed=seed)
    words = "layer4.conv2: {} % of updates change no bit"
    write(tmp_path / "0", look(10, words.format(60)), look(20, words.format("71.5"), "other"), look(30))
    write(tmp_path / "1", look(10), look(20, words.format(65)), look(30))
    first, second = given_warnings(contents_of(read_runs(tmp_path)))
    assert first.text == "layer4.conv2: 71.5 % of updates change no bit"
    assert first.where == "fp32, seeds 0, 1; steps 10 to 20, 67 % of the looks"
    assert (second.text, second.where) == ("other", "fp32, seed 0; step 20, 33 % of the looks")
    assert kind_of("layer4.conv2: 5 %") != kind_of("layer3.conv2: 5 %")
    assert kind_of("blocks.4: 5 %") != kind_of("blocks.5: 5 %")


def test_every_role_and_rate_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipstick.report.heat_maps.svg_text", lambda figure: "")  # the browser's test looks at them
    tmp_path.joinpath("a").mkdir()
    write_watch(tmp_path / "a", steps=20)
    looks = read_watch(tmp_path / "a")
    assert roles_of(looks) == list(ROLES)
    titles = [plot.title for plot in watch_plots(looks, "this")]
    assert titles == [
        "Distribution of codes over time",
        "Distribution of codes by layer",
        "Weights: zero",
        "Activations: zero, saturated",
        "Activation gradients: zero, underflow",
        "Weight gradients: zero",
        "Updates that change no bit",
        "Weight gradients against their rounding",
    ]


def test_the_sections_are_absent_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipstick.report.html.watch_plots", lambda looks, label: [])  # drawn in another test
    make_run(tmp_path / "a", 0.9)
    text = render_contents(contents_of(read_runs(tmp_path)))
    for heading in ("Codes, updates, gradients", "What was about to fail", "Accuracy against cost", "Adders"):
        assert f"<h2>{heading}" not in text
    write_watch(tmp_path / "a", steps=4)
    text = render_contents(contents_of(read_runs(tmp_path)))
    assert "<h2>Codes, updates, gradients" in text
    assert all(layer in re.sub(r"base64,\S+", "", text) for layer in ("classifier.4", "features.0")), LAYERS


def test_long_runs_are_averaged_to_the_columns_there_are(tmp_path: Path) -> None:
    plain = write(tmp_path / "a", *(look(step, saturated=step % 2 * 200) for step in range(1, 4 * MOST_COLUMNS + 1)))
    (cells,) = [panel.cells for panel in _panels(plain) if panel.title == "saturated"]
    assert cells.shape == (1, MOST_COLUMNS)
    np.testing.assert_allclose(cells, 50.0)  # every other look is saturated


def _panels(folder: Path) -> list[Panel]:
    """What the rates of the weights are drawn from."""
    seen: list[Panel] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "slipstick.report.codes_over_time.per_cents",
            lambda title, panels, *rest: seen.extend(panels) or per_cents(title, panels, *rest),
        )
        _rates(read_watch(folder), "weight", "this")
    return seen


def test_shares_are_short() -> None:
    assert [share_text(share) for share in (0, 0.00001, 0.0034, 0.055, 0.834, 1)] == [
        "0 %",
        "< 0.01 %",
        "0.34 %",
        "5.5 %",
        "83 %",
        "100 %",
    ]
