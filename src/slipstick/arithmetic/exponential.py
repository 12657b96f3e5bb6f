"""The exponential as a table design: piece-wise linear in the integer log of its argument.

For |x| = 2^(L / 2^F) the log of exp(-|x|), in LSBs, is

    E(L) = 2^F log2(exp(-|x|)) = -2^F log2(e) 2^(L / 2^F)

whose slope is exactly -2^(L / 2^F), a power of two in the middle of every octave. Hamad et al. 2025 (arXiv 2510.17058)
use 256 segments with such slopes in their softmax. Seen from the top, d = origin - L, E has the shape of D-: negative,
rising, 0 from some d on. So the ``Segments`` of an adder serve, and one piece of hardware does for both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Segments
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

NAMES = ("exact", "designed")

OUT_OF_RANGE = -(1 << 30)
"""Log of an exp(-|x|) that lies beyond the table: below the range of every format."""

_MAX_FRAC_BITS = 16
_LOWEST_LOG = -(1 << 26)  # LNS(10, 16), the widest format, ends there


@dataclass(frozen=True)
class ExpSegments:
    """exp by segments, in LSBs of the log, for arguments +-2^(L / 2^F) with an integer L.

    With d = origin - L and the first segment k whose bound is >= d:
        log of exp(-|x|) = offset[k] + shift(d, exponent[k])         floor shift, as in an adder's D-
        exp(-|x|) = 1                                                beyond the last bound, and for x = 0
        exp(-|x|) is below every format, so it saturates or flushes  for L > origin
        exp(|x|) has the negated log, saturating.
    frac_bits: the F whose LSBs the integers count; a table of one F means nothing in another.
    origin: the largest L of the table.
    """

    frac_bits: int
    origin: int
    segments: Segments
    kind: ClassVar[str] = "piecewise-linear"

    def __post_init__(self) -> None:
        if not _is_integer(self.frac_bits) or not 0 <= self.frac_bits <= _MAX_FRAC_BITS:
            raise SpecificationError(
                f"ExpSegments(frac_bits={self.frac_bits!r}): must be an integer from 0 to {_MAX_FRAC_BITS}"
            )
        if not _is_integer(self.origin) or abs(self.origin) >= -_LOWEST_LOG:
            raise SpecificationError(f"ExpSegments(origin={self.origin!r}): must be an integer below 2^26 in magnitude")
        if not isinstance(self.segments, Segments):
            raise SpecificationError(f"ExpSegments(segments={self.segments!r}): must be a Segments")
        self._check_values()

    def _check_values(self) -> None:
        """Values rise within a segment, so its ends bound them."""
        first = 0
        table = self.segments
        for bound, exponent, offset in zip(table.bound, table.exponent, table.offset, strict=True):
            for d in (first, bound) if first <= bound else ():
                value = offset + (d << exponent if exponent >= 0 else d >> -exponent)
                if not _LOWEST_LOG <= value <= 0:
                    raise SpecificationError(
                        f"ExpSegments: the log of exp(-|x|) at L={self.origin - d} is {value}; "
                        f"it must lie in {_LOWEST_LOG} to 0"
                    )
            first = bound + 1

    def __str__(self) -> str:
        return f"exp({len(self.segments.bound)} segments, F={self.frac_bits})"

    def check_format(self, format: LNS) -> None:
        """Raise SpecificationError unless the table counts the LSBs of ``format``."""
        if format.frac_bits != self.frac_bits:
            raise SpecificationError(
                f"{self}: designed for frac_bits={self.frac_bits}, used with {format}; "
                f"choose LNS({format.int_bits},{self.frac_bits}) or exp='exact'"
            )

    def logs(self, format: LNS) -> NDArray[np.int64]:
        """The log of exp(-|x|) for L = ``format.zero_log`` .. ``format.max_log``, not yet rounded to the format.

        The first entry is of x = 0. ``OUT_OF_RANGE`` where L > origin.
        """
        self.check_format(format)
        d = self.origin - np.arange(format.zero_log, format.max_log + 1, dtype=np.int64)
        inside = self.segments.values(np.maximum(d, 0), 1).astype(np.int64)
        logs = np.where(d < 0, OUT_OF_RANGE, inside)
        logs[0] = 0
        return logs

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "frac_bits": self.frac_bits, "origin": self.origin, **self.segments.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExpSegments":
        """The inverse of ``to_dict``. Raises SpecificationError for data of another shape."""
        known = ("kind", "frac_bits", "origin", "bound", "exponent", "offset")
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise SpecificationError(f"exp: unknown key {unknown[0]!r}; known are {', '.join(known)}")
        missing = [key for key in known[1:] if key not in data]
        if missing:
            raise SpecificationError(f"exp: the key {missing[0]!r} is missing")
        if data.get("kind", cls.kind) != cls.kind:
            raise SpecificationError(f"exp kind={data['kind']!r}: must be {cls.kind!r}")
        for key in known[3:]:
            if not isinstance(data[key], list | tuple) or not all(map(_is_integer, data[key])):
                raise SpecificationError(f"exp {key}={data[key]!r}: must be a list of integers")
        return cls(data["frac_bits"], data["origin"], Segments(*(tuple(data[key]) for key in known[3:])))


def load_exponential(path: Path | str) -> ExpSegments:
    """The table of a file that ``slipstick design-exp`` wrote. Raises SpecificationError naming the file."""
    try:
        data = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise SpecificationError(f"{path}: no such file; make one with: slipstick design-exp --out {path}") from None
    except (OSError, ValueError) as error:
        raise SpecificationError(f"{path}: is no design of an exponential ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("exp"), dict):
        raise SpecificationError(f"{path}: is no design of an exponential: the key 'exp' is missing")
    try:
        return ExpSegments.from_dict(data["exp"])
    except SpecificationError as error:
        raise SpecificationError(f"{path}: {error}") from None


def named_exponential(name: str, format: LNS) -> ExpSegments | None:
    """The table that ``name`` means for ``format``; None for "exact". Raises SpecificationError where it has none."""
    if name == "exact":
        return None
    if name != "designed":
        raise SpecificationError(
            f"exp={name!r}: no such exponential; choose one of {', '.join(NAMES)}, or a file, NAME.json"
        )
    shipped = _shipped()
    if format.frac_bits not in shipped:
        raise SpecificationError(
            f"exp={name!r}: no table for frac_bits={format.frac_bits}; it exists for {sorted(shipped)}, "
            "or use exp='exact'"
        )
    return shipped[format.frac_bits]


@lru_cache(maxsize=1)
def _shipped() -> dict[int, ExpSegments]:
    records = json.loads(files("slipstick.arithmetic").joinpath("exponentials.json").read_text())
    tables = [ExpSegments.from_dict(r["exp"]) for name, r in records.items() if not name.startswith("_")]
    return {table.frac_bits: table for table in tables}


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
