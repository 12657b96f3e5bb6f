"""What is to be done with a training that may be on disk already, and what is shown of it."""

from dataclasses import dataclass

from slipstick.train.interrupts import StopRequest


@dataclass(frozen=True)
class RunControl:
    """As of ``slipstick.train.train``. resume: go on with a started one. overwrite: begin anew. quiet: show no bars.
    stop: asks it to end early."""

    resume: bool = False
    overwrite: bool = False
    quiet: bool = False
    stop: StopRequest | None = None
