"""LinearAccumulate as the kernels take it: its terms, and floats whose products are those terms.

Where float32 numbers left[xa] and right[xb] exist whose exact product lies nearer to t[xa + xb] than to any other
integer, for every pair, a fused multiply-add into a float that counts integers adds that term exactly (see
native/linear_floats.h). With a table of all constants one number for each logarithm does. With fewer entries the
constant is no product of two, and the right number depends on the remainder of xa: there are ``base_factor`` versions.
Every pair is verified here; where one fails, the kernels look terms up.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from slipstick.arithmetic import LinearAccumulate
from slipstick.kernels import native
from slipstick.kernels.spec import instruction_set

_NUDGES = (2.0**-22, 2.0**-21, 2.0**-20, 2.0**-23)
"""By what factor beyond 1 magnitudes grow, so that ties round away from zero."""


@dataclass(frozen=True, eq=False)
class LinearSpec:
    """A LinearAccumulate and its native plan. versions: of the float path; 0 where terms are looked up."""

    arithmetic: LinearAccumulate
    versions: int
    native: native.LinearPlan


@dataclass(frozen=True, eq=False)
class ScaledSums:
    """A spec, and what sums are multiplied by: float64, one number or one for each row of the left operand."""

    spec: LinearSpec
    unit: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Factors:
    left: NDArray[np.float32]  # [X + 1]
    remainders: NDArray[np.float32]  # [versions, base factor]


@lru_cache(maxsize=64)
def linear_spec(arithmetic: LinearAccumulate) -> LinearSpec:
    """The kernels' view of ``arithmetic``, made once per value."""
    instruction_set()
    factors = _factors(arithmetic)
    versions = 0 if factors is None else len(factors.remainders)
    handle = native.make_linear_plan(
        arithmetic.bits,
        arithmetic.overflow == "saturate",
        arithmetic.terms,
        arithmetic.format.base_factor.bit_length() - 1,
        versions,
        np.zeros(0, np.float32) if factors is None else factors.left,
        np.zeros(0, np.float32) if factors is None else factors.remainders.reshape(-1),
    )
    return LinearSpec(arithmetic, versions, handle)


def _factors(arithmetic: LinearAccumulate) -> _Factors | None:
    for make in (_one_version, _version_per_remainder):
        for nudge in _NUDGES:
            factors = make(arithmetic, nudge)
            if _are_exact(factors, arithmetic):
                return factors
    return None


def _one_version(arithmetic: LinearAccumulate, nudge: float) -> _Factors:
    """2^(x / gamma) on both sides."""
    gamma = arithmetic.format.base_factor
    powers = (2.0 ** (np.arange(gamma) / gamma)).astype(np.float32)
    low, high = _split_lsb(arithmetic)
    left = np.tile(powers, -(-(arithmetic.largest_log + 1) // gamma))[: arithmetic.largest_log + 1]
    octaves = np.arange(arithmetic.largest_log + 1) // gamma
    remainders = (powers * (1 + nudge)).astype(np.float32) * np.float32(2.0**-high)
    return _Factors(np.ldexp(left, octaves - low), remainders[None])


def _version_per_remainder(arithmetic: LinearAccumulate, nudge: float) -> _Factors:
    """The octave on the left; on the right the constant of both remainders, beyond the octave where they carry."""
    gamma = arithmetic.format.base_factor
    both = np.arange(gamma)[:, None] + np.arange(gamma)
    constants = np.ldexp(arithmetic.constants[both % gamma], both // gamma - arithmetic.constant_bits)
    low, high = _split_lsb(arithmetic)
    octaves = np.arange(arithmetic.largest_log + 1) // gamma
    remainders = (constants * (1 + nudge)).astype(np.float32) * np.float32(2.0**-high)
    return _Factors(np.ldexp(np.float32(1), octaves - low), remainders)


def _split_lsb(arithmetic: LinearAccumulate) -> tuple[int, int]:
    """Both factors carry half of the window's exponent; the right one at most 126, so that it stays normal."""
    high = min(arithmetic.lsb - arithmetic.lsb // 2, 126)
    return arithmetic.lsb - high, high


def _are_exact(factors: _Factors, arithmetic: LinearAccumulate) -> bool:
    """Whether every product is nearest to its term. Products of two float32 numbers are exact in float64."""
    gamma, logs = arithmetic.format.base_factor, np.arange(arithmetic.largest_log + 1)
    right = np.ldexp(factors.remainders[:, logs % gamma], logs // gamma)  # [versions, X + 1]
    versions = logs % gamma if len(right) > 1 else np.zeros_like(logs)
    products = factors.left[:, None].astype(np.float64) * right[versions].astype(np.float64)
    terms = arithmetic.terms[logs[:, None] + logs]
    return bool((np.abs(products - terms) < 0.5).all())
