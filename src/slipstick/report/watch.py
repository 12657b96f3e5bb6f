"""What watching a training saw: watch.jsonl of a run folder.

A line for every step that was looked at, with, for every layer, the codes of its tensors by role, its updates and its
gradients; and warnings in words.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.train.watch_log import FILE_NAME
from slipstick.watch import Look

_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Warned:
    """A warning that a run gave: its last words, at how many looks, and the first and last of those steps."""

    text: str
    times: int
    first: int
    last: int


def read_watch(folder: Path) -> list[Look]:
    """By step; empty where the run was not watched. A last line that a crash cut short is left out.

    Raises SpecificationError naming the line that cannot be understood.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    looks, number = [], 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                if line.endswith("\n") and line.strip():
                    looks.append(Look.from_dict(json.loads(line)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecificationError(f"{path}: line {number}: cannot be understood ({error})") from None
    return looks


def warnings_of(looks: Sequence[Look]) -> list[Warned]:
    """Each warning once, whatever its numbers, in the order in which they first came."""
    found: dict[str, Warned] = {}
    for look in looks:
        for text in look.warnings:
            key = kind_of(text)
            before = found.get(key)
            first, times = (before.first, before.times) if before else (look.step, 0)
            found[key] = Warned(text, times + 1, first, look.step)
    return list(found.values())


def kind_of(warning: str) -> str:
    """What two warnings have in common that differ in their numbers only."""
    return _NUMBER.sub("#", warning)
