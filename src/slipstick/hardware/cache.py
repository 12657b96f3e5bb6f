"""Results of tools, kept by content: the same inputs and tool versions give the same folder, never a second run.

An entry is a folder of files. It is written elsewhere and gets its name when it is whole, so that a crash, a full disk
or a second process at the same work never leaves half of one. Deleting the cache is always safe.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def content_key(*parts: str | bytes) -> str:
    """SHA-256 over parts, in order; each with its length, so that no two lists of parts are the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def platform_folder() -> Path:
    """Where this platform keeps caches of a user, and below it ours."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "slipstick" / "hardware"


class Cache:
    """A folder of entries; by default the platform's cache folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or platform_folder()).expanduser().absolute()

    def entry(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """The folder of the entry ``kind``/``key``. Where it is missing, ``make`` fills a new folder with its files."""
        entry = self.folder / kind / key[:2] / key[2:]
        if entry.is_dir():
            return entry
        entry.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=entry.parent))
        try:
            make(part)
            _bring_to_disk(part)
            part.chmod(0o755)
            try:
                part.rename(entry)
            except OSError:
                if not entry.is_dir():  # otherwise another process was first, with the same content
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return entry


def _bring_to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
