"""RoundedArithmetic: compute in float32, round every result. A baseline, not hardware."""

from dataclasses import dataclass
from typing import Any, ClassVar

from slipstick.errors import SpecificationError
from slipstick.formats import LNS, FixedPoint


@dataclass(frozen=True)
class RoundedArithmetic:
    """Each operator is computed in float32 by PyTorch and its floating outputs are rounded to ``format``.

    format: an LNS, or a FixedPoint: linear arithmetic whose sums are exact and rounded once.
    It promises no equality across instruction sets or thread counts: PyTorch's own sums differ there.
    """

    format: LNS | FixedPoint
    kind: ClassVar[str] = "rounded"

    def __post_init__(self) -> None:
        if not isinstance(self.format, LNS | FixedPoint):
            raise SpecificationError(f"RoundedArithmetic(format={self.format!r}): must be an LNS or a FixedPoint")
        if isinstance(self.format, LNS) and not self.format.fits_float32:
            raise SpecificationError(f"RoundedArithmetic(format={self.format}): needs int_bits <= 6")

    def __str__(self) -> str:
        return f"{self.format} rounded float32"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "format": self.format.to_dict()}
