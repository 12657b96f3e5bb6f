"""MultiBaseLNS(B, gamma): logarithms with log2(gamma) fraction bits above a scale.

LNS-Madam (Zhao et al. 2021, arXiv 2106.13914):
    x = sign * s * 2^(xt / gamma),   xt = clamp(round(gamma * log2(|x| / s)), 0, 2^(B-1) - 1),
gamma the base factor, s the scale of a group of numbers, chosen so that max|x| has the top code.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from slipstick.errors import SpecificationError
from slipstick.formats.log_quantiser import LogQuantiser
from slipstick.formats.quantiser import Dims, check_choice, check_integer

Granularity = Literal["per_tensor", "per_channel"]


@dataclass(frozen=True)
class MultiBaseLNS(LogQuantiser):
    """2^(B-1) magnitudes from s to s * 2^((2^(B-1) - 1) / gamma), each with a sign.

    bits: B, 2 to 16, the sign included. base_factor: gamma, a power of two up to 2^(B-1); B = 8 and gamma = 8 is the
        paper's choice. (2^(B-1) - 1) / gamma must be at most 127.
    scale: whether ``scale_of`` gives one scale or one for each channel. A scale is an argument of encode, decode and
        quantize; without it s = 1.
    zero: xt = 0 stands for zero, at the cost of the smallest magnitude; the paper has no zero.
    power_of_two: scales are powers of two, in hardware an integer offset of the logarithm; others are refused.

    A code is the sign above the B - 1 bits of xt. "nearest" is nearest in the logarithm, exact for every float and
    scale; no float ties unless it is in the format. Above the range, infinities included, the largest magnitude;
    below it the smallest, with the sign of x; 0.0 and -0.0 give the smallest with sign +. With zero=True numbers
    whose xt rounds to 0 or less become 0.0, as in LogQuant. NaN raises.
    "stochastic" is unbiased in the linear domain; without a zero the neighbours of a magnitude below s are -s and
    +s. "stochastic-log" is unbiased in xt (the paper's theory): the upper neighbour with the probability of the
    fraction of gamma * log2(|x| / s); below s, always s.
    """

    roundings: ClassVar[tuple[str, ...]] = ("nearest", "stochastic", "stochastic-log")

    bits: int
    base_factor: int
    scale: Granularity = "per_tensor"
    zero: bool = False
    power_of_two: bool = False

    def __post_init__(self) -> None:
        check_integer("MultiBaseLNS", "bits", self.bits, 2, 16)
        check_integer("MultiBaseLNS", "base_factor", self.base_factor, 1, 1 << (self.bits - 1))
        check_choice("MultiBaseLNS", "scale", self.scale, ("per_tensor", "per_channel"))
        check_choice("MultiBaseLNS", "zero", self.zero, (True, False))
        check_choice("MultiBaseLNS", "power_of_two", self.power_of_two, (True, False))
        if self.base_factor & (self.base_factor - 1):
            raise SpecificationError(f"MultiBaseLNS(base_factor={self.base_factor}): must be a power of two")
        if self._top > 127 * self.base_factor:
            raise SpecificationError(
                f"{self}: {self._top / self.base_factor:g} octaves exceed the 127 of float32; use a larger base_factor"
            )

    def __str__(self) -> str:
        tail = "" if self.scale == "per_tensor" else f",{self.scale}"
        tail += (",zero" if self.zero else "") + (",power_of_two" if self.power_of_two else "")
        return f"MultiBaseLNS({self.bits},{self.base_factor}{tail})"

    def scale_of(self, x: torch.Tensor, dim: Dims | None = None, power_of_two: bool = False) -> torch.Tensor:
        """The scale that gives max|x| the top code: one, or one for each index of ``dim`` (default 0) per channel.

        At least 2^-126, so that with 127 octaves of range the top codes may stay unused. See ``Quantiser.scale_of``.
        """
        if self.scale == "per_tensor" and dim is not None:
            raise SpecificationError(f"{self}.scale_of(dim={dim}): one scale per tensor; use scale='per_channel'")
        if self.scale == "per_channel" and dim is None:
            dim = 0
        return super().scale_of(x, dim, power_of_two or self.power_of_two)

    def _check_scale(self, scale: torch.Tensor) -> None:
        super()._check_scale(scale)
        if self.scale == "per_tensor" and scale.numel() > 1:
            raise SpecificationError(f"{self}: {scale.numel()} scales for one tensor; use scale='per_channel'")
        if self.power_of_two and bool((scale.view(torch.int32) & 0x7FFFFF).any()):
            raise SpecificationError(f"{self}: a scale is no power of two; use scale_of")

    @property
    def _frac_bits(self) -> int:
        return self.base_factor.bit_length() - 1

    @property
    def _field_bits(self) -> int:
        return self.bits - 1

    @property
    def _low(self) -> int:
        return 0

    @property
    def _has_zero(self) -> bool:
        return self.zero

    @property
    def _has_sign(self) -> bool:
        return True
