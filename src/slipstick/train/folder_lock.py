"""One process at a time writes a run folder.

The lock is ``flock`` (BSD, Linux) on the file ``.lock`` in the folder, which says who holds it. The kernel gives it up
when the process ends, however it ends, so a crash leaves nothing to clean up; the file stays and means nothing by
itself. Processes that the holder forks share the lock until they end.

On network folders: NFS carries flock as a lock of the whole file to the server, so it holds between machines (flock(2)
of Linux, since 2.6.12), unless it is mounted with ``nolock`` or ``local_lock=flock``, where it holds on one machine
only (nfs(5)); SMB carries it since Linux 5.5. Other network file systems may keep it local without saying so. Where a
file system has no locks at all, and on Windows, a run goes on without one and says so on stderr: there, starting two
runs in one folder is up to the user.
"""

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.train.atomic_files import writing

FILE_NAME = ".lock"

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``, which is made where it is missing.

    Raises SpecificationError naming process and machine where another holds it, StorageError where the folder cannot be
    written.
    """
    path = folder / FILE_NAME
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _acquire(descriptor):
            raise SpecificationError(
                f"{folder}: {_holder(descriptor)}; wait for it or stop it, or choose another --out"
            )
        with writing(path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int) -> bool:
    """Whether the lock is held now."""
    try:
        import fcntl
    except ImportError:
        _warn("this system has no flock")
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _warn(f"its file system has no locks ({error.strerror})")
    return True


def _holder(descriptor: int) -> str:
    """In words; a holder writes its name a moment after it has the lock."""
    try:
        said = json.loads(os.read(descriptor, 1000))
        return f"is in use by process {said['process']} on {said['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "is in use by another process"


def _warn(why: str) -> None:
    print(f"slipstick: the run folder is not locked: {why}; start no other run in it", file=sys.stderr)
