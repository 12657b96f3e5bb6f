"""Optimisers of low-precision training."""

from slipstick.optim.madam import Madam

__all__ = ["Madam"]
