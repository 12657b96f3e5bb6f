"""Bringing a mean error to zero: bisection of its Lagrange multiplier, then single steps of single values."""

from collections.abc import Callable
from math import inf
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

LIMIT = 0.02
"""Largest mean error, in LSBs, of a design that was asked to have none."""

FEW, MANY = 8, 40
"""Designs to look at, where each takes time and where not."""

CLOSABLE = 0.25
"""Mean error, in LSBs, of a table of few segments that single steps of its intercepts may bring to zero."""

_FIRST_MULTIPLIER = 1 / 16
_DOUBLINGS = 20
_BISECTIONS = 4
_STEPS = 96


def without_bias(
    at: Callable[[float], tuple[Design, float]], enough: int = FEW, until: float = inf
) -> tuple[Design, float]:
    """The design with the mean error nearest to zero, and that error.

    at: the best design for a multiplier, with its mean error, which falls as the multiplier grows. Mean errors are
    discrete: ``balancing_steps`` closes the gap between two neighbours. enough: so many designs, and a few more while
    the mean error is larger than ``until``.
    """
    best, least = at(0.0)
    sign = 1.0 if least > 0 else -1.0
    inside, outside, multiplier = 0.0, 0.0, sign * _FIRST_MULTIPLIER
    doublings, bisections = 0, 0
    while abs(least) > GOAL and doublings < _DOUBLINGS:
        if doublings + bisections >= enough and (abs(least) <= until or bisections >= _BISECTIONS):
            break
        design, bias = at(multiplier)
        if abs(bias) < abs(least):
            best, least = design, bias
        if bias * sign > 0:
            inside = multiplier
        else:
            outside = multiplier
        doublings, bisections = (doublings, bisections + 1) if outside else (doublings + 1, bisections)
        multiplier = (inside + outside) / 2 if outside else 2 * multiplier
    return best, least


def balancing_steps(share: Floats, error: Floats, may_rise: NDArray[np.bool_], may_fall: NDArray[np.bool_]) -> Ints:
    """Steps of -1, 0 or 1, of at most two values, that bring the mean error within the tolerance at the least cost in
    squared error; where none do, those that bring it nearest to zero. Of many steps, the cheapest are looked at.

    share: of each value in the mean. error: its mean error, in LSBs. may_rise, may_fall: whether it may be changed.
    """
    count = len(share)
    steps = np.zeros(count, dtype=np.int64)
    bias = float((share * error).sum())
    if abs(bias) <= TOLERANCE:
        return steps
    value, step = np.tile(np.arange(count), 2), np.repeat([1, -1], count)
    price = 2 * step * error[value] + 1  # of a step, in squared error by its share
    allowed = np.flatnonzero(np.concatenate([may_rise, may_fall]))
    looked_at = np.sort(allowed[price[allowed].argsort(kind="stable")[:_STEPS]])
    value, step, price = value[looked_at], step[looked_at], price[looked_at]
    # the last entry is no step at all
    which, move, cost = np.append(value, -1), np.append(share[value] * step, 0.0), np.append(share[value] * price, 0.0)
    after = np.abs(bias + move[:, None] + move[None, :])
    pair = (which[:, None] != which[None, :]) | (which[:, None] < 0)
    good = pair & (after <= TOLERANCE)
    score = np.where(good, cost[:, None] + cost[None, :], np.inf) if good.any() else np.where(pair, after, np.inf)
    for chosen in np.unravel_index(int(score.argmin()), score.shape):
        if which[chosen] >= 0:
            steps[which[chosen]] += step[chosen]
    return steps
