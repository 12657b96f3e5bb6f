"""The trials of a sweep beside the runs they made: study.csv, with parameters and what was measured of each.

Columns: trial, folder, state (or outcome), then ``param.<name>`` and ``value.<name>``. Where no column has such a
prefix, the objectives have their own names, and what is left is parameters.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipstick.report.runs import RunRecord

STUDY_FILE = "study.csv"

_PARAMETER, _VALUE = "param.", "value."
_OBJECTIVES = {"accuracy", "loss", "energy", "area", "full_adders", "bits"}
_ABOUT_THE_TRIAL = {
    *("trial", "folder", "state", "outcome", "best", "reason", "host", "attempt", "epochs", "duration"),
    *("seconds", "seconds_in_all", "accuracy_low", "accuracy_high", "loss_low", "loss_high"),
}


@dataclass(frozen=True)
class Trial:
    """folder: absolute, of the trial's run or what holds its runs; None where it says none."""

    trial: str
    folder: Path | None
    state: str
    parameters: dict[str, str]
    values: dict[str, float]


def find_trials(folders: Sequence[Path]) -> list[Trial]:
    """Of every study.csv in or below ``folders``."""
    files = {file.resolve() for folder in folders for file in sorted(folder.rglob(STUDY_FILE))}
    return [trial for file in sorted(files) for trial in _read(file)]


def trials_of(runs: Sequence[RunRecord], trials: Sequence[Trial]) -> list[Trial | None]:
    """The trial that made each run."""
    by_folder = {trial.folder: trial for trial in trials if trial.folder is not None}
    found = []
    for run in runs:
        place = run.folder.resolve()
        found.append(next((by_folder[each] for each in (place, *place.parents) if each in by_folder), None))
    return found


def _read(file: Path) -> list[Trial]:
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        records = list(csv.DictReader(lines))
    return [
        Trial(
            trial=record.get("trial") or str(number),
            folder=_folder(file, record.get("folder") or ""),
            state=(record.get("state") or record.get("outcome") or "").lower(),
            parameters=parameters,
            values={name: float(text) for name, text in values.items() if _is_finite(text)},
        )
        for number, record in enumerate(records)
        for parameters, values in [_parameters_and_values(record)]
    ]


def _parameters_and_values(record: dict[str, str | None]) -> tuple[dict[str, str], dict[str, str]]:
    """By name, those that are given."""
    parameters: dict[str, str] = {}
    values: dict[str, str] = {}
    prefixed = any(key and key.startswith((_PARAMETER, _VALUE)) for key in record)
    for key, text in record.items():
        if not key or not isinstance(text, str) or not text:
            continue
        if key.startswith(_VALUE) or (not prefixed and key in _OBJECTIVES):
            values[key.removeprefix(_VALUE)] = text
        elif key.startswith(_PARAMETER) or (not prefixed and key not in _ABOUT_THE_TRIAL):
            parameters[key.removeprefix(_PARAMETER)] = text
    return parameters, values


def _folder(file: Path, text: str) -> Path | None:
    """Relative to the study's folder, or to the working directory."""
    if not text:
        return None
    places = [file.parent / text, Path(text)]
    return next((place.resolve() for place in places if place.is_dir()), None)


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
