"""How well a mean over seeds is known.

An interval is Student's: mean ± t(0.975, n − 1) s / √n, with s the standard deviation over n seeds.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` seeds. half: half the 95 % confidence interval around it; None where it cannot be known."""

    mean: float
    half: float | None
    n: int


def interval(values: Iterable[float]) -> Interval | None:
    """Of the mean of independent values; None where there are none."""
    given = list(values)
    if not given:
        return None
    n = len(given)
    half = _quantile(n - 1) * statistics.stdev(given) / math.sqrt(n) if n > 1 else None
    return Interval(statistics.fmean(given), half, n)


def interval_of_difference(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Of mean(first) - mean(second), which are not paired: Welch's. n: the smaller number of values."""
    if not first or not second:
        return None
    mean, n = statistics.fmean(first) - statistics.fmean(second), min(len(first), len(second))
    if n < 2:
        return Interval(mean, None, n)
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Interval(mean, 0.0, n)
    weights = [part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)]
    return Interval(mean, _quantile(error**4 / sum(weights)) * error, n)


def _quantile(degrees_of_freedom: float) -> float:
    return float(stdtrit(degrees_of_freedom, 0.5 + CONFIDENCE / 2))
