"""The Python of every page runs as it stands and prints what the page says; TOML is read; links lead somewhere."""

import ast
import contextlib
import io
import json
import random
import re
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pages import ROOT, Block, blocks, comparable, pages
from readers_files import prepare
from toml_blocks import check, kind_of
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from slipstick.aten.registry import DEFINED
from slipstick.errors import SpecificationError

LANGUAGES = {"python", "sh", "bash", "toml", "json", "text"}
"""Code is run, files are read by their loaders, and "text" is compared where it follows what prints it."""

BUILT_WITH_THE_SITE = "docs/reference/"

PRELUDES = {
    "README.md": """
import torch
import torch.nn.functional as F
from torch import nn
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(6, 8), torch.randint(3, (6,))
"""
}
"""What a reader's own program has, where a page shows only the lines that are new."""

SEED = 20161103
"""Of no page: what a page says of random numbers without a seed of its own is not what its reader sees."""

PYTHON = [page for page in pages() if any(block.language == "python" for block in blocks(page))]


@pytest.fixture
def names() -> Iterator[dict[str, object]]:
    """Of a page's program, as a new process has them. What it changes in this one is undone."""
    program = types.ModuleType("page")
    defined, path, modes = set(DEFINED), list(sys.path), _get_current_dispatch_mode_stack()
    dtype, threads, gradients = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("default")
        for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", quiet)
        warnings.showwarning = lambda message, category, *_: print(f"{category.__name__}: {message}", file=sys.stderr)
        torch.manual_seed(SEED)
        torch.set_num_threads(1)  # pages are small
        sys.modules["page"] = program
        yield program.__dict__
    random.setstate(states[0])
    np.random.set_state(states[1])
    for operator in set(DEFINED) - defined:
        del DEFINED[operator]
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(gradients)
    del sys.modules["page"]
    sys.path[:] = path
    assert _get_current_dispatch_mode_stack() == modes, "an arithmetic stays in force"


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs_and_prints_what_it_says(
    page: str, names: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(page, tmp_path)
    exec(PRELUDES.get(page, ""), names)
    for block in blocks(page):
        if block.language == "python" and block.title is None:
            printed = run(block, names, tmp_path)
            if block.output is not None:
                assert comparable(printed) == comparable(block.output), str(block)


def run(block: Block, names: dict[str, object], folder: Path) -> str:
    """What the block prints. Tracebacks have the lines of the page."""
    file = folder / f"{Path(block.page).stem}_{block.line}.py"  # PyTorch looks into the source of what it is given
    source = "\n" * block.line + block.text
    file.write_text(source, encoding="utf-8")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        exec(compile(source, str(file), "exec"), names)
    return out.getvalue()


@pytest.mark.parametrize("page", pages())
def test_fences_are_of_known_languages_and_files_are_read(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(page, tmp_path)
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: ```{block.language}: say which language; of output: text"
        if block.language == "toml":
            check(block.text, tmp_path)
        if block.language == "json":
            json.loads(block.text)
        if block.language == "python":
            ast.parse(block.text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("epochs = 2\n[override]\n", "experiment"),
        ('[[units]]\nkind = "fixed"\n', "hardware study"),
        ("heartbeat = 5\n", "sweep"),
        ('recipe = "wage"\n', "recipe"),
    ],
)
def test_toml_is_told_apart_by_its_keys(text: str, kind: str) -> None:
    assert kind_of(text).name == kind


@pytest.mark.parametrize(
    "wrong",
    [
        'arithmetic = "LNS(5,5) fastest"',
        '[[units]]\nlabel = "mine"\nkind = "log"\narithmetic = "LNS(5,5) nowhere.json"',
        'sampler = "tepe"',
        "[space]\nbatch = {low = 3, height = 7}",
        'recipe = "wage"\n[weight]\nformat = "INT(0)"',
    ],
)
def test_toml_that_a_command_would_refuse_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(SpecificationError):
        check(wrong, tmp_path)


def test_toml_of_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="keys of no file"):
        check("epochz = 2", tmp_path)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("epoch 1/3  loss 2.177   144 ms/step\n", "epoch 1/3  loss 2.177  97.5 ms/step"),
        ("report: /tmp/pytest-3/runs/report.html", "report: report.html"),
        ("12 %\r 50 %\rdone in 3.1 s", "done in 12 s"),
        (" fp32   11 ms   1.0x\n──────\n", " fp32  9 ms  1.3x\n────"),
    ],
)
def test_times_folders_and_bars_may_differ(printed: str, said: str) -> None:
    assert comparable(printed) == comparable(said)


@pytest.mark.parametrize(
    ("printed", "said"),
    [("accuracy 0.407", "accuracy 0.408"), ("3 steps", "4 steps"), ("a\nb", "b\na"), ("8x8 images", "8x9 images")],
)
def test_nothing_else_may_differ(printed: str, said: str) -> None:
    assert comparable(printed) != comparable(said)


@pytest.mark.parametrize("page", pages())
def test_links_and_pictures_of_a_page_exist(page: str) -> None:
    text = _prose(ROOT / page)
    for address, _, part in (found.partition("#") for found in re.findall(r"\]\(([^)\s]+)", text)):
        if re.match(r"[a-z]+:", address):
            continue
        target = (ROOT / page).parent / address if address else ROOT / page
        if BUILT_WITH_THE_SITE in target.resolve().as_posix():
            continue
        assert target.exists(), f"{page}: {address}"
        if part and target.suffix == ".md":
            assert part in _headings(target), f"{page}: {address}#{part}: no such heading"


def _prose(file: Path) -> str:
    return re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)


def _headings(file: Path) -> set[str]:
    """Their anchors, as GitHub and the site make them."""
    titles = re.findall(r"^#+ +(.+?) *$", _prose(file), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
