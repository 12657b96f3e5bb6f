"""How far apart the operands of log additions lie: histograms of d = |La - Lb|, as measured inside training runs.

An adder is two functions of d (D+ for operands of equal sign, D- for opposite ones), so what its errors do to a run
depends on which d occur there. Counts are kept apart by phase, "forward", "backward" and "update" (of weights and
other state), and by kind, "sums" (matrix products, convolutions, reductions: in the accumulator) and "elements"
(elementwise operators: in the operands' format). The file distances.json of a run folder holds them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slipstick.errors import SpecificationError
from slipstick.formats import LNS

Phase = Literal["forward", "backward", "update"]
Kind = Literal["sums", "elements"]
Counts = NDArray[np.float64]

FILE_NAME = "distances.json"
OCTAVES = 24
"""Distances from 24 octaves on share the last bin: D+ and D- of correct rounding are 0 from F + 3 octaves on."""


def bins(frac_bits: int) -> int:
    """Length of the arrays of counts: one bin for every d from 0 to 24 * 2^F, in LSBs."""
    return (OCTAVES << frac_bits) + 1


@dataclass(frozen=True, eq=False)
class DistanceHistogram:
    """Numbers of additions by d.

    frac_bits: F of the format that was added in; d counts in its LSBs, 2^-F octaves.
    plus, minus: additions of operands of equal and of opposite sign at d = 0 .. 24 * 2^F; the last bin holds all
        larger d. Estimated from samples, so they need not be whole.
    zero: additions in which an operand was zero. They have no d.
    """

    frac_bits: int
    plus: Counts
    minus: Counts
    zero: float = 0.0

    def __post_init__(self) -> None:
        LNS(1, self.frac_bits)  # refuses frac_bits out of range
        for name in ("plus", "minus"):
            counts = np.asarray(getattr(self, name), np.float64)
            if counts.shape != (bins(self.frac_bits),):
                raise SpecificationError(
                    f"DistanceHistogram({name}): has shape {counts.shape}; "
                    f"frac_bits={self.frac_bits} needs {bins(self.frac_bits)} bins"
                )
            _check_counts(name, counts)
            object.__setattr__(self, name, counts)
        _check_counts("zero", np.asarray(self.zero, np.float64))

    @classmethod
    def empty(cls, frac_bits: int) -> "DistanceHistogram":
        """No additions."""
        return cls(frac_bits, np.zeros(bins(frac_bits)), np.zeros(bins(frac_bits)))

    @property
    def additions(self) -> float:
        """All of them, those with a zero operand included."""
        return float(self.plus.sum() + self.minus.sum() + self.zero)

    def merge(self, other: "DistanceHistogram") -> "DistanceHistogram":
        """The sum of both. Raises SpecificationError unless they count in the same LSBs."""
        if self.frac_bits != other.frac_bits:
            raise SpecificationError(
                f"distances with frac_bits={self.frac_bits} and {other.frac_bits} do not add up; use one of them"
            )
        return DistanceHistogram(
            self.frac_bits, self.plus + other.plus, self.minus + other.minus, self.zero + other.zero
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; zeros at the end of the counts are left out."""
        return {
            "frac_bits": self.frac_bits,
            "plus": np.trim_zeros(self.plus, "b").tolist(),
            "minus": np.trim_zeros(self.minus, "b").tolist(),
            "zero": self.zero,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "DistanceHistogram":
        """Inverse of ``to_dict``. Raises SpecificationError for anything else."""
        try:
            frac_bits = LNS(1, data["frac_bits"]).frac_bits
            plus, minus = (_padded(name, data[name], frac_bits) for name in ("plus", "minus"))
            (zero,) = _numbers("zero", [data["zero"]])
            return cls(frac_bits, plus, minus, zero)
        except KeyError as missing:
            raise SpecificationError(f"a histogram of distances needs the key {missing}") from None
        except (TypeError, OverflowError) as error:
            raise SpecificationError(f"not a histogram of distances: {error}") from None


@dataclass(frozen=True, eq=False)
class RecordedDistances:
    """What was measured in a training run.

    format: of the operands. steps: how many training steps were looked at; counts are of these, not of the whole run.
    parts: a histogram for every phase and kind that had additions. Each counts in LSBs of the format that it was added
        in, which is finer where the accumulator or the update is.
    """

    format: LNS
    steps: int = 0
    parts: Mapping[tuple[Phase, Kind], DistanceHistogram] = field(default_factory=dict)

    def merge(self, other: "RecordedDistances") -> "RecordedDistances":
        """Both together. Raises SpecificationError unless they are of the same formats."""
        if self.format != other.format:
            raise SpecificationError(f"distances of {self.format} and of {other.format} do not add up; use one of them")
        parts = dict(self.parts)
        for key, part in other.parts.items():
            parts[key] = parts[key].merge(part) if key in parts else part
        return RecordedDistances(self.format, self.steps + other.steps, parts)

    def select(self, phases: Sequence[Phase], kinds: Sequence[Kind]) -> DistanceHistogram:
        """The sum of the chosen parts. Raises SpecificationError where they hold nothing or count in unequal LSBs."""
        _check_names("phases", phases, get_args(Phase))
        _check_names("kinds", kinds, get_args(Kind))
        chosen = [(key, part) for key, part in self.parts.items() if key[0] in phases and key[1] in kinds]
        if not chosen:
            raise SpecificationError(f"holds no {' or '.join(kinds)} of {' or '.join(phases)}; choose others")
        (first, total), *rest = chosen
        for key, part in rest:
            if part.frac_bits != total.frac_bits:
                raise SpecificationError(
                    f"{' '.join(first)} were added with frac_bits={total.frac_bits}, {' '.join(key)} with "
                    f"{part.frac_bits}; choose phases and kinds of one format"
                )
            total = total.merge(part)
        return total

    def to_dict(self) -> dict[str, Any]:
        phases: dict[str, dict[str, Any]] = {phase: {} for phase in get_args(Phase)}
        for (phase, kind), part in self.parts.items():
            phases[phase][kind] = part.to_dict()
        return {
            "format": self.format.to_dict(),
            "frac_bits": self.format.frac_bits,
            "steps": self.steps,
            "phases": phases,
        }

    def to_json(self) -> str:
        """The text of a distances.json."""
        return json.dumps(self.to_dict()) + "\n"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RecordedDistances":
        """Inverse of ``to_dict``. Raises SpecificationError for anything else."""
        try:
            format, steps = LNS(**data["format"]), data["steps"]
            parts = {
                (phase, kind): DistanceHistogram.from_dict(part)
                for phase, kinds in data["phases"].items()
                for kind, part in kinds.items()
            }
        except KeyError as missing:
            raise SpecificationError(f"recorded distances need the key {missing}") from None
        except (TypeError, AttributeError) as error:
            raise SpecificationError(f"not recorded distances: {error}") from None
        _check_names("phases", [phase for phase, _ in parts], get_args(Phase))
        _check_names("kinds", [kind for _, kind in parts], get_args(Kind))
        if type(steps) is not int or steps < 0:
            raise SpecificationError(f"steps = {steps!r}: must be a number of training steps")
        if data.get("frac_bits") != format.frac_bits:
            raise SpecificationError(f"frac_bits = {data.get('frac_bits')!r}: the format {format} says otherwise")
        return cls(format, steps, parts)


def read_distances(path: Path | str) -> RecordedDistances:
    """From a distances.json or the run folder it lies in. Raises SpecificationError where there is none to read."""
    file = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
    try:
        return RecordedDistances.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SpecificationError(f"{file}: no such file; `slipstick train ... --record-d` writes one") from None
    except (OSError, ValueError) as error:
        raise SpecificationError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None


def load_distances(
    path: Path | str,
    phases: Sequence[Phase] = ("forward", "backward"),
    kinds: Sequence[Kind] = ("sums", "elements"),
) -> DistanceHistogram:
    """The sum of the chosen parts of a distances.json (or of the one in a run folder), not normalised.

    Raises SpecificationError where there is none, and where the chosen parts hold nothing or count in unequal LSBs.
    """
    recorded = read_distances(path)
    try:
        return recorded.select(phases, kinds)
    except SpecificationError as error:
        raise SpecificationError(f"{path}: {error}") from None


def _padded(name: str, given: Any, frac_bits: int) -> Counts:
    """Counts with the zeros at the end that ``to_dict`` leaves out."""
    numbers = _numbers(name, given)
    missing = bins(frac_bits) - len(numbers)
    if missing < 0:
        raise SpecificationError(f"{name}: {len(numbers)} counts, but frac_bits={frac_bits} has {bins(frac_bits)} bins")
    return np.array([*numbers, *[0.0] * missing])


def _numbers(name: str, given: Any) -> list[float]:
    if not isinstance(given, list) or not all(type(count) in (int, float) for count in given):
        raise SpecificationError(f"{name}: {str(given)[:40]} where counts are due")
    return [float(count) for count in given]


def _check_counts(name: str, counts: Counts) -> None:
    wrong = ~np.isfinite(counts) | (counts < 0)
    if bool(wrong.any()):
        value = counts.ravel()[np.flatnonzero(wrong)[0]]
        raise SpecificationError(f"{name}: {value} is no number of additions; counts are 0 or more")


def _check_names(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise SpecificationError(f"{what}: {name!r} is none; known are {', '.join(known)}")
