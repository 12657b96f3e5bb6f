"""The code of docs/extending.md runs as it stands, block after block."""

import re
from pathlib import Path

import pytest
import torch

from slipstick.aten.registry import DEFINED

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture
def registered_once():
    """Operators that the page registers are forgotten afterwards."""
    before = set(DEFINED)
    yield
    for operator in set(DEFINED) - before:
        del DEFINED[operator]


@pytest.mark.usefixtures("registered_once")
def test_every_block_runs(capsys, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 4
    page: dict[str, object] = {"__name__": "extending"}
    for number, block in enumerate(blocks):
        file = tmp_path / f"block_{number}.py"  # PyTorch looks into the source of what it is given
        file.write_text(block)
        exec(compile(block, str(file), "exec"), page)
    told = capsys.readouterr().out
    assert "mine.smooth_step" in told
    assert "called outside a module" in told
    assert "LNS(5,5) designed" in told
    assert torch.ops.mine.smooth_step.default in DEFINED
