"""Optimisers of low-precision training."""

from slipstick.optim.accumulator_sgd import AccumulatorSGD
from slipstick.optim.integer_weights import WeightFormats
from slipstick.optim.madam import Madam

__all__ = ["AccumulatorSGD", "Madam", "WeightFormats"]
