"""What a reader's folder holds where a page names it: the project's experiments, and files and runs of their own."""

import contextlib
import io
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from pages import ROOT, blocks

from slipstick.cli import main

SMALL = """
subset = {train = 40, test = 20}
batch = 10
epochs = 1
model = {name = "mlp", hidden = [8]}
"""
PROGRAM = """
import torch
from torch import nn
x = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
data = torch.utils.data.TensorDataset(x, (x.sum(dim=1) > 0).long())
def build():
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)), torch.utils.data.DataLoader(data, batch_size=6)
"""

FILES = {
    "small.toml": SMALL,
    "mine.toml": SMALL,
    "my_package/training.py": PROGRAM,
    "my-design.json": (ROOT / "experiments/designs/logic-F5.json").read_text(encoding="utf-8"),
}

_TWO_RUNS = (
    "slipstick train small.toml --set name=a",
    "slipstick train small.toml --set name=b --set arithmetic='LNS(5,5) designed'",
)
_DISTANCES = ("slipstick train small.toml --set name=distances --set arithmetic='LNS(5,5) exact' --record-d",)
BEFORE = {
    "README.md": _TWO_RUNS,
    "docs/how-to/report.md": _TWO_RUNS,
    "docs/how-to/design-an-adder.md": _DISTANCES,
    "docs/results/adders.md": _DISTANCES,
}
"""Commands that make the runs that a page's commands read, small where a reader's take long."""


def prepare(page: str, folder: Path) -> None:
    """Into ``folder``, which is new or empty; titled blocks of the page are saved under their titles."""
    shutil.copytree(ROOT / "experiments", folder / "experiments", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        _save(folder / name, text)
    for block in blocks(page):
        if block.title:
            _save(folder / block.title, block.text)
    for name in re.findall(r'"([^"]*assignment\.json)"', (ROOT / page).read_text(encoding="utf-8")):
        _save(folder / name, assignment())


@cache
def assignment() -> str:
    """What ``slipstick assign`` writes, for experiments that read it."""
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
        Path("small.toml").write_text(SMALL, encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(["assign", "small.toml", "--no-train", "--samples", "8"]) == 0
        (file,) = Path().rglob("assignment.json")
        return file.read_text(encoding="utf-8")


def _save(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
