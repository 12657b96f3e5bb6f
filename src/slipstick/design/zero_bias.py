"""Bringing a mean error to zero: bisection of its Lagrange multiplier, then single steps of single values."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Design = TypeVar("Design")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GOAL = 0.005
"""Mean error, in LSBs, at which the search for a multiplier ends."""

TOLERANCE = 0.015
"""Mean error that is left as it is: moving single values for less costs more squared error than it is worth."""

_FIRST_MULTIPLIER = 1 / 16
_LARGEST_MULTIPLIER = 16.0
_BISECTIONS = 8


def without_bias(at: Callable[[float], tuple[Design, float]]) -> tuple[Design, float]:
    """The design with the mean error nearest to zero, and that error.

    at: the best design for a multiplier, with its mean error, which falls as the multiplier grows. Mean errors are
    discrete: ``balancing_steps`` closes the gap between two neighbours.
    """
    best, least = at(0.0)
    sign = 1.0 if least > 0 else -1.0
    inside, outside, multiplier = 0.0, 0.0, sign * _FIRST_MULTIPLIER
    for _ in range(_BISECTIONS):
        if abs(least) <= GOAL or abs(multiplier) > _LARGEST_MULTIPLIER:
            break
        design, bias = at(multiplier)
        if abs(bias) < abs(least):
            best, least = design, bias
        if bias * sign > 0:
            inside = multiplier
        else:
            outside = multiplier
        multiplier = (inside + outside) / 2 if outside else 2 * multiplier
    return best, least


def balancing_steps(share: Floats, error: Floats, may_rise: NDArray[np.bool_], may_fall: NDArray[np.bool_]) -> Ints:
    """Steps of -1, 0 or 1, of at most two values, that bring the mean error within the tolerance at the least cost in
    squared error; where none do, those that bring it nearest to zero.

    share: of each value in the mean. error: its mean error, in LSBs. may_rise, may_fall: whether it may be changed.
    """
    count = len(share)
    none = np.zeros(count, dtype=np.int64)
    bias = float((share * error).sum())
    if abs(bias) <= TOLERANCE:
        return none
    # one value up, one value down, or (the last entry) nothing
    which = np.concatenate([np.arange(count), np.arange(count), [-1]])
    step = np.concatenate([np.ones(count), -np.ones(count), [0.0]])
    allowed = np.concatenate([may_rise, may_fall, [True]])
    size = np.append(np.tile(share, 2), 0.0)
    cost = np.append(size[:-1] * (2 * step[:-1] * np.tile(error, 2) + 1), 0.0)
    after = np.abs(bias + (step * size)[:, None] + (step * size)[None, :])
    total = cost[:, None] + cost[None, :]
    pair = allowed[:, None] & allowed[None, :] & ((which[:, None] != which[None, :]) | (which[:, None] < 0))
    good = pair & (after <= TOLERANCE)
    score = np.where(good, total, np.inf) if good.any() else np.where(pair, after, np.inf)
    for chosen in np.unravel_index(int(score.argmin()), score.shape):
        if which[chosen] >= 0:
            none[which[chosen]] += int(step[chosen])
    return none
