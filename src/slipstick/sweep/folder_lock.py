"""Who works in a folder: a lock that its owner's death ends, also by ``kill -9``."""

import os
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # not on Windows: there only the heartbeat tells that a worker is gone
    fcntl = None  # type: ignore[assignment]

_NAME = "worker.lock"


class FolderLock:
    """While entered, no other process has the folder; entering waits until it is free."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._descriptor = -1

    def __enter__(self) -> "FolderLock":
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def is_abandoned(folder: Path) -> bool:
    """Whether somebody worked in ``folder`` of this machine and is gone. False where that cannot be told."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(folder / _NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
