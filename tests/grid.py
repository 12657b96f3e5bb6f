"""The grid of logarithmic numbers, computed with 80 digits and without the project's own tables."""

from functools import lru_cache

import mpmath
import numpy as np
from numpy.typing import NDArray

from slipstick import LNS

MANTISSA_BITS = {np.float32: 23, np.float64: 52}


@lru_cache(maxsize=64)
def threshold_mantissas(frac_bits: int, mantissa_bits: int, sampled: int | None = None) -> NDArray[np.int64]:
    """floor(2^((2k+1) / 2^(F+1)) 2^mantissa_bits): the last float below each threshold of one octave, as an integer.

    k = 0 .. 2^F - 1, or ``sampled`` of them, evenly spread with both ends.
    """
    with mpmath.workdps(80):
        scale = mpmath.mpf(2) ** mantissa_bits
        values = [
            int(mpmath.floor(mpmath.power(2, mpmath.mpf(2 * int(k) + 1) / (2 << frac_bits)) * scale))
            for k in threshold_indices(frac_bits, sampled)
        ]
    return np.array(values, np.int64)


def threshold_indices(frac_bits: int, sampled: int | None = None) -> NDArray[np.int64]:
    """The k of ``threshold_mantissas``."""
    count = 1 << frac_bits
    if sampled is None or sampled >= count:
        return np.arange(count, dtype=np.int64)
    return np.linspace(0, count - 1, sampled).astype(np.int64)


@lru_cache(maxsize=64)
def decoded_mantissas(frac_bits: int, sampled: int | None = None) -> NDArray[np.int64]:
    """2^(k / 2^F) rounded to 23 mantissa bits, as integers with the hidden bit."""
    with mpmath.workdps(80):
        values = [
            int(mpmath.nint(mpmath.power(2, mpmath.mpf(int(k)) / (1 << frac_bits)) * (1 << 23)))
            for k in threshold_indices(frac_bits, sampled)
        ]
    return np.array(values, np.int64)


def around_thresholds(
    format: LNS, dtype: type, sampled: int | None = None, octaves: range | None = None
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Both float neighbours of thresholds in every octave, and the logs they belong to (not yet clamped)."""
    bits = MANTISSA_BITS[dtype]
    below = threshold_mantissas(format.frac_bits, bits, sampled)
    k = threshold_indices(format.frac_bits, sampled)
    reach = 1 << format.int_bits
    octaves = octaves if octaves is not None else range(-reach - 2, reach + 2)
    octave = np.array(octaves, np.int64)[:, None]
    mantissas = np.concatenate([below, below + 1])
    logs = np.concatenate([k, k + 1]) + (octave << format.frac_bits)
    floats = np.ldexp(mantissas.astype(np.float64), octave - bits)
    with np.errstate(over="ignore", under="ignore"):
        return floats.astype(dtype).ravel(), logs.ravel()


def clamped(logs: NDArray[np.int64], format: LNS) -> NDArray[np.int64]:
    """Logs after the format's saturation and underflow."""
    lowest = -format.max_log if format.underflow == "saturate" else -format.max_log - 1
    result = np.minimum(logs, format.max_log)
    return np.where(result < -format.max_log, lowest, result)


def every_code(format: LNS) -> NDArray[np.int64]:
    """Every valid public code: all patterns of W bits except zero with a sign."""
    patterns = np.arange(1 << format.width, dtype=np.int64)
    signed_zero = (1 << (format.width - 1)) | (1 << (format.width - 2))
    return patterns[patterns != signed_zero]


def random_codes(format: LNS, shape: tuple[int, ...] | int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Uniform valid codes, zero among them."""
    codes = rng.integers(0, 1 << format.width, shape, dtype=np.int64)
    signed_zero = (1 << (format.width - 1)) | (1 << (format.width - 2))
    return np.where(codes == signed_zero, 1 << (format.width - 2), codes)
