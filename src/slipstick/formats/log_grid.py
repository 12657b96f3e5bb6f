"""The numbers s * 2^(k / 2^F) for all integers k: the nearest k of a float, and the float of a k, both exact.

"Nearest" is nearest in the logarithm: k + 1/2 separates k and k + 1, and s * 2^((2k+1) / 2^(F+1)) is irrational, so
no float ties. A float is compared with the smallest float at or above that threshold; for s = 1 and F = 0 that is
the mantissa against the square root of 2. The comparison costs one addition: the mantissa's top F + 1 bits choose a
bucket that holds at most one threshold, whose offset carries into the log exactly where the threshold is reached
(``rounding_tables`` says how).

The tables of a scale come from 2^(j / 2^(F+1)) as the sum of a 29-bit head and a double: the head times a 24-bit
scale is exact in a double, so each product is known to 2^-80 of its size before its one rounding.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstick.formats.rounding_tables import (
    DOUBLE_MANTISSA_BITS,
    FLOAT_MANTISSA_BITS,
    PRECISION,
    powers_of_two,
)

_HEAD_BITS = 28  # after the binary point


@dataclass(frozen=True, eq=False)
class LogGrid:
    """Tables of one scale, or of a tensor of scales that broadcasts to the numbers rounded.

    frac_bits: F. mantissa_bits: 23 or 52, those of the floats that ``nearest`` takes.
    offsets: for each scale, 2^(F+1) buckets. origin: for each scale, what to subtract from a log.
    numbers: for each scale, the float32 bits of s * 2^(j / 2^F), j = 0 .. 2^F - 1.
    rows: for each scale its index, in the shape of the scales; None for one scale.
    """

    frac_bits: int
    mantissa_bits: int
    offsets: torch.Tensor
    origin: torch.Tensor
    numbers: torch.Tensor
    rows: torch.Tensor | None

    def nearest(self, magnitude: torch.Tensor) -> torch.Tensor:
        """k (int32) of magnitudes >= 0 without NaN.

        Zero gives the k of 2^-127, subnormals one between those of 2^-127 and 2^-126, infinity that of 2^128 (float64:
        2^-1023, 2^-1022, 2^1024): clamp the result.
        """
        bits = magnitude.view(torch.int32 if self.mantissa_bits == FLOAT_MANTISSA_BITS else torch.int64)
        buckets = 1 << (self.frac_bits + 1)
        index = (bits >> (self.mantissa_bits - self.frac_bits - 1)).bitwise_and_(buckets - 1)
        k = look_up(self.offsets, index, self.rows, buckets).add_(bits)
        k.bitwise_right_shift_(self.mantissa_bits - self.frac_bits)
        return k.to(torch.int32).sub_(self.origin)

    def number(self, k: torch.Tensor) -> torch.Tensor:
        """s * 2^(k / 2^F), float32, correctly rounded; for k (int32) whose number is normal."""
        steps = 1 << self.frac_bits
        octave = (k >> self.frac_bits).bitwise_left_shift_(FLOAT_MANTISSA_BITS)
        return look_up(self.numbers, k & (steps - 1), self.rows, steps).add_(octave).view(torch.float32)

    def fraction(self, ratio: torch.Tensor) -> torch.Tensor:
        """2^F log2(ratio) of float64 ratios from 1 to 2^(2^-F), within 2^-40.

        Only additions, products and quotients, whose rounding IEEE 754 fixes: the same bits everywhere, unlike log2.
        log2(t) = 2 / ln 2 * (z + z^3 / 3 + z^5 / 5 + ...), z = (t - 1) / (t + 1) < 0.35 / 2^F.
        """
        z = (ratio - 1) / (ratio + 1)
        square = z * z
        terms = 40 // (3 + 2 * self.frac_bits) + 2
        total = torch.full_like(z, 1 / (2 * terms + 1))
        for n in reversed(range(terms)):
            total.mul_(square).add_(1 / (2 * n + 1))
        return total.mul_(z).mul_((1 << self.frac_bits) * 2.8853900817779268)  # 2 / ln 2


def log_grid(frac_bits: int, scale: torch.Tensor | None, dtype: torch.dtype, device: torch.device) -> LogGrid:
    """Tables for numbers of ``dtype`` (float32 or float64). scale: float32, normal and positive; None is 1."""
    mantissa_bits = FLOAT_MANTISSA_BITS if dtype == torch.float32 else DOUBLE_MANTISSA_BITS
    if scale is None or scale.dim() == 0:
        return _of_one_scale(frac_bits, 1.0 if scale is None else float(scale), mantissa_bits, device)
    return _of_scales(frac_bits, scale.cpu().numpy(), mantissa_bits, device)


@lru_cache(maxsize=64)
def _of_one_scale(frac_bits: int, scale: float, mantissa_bits: int, device: torch.device) -> LogGrid:
    return _of_scales(frac_bits, np.array(scale, np.float32), mantissa_bits, device)


def _of_scales(frac_bits: int, scale: NDArray[np.float32], mantissa_bits: int, device: torch.device) -> LogGrid:
    bits = scale.reshape(-1).view(np.int32)
    exponent = (bits >> FLOAT_MANTISSA_BITS) - 127
    mantissa = ((bits & 0x7FFFFF) | 0x3F800000).view(np.float32).astype(np.float64)
    heads, tails = _heads_and_tails(frac_bits + 1)
    offsets, above = _offsets(*_products(mantissa, heads[1::2], tails[1::2]), frac_bits, mantissa_bits)
    rounded = _odd(*_products(mantissa, heads[0::2], tails[0::2])).astype(np.float32).view(np.int32)
    bias = 127 if mantissa_bits == FLOAT_MANTISSA_BITS else 1023
    origin = ((exponent + bias) << frac_bits) + above
    rows = np.arange(bits.size, dtype=np.int32)

    def tensor(array: NDArray[Any], dtype: torch.dtype, shape: tuple[int, ...] = (-1,)) -> torch.Tensor:
        return torch.from_numpy(array.reshape(shape)).to(device, dtype)

    return LogGrid(
        frac_bits,
        mantissa_bits,
        tensor(offsets, torch.int32 if mantissa_bits == FLOAT_MANTISSA_BITS else torch.int64),
        tensor(origin, torch.int32, scale.shape),
        tensor(rounded + (exponent << FLOAT_MANTISSA_BITS)[:, None], torch.int32),
        tensor(rows, torch.int32, scale.shape) if scale.ndim else None,
    )


def _offsets(
    total: NDArray[np.float64], rest: NDArray[np.float64], frac_bits: int, mantissa_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets of all buckets, and how many thresholds of each scale lie in the octave above the scale's own.

    total + rest: the thresholds m * 2^((2j+1) / 2^(F+1)), from 1 to 4, m the mantissa of a scale. Those from 2 on are
    halved: they come first in the next octave.
    """
    above = total >= 2
    scaled = np.where(above, total * 0.5, total) * (1 << mantissa_bits)
    reached = np.ceil(scaled)
    thresholds = reached.astype(np.int64) + ((reached == scaled) & (rest > 0)) - (1 << mantissa_bits)
    thresholds.sort(axis=1)
    step, width = 1 << (mantissa_bits - frac_bits), 1 << (mantissa_bits - frac_bits - 1)
    ends = np.arange(1, (1 << frac_bits + 1) + 1) * width
    passed = _count_at_starts(thresholds, width, len(ends))
    padded = np.append(thresholds, np.full((len(total), 1), 1 << mantissa_bits), axis=1)
    following = np.take_along_axis(padded, passed, axis=1)
    return (passed + 1) * step - np.minimum(following, ends), above.sum(axis=1)


def _count_at_starts(thresholds: NDArray[np.int64], width: int, buckets: int) -> NDArray[np.int64]:
    """How many thresholds are at or below the start of each bucket, for each row; a bucket holds at most one."""
    first = -(-thresholds // width)  # the first bucket that starts at or above the threshold
    rows = np.arange(len(thresholds))[:, None] * (buckets + 1)
    counts = np.bincount((first + rows).reshape(-1), minlength=len(thresholds) * (buckets + 1))
    return counts.reshape(len(thresholds), buckets + 1)[:, :buckets].cumsum(axis=1)


def _products(
    mantissa: NDArray[np.float64], heads: NDArray[np.float64], tails: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mantissa * (head + tail) as an unevaluated sum of a double and a smaller one."""
    large, small = mantissa[:, None] * heads, mantissa[:, None] * tails
    total = large + small
    return total, small - (total - large)


def _odd(total: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """total + rest rounded to the double with an odd last bit: rounding that to float32 rounds the sum once."""
    bits = total.view(np.int64)
    return np.asarray(bits + np.sign(rest).astype(np.int64) * (1 - (bits & 1))).view(np.float64)


@lru_cache(maxsize=32)
def _heads_and_tails(steps_log2: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2^(j / 2^steps_log2), j = 0 .. 2^steps_log2 - 1: the first 29 bits, and the double of what is left."""
    powers = powers_of_two(steps_log2)[:-1]
    shift = PRECISION - _HEAD_BITS
    heads = [(power >> shift) / 2**_HEAD_BITS for power in powers]
    tails = [(power & ((1 << shift) - 1)) / 2**PRECISION for power in powers]
    return np.array(heads), np.array(tails)


def look_up(table: torch.Tensor, index: torch.Tensor, rows: torch.Tensor | None, row_length: int) -> torch.Tensor:
    """table[index], or where there are several scales the entry of each element's own row of the table."""
    if rows is not None:
        index = index + rows * row_length
    return table.index_select(0, index.reshape(-1)).view(index.shape)
