"""Which colour and line a group of runs has, in plots and tables alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from slipstick.report.seeds import RunGroup
from slipstick.report.svg import OTHERS, PALETTE, REFERENCE

MOST = len(PALETTE)
"""Groups, besides float32's, that have a colour of their own."""


@dataclass(frozen=True)
class Look:
    """own: whether the colour is the group's own; else it is one of many, drawn thin and light."""

    colour: str
    own: bool = True


def group_looks(groups: Sequence[RunGroup]) -> list[Look]:
    """By position. The first float32 group is dark grey; of more groups than colours the most accurate have one."""
    reference = next((place for place, group in enumerate(groups) if group.experiment.is_fp32), None)
    others = [place for place in range(len(groups)) if place != reference]
    best = sorted(others, key=lambda place: -_accuracy(groups[place]))[:MOST]
    colours = dict(zip(sorted(best), PALETTE, strict=False))
    looks = [Look(colours[place]) if place in colours else Look(OTHERS, own=False) for place in range(len(groups))]
    if reference is not None:
        looks[reference] = Look(REFERENCE)
    return looks


def _accuracy(group: RunGroup) -> float:
    return group.accuracy.mean if group.accuracy is not None else -1.0
