"""What the runs of a report share, in a reader's words."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from slipstick.report.against_fp32 import differing_keys
from slipstick.report.contents import Contents
from slipstick.report.runs import RunRecord
from slipstick.report.text import NONE
from slipstick.train.config import Experiment, Transformer

_SHOWN = 3
"""Values of a fact that are listed; of more, their number."""


def title(contents: Contents) -> str:
    """The experiment's name, or those of several."""
    return _several(run.experiment.name for run in contents.runs)


def introduction(contents: Contents) -> str:
    """Which runs these are, and in what they differ."""
    runs, groups = contents.runs, contents.groups
    trained = contents.trained
    if len(runs) == 1:
        return f"One network {'trained' if trained else 'evaluated'} in one arithmetic."
    other = differing_keys([group.experiment for group in groups])
    if other:
        return (
            f"{len(runs)} runs of {len(groups)} experiments, which differ in the arithmetic and in {', '.join(other)}."
        )
    if len(groups) < len(runs):
        return (
            f"{len(runs)} runs in {len(groups)} arithmetics. Runs of one seed have the same initial weights, the same "
            "batches, the same budget; only the arithmetic differs."
        )
    if trained:
        how = f"trained {len(runs)} times: the same initial weights, the same batches, the same budget"
    else:
        how = f"evaluated {len(runs)} times: the same weights, the same images"
    return f"One network {how}. Only the arithmetic differs."


def facts(contents: Contents) -> list[tuple[str, str]]:
    """Data, network, optimiser, budget; where runs differ, all that there are or their number."""
    runs = contents.runs
    found = [
        ("data", _of(runs, lambda run: _place(run.experiment.data))),
        ("network", _of(runs, _network) or _of(runs, lambda run: run.experiment.model.name)),
        ("samples", _of(runs, _samples)),
        ("weights at the start", _of(runs, lambda run: _place(run.experiment.weights or ""))),
    ]
    if contents.trained:
        found += [
            ("optimiser", _of(runs, lambda run: _optimizer(run.experiment))),
            ("budget", _of(runs, lambda run: f"{run.experiment.epochs} epochs, batch {run.experiment.batch}")),
            ("seeds", _several(map(str, sorted({run.experiment.seed for run in runs})), most=8)),
        ]
    else:
        found.append(("budget", "no training, only evaluation"))
    states = [trial.state or NONE for trial in contents.trials]
    if states:
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        found.append(("trials of the sweep", counts))
    return [(name, value) for name, value in found if value]


def _place(path: str) -> str:
    """Of a path the last two parts: the rest says nothing to readers elsewhere."""
    return "/".join(Path(path).parts[-2:]) if Path(path).is_absolute() or path.startswith((".", "~")) else path


def _of(runs: Sequence[RunRecord], fact: Callable[[RunRecord], str]) -> str:
    return _several(fact(run) for run in runs)


def _several(values: Iterable[str], most: int = _SHOWN) -> str:
    distinct = [value for value in dict.fromkeys(values) if value]
    if len(distinct) <= most:
        return "; ".join(distinct) if any("," in value for value in distinct) else ", ".join(distinct)
    return f"{', '.join(distinct[: most - 1])} and {len(distinct) - most + 1} more"


def _network(run: RunRecord) -> str:
    return f"{run.experiment.model.name}, {run.result.parameters:,} parameters" if run.result else ""


def _samples(run: RunRecord) -> str:
    if run.result is None:
        return ""
    training, test = f"{run.result.training_images:,}", f"{run.result.test_images:,}"
    model = run.experiment.model
    if isinstance(model, Transformer):
        return f"windows of {model.context} characters: {training} to train in every epoch, {test} to test"
    return f"images: {training} to train, {test} to test"


def _optimizer(experiment: Experiment) -> str:
    return f"{experiment.optimizer.name}, learning rate {experiment.optimizer.lr:g} ({experiment.schedule.kind})"
