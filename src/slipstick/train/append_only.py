"""A file that only grows: every addition is handed to the system at once, none is kept in memory."""

import os
from pathlib import Path

from slipstick.train.atomic_files import writing


class AppendOnlyFile:
    """Open for appending, made where it is missing. Every method raises StorageError where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """All of ``data``; on a disk that fills up, a part of it and a StorageError."""
        with writing(self._path):
            while data:
                data = data[self._file.write(data) :]

    def sync(self) -> int:
        """Bring everything to disk; returns the length of the file in bytes."""
        with writing(self._path):
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        self._file.close()
