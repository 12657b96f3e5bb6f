"""A run folder belongs to one process at a time, until that process ends in any way."""

import errno
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipstick.errors import SpecificationError, StorageError
from slipstick.train.folder_lock import FILE_NAME, lock_folder


@contextmanager
def another_process(does: Callable[[], None]) -> Iterator[int]:
    """A process that has done something and now waits to be killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            does()
            os.write(writer, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 1) == b"."
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def hold(folder: Path) -> None:
    lock_folder(folder).__enter__()


def kept(folder: Path) -> Callable[[], None]:
    """Keeps the lock for as long as the process lives."""
    locks = []
    return lambda: locks.append(lock_folder(folder)) or locks[0].__enter__()  # type: ignore[func-returns-value]


def test_the_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with another_process(kept(tmp_path)) as pid, pytest.raises(SpecificationError) as error, lock_folder(tmp_path):
        pass
    assert str(error.value) == (
        f"{tmp_path}: is in use by process {pid} on {socket.gethostname()}; "
        "wait for it or stop it, or choose another --out"
    )


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with another_process(kept(tmp_path)):
        pass
    assert (tmp_path / FILE_NAME).is_file()
    with lock_folder(tmp_path):
        pass


def test_a_process_does_not_take_its_own_lock_again_and_gives_it_up_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    for _ in range(2):
        with lock_folder(folder), pytest.raises(SpecificationError, match=f"by process {os.getpid()} on "):
            hold(folder)
    with pytest.raises(ZeroDivisionError), lock_folder(folder):
        raise ZeroDivisionError
    with lock_folder(folder):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_holder_that_has_not_said_who_it_is(tmp_path: Path, content: bytes) -> None:
    with lock_folder(tmp_path):
        (tmp_path / FILE_NAME).write_bytes(content)
        with pytest.raises(SpecificationError, match="is in use by another process; wait for it or stop it"):
            hold(tmp_path)


def test_a_file_system_without_locks_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_folder(tmp_path):
        said = capsys.readouterr().err
    assert said == (
        "slipstick: the run folder is not locked: its file system has no locks (No locks available); "
        "start no other run in it\n"
    )


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/run: cannot be written: Not a directory; "):
        hold(tmp_path / "file" / "run")
