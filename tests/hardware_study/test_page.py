"""The page of a study: self-contained, complete, its ratios right, its failures seen."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("matplotlib")

from study_results import CLOCK_NS, LABELS, study, unit, with_check

from slipstick.errors import SpecificationError
from slipstick.hardware_study.page import render_page, write_page, write_plots
from slipstick.hardware_study.results import Check
from slipstick.hardware_study.text import ratio_text
from slipstick.report.text import NONE, amount_text


class Page(HTMLParser):
    """Tables as rows of text, links, alternatives of pictures; checks that tags are closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.open: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.bad: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.add(tag)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag == "img":
            self.pictures.append(given["src"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append((tag, given.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        inside = [tag for tag, _ in self.open]
        if "td" in inside or "th" in inside:
            data = data.replace("\N{MULTIPLICATION SIGN}", "x")
            self.rows[-1][-1] += data + ("|" if self.open[-1][0] == "span" else "")
        if self.open and self.open[-1][1] in ("bad", "note"):
            self.bad.append(data)

    def rows_of(self, label: str) -> list[list[str]]:
        return [row for row in self.rows if row[0].split("|")[0] == label]


def test_the_page_is_self_contained_and_well_formed() -> None:
    text = render_page(study(5))
    page = Page(text)
    assert page.open == []
    assert len(page.pictures) == 4
    assert all(picture.startswith("data:image/svg+xml;base64,") for picture in page.pictures)
    assert not {"script", "link", "iframe"} & page.tags
    bare = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not any(word in bare for word in ("http", "url(", "@import"))
    assert text.endswith("</html>\n")


@pytest.mark.parametrize("count", [1, 2, 12])
def test_every_unit_file_and_check_is_there(count: int) -> None:
    result = study(count)
    page = Page(render_page(result))
    assert [unquote(link) for link in page.links] == [path for unit in result.units for path in unit.files.values()]
    for one in result.units:
        assert len(page.rows_of(one.label)) == (3 if count == 1 else 4) + bool(one.errors_lsb)
    for what in {check.what for one in result.units for check in one.checks}:
        assert len(page.rows_of(what)) == count


def test_ratios_are_against_the_baseline() -> None:
    result = replace(study(2, sizes=(1.0, 0.5)), baseline=LABELS[1])
    (_, _, area, period, inertial, zero_delay, cells, checks), best, *steps = Page(render_page(result)).rows_of(
        LABELS[0]
    )
    assert (area, period) == ("1,040|2.000x|", "2.35|")
    assert inertial == "2,000|2.000x|"  # the mean of 1600, 2000 and 2400: normal operands do not count
    assert zero_delay == "900|2.000x|"
    assert (cells, checks) == ("700", "3 of 4|1 undecided|")
    assert best[1:] == ["1,000|2.000x|", "1,970|2.000x|", "1,000|2.000x|"]
    assert steps[0][1:] == ["2.00|2.000x|", "0.900|2.000x|", "0.00250|2.000x|", "4.10|1.000x|"]
    assert steps[1][1:3] == ["4.00|2.000x|", "1.80|2.000x|"]


def test_without_a_training_the_energy_is_that_of_normal_numbers() -> None:
    page = Page(render_page(study(2, recorded=False)))
    assert page.rows_of(LABELS[0])[0][4] == "1,600|1.000x|"
    assert any("independent normal numbers" in words for words in page.words)


def test_failed_checks_are_told_at_once_and_in_red() -> None:
    told = "3 of 6000 differ, first row 7: a = 0x1"
    result = with_check(study(3), 1, Check("netlist = software, dot products", "different", 6000, 0.4, told))
    page = Page(render_page(with_check(result, 2, Check("netlist = RTL, formally (sat)", "refuted"))))
    assert {"different", "refuted", told, "1 failed"} <= set(page.bad)
    assert any(words.startswith("2 checks failed") for words in page.bad)
    assert page.rows_of(LABELS[1])[0][-1] == "1 failed|"
    assert [row[1] for row in page.rows_of("netlist = RTL, formally (sat)")] == ["refuted|"]


def test_a_study_in_which_all_holds_has_nothing_in_red() -> None:
    page = Page(render_page(study(5)))
    assert page.bad == []
    assert "4 of 4|" in page.rows_of(LABELS[2])[0][-1]


def test_a_unit_that_misses_the_clock_says_so() -> None:
    result = study(2)
    late = replace(result, units=(result.units[0], unit(LABELS[1], 0.75, in_time=False)))
    assert Page(render_page(late)).bad == [f"misses {CLOCK_NS} ns"]


def test_circuits_that_win_by_several_criteria_are_listed_once() -> None:
    result = study(1)
    three = [row for row in Page(render_page(result)).rows if row[0].startswith(("chosen", "smallest", "thriftiest"))]
    assert [row[1:] for row in three] == [
        ["1,040", "2.35", "1,990"],
        ["1,000", "2.30", "2,000"],
        ["1,120", "2.12", "1,970"],
    ]
    one = replace(result, units=(replace(result.units[0], chosen=0, smallest=0, thriftiest=0),))
    (row,) = [row for row in Page(render_page(one)).rows if row[0].startswith("chosen")]
    assert row[0].startswith("chosen, smallest, thriftiest")


def test_no_networks_no_table_of_them() -> None:
    page = Page(render_page(study(2, networks=0)))
    assert "Training steps" not in page.words
    assert len(page.pictures) == 3


def test_labels_and_paths_are_escaped() -> None:
    result = study(1)
    label = "<b>twelve & bits</b>"
    odd = replace(result.units[0], label=label, files={"verilog": 'units/a b"<c>/mac.v'})
    text = render_page(replace(result, units=(odd,), baseline=label, networks=()))
    assert "<b>" not in text
    assert Page(text).links == ["units/a%20b%22%3Cc%3E/mac.v"]


def test_page_and_plots_are_files_and_a_bad_place_is_one_line(tmp_path: Path) -> None:
    result = study(2)
    page = write_page(result, tmp_path / "report.html")
    assert page.is_absolute()
    assert page.read_text(encoding="utf-8") == render_page(result)
    plots = write_plots(result, tmp_path / "plots")
    assert [plot.name for plot in plots] == ["area-period.svg", "energy.svg", "energy-parts.svg", "training-energy.svg"]
    assert all("<svg" in plot.read_text(encoding="utf-8") for plot in plots)
    with pytest.raises(SpecificationError, match="cannot be written"):
        write_page(result, tmp_path / "nowhere" / "report.html")


def test_numbers_have_three_digits_and_ratios_three_decimals() -> None:
    values = (0.0, 0.00249, 0.25, 2.5, 25.04, 999.6, 12345.6)
    assert [amount_text(v) for v in values] == ["0", "0.00249", "0.250", "2.50", "25.0", "1,000", "12,346"]
    times = "\N{MULTIPLICATION SIGN}"
    assert [ratio_text(v, 8.0).rstrip(times) for v in (8, 5.4, 0.04, 480)] == ["1.000", "0.675", "0.00500", "60.0"]
    assert amount_text(None) == ratio_text(1.0, 0.0) == NONE


def test_an_energy_that_was_not_measured_is_a_dash() -> None:
    result = study(2)
    bare = replace(result.units[1].points[0], energy_fj=None)
    other = replace(result.units[1], points=(bare, *result.units[1].points[1:]))
    page = Page(render_page(replace(result, units=(result.units[0], other))))
    assert [row[1:] for row in page.rows if row[0].startswith("smallest")][1] == ["750", "2.25", NONE]


def test_errors_of_adders_stand_beside_what_they_cost_the_thriftiest_first() -> None:
    page = Page(render_page(study(5, sizes=(1, 1.6, 0.7, 0.6, 0.65))))
    head = next(i for i, row in enumerate(page.rows) if "D+ rms, LSB" in row)
    assert [row[0].split("|")[0] for row in page.rows[head + 1 : head + 4]] == [LABELS[3], LABELS[4], LABELS[2]]
    assert page.rows[head + 1][1:] == ["0.450", "1.440", "1.600", "11.200", "600", "1,182"]
    assert not any("Adders of logarithms" in words for words in Page(render_page(study(2))).words)
