"""Functions of two numbers, as angles and lengths in the plane: compositions of tables and primitives."""

import math

import torch

from slipstick.aten.registry import existing
from slipstick.aten.unary import define_binary
from slipstick.kernels.elementwise import Value, chain

aten = torch.ops.aten
prims = torch.ops.prims


@chain
def _atan2(y: Value, x: Value) -> Value:
    """atan(y / x), plus or minus pi where x < 0: the quotient is exact. atan2(0, 0) = 0, as in floating point."""
    nothing = y.is_zero().select(x.is_zero(), y.differs(y))
    angle = (y / nothing.select(1.0, x)).function("atan")
    turned = angle + (y >= 0.0).select(math.pi, -math.pi)
    return (x < 0.0).select(turned, angle)


@chain
def _hypot(a: Value, b: Value) -> Value:
    return (a * a + b * b).sqrt()


@chain
def _copysign(a: Value, b: Value) -> Value:
    return (b < 0.0).select(-abs(a), abs(a))


define_binary(_atan2, aten.atan2, aten.atan2_, *existing(prims, "atan2"))
define_binary(_hypot, aten.hypot, aten.hypot_, *existing(prims, "hypot"))
define_binary(_copysign, aten.copysign, aten.copysign_)
