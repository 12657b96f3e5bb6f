"""Files that are there whole or not at all, also after a crash or a power cut; and errors of writing in one line."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipstick.errors import StorageError

_PART = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around whatever writes ``path``: an OSError becomes a StorageError that names it and the way out."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(_one_line(path, error), error) from None


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """``write`` a temporary file beside ``path``, bring it to disk, then give it its name. Raises StorageError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    with writing(path):
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    replace_atomically(path, lambda temporary: _write(temporary, text))


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=1) + "\n")


def remove_partial_files(folder: Path) -> None:
    """What a process that was killed left of files it was writing. Only for who holds the folder's lock."""
    for left in folder.glob(f".*{_PART}"):
        with writing(left):
            left.unlink(missing_ok=True)


def _one_line(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"{path}: the disk is full; free some space, then continue with --resume"
    return f"{path}: cannot be written: {error.strerror or error}; make the folder writable, or choose another --out"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _sync_directory(folder: Path) -> None:
    if os.name == "nt":  # a directory cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
