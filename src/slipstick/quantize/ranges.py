"""Which interval of real numbers a format's codes cover: the scale of a tensor, from what is known of its size.

A format holds fixed numbers; a tensor is divided by its scale, rounded, and multiplied by it again. The scale follows
from a *maximum*: the largest magnitude that must be representable.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint
from slipstick.formats.quantiser import SMALLEST_NORMAL, Quantiser
from slipstick.quantize.choices import require_choice

_DOUBLE_BIAS = 1023
_DOUBLE_MANTISSA_BITS = 52
_BELOW_OVERFLOW = 2.0**128 * (1 - 2.0**-22)

Kind = Literal["fixed", "tensor", "running", "calibrated"]


@dataclass(frozen=True)
class Range:
    """How the maximum of a tensor is found, and how it becomes a scale.

    kind: where the maximum comes from.
        "fixed": the number ``maximum``; without one, the format's own range (scale 1).
        "tensor": the tensor at hand, every time.
        "running": an exponential moving average, m <- decay m + (1 - decay) m', updated in training mode before it is
            used; it starts at the first tensor. A buffer of the model.
        "calibrated": measured once, then constant: a weight when the recipe is attached, an activation on the batches
            given for calibration. A buffer of the model.
    statistic: "max", the largest magnitude, or "rms", the root of the mean square; ``times`` multiplies it.
    scale: "real": the maximum meets the format's largest number. "power_of_two": 2^k, with k = log2 of the maximum over
        the format's full scale (see ``full_scale``), rounded ``towards`` "up" (nothing beyond the full scale),
        "nearest" (WAGE's Shift) or "down".
    per: "tensor", or "channel": one scale for each slice along a weight's output dimension.
    rescale: what the rounded tensor is multiplied by: its "own" scale; nothing ("none"), so that a tensor of any size
        fills the format (WAGE's normalised errors); or, for weight gradients, the scale of the stored weight
        ("update"), so that a learning rate counts in units of the weight's grid (WAGE).
    """

    kind: Kind = "tensor"
    maximum: float | None = None
    statistic: Literal["max", "rms"] = "max"
    times: float = 1.0
    scale: Literal["real", "power_of_two"] = "real"
    towards: Literal["up", "nearest", "down"] = "up"
    decay: float = 0.9
    per: Literal["tensor", "channel"] = "tensor"
    rescale: Literal["own", "none", "update"] = "own"

    def __post_init__(self) -> None:
        require_choice("range kind", self.kind, ("fixed", "tensor", "running", "calibrated"))
        require_choice("range statistic", self.statistic, ("max", "rms"))
        require_choice("range scale", self.scale, ("real", "power_of_two"))
        require_choice("range towards", self.towards, ("up", "nearest", "down"))
        require_choice("range per", self.per, ("tensor", "channel"))
        require_choice("range rescale", self.rescale, ("own", "none", "update"))
        if self.maximum is not None and self.kind != "fixed":
            raise SpecificationError(f"range maximum={self.maximum!r}: belongs to kind='fixed', not {self.kind!r}")
        for name in ("maximum", "times"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise SpecificationError(f"range {name}={value!r}: must be a positive number")
        if not (_is_number(self.decay) and 0 <= self.decay < 1):
            raise SpecificationError(f"range decay={self.decay!r}: must be a number from 0 to below 1")

    def __str__(self) -> str:
        if self.kind == "fixed" and self.maximum is None:
            return "the format's"
        size = self.statistic if self.times == 1 else f"{self.times:g} {self.statistic}"
        words = {"fixed": f"fixed {self.maximum}", "running": f"running {size} {self.decay:g}"}
        parts = [words.get(self.kind, f"{self.kind} {size}")]
        if self.scale == "power_of_two":
            parts.append(f"2^k {self.towards}")
        if self.per == "channel":
            parts.append("per channel")
        if self.rescale != "own":
            parts.append("scale dropped" if self.rescale == "none" else "scale of the update")
        return ", ".join(parts)

    @property
    def is_remembered(self) -> bool:
        """Whether the maximum is state that outlives the tensor."""
        return self.kind in ("running", "calibrated")

    def measure(self, x: torch.Tensor, channel: int | None = None) -> torch.Tensor:
        """The maximum that ``x`` asks for: a scalar, or with ``channel`` one for each slice, broadcastable to ``x``."""
        dims = [d for d in range(x.dim()) if channel is not None and d != channel % x.dim()]
        if self.statistic == "rms":
            size = x.square().mean(dims, keepdim=True).sqrt() if channel is not None else x.square().mean().sqrt()
        elif channel is not None and dims:
            size = torch.maximum(x.amax(dims, keepdim=True), -x.amin(dims, keepdim=True))
        elif channel is not None:
            size = x.abs()
        else:
            low, high = torch.aminmax(x)
            size = torch.maximum(high, -low)
        return size * self.times

    def scale_for(self, maximum: torch.Tensor, format: Quantiser | None) -> torch.Tensor:
        """The scale (float32, shaped as ``maximum``, which is finite); 1 where the maximum is 0."""
        wide = maximum.double()
        if self.scale == "real":
            scale = wide / (1.0 if format is None else format.largest)
        else:
            scale = power_of_two(wide / full_scale(format), self.towards)
        low, high = _scale_limits(format)
        if self.scale == "power_of_two":
            high = math.ldexp(1.0, math.frexp(high)[1] - 1)
        return torch.where(wide == 0, 1.0, scale).clamp(low, high).float()

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, and the kind."""
        default = Range()
        changed = {name: value for name, value in vars(self).items() if value != getattr(default, name)}
        return {"kind": self.kind, **changed}


def full_scale(format: Quantiser | None) -> float:
    """What a power-of-two scale relates a maximum to: the largest number, for FixedPoint its upper bound 2^int_bits.

    In LogQuant that is the code below FSR: were a maximum to meet FSR itself, as in the full-scale range of evenly
    spaced numbers, Clip would halve it. With that VGG-11 diverged in 5 bits, and trained when only the last layer's
    gradient was left unrounded or the maximum was not clipped. A possible reason, not measured: gradients so clipped
    no longer sum to zero over the classes, so that the logits drift together.
    """
    if isinstance(format, FixedPoint):
        return float(2.0**format.int_bits)
    return 1.0 if format is None else format.largest


def power_of_two(x: torch.Tensor, towards: str) -> torch.Tensor:
    """2^k with k = log2(x) rounded, exactly, for normal float64 ``x`` > 0; to nearest there are no ties."""
    mantissa, exponent = torch.frexp(x)  # x = mantissa 2^exponent, mantissa from 1/2 to below 1
    threshold = {"up": 0.5, "nearest": math.sqrt(0.5), "down": 1.0}[towards]
    exponent = torch.where(mantissa > threshold, exponent, exponent - 1)
    return ((exponent.long() + _DOUBLE_BIAS) << _DOUBLE_MANTISSA_BITS).view(torch.float64)


def _scale_limits(format: Quantiser | None) -> tuple[float, float]:
    """The scales with which float32 holds every number of the format."""
    if format is None:
        return SMALLEST_NORMAL, _BELOW_OVERFLOW
    return format.smallest_scale, _BELOW_OVERFLOW / max(1.0, format.largest)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
