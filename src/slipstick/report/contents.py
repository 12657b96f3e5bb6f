"""What a report tells, whatever its form: runs in groups, their comparison, trials, what was watched, fronts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.report.adder_figures import UsedAdder, used_adders
from slipstick.report.pareto_figures import Front, fronts
from slipstick.report.rows import Row, comparison_rows
from slipstick.report.runs import Progress, RunRecord, find_runs
from slipstick.report.seeds import RunGroup, group_runs
from slipstick.report.study import Trial, find_trials, trials_of
from slipstick.report.watch import read_watch
from slipstick.report.watch_summary import WatchSummary, summarise


@dataclass(frozen=True)
class Contents:
    """runs: in the order in which they were started. trial_of: of each run, by position. left_out: a line for each
    folder or file that could not be read. watched: of each watched run.
    """

    runs: tuple[RunRecord, ...]
    groups: tuple[RunGroup, ...]
    rows: tuple[Row, ...]
    trials: tuple[Trial, ...]
    trial_of: tuple[Trial | None, ...]
    watched: tuple[WatchSummary, ...]
    fronts: tuple[Front, ...]
    adders: tuple[UsedAdder, ...]
    left_out: tuple[str, ...]

    @property
    def trained(self) -> bool:
        return any(run.experiment.epochs for run in self.runs)

    @property
    def seeds(self) -> int:
        """Of the group with the most."""
        return max(int(row.seeds) for row in self.rows)

    def label_of(self, run: RunRecord) -> str:
        """Its group's, and its seed where the group has several runs."""
        group = next(group for group in self.groups if any(run is member for member in group.runs))
        return group.label if len(group.runs) == 1 else f"{group.label}, seed {run.experiment.seed}"


def read_contents(folders: Sequence[Path], progress: Progress | None = None) -> Contents:
    """Of every run in or below ``folders``. Raises SpecificationError where there is none."""
    found = find_runs(folders, progress)
    return contents_of(found.runs, find_trials(folders), found.left_out, progress)


def contents_of(
    runs: Sequence[RunRecord],
    trials: Sequence[Trial] = (),
    left_out: Sequence[str] = (),
    progress: Progress | None = None,
) -> Contents:
    """``runs``: at least one."""
    groups = group_runs(runs)
    trial_of = trials_of(runs, trials)
    watched, unread = _watched(runs, progress)
    return Contents(
        runs=tuple(runs),
        groups=tuple(groups),
        rows=tuple(comparison_rows(groups)),
        trials=tuple(trials),
        trial_of=tuple(trial_of),
        watched=watched,
        fronts=tuple(fronts(groups, {id(run): trial for run, trial in zip(runs, trial_of, strict=True)})),
        adders=tuple(used_adders([group.experiment for group in groups])),
        left_out=(*left_out, *unread),
    )


def _watched(runs: Sequence[RunRecord], progress: Progress | None) -> tuple[tuple[WatchSummary, ...], tuple[str, ...]]:
    """And a line for every file that cannot be understood."""
    found, unread = [], []
    for done, run in enumerate(runs):
        if progress is not None:
            progress("reading what was watched", done / len(runs))
        try:
            looks = read_watch(run.folder)
        except SpecificationError as error:
            unread.append(str(error))
        else:
            found += [summarise(run, looks)] if looks else []
    return tuple(found), tuple(unread)
