"""Small studies on digits, run in this process or by workers of their own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from slipstick.sweep import SweepProgress, TrialRecord, load_study, sweep

EXPERIMENT = """
[experiment]
data = "digits"
subset = {train = 64, test = 40}
batch = 16
epochs = 2
threads = 1
model = {name = "mlp", hidden = [8]}
"""

SPACE = """
[space]
optimizer.lr = {low = 0.01, high = 1.0, log = true}
"""


def write_study(folder: Path, top: str = "", space: str = SPACE, experiment: str = EXPERIMENT) -> Path:
    path = folder / "study.toml"
    path.write_text(f'out = "{folder / "runs"}"\n{top}\n{experiment}\n{space}')
    return path


def run(path: Path, *overrides: str, **options: Any) -> list[TrialRecord]:
    """Every trial, in this process."""
    with SweepProgress() as progress:
        return sweep(*load_study(path, overrides), str(path), progress, **options)


def start_worker(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "slipstick.cli", "sweep", str(path), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
