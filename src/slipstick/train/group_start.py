"""How the processes of one run begin: the first one in the run folder, the others in scratch folders of their own.

Only the first reads and writes what the user sees, so the others need not see its disk. What it goes on from, a
checkpoint and the metrics up to there, or the result of a run that is complete, it sends to them; from there on all do
the same. Scratch folders go away in the end.
"""

import shutil
import tempfile
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.train.checkpoint_files import checkpoint_paths
from slipstick.train.config import Experiment
from slipstick.train.naming import run_folder
from slipstick.train.workers import Workers

_STATE = ("experiment.toml", "environment.json", "initial_weights.json", "metrics.csv", "result.json")


class GroupStart:
    """While entered: the experiment as this process runs it, and whether it follows another one."""

    def __init__(self, experiment: Experiment, workers: Workers) -> None:
        self.experiment = experiment
        self.follows = not workers.leads
        self._workers = workers
        self._told = False
        self._scratch: Path | None = None

    def __enter__(self) -> "GroupStart":
        if self.follows:
            self._follow()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.follows and not self._told:
            self._workers.tell(None)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def ready(self, folder: Path) -> None:
        """The run folder is as the run begins, or ended, in it: the others may begin too."""
        if self._workers.size > 1 and not self.follows:
            found = [folder / name for name in _STATE] + checkpoint_paths(folder)
            self._workers.tell({path.name: path.read_bytes() for path in found if path.is_file()})
        self._told = True

    def _follow(self) -> None:
        files = self._workers.hear()
        if files is None:
            raise SpecificationError(f"process {self._workers.rank}: not started, see what process 0 says")
        self._scratch = Path(tempfile.mkdtemp(prefix="slipstick-"))
        self.experiment = self.experiment.model_copy(update={"out": str(self._scratch), "watch_every": 0})
        folder = run_folder(self.experiment)
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
