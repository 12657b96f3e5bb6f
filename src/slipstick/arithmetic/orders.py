"""Orders of summation. They are part of an arithmetic: a log-domain sum depends on its order."""

from dataclasses import dataclass
from typing import Any, ClassVar

from slipstick.errors import SpecificationError


@dataclass(frozen=True)
class Order:
    """Base of all orders."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.__dict__}


@dataclass(frozen=True)
class Sequential(Order):
    """Term after term, from zero."""

    kind: ClassVar[str] = "sequential"

    def __str__(self) -> str:
        return "Sequential"


@dataclass(frozen=True)
class Tree(Order):
    """Consecutive blocks of ``radix`` terms (a power of two), each folded by halves; the block sums likewise.

    Hamad et al. 2025 use radix 16. Missing terms are zero.
    """

    radix: int = 16
    kind: ClassVar[str] = "tree"

    def __post_init__(self) -> None:
        if type(self.radix) is not int or not 2 <= self.radix <= 4096 or self.radix & (self.radix - 1):
            raise SpecificationError(f"Tree(radix={self.radix!r}): must be a power of two from 2 to 4096")

    def __str__(self) -> str:
        return f"Tree({self.radix})"


@dataclass(frozen=True)
class Blocked(Order):
    """Consecutive blocks of ``length`` terms, each summed term after term from zero; block sums by Tree(16)."""

    length: int = 64
    kind: ClassVar[str] = "blocked"

    def __post_init__(self) -> None:
        if type(self.length) is not int or not 1 <= self.length <= 65536:
            raise SpecificationError(f"Blocked(length={self.length!r}): must be an integer from 1 to 65536")

    def __str__(self) -> str:
        return f"Blocked({self.length})"
