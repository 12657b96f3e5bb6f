"""The exponential as a piece-wise linear table: its target, how far a table is from it, and the best table.

exp(-|x|) with |x| = 2^(L/2^F) has the log E(L) = -2^F log2(e) 2^(L/2^F), in LSBs. Its slope is -2^(L/2^F). Counted
from the top, d = origin - L, E is a target like D-: negative, rising, flattest at its end. It ranges from the largest L
whose result is in the format, d = 0, to the smallest whose result is not rounded to 0.

What an error costs: softmax normalises y = exp(x - max x), and errors e of its logs (in LSBs) turn into a divergence
KL(softmax || table) <= 1/2 (ln 2 / 2^F)^2 sum y e^2 / sum y, to second order. So squares are weighted by y, over
arguments of all magnitudes alike (uniform in L); a small uniform share keeps the far end, where y is nothing, in shape.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache

import mpmath
import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.exponential import ExpSegments
from slipstick.design.constraints import Constraints
from slipstick.design.optimal_segments import optimal_segments
from slipstick.design.target import FRAC_BITS, FRACTION_BITS, Target, fixed_point_target
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

INT_BITS = 5
"""Integer bits of the formats that the shipped tables cover; with more, exp saturates or flushes below 2^-32."""

UNIFORM_SHARE = 0.01

_DIGITS = 40
_WEIGHT_BITS = 20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ExponentialErrors:
    """Errors over the domain of a target, uniform in L unless said otherwise.

    rms, bias (mean of table minus target), max: of the log, in LSBs. softmax_rms: the root of the mean square weighted
    by exp(-|x|), in LSBs. relative_rms, relative_max: of exp(-|x|) relative to itself. absolute_max: of exp(-|x|).
    inversions: how many L give a greater exp(-|x|) than the next smaller |x|.
    """

    rms: float
    bias: float
    max: float
    softmax_rms: float
    relative_rms: float
    relative_max: float
    absolute_max: float
    inversions: int

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


def exponential_origin(frac_bits: int, int_bits: int = INT_BITS) -> int:
    """The largest L for which exp(-2^(L/2^F)) is rounded to a number of LNS(int_bits, frac_bits), not below it."""
    return _largest_log_above(-(LNS(int_bits, frac_bits).max_log + mpmath.mpf("0.5")), frac_bits)


@lru_cache(maxsize=32)
def exponential_target(frac_bits: int, int_bits: int = INT_BITS) -> Target:
    """E(origin - d) for d = 0, 1, ..., rounded from 40 digits, as long as it is rounded to other than 0."""
    if frac_bits not in FRAC_BITS:
        raise SpecificationError(
            f"exponential_target(frac_bits={frac_bits!r}): must be from {FRAC_BITS[0]} to {FRAC_BITS[-1]}"
        )
    origin = exponential_origin(frac_bits, int_bits)
    distance = np.arange(origin - _largest_log_above(mpmath.mpf("-0.5"), frac_bits), dtype=np.int64)
    with mpmath.workdps(_DIGITS):
        values = [_log_of_exp(origin - int(d), frac_bits) for d in distance]
        scaled = [int(mpmath.nint(value * (1 << FRACTION_BITS))) for value in values]
    return fixed_point_target(-1, frac_bits, distance, np.array(scaled, dtype=np.int64))


def softmax_weights(target: Target) -> Floats:
    """exp(-|x|) with ``UNIFORM_SHARE`` spread evenly; mean 1, in steps of 2^-20 so that no libm shows."""
    y = np.exp2(target.real / (1 << target.frac_bits))
    weights = (1 - UNIFORM_SHARE) * y / y.mean() + UNIFORM_SHARE
    rounded: Floats = np.rint(weights * (1 << _WEIGHT_BITS)) / (1 << _WEIGHT_BITS)
    return rounded


def designed_exponential(frac_bits: int, segments: int = 32, int_bits: int = INT_BITS) -> ExpSegments:
    """The table of at most ``segments`` segments with the least error in softmax. Seconds up to frac_bits 7."""
    target = exponential_target(frac_bits, int_bits)
    if not 1 <= segments <= len(target.distance):
        raise SpecificationError(
            f"designed_exponential(segments={segments!r}): must be from 1 to {len(target.distance)}, "
            f"the number of distinct arguments at frac_bits={frac_bits}"
        )
    table = optimal_segments(target, Constraints(segments), softmax_weights(target))
    return ExpSegments(frac_bits, exponential_origin(frac_bits, int_bits), table)


def exponential_errors(table: ExpSegments, int_bits: int = INT_BITS) -> ExponentialErrors:
    """Errors of ``table`` over the domain of ``exponential_target``."""
    target = exponential_target(table.frac_bits, int_bits)
    d = target.distance - (exponential_origin(table.frac_bits, int_bits) - table.origin)
    if d[0] < 0:
        raise SpecificationError(f"{table}: its origin {table.origin} is below the domain of int_bits={int_bits}")
    return _errors(table.segments.values(d, 1).astype(np.int64), target)


def rounding_errors(frac_bits: int, int_bits: int = INT_BITS) -> ExponentialErrors:
    """Errors of the correctly rounded exp: what no table can better."""
    target = exponential_target(frac_bits, int_bits)
    return _errors(target.nearest, target)


def _errors(log: NDArray[np.int64], target: Target) -> ExponentialErrors:
    one = 1 << target.frac_bits
    y = np.exp2(target.real / one)
    error = log - target.real
    relative = np.expm1(np.log(2.0) / one * error)
    return ExponentialErrors(
        rms=float((error**2).mean() ** 0.5),
        bias=float(error.mean()),
        max=float(np.abs(error).max()),
        softmax_rms=float(((y * error**2).sum() / y.sum()) ** 0.5),
        relative_rms=float((relative**2).mean() ** 0.5),
        relative_max=float(np.abs(relative).max()),
        absolute_max=float(np.abs(y * relative).max()),
        inversions=int((np.diff(log) < 0).sum()),
    )


def _log_of_exp(log: int, frac_bits: int) -> mpmath.mpf:
    """E(L)."""
    one = mpmath.mpf(1 << frac_bits)
    return -one / mpmath.log(2) * mpmath.power(2, log / one)


def _largest_log_above(value: mpmath.mpf, frac_bits: int) -> int:
    """The largest L with E(L) > ``value``; no E(L) is rational, so none is equal."""
    with mpmath.workdps(_DIGITS):
        one = mpmath.mpf(1 << frac_bits)
        return int(mpmath.floor(one * mpmath.log(-value * mpmath.log(2) / one, 2)))
