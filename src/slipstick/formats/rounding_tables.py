"""Exact tables that turn float bits into log codes and back.

The logarithm of a float is irrational unless the float is a power of two, so "nearest integer to
2^F log2|x|" never ties: it is decided by comparing the mantissa with 2^((2k+1)/2^(F+1)). Those thresholds
are computed here with integers of 256 bits, so every result is correctly rounded by construction.

A comparison costs a search. Instead the mantissa's top bits choose a bucket that holds at most one threshold,
and each bucket stores the offset that makes a plain carry do the comparison:

    L + (bias << F)  =  (bits + offset[bucket]) >> (mantissa_bits - F)
"""

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

PRECISION = 256

FLOAT_MANTISSA_BITS = 23
DOUBLE_MANTISSA_BITS = 52


@dataclass(frozen=True, eq=False)
class EncodeTable:
    """Offsets that round a float's magnitude bits to a log with ``frac_bits`` fraction bits.

    ``offsets[(bits >> bucket_shift) & (len(offsets) - 1)]`` belongs to the bucket of ``bits``.
    """

    offsets: NDArray[np.int64]
    bucket_shift: int
    frac_bits: int
    mantissa_bits: int

    def logs(self, bits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Unclamped logs L of magnitude bits (sign bit cleared); meaningless for zero and NaN."""
        bias = (1 << (7 if self.mantissa_bits == FLOAT_MANTISSA_BITS else 10)) - 1
        bucket = (bits >> self.bucket_shift) & (len(self.offsets) - 1)
        rounded: NDArray[np.int64] = (bits + self.offsets[bucket]) >> (self.mantissa_bits - self.frac_bits)
        return rounded - (bias << self.frac_bits)


@lru_cache(maxsize=32)
def powers_of_two(steps_log2: int) -> tuple[int, ...]:
    """2^(j / 2^steps_log2) for j = 0 .. 2^steps_log2, scaled by 2^256, each within 2^-200 of the truth."""
    root = 2 << PRECISION
    for _ in range(steps_log2):
        root = isqrt(root << PRECISION)
    values = [1 << PRECISION]
    for _ in range(1 << steps_log2):
        values.append((values[-1] * root) >> PRECISION)
    return tuple(values)


def _threshold(index: int, steps_log2: int, mantissa_bits: int) -> int:
    """Smallest mantissa (hidden bit removed) at or above 2^(index / 2^steps_log2), index odd."""
    power = powers_of_two(steps_log2)[index]
    shift = PRECISION - mantissa_bits
    return -(-power >> shift) - (1 << mantissa_bits)


def _crossing(k: int, octave_odd: bool, frac_bits: int, via: int) -> int:
    """Index of the half step of the ``via`` grid where the rounded log moves from k to k + 1.

    Without narrowing that is the half step above k. With narrowing by s = via - frac_bits bits (nearest, ties to
    even), the finer log j = k 2^s + 2^(s-1) is a tie: it still belongs to k where k is even.
    """
    s = via - frac_bits
    if s == 0:
        return 2 * k + 1
    tie = (k << s) + (1 << (s - 1))
    odd = bool(k & 1) != (octave_odd and frac_bits == 0)
    return 2 * (tie - 1) + 1 if odd else 2 * tie + 1


@lru_cache(maxsize=64)
def encode_table(frac_bits: int, via: int | None = None, mantissa_bits: int = FLOAT_MANTISSA_BITS) -> EncodeTable:
    """Table that rounds floats to ``frac_bits`` fraction bits, through the finer grid of ``via`` bits if given."""
    via = frac_bits if via is None else via
    octaves = 2 if frac_bits == 0 and via > 0 else 1
    bucket_bits = frac_bits + (1 if via == frac_bits else 2)
    width = 1 << (mantissa_bits - bucket_bits)
    step = 1 << (mantissa_bits - frac_bits)
    tables = []
    for biased_octave in range(octaves):
        octave_odd = octaves == 2 and biased_octave == 0  # the biases 127 and 1023 are odd
        crossings = (_crossing(k, octave_odd, frac_bits, via) for k in range(1 << frac_bits))
        thresholds = np.array([_threshold(c, via + 1, mantissa_bits) for c in crossings], dtype=np.int64)
        starts = np.arange(1 << bucket_bits, dtype=np.int64) * width
        k = np.searchsorted(thresholds, starts, side="right")
        following = np.append(thresholds, np.int64(1 << mantissa_bits))[k]
        tables.append((k + 1) * step - np.minimum(following, starts + width))
    return EncodeTable(np.concatenate(tables), mantissa_bits - bucket_bits, frac_bits, mantissa_bits)


@lru_cache(maxsize=32)
def decode_table(frac_bits: int) -> NDArray[np.int64]:
    """Mantissa bits (hidden bit removed) of 2^(k / 2^F) correctly rounded to float32, k = 0 .. 2^F - 1."""
    shift = PRECISION - FLOAT_MANTISSA_BITS
    powers = powers_of_two(frac_bits)[:-1]
    half = 1 << (shift - 1)
    return np.array([((p + half) >> shift) - (1 << FLOAT_MANTISSA_BITS) for p in powers], dtype=np.int64)
