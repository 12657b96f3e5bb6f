"""The rows of the comparison, as terminal, page and Markdown show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from slipstick.report.against_fp32 import Difference, difference_to_fp32
from slipstick.report.colours import Look, group_looks
from slipstick.report.seeds import RunGroup
from slipstick.report.text import NONE, accuracy_text, half_text, loss_text, points_text, seconds_text, slowdown_text


@dataclass(frozen=True)
class Row:
    """A group of runs with everything that is told of it."""

    group: RunGroup
    look: Look
    difference: Difference | None

    @property
    def label(self) -> str:
        return self.group.label

    @property
    def colour(self) -> str:
        return self.look.colour

    @property
    def bits(self) -> str:
        return str(self.group.width)

    @property
    def seeds(self) -> str:
        """How many the means are over."""
        return str(len({run.experiment.seed for run in self.group.counted}))

    @property
    def note(self) -> str:
        """How the runs ended where not all are finished, and what that does to the means; else empty."""
        group = self.group
        if len(group.finished) == len(group.runs):
            return ""
        if group.finished:
            return f"{group.status}; means of the finished"
        messages = {run.result.message for run in group.runs if run.result and run.result.message}
        epochs = max((run.epochs[-1].epoch for run in group.runs if run.epochs), default=0)
        reached = f"after epoch {epochs} of {group.experiment.epochs}" if group.experiment.epochs and epochs else ""
        return ": ".join(word for word in (group.status, messages.pop() if len(messages) == 1 else reached) if word)

    @property
    def accuracy(self) -> str:
        return accuracy_text(self.group.accuracy.mean if self.group.accuracy else None)

    @property
    def accuracy_half(self) -> str:
        """Half the interval, in points."""
        return half_text(self.group.accuracy, 100)

    @property
    def share(self) -> float:
        """Of the length of a bar, in per cent."""
        return 100 * self.group.accuracy.mean if self.group.accuracy else 0.0

    @property
    def points(self) -> str:
        known = self.difference.points if self.difference else None
        return points_text(known.mean if known else None)

    @property
    def points_half(self) -> str:
        return half_text(self.difference.points if self.difference else None)

    @property
    def mark(self) -> str:
        return self.difference.mark if self.difference else ""

    @property
    def loss(self) -> str:
        return loss_text(self.group.loss.mean if self.group.loss else None, self.group.experiment.reads_text)

    @property
    def step(self) -> str:
        return seconds_text(self.group.step_seconds)

    @property
    def slowdown(self) -> str:
        if self.difference is None:
            return slowdown_text(1.0) if self.group.experiment.is_fp32 and self.group.step_seconds else NONE
        return slowdown_text(self.difference.slowdown)


def comparison_rows(groups: Sequence[RunGroup]) -> list[Row]:
    """In the order of the groups."""
    looks = group_looks(groups)
    return [Row(group, look, difference_to_fp32(group, groups)) for group, look in zip(groups, looks, strict=True)]
