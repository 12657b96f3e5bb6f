"""What the watch warned of, each once, with the runs that it was said of."""

from collections.abc import Sequence
from dataclasses import dataclass

from slipstick.report.contents import Contents
from slipstick.report.seeds import RunGroup
from slipstick.report.watch import Warned, kind_of
from slipstick.report.watch_summary import WatchSummary

_NAMED = 3
"""Groups that a warning names; of more, their number."""


@dataclass(frozen=True)
class GivenWarning:
    """text: as the watch of the first of the runs last put it. where: groups, seeds, steps. share: of the looks."""

    text: str
    where: str
    share: float


@dataclass(frozen=True)
class _Said:
    group: RunGroup
    summary: WatchSummary
    warned: Warned


def given_warnings(contents: Contents) -> list[GivenWarning]:
    """Warnings that differ in their numbers only are one; those given at the largest share of the looks first."""
    kinds: dict[str, list[_Said]] = {}
    for group in contents.groups:
        for summary in contents.watched:
            if any(summary.run is run for run in group.runs):
                for warned in summary.warnings:
                    kinds.setdefault(kind_of(warned.text), []).append(_Said(group, summary, warned))
    return sorted(map(_told, kinds.values()), key=lambda warning: -warning.share)


def _told(given: Sequence[_Said]) -> GivenWarning:
    first, last = min(said.warned.first for said in given), max(said.warned.last for said in given)
    steps = f"steps {first} to {last}" if first != last else f"step {first}"
    share = max(said.warned.times / said.summary.looks for said in given)
    return GivenWarning(given[0].warned.text, f"{_groups(given)}; {steps}, {100 * share:.0f} % of the looks", share)


def _groups(given: Sequence[_Said]) -> str:
    """With the seeds, where it is one group of several runs."""
    groups = {said.group.label: said.group for said in given}
    labels = list(groups)
    if len(labels) == 1 and len(groups[labels[0]].runs) > 1:
        seeds = sorted({said.summary.run.experiment.seed for said in given})
        return f"{labels[0]}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    if len(labels) > _NAMED:
        return f"{', '.join(labels[: _NAMED - 1])} and {len(labels) - _NAMED + 1} more"
    return "; ".join(labels)
