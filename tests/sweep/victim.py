"""A worker that kills itself after the second epoch of its first trial: victim.py STUDY [OVERRIDE ...]."""

import os
import signal
import sys
from pathlib import Path

from studies import run

from slipstick.sweep.trial import _Attempt
from slipstick.train import Experiment
from slipstick.train.metrics import Row


def die_after_two(attempt: _Attempt, row: Row, experiment: Experiment) -> None:
    attempt._report(row, experiment)
    if row.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)


_Attempt._after = die_after_two  # type: ignore[method-assign]
run(Path(sys.argv[1]), *sys.argv[2:])
