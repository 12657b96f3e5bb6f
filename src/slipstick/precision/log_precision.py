"""Logarithmic numbers of one tensor, as ``assignment.Precision`` is of fixed-point ones."""

import math
from dataclasses import dataclass, replace

from slipstick.errors import SpecificationError
from slipstick.formats import ScaledLNS
from slipstick.formats.quantiser import check_integer

MOST_INT_BITS = 6
"""Of logs; 2^(1+6) octaves are what float32 holds."""

MOST_FRAC_BITS = 16

_LN2 = math.log(2)


@dataclass(frozen=True)
class LogPrecision:
    """LNS(int_bits, frac_bits) times a power of two: zero, and magnitudes from range 2^-(2^(1+int_bits)) to range, both
    excluded, neighbours a factor of 2^(2^-frac_bits) apart.

    int_bits: 0 to 6. frac_bits: 0 to 16. range: a power of two. signed: with a sign; without it there are no negative
    numbers. All magnitudes must be normal float32 numbers.
    """

    int_bits: int
    frac_bits: int
    range: float
    signed: bool = True

    def __post_init__(self) -> None:
        check_integer("LogPrecision", "int_bits", self.int_bits, 0, MOST_INT_BITS)
        if not 0 < self.range < math.inf or math.frexp(self.range)[0] != 0.5:
            raise SpecificationError(f"{self}: range must be a power of two")
        _ = self.format  # refuses what float32 does not hold

    @property
    def bits(self) -> int:
        """Of a code: the sign, that of the log, int_bits, frac_bits."""
        return self.log_bits + self.signed

    @property
    def log_bits(self) -> int:
        """Of the log."""
        return 1 + self.int_bits + self.frac_bits

    @property
    def relative_step(self) -> float:
        """s = ln 2 2^-frac_bits: near what neighbours differ by, in units of themselves."""
        return math.ldexp(_LN2, -self.frac_bits)

    @property
    def smallest(self) -> float:
        """The smallest magnitude; more than half a step below it, in the logarithm, is zero."""
        return math.ldexp(self.range, -(2 << self.int_bits)) * math.exp(self.relative_step)

    @property
    def format(self) -> ScaledLNS:
        """The format whose numbers these are."""
        exponent = math.frexp(self.range)[1] - 1 - (1 << self.int_bits)
        return ScaledLNS(self.int_bits, self.frac_bits, exponent, self.signed)

    def widened(self, bits: int) -> "LogPrecision":
        """With so many fraction bits more, within what a format can have."""
        return replace(self, frac_bits=min(max(self.frac_bits + bits, 0), MOST_FRAC_BITS))

    def describe(self) -> str:
        """Bits, format and magnitudes."""
        least = math.ldexp(self.range, -(2 << self.int_bits))
        signs = "" if self.signed else ", no negative numbers"
        return (
            f"{self.bits} bits, LNS({self.int_bits},{self.frac_bits}), magnitudes {power(least)} to "
            f"{power(self.range)}{signs}"
        )


def power(x: float) -> str:
    """A power of two as text."""
    return f"2^{math.frexp(x)[1] - 1}"
