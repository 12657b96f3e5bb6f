"""Ctrl-C and SIGTERM as a request that the loop answers after the step at hand."""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """A run stopped on request; its checkpoint is written. As KeyboardInterrupt, no ``except Exception`` catches it."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """While entered, the first SIGINT or SIGTERM sets ``requested``; the second acts as if nobody listened."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> int | None:
        """The number of the signal that asked to stop."""
        return self._received

    def ask(self, signal_number: int) -> None:
        """As if this process had been sent the signal."""
        self._received = signal_number

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self._restore()

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
