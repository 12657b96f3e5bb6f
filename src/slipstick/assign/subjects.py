"""What can be assigned: an experiment, or a program of the user's own. Both are probed in float32, and resume."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from slipstick.assign.probe_options import ProbeOptions
from slipstick.assign.probe_program import probe_program
from slipstick.assign.probe_training import known_statistics, probe_training
from slipstick.assign.run_control import RunControl
from slipstick.precision.statistics import Statistics
from slipstick.train import Experiment, run_folder
from slipstick.train.checkpoint_files import has_checkpoint
from slipstick.train.run_folder import check_folder, folder_state

PROBED = "probed"
"""Of the float32 training: the variant of its run, or its folder."""

Say = Callable[[str], None]
"""Told in one line what a stage does."""


class Subject(Protocol):
    """A training to be probed."""

    @property
    def title(self) -> str:
        """In tables."""

    @property
    def folder(self) -> Path:
        """Of all that is known of it."""

    @property
    def facts(self) -> dict[str, Any]:
        """Plain data that tells models apart."""

    def check(self) -> None:
        """Raises SpecificationError where the folder holds another training."""

    def statistics(self, options: ProbeOptions, control: RunControl, say: Say) -> Statistics:
        """Of its float32 training, which goes on from where it is on disk."""


@dataclass(frozen=True)
class ExperimentSubject:
    """An experiment; its float32 run is of the variant "probed"."""

    experiment: Experiment

    @property
    def probed(self) -> Experiment:
        """The float32 run."""
        words = [word for word in (self.experiment.variant, PROBED) if word]
        return self.experiment.model_copy(update={"variant": " ".join(words)})

    @property
    def title(self) -> str:
        return self.experiment.name

    @property
    def folder(self) -> Path:
        return Path(self.experiment.out) / self.experiment.name

    @property
    def facts(self) -> dict[str, Any]:
        model: dict[str, Any] = self.experiment.model.model_dump()
        return {"experiment": self.experiment.name, "model": model, "data": self.experiment.data}

    def check(self) -> None:
        check_folder(run_folder(self.probed), self.probed, resume=True, overwrite=False)

    def statistics(self, options: ProbeOptions, control: RunControl, say: Say) -> Statistics:
        run, folder = self.probed, run_folder(self.probed)
        if not control.overwrite and (known := known_statistics(run, options)) is not None:
            say(f"probe: statistics are on disk, in {folder}")
            return known
        state = "absent" if control.overwrite else folder_state(folder)
        does = {"absent": "trains in float32", "started": "goes on training in float32", "complete": "has trained"}
        say(f"probe: {does[state]}, in {folder}, then measures noise gains over {options.samples} samples")
        return probe_training(run, options=options, control=control)


@dataclass(frozen=True)
class ProgramSubject:
    """target: "package.module:function", see ``load_program``. out: folder of all runs."""

    target: str
    epochs: int = 1
    out: Path = Path("runs")

    @property
    def title(self) -> str:
        return self.target

    @property
    def folder(self) -> Path:
        return self.out / re.sub(r"[^A-Za-z0-9._-]+", "-", self.target).strip("-.")

    @property
    def facts(self) -> dict[str, Any]:
        return {"program": self.target}

    def check(self) -> None:
        """The folder is named after the program."""

    def statistics(self, options: ProbeOptions, control: RunControl, say: Say) -> Statistics:
        folder = self.folder / PROBED
        started = has_checkpoint(folder) and not control.overwrite
        does = "goes on from its last epoch on disk" if started else "trains in float32"
        say(f"probe: {does}, {self.epochs} epochs, in {folder}, then noise gains over {options.samples} samples")
        return probe_program(self.target, folder, epochs=self.epochs, options=options, control=control)
