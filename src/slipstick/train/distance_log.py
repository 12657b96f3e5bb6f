"""The distances that log additions see, measured at some steps of a run: distances.json of its folder."""

import json

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.distances import RecordedDistances
from slipstick.aten.recording import DistanceRecorder
from slipstick.errors import SpecificationError
from slipstick.train.config import Experiment, resolve_arithmetic

RECORD_EVERY = 20
"""Steps from one that is looked at to the next."""


class DistanceLog:
    """What was measured so far. A step is sampled by its number and the run's seed, so resuming changes nothing."""

    def __init__(self, experiment: Experiment, every: int) -> None:
        """Raises SpecificationError where the experiment's arithmetic adds no logarithms."""
        arithmetic = resolve_arithmetic(experiment.arithmetic)
        if not isinstance(arithmetic, LogArithmetic):
            raise SpecificationError(
                f"arithmetic = {experiment.arithmetic!r}: has no log additions whose distances could be recorded; "
                'choose one such as "LNS(5,5) exact", or do not record'
            )
        if type(every) is not int or every < 1:
            raise SpecificationError(f"record_every = {every!r}: must be a positive number of steps")
        self._seed, self._every = experiment.seed, every
        self._recorded = RecordedDistances(arithmetic.format)

    def recorder(self, step: int) -> DistanceRecorder | None:
        """For the step of this number, from 0; None where it is not looked at."""
        return None if step % self._every else DistanceRecorder((self._seed, step))

    def add(self, recorder: DistanceRecorder | None) -> None:
        """The step is over."""
        if recorder is not None:
            step = RecordedDistances(self._recorded.format, 1, recorder.histograms())
            self._recorded = self._recorded.merge(step)

    def restore(self, text: str | None) -> None:
        """Go on from what ``text`` was at a checkpoint, if the run was recorded by then."""
        if text is not None:
            self._recorded = RecordedDistances.from_dict(json.loads(text)).merge(self._recorded)

    @property
    def text(self) -> str:
        """The text of the file."""
        return self._recorded.to_json()
