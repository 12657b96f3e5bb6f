"""What an adder should return, the Gaussian logarithms themselves, and how far its two tables are from them.

Everything counts LSBs of the log: the target is 2^F log2(1 +- 2^(-d/2^F)) over d = 0 .. 12 * 2^F for D+, 1 .. 12 * 2^F
for D-, the domain of Hamad et al. 2025. Targets are fixed-point integers with ``FRACTION_BITS`` bits below the LSB, so
that a design does not depend on a machine's libm.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache

import mpmath
import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, Tables
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

DOMAIN_OCTAVES = 12
FRACTION_BITS = 20
FRAC_BITS = range(1, 13)

_DIGITS = 40


@dataclass(frozen=True, eq=False)
class Target:
    """A function of an integer distance on its domain.

    sign: +1 for D+, which falls; -1 for D-, which rises. distance: d, consecutive integers. nearest: the function
    rounded to an integer. remainder: the function minus ``nearest``, in units of 2^-FRACTION_BITS.
    """

    sign: int
    frac_bits: int
    distance: NDArray[np.int64]
    nearest: NDArray[np.int64]
    remainder: NDArray[np.int64]

    @property
    def first(self) -> int:
        """The smallest distance: 0 for D+, 1 for D-."""
        return int(self.distance[0])

    @property
    def real(self) -> NDArray[np.float64]:
        """The function itself, in LSBs."""
        exact: NDArray[np.float64] = self.nearest + self.remainder / float(1 << FRACTION_BITS)
        return exact

    def on_domain(self, table: NDArray[np.int32]) -> NDArray[np.int64]:
        """A table that begins at distance 0, continued by zeros, at the distances of the domain."""
        values = np.zeros(int(self.distance[-1]) + 1, dtype=np.int64)
        values[: len(table)] = table[: len(values)]
        return values[self.distance]


@dataclass(frozen=True)
class TableErrors:
    """Error of one table over its domain, in LSBs: root mean square, mean (table minus target), largest magnitude."""

    rms: float
    bias: float
    max: float

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


Weighing = Callable[[Target], NDArray[np.float64]]


@lru_cache(maxsize=32)
def gaussian_target(sign: int, frac_bits: int) -> Target:
    """D+ (sign +1) or D- (sign -1) for ``frac_bits`` from 1 to 12, rounded from 40 digits."""
    if sign not in (1, -1):
        raise SpecificationError(f"gaussian_target(sign={sign!r}): must be +1 or -1")
    if frac_bits not in FRAC_BITS:
        raise SpecificationError(
            f"gaussian_target(frac_bits={frac_bits!r}): must be from {FRAC_BITS[0]} to {FRAC_BITS[-1]}"
        )
    one = 1 << frac_bits
    distance = np.arange(0 if sign > 0 else 1, DOMAIN_OCTAVES * one + 1, dtype=np.int64)
    with mpmath.workdps(_DIGITS):
        scaled = [
            int(
                mpmath.nint(
                    mpmath.log(1 + sign * mpmath.power(2, -mpmath.mpf(int(d)) / one), 2) * (one << FRACTION_BITS)
                )
            )
            for d in distance
        ]
    return fixed_point_target(sign, frac_bits, distance, np.array(scaled, dtype=np.int64))


def fixed_point_target(sign: int, frac_bits: int, distance: NDArray[np.int64], scaled: NDArray[np.int64]) -> Target:
    """A target from its values in units of 2^-FRACTION_BITS LSB."""
    nearest = (scaled + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS
    return Target(sign, frac_bits, distance, nearest, scaled - (nearest << FRACTION_BITS))


def table_errors(table: NDArray[np.int32], target: Target, weights: NDArray[np.float64] | None = None) -> TableErrors:
    """Errors of D+[0..n] or D-[0..n], continued by zeros, against ``target``.

    weights: of each distance of the domain, with mean 1; they count for the mean and the mean square. Default: all 1.
    """
    error = (target.on_domain(table) - target.nearest) - target.remainder / float(1 << FRACTION_BITS)
    weighted = error if weights is None else weights * error
    mean_square = float((weighted * error).mean())
    return TableErrors(mean_square**0.5, float(weighted.mean()), float(np.abs(error).max()))


def adder_errors(adder: Adder, frac_bits: int) -> tuple[TableErrors, TableErrors]:
    """Errors of both tables of ``adder``, every distance counting the same, D+ then D-."""
    return pair_errors(adder.tables(LNS(int_bits=5, frac_bits=frac_bits)), frac_bits)


def pair_errors(tables: Tables, frac_bits: int, weights: Weighing | None = None) -> tuple[TableErrors, TableErrors]:
    """Errors of D+ and of D-. weights: of the distances of a target; default: every distance counts the same."""
    plus, minus = (
        table_errors(table, target, None if weights is None else weights(target))
        for table, target in zip(tables, (gaussian_target(sign, frac_bits) for sign in (1, -1)), strict=True)
    )
    return plus, minus
