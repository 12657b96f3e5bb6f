"""One experiment in several arithmetics, one after the other: same initial weights, same batches, same budget."""

from collections.abc import Callable
from pathlib import Path

from slipstick.train.config import Comparison, Experiment
from slipstick.train.data import load_data
from slipstick.train.execution import Execution
from slipstick.train.loop import train
from slipstick.train.naming import run_folder
from slipstick.train.run_folder import Result, check_folder


def compare(
    comparison: Comparison,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    started: Callable[[Experiment, int], None] | None = None,
) -> list[Result]:
    """Train every run into its own folder; returns how each ended. A run that diverges does not stop the others.

    resume: complete runs are kept, a started one goes on. started: called with each run and its index.
    """
    for run in comparison.runs:
        check_folder(run_folder(run), run, resume, overwrite)
        with Execution.of(run).context():
            pass  # refuses an impossible pair of arithmetics before anything is written
    data = load_data(comparison.runs[0])
    results = []
    for index, run in enumerate(comparison.runs):
        if started is not None:
            started(run, index)
        results.append(train(run, data, resume=resume, overwrite=overwrite, quiet=quiet))
    return results


def comparison_folder(comparison: Comparison) -> Path:
    """The folder that holds the folders of the runs and the report."""
    return Path(comparison.out) / comparison.name
