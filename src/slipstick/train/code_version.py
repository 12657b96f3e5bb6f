"""Which code a run was made with: the commit where the package runs from a checkout, and its native kernels."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import slipstick
from slipstick.kernels import native

_PATIENCE = 10.0
"""Seconds that git may take."""


def code_version(package: Path | None = None) -> dict[str, Any]:
    """package: the folder of the package's code, by default that of this one.

    commit: of the checkout that the folder belongs to; None where it belongs to none or git is missing. dirty: whether
    the folder is not as in that commit, files that git does not know included; None without a commit.
    native_sha256: of the file of the native kernels.
    """
    package = Path(slipstick.__file__).parent if package is None else package
    commit, dirty = None, None
    # a package installed into somebody's repository is not of that repository: git has to know the file itself
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is not None:
        commit = _git(package, "rev-parse", "HEAD")
        changes = _git(package, "status", "--porcelain", "--", ".")
        dirty = None if commit is None or changes is None else changes != ""
    return {"commit": commit, "dirty": dirty, "native_sha256": _native_hash()}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _native_hash() -> str | None:
    file = native.__file__
    if file is None:
        return None
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
