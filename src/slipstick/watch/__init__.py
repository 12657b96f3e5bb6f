"""Watching training: rates of zeros, saturation, underflow and lost updates, and the noise of gradients, by layer."""

from slipstick.watch.counting import Counts
from slipstick.watch.look import GradientLook, Look, TensorLook, UpdateLook
from slipstick.watch.watch import WATCH_EVERY, WATCH_RECIPE_EVERY, Watch

__all__ = ["WATCH_EVERY", "WATCH_RECIPE_EVERY", "Counts", "GradientLook", "Look", "TensorLook", "UpdateLook", "Watch"]
