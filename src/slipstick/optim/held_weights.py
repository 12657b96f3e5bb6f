"""Weights kept in a logarithmic format: codes with an integer logarithm xt, moved by adding to xt.

A weight is an ordinary float32 tensor that holds exactly numbers +-s 2^(xt / base_factor); the scale s is a power of
two, fixed when the optimiser is made. A step rounds -lr g* sign(w), in units of 1 / base_factor octave, to the nearest
integer (ties to even) and adds it to xt, saturating: Q_U of Zhao et al. 2021 with no float between two steps. An exact
zero stays zero, as it does under every factor, whether or not the format has one.
"""

import math

import torch

from slipstick.formats import MultiBaseLNS


def power_of_two_scale(weight: torch.Tensor, format: MultiBaseLNS, limit: float) -> float:
    """The smallest power of two with which ``format`` holds ``weight`` and ``limit``; 1 where both are 0."""
    peak = weight.new_tensor([limit, float(weight.abs().max()) if weight.numel() else 0.0])
    return float(format.scale_of(peak, power_of_two=True).max()) if bool(peak.any()) else 1.0


def held(weight: torch.Tensor, format: MultiBaseLNS, scale: float) -> torch.Tensor:
    """``weight`` rounded to the format, to nearest in the logarithm."""
    return torch.where(weight == 0, weight, format.quantize(weight, scale=scale))


def moved(
    weight: torch.Tensor, octaves: torch.Tensor, format: MultiBaseLNS, scale: float, limit: float
) -> torch.Tensor:
    """A held ``weight`` times 2^octaves (float64), within the format and the code nearest to ``limit``."""
    field = format.bits - 1
    codes = format.encode(weight, scale=scale)
    log = (codes & ((1 << field) - 1)) + octaves.mul(format.base_factor).round_().to(torch.int32)
    lowest, top = int(format.zero), (1 << field) - 1
    if limit < math.inf:
        bound = int(format.encode(weight.new_tensor([limit]), scale=scale)) & ((1 << field) - 1)
        top = min(top, max(bound, lowest))
    codes = log.clamp_(lowest, top) | (codes & (1 << field))
    return torch.where(weight == 0, weight, format.decode(codes, scale=scale).to(weight.dtype))
