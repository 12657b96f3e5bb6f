"""What an arithmetic costs: a group of runs beside float32's, paired by seed where that is fair."""

from collections.abc import Sequence
from dataclasses import dataclass

from slipstick.report.intervals import Interval, interval, interval_of_difference
from slipstick.report.seeds import NO_RESULT_DEPENDS_ON, RunGroup
from slipstick.train.config import Experiment

_THE_ARITHMETIC = {"arithmetic", "update", "override", "quantize", "precision"}
_SAME_BATCHES = {"optimizer", "schedule", "loss_scale", "weights"}
_NOT_COMPARED = {*NO_RESULT_DEPENDS_ON, "seed"}


@dataclass(frozen=True)
class Difference:
    """A group beside its float32 group.

    points: accuracy minus float32's, in points (1/100). paired: by seed, as runs of one seed share their initial
    weights and batches. other: the keys, besides the arithmetic, in which the experiments differ. slowdown: time per
    step over float32's.
    """

    points: Interval | None
    paired: bool
    other: tuple[str, ...]
    slowdown: float | None

    @property
    def mark(self) -> str:
        """What a reader must know to read ``points``; empty where there is nothing."""
        words = [] if self.paired or self.points is None else ["not paired"]
        return "; ".join([*words, *([f"other {', '.join(self.other)}"] if self.other else [])])


def reference_of(group: RunGroup, groups: Sequence[RunGroup]) -> RunGroup | None:
    """Of the float32 groups the one whose experiment is most like the group's; None where there is none."""
    candidates = [other for other in groups if other.experiment.is_fp32]
    if group in candidates:
        return group
    return min(candidates, key=lambda other: len(differing_keys([group.experiment, other.experiment])), default=None)


def difference_to_fp32(group: RunGroup, groups: Sequence[RunGroup]) -> Difference | None:
    """None for a float32 group, and where there is none to compare with."""
    reference = reference_of(group, groups)
    if reference is None or reference is group:
        return None
    other = differing_keys([group.experiment, reference.experiment])
    own, base = group.accuracies, reference.accuracies
    common = [seed for seed in own if seed in base]
    paired = bool(common) and set(other) <= _SAME_BATCHES
    if paired:
        points = interval(100 * (own[seed] - base[seed]) for seed in common)
    else:
        points = interval_of_difference([100 * a for a in own.values()], [100 * a for a in base.values()])
    slowdown = None
    if group.step_seconds and reference.step_seconds:
        slowdown = group.step_seconds / reference.step_seconds
    return Difference(points, paired, other, slowdown)


def differing_keys(experiments: Sequence[Experiment]) -> tuple[str, ...]:
    """Keys, besides those of the arithmetic and the seed, in which experiments are not the same."""
    given = [experiment.model_dump(exclude=_THE_ARITHMETIC | _NOT_COMPARED) for experiment in experiments]
    return tuple(key for key in given[0] if any(other[key] != given[0][key] for other in given))
