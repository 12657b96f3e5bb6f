"""What the site generates: every public name has a place, every command is described, docstrings become lists."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import slipstick as ss

DOCS = Path(__file__).parent.parent.parent / "docs"

pytest.importorskip("mkdocs")


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_every_public_name_is_in_the_reference_once() -> None:
    pages = module("generated").reference_pages()
    headings = re.findall(r"heading: ss\.(\w+)\n", "".join(pages.values()))
    assert sorted(headings) == sorted(set(ss.__all__) - {"__version__", "optim"})


def test_every_page_of_the_reference_is_in_the_navigation() -> None:
    pages = [*module("generated").reference_pages(), "reference/cli.md", "changelog.md"]
    navigation = (DOCS.parent / "mkdocs.yml").read_text()
    assert [page for page in pages if f": {page}\n" not in navigation] == []


def test_every_command_is_described_with_its_options() -> None:
    text = module("generated").command_line_page()
    commands = re.findall(r"^## slipstick (\S+)$", text, re.MULTILINE)
    assert {"train", "compare", "assign", "design", "hardware", "sweep", "report", "doctor", "bench"} <= set(commands)
    train = text.partition("## slipstick train\n")[2].partition("\n## ")[0]
    assert "slipstick train EXPERIMENT [OPTIONS]" in train
    assert "- `--resume`: Continue from the checkpoint" in train


def test_a_page_that_loads_from_elsewhere_is_noticed() -> None:
    loads = module("generated")._LOADS
    for tag in (
        '<script src="https://unpkg.com/x"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "<img alt=x src=http://example.org/a.png>",
    ):
        assert loads.search(tag)
    for tag in ('<a href="https://arxiv.org">', '<script src="assets/x.js">', '<link rel="icon" href="a.png">'):
        assert not loads.search(tag)


def test_names_of_the_object_become_a_list_and_others_do_not() -> None:
    paragraph = module("docstrings")._paragraph
    text = "data: what it learns\n    from. resume: go on.\nRaises SpecificationError: never."
    assert paragraph(text, {"data", "resume"}) == (
        "- `data`: what it learns from.\n- `resume`: go on.\n\nRaises SpecificationError: never."
    )
    assert paragraph("other: what it is not.", {"data"}) == "other: what it is not."
