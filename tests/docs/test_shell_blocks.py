"""Every command of README and docs is run: those that take seconds always, longer ones where long tests are. Those run
in neither stand here with their reasons, and are read by the command line and by the loaders of the files they name."""

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from pages import ROOT, Block, blocks, commands, comparable, every_command, pages
from readers_files import BEFORE, assignment, prepare

from slipstick.cli import main
from slipstick.cli.app import app
from slipstick.errors import SpecificationError
from slipstick.hardware_study import load_study as load_hardware_study
from slipstick.sweep import load_study as load_sweep
from slipstick.train import load_comparison, load_experiment

QUICK = (
    r"^slipstick doctor$",
    r"^slipstick design --frac-bits 4 --segments 8$",
    r"^slipstick assign my_package",
    r"^slipstick report runs(/a runs/b)?( --|$)",
    r"^slipstick train mine.toml --resume$",
)
LONG = (
    r"^slipstick design --frac-bits 5 (?!.*--search logic)",
    r"^slipstick compare --arithmetic",
    r"^slipstick sweep experiments/sweep-adders.toml",
    r"^slipstick hardware experiments/hardware/first.toml$",
    r"^slipstick bench --dispatch$",
    r"^slipstick train experiments/miyashita2016.toml --set data=digits",
    r"^torchrun --nproc-per-node 2 ",
    r"^python experiments/lns-madam-theory/measure.py$",
)
NOT_HERE = {
    r"=DATA": "needs images that do not come with the project",
    r"^slipstick report runs/quantised ": "reports on runs that need them",
    r"^make ": "installs, lints or runs these tests",
    r"^pip install ": "installs",
    r"^sudo apt ": "installs, as root",
    r"library=osu018": "needs a cell library that only root installs",
    r"--search logic": "hours of search; tests/design has a short one",
    r"experiments/transformer": "hours of training",
    r"^slipstick assign experiments/sakr2019-transformer": "an hour of training; tests/test_cli_assign.py has less",
    r"^slipstick bench( --all.*)?$": "ten minutes of timing; tests/bench runs it on small sizes",
    r"^slipstick bench --watching": "minutes of timing; tests/bench runs it on small sizes",
    r"--nnodes 2": "needs another machine; tests/train has several, as network namespaces",
    r"^python -m pytest": "these tests",
}
TIME_LIMIT = 600.0  # seconds, of one long command

_SETTING = re.compile(r"[A-Z_]+=\S+")
COMMANDS = [pytest.param(block, words, id=f"{block}:{' '.join(words)[:60]}") for block, words in every_command()]


def text_of(words: list[str]) -> str:
    """Without the environment variables that stand before the command."""
    return " ".join(word for word in words if not _SETTING.fullmatch(word))


def places(words: list[str]) -> list[str]:
    """The patterns above that the command matches."""
    return [pattern for pattern in (*QUICK, *LONG, *NOT_HERE) if re.search(pattern, text_of(words))]


def is_run(words: list[str], patterns: tuple[str, ...]) -> bool:
    return any(pattern in patterns for pattern in places(words))


def shells(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("sh", "bash")]


def pages_with(patterns: tuple[str, ...]) -> list[str]:
    return [page for page in pages() if any(is_run(words, patterns) for b in shells(page) for words in commands(b))]


LAST_PAGE = {text_of(words): block.page for block, words in every_command()}
"""What takes long is run for one of the pages that have it."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; what commands change in this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules, threads = set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)  # what runs here is small
    yield tmp_path
    torch.set_num_threads(threads)
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "my_package":
            del sys.modules[name]


@pytest.mark.parametrize("page", pages_with(QUICK))
def test_quick_commands_of_a_page_run_and_print_what_it_says(page: str, folder: Path) -> None:
    play(page, folder, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("page", pages_with(LONG))
def test_all_commands_of_a_page_run_and_print_what_it_says(page: str, folder: Path) -> None:
    play(page, folder, QUICK + LONG)


def play(page: str, folder: Path, patterns: tuple[str, ...]) -> None:
    """In the order of the page, in one folder. What a block prints is compared where all of it was run."""
    prepare(page, folder)
    for line in BEFORE.get(page, ()):
        run_here(shlex.split(line))
    for block in shells(page):
        todo = [words for words in commands(block) if is_run(words, patterns)]
        if block.output is None:
            todo = [words for words in todo if is_run(words, QUICK) or LAST_PAGE[text_of(words)] == page]
        printed = "".join(run_here(words) if is_run(words, QUICK) else run_apart(words, folder) for words in todo)
        if block.output is not None and len(todo) == len(list(commands(block))):
            assert comparable(printed) == comparable(block.output), str(block)


def run_here(words: list[str]) -> str:
    """What the command prints, in this process: starting another one takes longer than many commands do."""
    assert words[0] == "slipstick"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main(words[1:])
    assert status == 0, f"{words}: {printed.getvalue()[-2000:]}"
    return printed.getvalue()


def run_apart(words: list[str], folder: Path) -> str:
    """What the command prints, in a process of its own."""
    settings = dict(word.split("=", 1) for word in words if _SETTING.fullmatch(word))
    modules = {"slipstick": ["-m", "slipstick.cli"], "torchrun": ["-m", "torch.distributed.run"], "python": []}
    first, *rest = [word for word in words if not _SETTING.fullmatch(word)]
    ran = subprocess.run(
        [sys.executable, *modules[first], *rest],
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", **os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert ran.returncode == 0, f"{words}: {ran.stdout[-2000:]}"
    return ran.stdout


@pytest.mark.parametrize(("block", "words"), COMMANDS)
def test_a_command_is_accepted(block: Block, words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = places(words)
    assert found, f"{block}: {text_of(words)}: run it, or say above why it is not"
    assert len(found) == 1, f"{block}: {text_of(words)}: stands in several places: {found}"
    if block.output is not None:
        assert found[0] not in NOT_HERE, f"{block}: shows what it prints, but is not run"
    prepare(block.page, folder)
    match [word for word in words if not _SETTING.fullmatch(word)]:
        case ["slipstick", *arguments]:
            read(arguments, monkeypatch)
        case ["torchrun", *_] as all_words:
            read(all_words[all_words.index("slipstick.cli") + 1 :], monkeypatch)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["pip", "install", package]:
            extra = re.fullmatch(r"(?:slipstick|\.)\[(\w+)\]", package)
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert extra is not None
            assert extra[1] in extras
        case ["sudo", "apt", "install", *packages]:
            told = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/slipstick").rglob("*.py"))
            assert all(f"apt install {package}" in told for package in packages), "no error message asks for it"
        case ["python", "-m", "pytest", place] | ["python", place]:
            assert (ROOT / place).exists()
        case _:
            pytest.fail(f"{block}: no check for {words}")


def read(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Command and options exist, values are of their types, and the files named say what the command can do."""
    name, *rest = arguments
    given = typer.main.get_command(app).commands[name].make_context(name, list(rest)).params  # type: ignore[attr-defined]
    source = Path(given.get("experiment") or given.get("study") or given.get("source") or "")
    if source.suffix == ".toml" and source.exists():
        for file in sorted(set(re.findall(r'"([^"]+/assignment\.json)"', source.read_text(encoding="utf-8")))):
            data = json.loads(assignment())
            data["layers"][0]["weight"]["bits"] += len(list(Path().rglob("assignment.json")))  # another in each file
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(json.dumps(data), encoding="utf-8")
    match name:
        case "train":
            load_experiment(source, given["overrides"], given["out"])
        case "compare":
            load_comparison(given["experiment"], given["overrides"], given["arithmetic"], given["out"])
        case "sweep":
            load_sweep(source, given["overrides"], given["out"])
        case "hardware":
            load_hardware_study(source, tuple(given["overrides"]), given["out"])
        case "assign" if source.suffix == ".toml":
            load_experiment(source, given["overrides"], given["out"])
        case "design":
            asked(rest, monkeypatch)


USAGE_ERROR = typer.BadParameter.__bases__[0]


class Asked(Exception):
    """A search was about to begin."""


def asked(rest: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The options make a request that can be searched for."""

    def search(*_: object) -> None:
        raise Asked

    monkeypatch.setattr(importlib.import_module("slipstick.cli.design"), "Designer", search)
    with pytest.raises(Asked):
        main(["design", *rest])


@pytest.mark.parametrize(
    "wrong",
    [
        "train experiments/none.toml",
        "train experiments/first-light.toml",  # lists several runs
        "compare experiments/first-light.toml --set epoch=2",
        'compare --arithmetic "LNS(5,5) fastest"',
        "sweep experiments/first-light.toml",
        "hardware experiments/sweep-adders.toml",
        "assign experiments/first-light.toml",
        "design --frac-bits 5 --search quick",
        "doctor --quietly",
    ],
)
def test_a_command_that_would_fail_is_not_accepted(wrong: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare("README.md", folder)
    with pytest.raises((SpecificationError, USAGE_ERROR, pytest.fail.Exception)):
        read(shlex.split(wrong), monkeypatch)


def test_every_pattern_is_still_of_a_command() -> None:
    texts = [text_of(words) for _, words in every_command()]
    assert [p for p in (*QUICK, *LONG, *NOT_HERE) if not any(re.search(p, text) for text in texts)] == []
