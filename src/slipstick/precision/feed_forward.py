"""EFQN where all numbers are of one kind: offsets above a minimum, the smallest that meets the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Protocol

from slipstick.errors import SpecificationError
from slipstick.precision.explanation import Reason
from slipstick.precision.layerwise import Choice
from slipstick.precision.target import unreachable


@dataclass(frozen=True)
class Minimum:
    """symbol: of the bits of the tensor that needs fewest. unit: what is counted. argument: as users give it; least,
    most: the bits that there are."""

    symbol: str
    unit: str
    argument: str
    least: int
    most: int

    def check(self, given: int) -> int:
        """The same number. Raises SpecificationError for one that it cannot be."""
        if not isinstance(given, int) or isinstance(given, bool) or not self.least <= given <= self.most:
            raise SpecificationError(f"{self.argument}={given!r}: must be an integer from {self.least} to {self.most}")
        return given


class Operand(Protocol):
    """A weight or activation before its bits are known. range_reason, bits_reason: for its ``Reason``."""

    @property
    def name(self) -> str: ...
    @property
    def range_reason(self) -> str: ...
    @property
    def bits_reason(self) -> str: ...
    def granted(self, wanted: int) -> int:
        """The bits that it gets where so many are asked for."""

    def number(self, wanted: int) -> Any:
        """What it then is made of."""

    def mismatch(self, wanted: int) -> float:
        """Its part of the predicted mismatch then."""


@dataclass(frozen=True)
class Level:
    """The bits of every weight and activation: a minimum, and by name how many more."""

    unit: Minimum
    minimum: int
    offsets: Mapping[str, int]

    def choice(self, operand: Operand) -> Choice[Any]:
        """What a tensor is made of, and why."""
        wanted, unit = self._wanted(operand), self.unit
        least = min(self.offsets, key=lambda name: self.offsets[name])
        why = (
            f"{self.offsets[operand.name]} {unit.unit} more than {least}, which needs fewest, for "
            f"{operand.bits_reason}; {unit.symbol} = {self.minimum}"
        )
        criterion, got = "EFQN", operand.granted(wanted)
        if got != wanted:
            limit = "most" if got < wanted else "fewest"
            criterion, why = "limit", f"EFQN asks for {wanted} ({why}); the {limit} are {got}"
        return operand.number(wanted), Reason(criterion, operand.range_reason, why)

    def mismatch(self, operand: Operand) -> float:
        """A tensor's part of the predicted mismatch."""
        return operand.mismatch(self._wanted(operand))

    def _wanted(self, operand: Operand) -> int:
        return self.minimum + self.offsets[operand.name]


def find_level(
    operands: Sequence[Operand], offsets: Mapping[str, int], target: float, unit: Minimum, given: int | None
) -> Level:
    """The level with the smallest minimum whose predicted mismatch is at most ``target``, or with the one given.

    Raises SpecificationError for a minimum that cannot be, and for a target out of reach.
    """
    if given is not None:
        return Level(unit, unit.check(given), offsets)
    parts: dict[str, float] = {}
    for minimum in range(unit.least, unit.most + 1):
        level = Level(unit, minimum, offsets)
        parts = {operand.name: level.mismatch(operand) for operand in operands}
        if fsum(parts.values()) <= target:
            return level
    raise unreachable(target, parts, f"{unit.most} {unit.unit}")
