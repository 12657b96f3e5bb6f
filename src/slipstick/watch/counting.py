"""How many elements of a tensor are zero, at the ends of its format, and in each octave.

One pass over the exponent fields of float32 carriers finds the octaves; a second one only where some element may be
zero or at an end of the format.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

_PIECE = 1 << 17  # elements; the temporaries of a piece stay in cache
_FIELDS = 256  # values of the exponent field of float32
_BIAS = 127
_NON_FINITE = 255
_SLACK = 2.0**-22  # relative; scaled numbers are rounded. Neighbours of log formats differ by more than 2^-17


class Ends(Protocol):
    """What a number format says of its ends."""

    @property
    def largest(self) -> float: ...

    @property
    def smallest(self) -> float: ...


@dataclass(frozen=True)
class Grid:
    """The largest and the smallest positive magnitude of a tensor's format, numbers or tensors that broadcast to it."""

    largest: float | torch.Tensor
    smallest: float | torch.Tensor

    @classmethod
    def of(cls, format: Ends, scale: torch.Tensor | None = None) -> "Grid":
        """Of a format whose numbers are multiplied by ``scale``."""
        largest, smallest = format.largest * (1 - _SLACK), format.smallest * (1 + _SLACK)
        return cls(largest, smallest) if scale is None else cls(scale * largest, scale * smallest)


@dataclass
class Counts:
    """Of some elements: those that are zero, of the largest magnitude, of the smallest, and in [2^k, 2^(k+1)) by k."""

    count: int = 0
    zero: int = 0
    saturated: int = 0
    underflow: int = 0
    octaves: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Counts") -> None:
        self.count += other.count
        self.zero += other.zero
        self.saturated += other.saturated
        self.underflow += other.underflow
        for octave, number in other.octaves.items():
            self.octaves[octave] = self.octaves.get(octave, 0) + number

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "octaves": {str(k): self.octaves[k] for k in sorted(self.octaves)}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Counts":
        octaves = {int(k): n for k, n in data["octaves"].items()}
        return cls(data["count"], data["zero"], data["saturated"], data["underflow"], octaves)


def count(x: torch.Tensor, grid: Grid | None = None) -> Counts:
    """Look at every element of ``x`` (float32 or float64). Without a grid nothing is at its ends.

    Call it where no arithmetic is in force.
    """
    x = x.detach()
    x = (x if x.dtype == torch.float32 else x.float()).contiguous()
    fields = _exponent_fields(x)
    octaves = {k - _BIAS: n for k, n in enumerate(fields) if n and 0 < k < _NON_FINITE}
    zero = x.numel() - int(torch.count_nonzero(x)) if fields[0] else 0
    if fields[0] > zero:
        _add_subnormal(octaves, x)
    counts = Counts(x.numel(), zero, 0, 0, octaves)
    if grid is not None and x.numel() > zero:
        top, bottom = _reaches(octaves, grid)
        if top:
            counts.saturated = int(torch.count_nonzero(x.abs() >= grid.largest))
        if bottom:
            counts.underflow = int(torch.count_nonzero((x.abs() <= grid.smallest) & (x != 0)))
    return counts


def _exponent_fields(x: torch.Tensor) -> list[int]:
    """How often each exponent field occurs."""
    bits = x.view(torch.int32).view(-1)
    found = torch.zeros(_FIELDS, dtype=torch.int64, device=x.device)
    for piece in bits.split(_PIECE):
        found += torch.bincount((piece >> 23) & (_FIELDS - 1), minlength=_FIELDS)
    numbers: list[int] = found.tolist()
    return numbers


def _add_subnormal(octaves: dict[int, int], x: torch.Tensor) -> None:
    small = x[(x.abs() < 2.0 ** (1 - _BIAS)) & (x != 0)]
    for exponent, number in zip(*torch.frexp(small.double())[1].unique(return_counts=True), strict=True):
        octaves[int(exponent) - 1] = int(number)


def _reaches(octaves: Mapping[int, int], grid: Grid) -> tuple[bool, bool]:
    """Whether any element can be as large as the grid's largest, and as small as its smallest, magnitude."""
    if not octaves:  # what is not zero is infinite
        return True, False
    low, high = 2.0 ** min(octaves), 2.0 ** (max(octaves) + 1)
    if isinstance(grid.largest, torch.Tensor) or isinstance(grid.smallest, torch.Tensor):
        return high >= float(torch.as_tensor(grid.largest).min()), low <= float(torch.as_tensor(grid.smallest).max())
    return high >= grid.largest, low <= grid.smallest
