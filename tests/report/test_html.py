import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slipstick.errors import SpecificationError
from slipstick.report import contents_of, read_run, read_runs, render_report, runs_table, write_report
from slipstick.report.facts import introduction
from slipstick.report.rows import comparison_rows
from slipstick.report.runs import standard_error
from slipstick.report.seeds import group_runs
from slipstick.report.template import write_output
from slipstick.report.text import accuracy_text, points_text, seconds_text, slowdown_text
from slipstick.train import run_folder, train
from slipstick.train.config import Experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    for arithmetic, label in (("fp32", None), ("LNS(5,5) hamad2025", "<b>twelve & bits</b>")):
        experiment = Experiment(
            name="trial",
            out=str(out),
            label=label,
            arithmetic=arithmetic,
            subset={"train": 40, "test": 20},
            model={"name": "mlp", "hidden": [8]},
            batch=10,
            epochs=2,
            log_every=2,
        )
        train(experiment, quiet=True)
    return out / "trial"


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return render_report(read_runs(folder))


class Page(HTMLParser):
    """Collects every address and text of a page, and checks that tags are closed."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_self_contained_and_well_formed(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert len(page.addresses) == 4 + 6  # two curves, accuracy against bits, the adder; and what was watched
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)


def test_the_page_says_what_the_runs_gave(folder: Path, text: str) -> None:
    runs = read_runs(folder)
    text = " ".join("".join(Page(text).words).split())
    for run in runs:
        assert run.label in text
        assert accuracy_text(run.accuracy) in text
    assert "aten.addmm" in text
    assert runs[1].audit_totals is not None
    assert str(runs[1].audit_totals["defined"]) in text


def test_the_page_admits_what_else_differs(folder: Path) -> None:
    first, second = read_runs(folder)
    assert introduction(contents_of([first, second])).endswith("Only the arithmetic differs.")
    other = replace(second, experiment=second.experiment.model_copy(update={"batch": 5}))
    text = render_report([first, other])
    assert "which differ in the arithmetic and in batch" in text
    assert "not paired; other batch" in text


def test_labels_are_escaped(text: str) -> None:
    assert "<b>twelve" not in text


def test_the_same_runs_give_the_same_page(folder: Path, text: str) -> None:
    assert render_report(read_runs(folder)) == text


def test_runs_are_read_in_the_order_in_which_they_were_started(folder: Path) -> None:
    assert [run.experiment.arithmetic for run in read_runs(folder)] == ["fp32", "LNS(5,5) hamad2025"]
    assert [run.width for run in read_runs(folder)] == [32, 12]
    assert [run.label for run in read_runs(folder / "fp32")] == ["fp32"]


def test_runs_are_compared_with_fp32(folder: Path) -> None:
    reference, other = comparison_rows(group_runs(read_runs(folder)))
    assert (reference.difference, reference.slowdown) == (None, "1.0x")
    assert other.difference is not None
    assert other.difference.points is not None
    first, second = (row.group.runs[0].accuracy for row in (reference, other))
    assert other.difference.points.mean == pytest.approx(100 * (second - first))
    alone = comparison_rows(group_runs([other.group.runs[0]]))[0]
    assert (alone.difference, alone.slowdown) == (None, "–")  # noqa: RUF001


def test_a_run_without_an_epoch_is_reported_too(folder: Path, tmp_path: Path) -> None:
    experiment = Experiment(
        name="diverging",
        out=str(tmp_path),
        subset={"train": 40, "test": 20},
        batch=10,
        model={"name": "mlp"},
        optimizer={"name": "sgd", "lr": 1e30},
    )
    assert train(experiment, quiet=True).status == "diverged"
    runs = [*read_runs(folder), read_run(run_folder(experiment))]
    assert "diverged: the loss became" in render_report(runs)
    assert runs_table(runs).row_count == 3


def test_the_report_is_written_whole_and_a_bad_place_is_one_line(folder: Path, tmp_path: Path) -> None:
    path = write_report(read_runs(folder / "fp32"), tmp_path / "report.html")
    assert path.read_text().endswith("</html>\n")
    with pytest.raises(SpecificationError, match="cannot be written"):
        write_output(tmp_path / "nowhere" / "report.html", "")


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_a_folder_without_runs_is_one_line(tmp_path: Path, content: str | None) -> None:
    with pytest.raises(SpecificationError, match="holds no runs"):
        read_runs(tmp_path)
    with pytest.raises(SpecificationError, match="no such folder"):
        read_runs(tmp_path / "none")
    if content is not None:
        (tmp_path / "environment.json").write_text(content)
    with pytest.raises(SpecificationError, match=r"not a readable run folder|cannot be read"):
        read_run(tmp_path)


def test_numbers_are_short_and_nothing_known_is_a_dash() -> None:
    assert (accuracy_text(0.9706), points_text(-0.66), points_text(2.0)) == ("97.1 %", "−0.7", "+2.0")  # noqa: RUF001
    assert [seconds_text(s) for s in (0.0042, 0.042, 4.2)] == ["4.2 ms", "42 ms", "4.20 s"]
    assert [slowdown_text(r) for r in (5.55, 123.4)] == ["5.5x", "123x"]
    assert {accuracy_text(None), points_text(None), seconds_text(None), slowdown_text(None)} == {"–"}  # noqa: RUF001
    assert standard_error(0.5, 100) == 0.05
