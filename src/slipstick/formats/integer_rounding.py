"""Floats to integers, as floats: the rounding rules of formats whose numbers are multiples of a step.

Each function works in place and returns its argument, a float32 or float64 tensor, exactly, ties included.
"""

import torch


def half_even(y: torch.Tensor) -> torch.Tensor:
    """Nearest integer, ties to the even one."""
    return y.round_()


def half_away(y: torch.Tensor) -> torch.Tensor:
    """Nearest integer, ties away from zero, of finite numbers.

    The addend is the float below 1/2: with 1/2 itself the sum 0.49999997 + 0.5 would round up to 1.
    """
    below_half = 0.5 - torch.finfo(y.dtype).eps / 4
    y.add_(y.sign(), alpha=below_half)
    return y.sub_(y.frac())  # trunc, which PyTorch does not vectorise


def stochastic(y: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """floor(y), or with the probability of y - floor(y) the integer above; integers stay. Finite numbers.

    draws: uniform in [0, 1), of y's shape.
    """
    below = y.floor()
    return below.add_(y.sub_(below).sub_(draws).ceil_())  # the ceiling is 1 where draws < y - floor(y), else 0
