"""The Gaussian logarithms 2^F log2(1 +- 2^(-d / 2^F)), correctly rounded to integers.

They are what an addition of logarithmic numbers needs: log2(2^a +- 2^b) = a + log2(1 +- 2^-(a - b)) for a >= b.
float64 decides all but a few values; those within 1e-6 of a tie are settled with 60 digits.
"""

from functools import lru_cache

import mpmath
import numpy as np
from numpy.typing import NDArray

CANCEL = -(1 << 30)
"""Entry of a D- table that stands for "the result is zero"."""

_TIE_GUARD = 1e-6


def _exact(sign: int, d: int, frac_bits: int) -> int:
    with mpmath.workdps(60):
        ratio = mpmath.power(2, -mpmath.mpf(d) / (1 << frac_bits))
        value = mpmath.log(1 + sign * ratio, 2) * (1 << frac_bits)
        return int(mpmath.floor(value + mpmath.mpf("0.5")))


def gaussian_logarithm(sign: int, d: NDArray[np.int64], frac_bits: int) -> NDArray[np.int32]:
    """Nearest integers to 2^F log2(1 + sign 2^(-d/2^F)); d > 0 where sign is -1."""
    scale = float(1 << frac_bits)
    real = scale / np.log(2.0) * np.log1p(sign * np.exp2(-d / scale))
    nearest: NDArray[np.int32] = np.floor(real + 0.5).astype(np.int32)
    close = np.abs(np.abs(real - np.floor(real)) - 0.5) < _TIE_GUARD
    for i in np.flatnonzero(close):
        nearest[i] = _exact(sign, int(d[i]), frac_bits)
    return nearest


@lru_cache(maxsize=32)
def exact_tables(frac_bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """D+[0..n] and D-[0..n] of correctly rounded addition; D-[0] cancels."""
    d = np.arange((frac_bits + 3) << frac_bits, dtype=np.int64)
    plus = gaussian_logarithm(1, d, frac_bits)
    minus = np.concatenate([[CANCEL], gaussian_logarithm(-1, d[1:], frac_bits)]).astype(np.int32)
    return trim_tables(plus, minus)


def trim_tables(plus: NDArray[np.int32], minus: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cut both tables after n, the first d from which both are 0; both must end in a 0."""
    live = np.flatnonzero((plus != 0) | (minus != 0))
    n = int(live[-1]) + 1 if live.size else 0
    plus, minus = plus[: n + 1].copy(), minus[: n + 1].copy()
    plus.setflags(write=False)
    minus.setflags(write=False)
    return plus, minus
