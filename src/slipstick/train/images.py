"""Decoded images, and their cache on disk."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Images:
    """pixels: uint8 (N, C, H, W); labels: int64 (N,)."""

    pixels: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


def cache_directory() -> Path:
    """The user's cache folder of this system."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "slipstick"


def cached(key: str, decode: Callable[[], Images]) -> Images:
    """The images cached under ``key``, else those of ``decode``, then cached; a cache that fails is done without."""
    folder = cache_directory() / "images" / key
    try:
        return Images(*(torch.from_numpy(np.load(folder / f"{part}.npy")) for part in ("pixels", "labels")))
    except (OSError, ValueError, EOFError):
        images = decode()
    try:
        _store(folder, images)
    except OSError as error:
        print(f"slipstick: decoded images are not kept: {error}", file=sys.stderr)
    return images


def _store(folder: Path, images: Images) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".decoding-", dir=folder.parent))
    try:
        np.save(temporary / "pixels.npy", images.pixels.numpy())
        np.save(temporary / "labels.npy", images.labels.numpy())
        shutil.rmtree(folder, ignore_errors=True)  # there only if it could not be read
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
