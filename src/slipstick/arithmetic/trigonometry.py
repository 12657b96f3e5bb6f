"""sin, cos and tan of numbers up to 2^64 in float64: their argument is reduced in integers, so that no digit is lost.

A number is 2^(i + j / 2^F). The few distinct 2^(j / 2^F) are taken with 160 fraction bits, shifted by i, and reduced
modulo pi/2 with as many; after 63 shifts 97 of them are still right.
"""

import mpmath
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FRACTION_BITS = 160


def _reduced(log2_x: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """|x| as r + k pi/2 with |r| <= pi/4, k modulo 4."""
    logs, place = np.unique(log2_x, return_inverse=True)  # both signs have the same
    rest = np.exp2(logs)
    quadrant = np.zeros(rest.shape, np.int64)
    large = np.flatnonzero(logs >= -1)
    whole = np.floor(logs[large]).astype(np.int64)
    fractions, which = np.unique(logs[large] - whole, return_inverse=True)
    with mpmath.workprec(_FRACTION_BITS + 40):
        unit = mpmath.mpf(2) ** _FRACTION_BITS
        half_pi = int(mpmath.nint(mpmath.pi / 2 * unit))
        mantissas = [int(mpmath.nint(mpmath.power(2, float(f)) * unit)) for f in fractions]
    for at, i, j in zip(large.tolist(), whole.tolist(), which.tolist(), strict=True):
        x = mantissas[j] << i if i >= 0 else mantissas[j] >> -i
        k = (x + half_pi // 2) // half_pi
        rest[at] = (x - k * half_pi) / (1 << _FRACTION_BITS)
        quadrant[at] = k & 3
    return rest[place], quadrant[place]


def _signed(value: Floats) -> tuple[Floats, Floats]:
    return np.sign(value), np.log2(np.abs(value))


def sine(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    """Sign and log2 of |sin x|."""
    rest, quadrant = _reduced(log2_x)
    return _signed(np.sign(x) * _turned(rest, quadrant))


def cosine(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    """Sign and log2 of |cos x|."""
    rest, quadrant = _reduced(log2_x)
    return _signed(_turned(rest, quadrant + 1))


def tangent(x: Floats, log2_x: Floats) -> tuple[Floats, Floats]:
    """Sign and log2 of |tan x|."""
    rest, quadrant = _reduced(log2_x)
    return _signed(np.sign(x) * _turned(rest, quadrant) / _turned(rest, quadrant + 1))


def _turned(rest: Floats, quadrant: NDArray[np.int64]) -> Floats:
    """sin(rest + quadrant pi/2)."""
    value = np.where(quadrant & 1, np.cos(rest), np.sin(rest))
    return np.where(quadrant & 2, -value, value)
