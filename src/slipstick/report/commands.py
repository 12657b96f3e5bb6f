"""The command that makes a run again, and links to what its folder holds."""

import os
import shlex
from pathlib import Path
from urllib.parse import quote

from slipstick.arithmetic import LogArithmetic
from slipstick.report.runs import RunRecord
from slipstick.train.config import resolve_arithmetic

OUT = "reproduced"
"""Where the command puts the run, so that it does not meet the one that is there."""

_FILES = (
    "experiment.toml",
    "metrics.csv",
    "result.json",
    "environment.json",
    "audit.json",
    "watch.jsonl",
    "distances.json",
    "initial_weights.json",
)


def command_of(run: RunRecord) -> str:
    """For the shell, in the directory that the run folder's path is relative to.

    float32's bits depend on the number of threads, which is then set to what it was.
    """
    words = ["slipstick", "train", str(run.folder / "experiment.toml"), "--out", OUT]
    threads = run.environment.get("threads")
    if run.experiment.threads is None and isinstance(threads, int) and depends_on_threads(run):
        words += ["--set", f"threads={threads}"]
    if (run.folder / "distances.json").is_file():
        words.append("--record-d")
    return shlex.join(words)


def depends_on_threads(run: RunRecord) -> bool:
    """Whether sums are PyTorch's own, whose order depends on the threads."""
    return not isinstance(resolve_arithmetic(run.experiment.arithmetic), LogArithmetic)


def relative_paths(run: RunRecord) -> list[str]:
    """Paths of the experiment that mean something only in the directory where the run was started."""
    data = run.experiment.data
    looks_like_a_path = data.startswith((".", "~")) or data.lower().endswith(".txt")
    return [data] if looks_like_a_path and not Path(data).is_absolute() else []


def links_of(run: RunRecord, page_folder: Path | None) -> list[tuple[str, str]]:
    """Names of the run's files and their addresses, relative to the page where that can be; none without a page."""
    if page_folder is None:
        return []
    return [(name, _address(run.folder / name, page_folder)) for name in _FILES if (run.folder / name).is_file()]


def _address(file: Path, page_folder: Path) -> str:
    try:
        return quote(Path(os.path.relpath(file.resolve(), page_folder.resolve())).as_posix())
    except ValueError:  # another drive
        return file.resolve().as_uri()
