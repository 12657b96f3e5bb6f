"""What an adder should return, the Gaussian logarithms themselves, and how far its two tables are from them.

Everything counts LSBs of the log: the target is 2^F log2(1 +- 2^(-d/2^F)) over d = 0 .. 12 * 2^F for D+, 1 .. 12 * 2^F
for D-, the domain of Hamad et al. 2025. Targets are fixed-point integers with ``FRACTION_BITS`` bits below the LSB, so
that sums of squares are exact and a design does not depend on a machine's libm.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from math import sqrt

import mpmath
import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

DOMAIN_OCTAVES = 12
FRACTION_BITS = 20

_MAX_FRAC_BITS = 8
_DIGITS = 40


@dataclass(frozen=True, eq=False)
class Target:
    """One of the two functions on its domain.

    sign: +1 for D+, -1 for D-. distance: d. nearest: the function rounded to an integer. remainder: the function minus
    ``nearest``, in units of 2^-FRACTION_BITS.
    """

    sign: int
    frac_bits: int
    distance: NDArray[np.int64]
    nearest: NDArray[np.int64]
    remainder: NDArray[np.int64]


@dataclass(frozen=True)
class TableErrors:
    """Error of one table over its domain, in LSBs: root mean square, mean (table minus target), largest magnitude."""

    rms: float
    bias: float
    max: float

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


@lru_cache(maxsize=16)
def gaussian_target(sign: int, frac_bits: int) -> Target:
    """D+ (sign +1) or D- (sign -1) for ``frac_bits`` from 1 to 8, rounded from 40 digits."""
    if sign not in (1, -1):
        raise SpecificationError(f"gaussian_target(sign={sign!r}): must be +1 or -1")
    if not 1 <= frac_bits <= _MAX_FRAC_BITS:
        raise SpecificationError(f"gaussian_target(frac_bits={frac_bits!r}): must be from 1 to {_MAX_FRAC_BITS}")
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
    fixed = np.array(scaled, dtype=np.int64)
    nearest = (fixed + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS
    return Target(sign, frac_bits, distance, nearest, fixed - (nearest << FRACTION_BITS))


def table_errors(table: NDArray[np.int32], target: Target) -> TableErrors:
    """Errors of D+[0..n] or D-[0..n], continued by zeros, against ``target``."""
    values = np.zeros(int(target.distance[-1]) + 1, dtype=np.int64)
    values[: len(table)] = table[: len(values)]
    fixed = (((values[target.distance] - target.nearest) << FRACTION_BITS) - target.remainder).tolist()
    unit = 1 << FRACTION_BITS
    mean_square = sum(error * error for error in fixed) / (len(fixed) * unit * unit)
    return TableErrors(sqrt(mean_square), sum(fixed) / (len(fixed) * unit), max(map(abs, fixed)) / unit)


def adder_errors(adder: Adder, frac_bits: int) -> tuple[TableErrors, TableErrors]:
    """Errors of both tables of ``adder``, D+ then D-."""
    plus, minus = adder.tables(LNS(int_bits=5, frac_bits=frac_bits))
    return (
        table_errors(plus, gaussian_target(1, frac_bits)),
        table_errors(minus, gaussian_target(-1, frac_bits)),
    )
