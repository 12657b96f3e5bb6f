"""Measured ratios kept by class of machine, and what has moved since.

Seconds of different days do not compare, ratios to a reference in the same run do.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.kernels.spec import instruction_set
from slipstick.train.atomic_files import write_json
from slipstick.train.environment import processor_name

MOVED = 0.10
"""The share by which a ratio may differ without being told of."""


@dataclass(frozen=True)
class Move:
    """A ratio that is not what it was."""

    name: str
    before: float
    now: float

    def __str__(self) -> str:
        return f"{self.name}: {self.before:.3g} before, {self.now:.3g} now ({self.now / self.before - 1:+.0%})"


def machine_class() -> str:
    """Processor and instruction set, as a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", f"{processor_name()} {instruction_set()}".lower()).strip("-")


def baseline_file(folder: Path) -> Path:
    return folder / f"{machine_class()}.json"


def read_baseline(path: Path) -> dict[str, float]:
    """What is kept there; nothing where there is no file. Raises SpecificationError for another kind of file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SpecificationError(f"{path}: no table of ratios ({error}); delete it to measure anew") from None


def write_baseline(path: Path, values: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {name: float(f"{value:.4g}") for name, value in sorted(values.items())})


def moved(before: Mapping[str, float], now: Mapping[str, float]) -> list[Move]:
    """What differs by more than ``MOVED`` of what it was."""
    both = ((name, before[name], now[name]) for name in now if name in before)
    return [Move(name, old, new) for name, old, new in both if abs(new - old) > MOVED * abs(old)]
