"""Runs that are interrupted at a chosen moment."""

import signal

from slipstick.train.interrupts import StopRequest


class StopAfter(StopRequest):
    """Asks to stop once it was looked at ``steps`` times, as Ctrl-C would."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def requested(self) -> int | None:
        self.left -= 1
        return signal.SIGINT if self.left < 0 else None
