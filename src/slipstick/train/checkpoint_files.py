"""The checkpoints of a run folder as files: which there are, whether they are whole, and which are kept.

checkpoint-00017.safetensors  tensors
checkpoint-00017.json         the rest, the name and the SHA-256 of the tensor file, and a SHA-256 of all this

The JSON file is written last: with it the checkpoint is there. Numbers count up and are not used again, so no file of a
checkpoint is ever replaced. A checkpoint is damaged where its JSON file is not what was written or the tensor file not
what that names; the one before it is used then.
"""

import errno
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.train.atomic_files import replace_atomically, write_json, writing
from slipstick.train.stored_tensors import Tensors, load_tensors

Index = dict[str, Any]
"""What the JSON file of a checkpoint holds."""

KEEP = 3
"""So many checkpoints are kept by default, besides the best."""

_VERSION = 2
_OLD_INDEX = "checkpoint.json"
_NAME = re.compile(r"checkpoint-(\d+)\.(json|safetensors)(\.damaged)?")
_SEAL = "index_sha256"
_DAMAGED = ".damaged"


class _Damaged(Exception):
    """The reason, in words."""


def has_checkpoint(folder: Path) -> bool:
    """Whether there is one, whole or not."""
    return bool(_index_files(folder)) or (folder / _OLD_INDEX).is_file()


def write_checkpoint(folder: Path, content: Index, write_tensors: Callable[[Path], None], keep: int = KEEP) -> None:
    """Add a checkpoint, then remove all but the last ``keep`` and the one with the highest "test_accuracy" in it.

    Raises StorageError; those that were there are still there then.
    """
    number = max((_number(file) for file, _ in _files(folder)), default=0) + 1
    tensors, index = (folder / f"checkpoint-{number:05d}.{suffix}" for suffix in ("safetensors", "json"))
    replace_atomically(tensors, write_tensors)
    content = {"version": _VERSION, "tensors": tensors.name, "tensors_sha256": _sha256(tensors), **content}
    try:
        write_index(index, content)
    except OSError:
        for file in (index, tensors):  # gives the room back where the disk is full
            with suppress(OSError):
                file.unlink()
        raise
    _prune(folder, keep)


def write_index(file: Path, content: Index) -> None:
    """``content`` with a hash of itself."""
    write_json(file, {_SEAL: _hash_of(content), **content})


def newest_index(folder: Path) -> Index:
    """Of the newest checkpoint that is whole. Raises SpecificationError where there is none."""
    return _newest_whole(folder)[1]


def checkpoint_paths(folder: Path) -> list[Path]:
    """The two files of the newest checkpoint that is whole; none where there is no checkpoint at all."""
    if not has_checkpoint(folder):
        return []
    file, index, _ = _newest_whole(folder)
    return [folder / index["tensors"], file]


def open_newest(folder: Path, set_aside: bool = False) -> tuple[Index, Tensors]:
    """The newest checkpoint that is whole; damaged ones are named on stderr.

    set_aside: rename those, so that they are not looked at again; only for who goes on from here and holds the folder's
        lock. Raises SpecificationError where none is whole, or it was written by another version of Slipstick.
    """
    file, index, damaged = _newest_whole(folder)
    for line in damaged.values():
        print(f"slipstick: {line}; going on from {file.name}", file=sys.stderr)
    tensors = load_tensors(folder / index["tensors"])
    for part in (part for each in damaged if set_aside for part in (each, each.with_suffix(".safetensors"))):
        with writing(part):
            if part.is_file():
                part.rename(part.with_name(part.name + _DAMAGED))
    return index, tensors


def remove_checkpoints(folder: Path) -> None:
    """All of them, for a run that begins anew."""
    with writing(folder):
        for file in (folder / _OLD_INDEX, *sorted(file for file, _ in _files(folder))):  # "json" before "safetensors"
            file.unlink(missing_ok=True)


def _newest_whole(folder: Path) -> tuple[Path, Index, dict[Path, str]]:
    """The JSON file of the newest checkpoint that is whole, what it holds, and what is wrong with each newer one."""
    damaged: dict[Path, str] = {}
    for file in reversed(_index_files(folder)):
        try:
            index = _read_index(file)
            _check_tensors(folder / index["tensors"], index)
            return file, index, damaged
        except _Damaged as reason:
            if file.exists():  # else the run that lives here has removed it in the meantime
                damaged[file] = f"{file}: damaged ({reason})"
    if damaged:
        newest = next(iter(damaged.values()))
        raise SpecificationError(f"{newest}, and no other is whole; bring the files back, or begin with --overwrite")
    if (folder / _OLD_INDEX).is_file():
        raise SpecificationError(
            f"{folder / _OLD_INDEX}: cannot be read: it is of an earlier version of slipstick; "
            "use the one in environment.json, or begin with --overwrite"
        )
    raise SpecificationError(f"{folder}: holds no checkpoint; begin with --overwrite")


def _read_index(file: Path) -> Index:
    with _reading(file):
        text = file.read_bytes()
    try:
        index: Index = json.loads(text)
        seal = index.pop(_SEAL)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _Damaged("it is not what was written") from None
    if seal != _hash_of(index):
        raise _Damaged("it is not what was written")
    if index["version"] != _VERSION:
        raise SpecificationError(
            f"{file}: cannot be read: checkpoint version {index['version']}, this build reads {_VERSION}; "
            "use the slipstick version in environment.json"
        )
    return index


def _check_tensors(file: Path, index: Index) -> None:
    with _reading(file):
        found = _sha256(file)
    if found != index["tensors_sha256"]:
        raise _Damaged(f"{file.name} is not what was written")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """A file that is gone or whose place on the disk is bad is damage; one that may not be read is not."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EIO):
            raise SpecificationError(f"{file}: cannot be read: {error.strerror}") from None
        raise _Damaged(f"{file.name}: {error.strerror}") from None


def _prune(folder: Path, keep: int) -> None:
    """Remove what is older than the last ``keep`` that can be read, except the best, and tensors of no checkpoint."""
    readable = dict(_readable(folder))
    last = list(readable)[-keep:]
    kept = {file.stem for file in [*last, *_best(readable)]}
    for file, match in sorted(_files(folder), key=lambda found: found[0].name):  # "json" before "safetensors"
        old = _number(file) < _number(last[0])
        orphan = match[2] == "safetensors" and not file.with_suffix(".json").is_file()
        if match[3] is None and file.stem not in kept and (old or orphan):
            with writing(file):
                file.unlink(missing_ok=True)


def _readable(folder: Path) -> Iterator[tuple[Path, Index]]:
    for file in _index_files(folder):
        try:
            yield file, _read_index(file)
        except (_Damaged, SpecificationError):
            continue


def _best(indexes: dict[Path, Index]) -> list[Path]:
    """That of the highest accuracy, of equal ones the first; none where none was tested."""
    accuracies = {file: index.get("test_accuracy") for file, index in indexes.items()}
    tested = {file: accuracy for file, accuracy in accuracies.items() if accuracy is not None}
    return [max(tested, key=lambda file: tested[file])] if tested else []


def _files(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    """Files of checkpoints, and their names taken apart: number, kind, whether set aside."""
    found = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("checkpoint-*"))
    return [(path, match) for path, match in found if match]


def _index_files(folder: Path) -> list[Path]:
    """From the oldest to the newest."""
    return sorted((path for path, match in _files(folder) if match[2] == "json" and match[3] is None), key=_number)


def _number(file: Path) -> int:
    return int(file.name.removeprefix("checkpoint-").partition(".")[0])


def _hash_of(content: Index) -> str:
    """Of the data, whatever the layout of the text."""
    data = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
