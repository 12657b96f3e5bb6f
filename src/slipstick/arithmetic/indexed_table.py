"""Tables looked up by a short index of the distance: fine near zero, coarse further out, nothing beyond."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, Tables, check_frac_bits
from slipstick.arithmetic.gaussian_logarithm import CANCEL, trim_tables
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

_MAX_TOP = 1023


@dataclass(frozen=True)
class IndexForm:
    """The index min(d, base + (d >> shift), top) of a distance d.

    In hardware a shift and two selections; in a vector kernel a few instructions on bytes. Steps of 1 while d is below
    the second term, of 2^shift above. The class ``top`` has no upper end.
    """

    shift: int
    base: int
    top: int

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 16 or not 0 <= self.base <= self.top <= _MAX_TOP or self.top < 1:
            raise SpecificationError(f"{self!r}: needs shift in 0..16 and base <= top, top in 1..{_MAX_TOP}")

    def __str__(self) -> str:
        return f"min(d, {self.base} + (d >> {self.shift}), {self.top})"

    def of(self, d: NDArray[np.int64]) -> NDArray[np.int64]:
        """The classes of distances."""
        classes: NDArray[np.int64] = np.minimum(np.minimum(d, self.base + (d >> self.shift)), self.top)
        return classes

    @property
    def end(self) -> int:
        """The first distance of the class ``top``."""
        return max(self.top, max(self.top - self.base, 0) << self.shift)

    def to_dict(self) -> dict[str, int]:
        return {"shift": self.shift, "base": self.base, "top": self.top}


@dataclass(frozen=True)
class IndexedTable(Adder):
    """D+ and D- as look-up tables of ``index.top + 1`` entries, indexed by a class of d.

    frac_bits: the F whose LSBs the entries count. plus, minus: the entry of each class; the last of both is 0, and
        minus[0] is unused. A class may not join d = 0, which cancels, with other distances.
    """

    frac_bits: int
    index: IndexForm
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    kind: ClassVar[str] = "indexed-table"

    def __post_init__(self) -> None:
        entries = self.index.top + 1
        if len(self.plus) != entries or len(self.minus) != entries:
            raise SpecificationError(
                f"IndexedTable: the index {self.index} needs {entries} entries, not {len(self.plus)} and "
                f"{len(self.minus)}"
            )
        if self.plus[-1] != 0 or self.minus[-1] != 0:
            raise SpecificationError("IndexedTable: the last entry has no upper end and must be 0")
        if self.index.base < 1 and self.index.shift > 0:
            raise SpecificationError(
                f"IndexedTable(index={self.index}): base must be 1 or more, d = 0 is a class of its own"
            )

    def __str__(self) -> str:
        return f"indexed-table({self.index.top + 1} entries, F={self.frac_bits})"

    def tables(self, format: LNS) -> Tables:
        check_frac_bits(self, self.frac_bits, format)
        index = self.index.of(np.arange(self.index.end + 2, dtype=np.int64))
        plus = np.asarray(self.plus, np.int32)[index]
        minus = np.asarray(self.minus, np.int32)[index]
        minus[0] = CANCEL
        return trim_tables(plus, minus)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "frac_bits": self.frac_bits,
            "index": self.index.to_dict(),
            "plus": list(self.plus),
            "minus": list(self.minus),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "IndexedTable":
        index = IndexForm(*(int(data["index"][key]) for key in ("shift", "base", "top")))
        plus, minus = (tuple(int(v) for v in data[key]) for key in ("plus", "minus"))
        return cls(int(data["frac_bits"]), index, plus, minus)
