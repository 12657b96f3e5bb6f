"""Multiply-accumulate units to compare: their circuits, the codes of real numbers, and what they compute.

A candidate is one arithmetic. It may have several cores, circuits of the same function, because which is cheapest
depends on the clock and on the library; all are built, and the best of each candidate is compared.

A tensor enters a unit in the unit's own format. Where a format is narrow, the tensor has a scale, as in training:

    LogArithmetic      none; its logarithms span the range
    LinearAccumulate   the largest magnitude has the top code (LNS-Madam)
    fixed point        a power of two, the least that leaves the largest magnitude in range
    floating point     none with 8 exponent bits; else a power of two that brings the largest magnitude between 8 and
                       16, which leaves sums of products 10 octaves of room in FP16
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from slipstick.arithmetic import LinearAccumulate, LogArithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint
from slipstick.formats.quantiser import check_choice
from slipstick.hardware.float_format import FP32
from slipstick.hardware.models.fixed import FixedMac, fixed_step
from slipstick.hardware.models.floating import FloatMac, float_step
from slipstick.hardware.models.linear_accumulate import linear_step
from slipstick.hardware.models.log import accumulator_range, log_encode, log_step
from slipstick.hardware.rtl.float_mac import float_mac_unit
from slipstick.hardware.rtl.linear_accumulate import linear_mac_unit
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit
from slipstick.hardware.rtl.log_mac import log_mac_unit
from slipstick.hardware.rtl.mac import clocked_mac_unit
from slipstick.hardware.synthesis import Multiplier
from slipstick.hardware.unit import Unit

Codes = NDArray[np.int64]
Reals = NDArray[np.float32]

MULTIPLIERS: tuple[Multiplier, ...] = get_args(Multiplier)

_FLOAT_PEAK = 4  # the largest magnitude of a scaled tensor lies below 2^4


class Candidate(Protocol):
    """A multiply-accumulate unit of one arithmetic."""

    @property
    def title(self) -> str:
        """The arithmetic in one line."""

    @property
    def operand_bits(self) -> int: ...

    @property
    def accumulator_bits(self) -> int: ...

    @property
    def zero(self) -> int:
        """The accumulator's code of 0."""

    def multipliers(self, core: Unit) -> tuple[Multiplier, ...]:
        """How synthesis may map the multiplier of a core; nothing where there is none."""

    def cores(self) -> tuple[Unit, ...]:
        """Combinational units from a, b, acc to sum."""

    def encode(self, x: Reals, peak: float) -> Codes:
        """Operand codes of numbers from a tensor whose largest magnitude is ``peak``."""

    def step(self, a: Codes, b: Codes, acc: Codes) -> Codes:
        """Codes of acc + a b."""

    def sums(self, generator: np.random.Generator, count: int) -> Codes:
        """Random codes of sums that can occur, for tests."""


def clocked_units(candidate: Candidate) -> tuple[Unit, ...]:
    """The candidate's circuits with registers for operands and sum."""
    return tuple(clocked_mac_unit(core, candidate.zero) for core in candidate.cores())


@dataclass(frozen=True)
class LogCandidate:
    """Logarithms, added by a LogArithmetic in its accumulator's format."""

    arithmetic: LogArithmetic

    @property
    def title(self) -> str:
        return str(self.arithmetic)

    @property
    def operand_bits(self) -> int:
        return self.arithmetic.format.width

    @property
    def accumulator_bits(self) -> int:
        return self.arithmetic.accumulator_format.width

    @property
    def zero(self) -> int:
        return 1 << (self.accumulator_bits - 2)

    def cores(self) -> tuple[Unit, ...]:
        return log_mac_unit(self.arithmetic), log_mac_unit(self.arithmetic, clear=True)

    def multipliers(self, core: Unit) -> tuple[Multiplier, ...]:
        return ()

    def encode(self, x: Reals, peak: float) -> Codes:
        return log_encode(np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.int64), self.arithmetic.format)

    def step(self, a: Codes, b: Codes, acc: Codes) -> Codes:
        return log_step(self.arithmetic, a, b, acc)

    def sums(self, generator: np.random.Generator, count: int) -> Codes:
        reached, format = accumulator_range(self.arithmetic), self.arithmetic.accumulator_format
        logs = generator.integers(reached.lowest, reached.highest + 1, count)
        codes = format.pattern(generator.integers(0, 2, count), logs).astype(np.int64)
        return np.where(generator.random(count) < 0.02, self.zero, codes)


@dataclass(frozen=True)
class LinearAccumulateCandidate:
    """Logarithms, their products added as integers."""

    arithmetic: LinearAccumulate
    zero = 0

    @property
    def title(self) -> str:
        return str(self.arithmetic)

    @property
    def operand_bits(self) -> int:
        return self.arithmetic.format.bits

    @property
    def accumulator_bits(self) -> int:
        return self.arithmetic.bits

    def cores(self) -> tuple[Unit, ...]:
        return (linear_mac_unit(self.arithmetic),)

    def multipliers(self, core: Unit) -> tuple[Multiplier, ...]:
        return ()

    def encode(self, x: Reals, peak: float) -> Codes:
        format = self.arithmetic.format
        scale = format.scale_of(torch.tensor([peak], dtype=torch.float32), 0 if format.scale == "per_channel" else None)
        return format.encode(torch.from_numpy(np.ascontiguousarray(x)), scale=float(scale)).numpy().astype(np.int64)

    def step(self, a: Codes, b: Codes, acc: Codes) -> Codes:
        return linear_step(self.arithmetic, a, b, acc)

    def sums(self, generator: np.random.Generator, count: int) -> Codes:
        return _spread_integers(generator, count, self.arithmetic.bits)


@dataclass(frozen=True)
class FixedCandidate:
    """Linear fixed point, two's complement, both operands of one width.

    multiplier: "booth" or "array" leaves the other out; "any": whichever is best.
    """

    mac: FixedMac
    multiplier: Literal["any", "booth", "array"] = "any"
    zero = 0

    def __post_init__(self) -> None:
        check_choice("FixedCandidate", "multiplier", self.multiplier, ("any", *MULTIPLIERS))
        if self.mac.a_bits != self.mac.b_bits:
            raise SpecificationError(f"{self.title}: operands of different widths; give both the wider one")

    @property
    def title(self) -> str:
        return f"fixed point {self.mac}" + ("" if self.multiplier == "any" else f", {self.multiplier}")

    @property
    def operand_bits(self) -> int:
        return self.mac.a_bits

    @property
    def accumulator_bits(self) -> int:
        return self.mac.accumulator_bits

    def cores(self) -> tuple[Unit, ...]:
        operator, rows = fixed_mac_unit(self.mac), fixed_mac_unit(self.mac, "booth")
        return (operator,) if self.multiplier == "array" else (operator, rows)

    def multipliers(self, core: Unit) -> tuple[Multiplier, ...]:
        """Where the Booth rows are written out, "array" only sums them, and the accumulator, in one tree."""
        if self.multiplier == "any" or core.name == fixed_mac_unit(self.mac, "booth").name:
            return MULTIPLIERS
        return (self.multiplier,)

    def encode(self, x: Reals, peak: float) -> Codes:
        format = FixedPoint(0, self.operand_bits - 1)
        scale = format.scale_of(torch.tensor([peak], dtype=torch.float32), power_of_two=True)
        return format.encode(torch.from_numpy(np.ascontiguousarray(x)), scale=scale).numpy().astype(np.int64)

    def step(self, a: Codes, b: Codes, acc: Codes) -> Codes:
        return fixed_step(self.mac, a, b, acc)

    def sums(self, generator: np.random.Generator, count: int) -> Codes:
        return _spread_integers(generator, count, self.mac.accumulator_bits)


@dataclass(frozen=True)
class FloatCandidate:
    """Floating point, fused multiply-add, both operands of one format."""

    mac: FloatMac
    zero = 0

    def __post_init__(self) -> None:
        if self.mac.a != self.mac.b:
            raise SpecificationError(f"{self.title}: operands of different formats; give both the wider one")

    @property
    def title(self) -> str:
        return f"floating point {self.mac}"

    @property
    def operand_bits(self) -> int:
        return self.mac.a.width

    @property
    def accumulator_bits(self) -> int:
        return self.mac.accumulator.width

    def cores(self) -> tuple[Unit, ...]:
        return float_mac_unit(self.mac), float_mac_unit(self.mac, "minimum")

    def multipliers(self, core: Unit) -> tuple[Multiplier, ...]:
        return MULTIPLIERS

    def encode(self, x: Reals, peak: float) -> Codes:
        format = self.mac.a
        scaled = np.asarray(x, np.float32)
        if format.exponent_bits < FP32.exponent_bits and peak > 0:
            scaled = np.ldexp(scaled, _FLOAT_PEAK - math.frexp(peak)[1])
        bits = scaled.view(np.uint32).astype(np.int64)
        one = np.full_like(bits, FP32.zero_exponent << FP32.mantissa_bits)
        return float_step(FloatMac(FP32, FP32, format), bits, one, np.zeros_like(bits))

    def step(self, a: Codes, b: Codes, acc: Codes) -> Codes:
        return float_step(self.mac, a, b, acc)

    def sums(self, generator: np.random.Generator, count: int) -> Codes:
        format = self.mac.accumulator
        return generator.integers(0, format.top_code + 1, count) | (
            generator.integers(0, 2, count) << (format.width - 1)
        )


def _spread_integers(generator: np.random.Generator, count: int, bits: int) -> Codes:
    """Two's complement codes of all magnitudes, small ones as often as large ones."""
    shifts = generator.integers(0, bits - 1, count)
    values = generator.integers(-(1 << (bits - 1)), 1 << (bits - 1), count) >> shifts
    return values & ((1 << bits) - 1)


def dot_products(candidate: Candidate, a: Codes, b: Codes, clear: Codes) -> Codes:
    """The sums of a clocked unit: in row t what it holds once it has taken the product of row t in.

    clear: 1 where a dot product begins, as it does in row 0 whatever stands there.
    """
    begins = np.flatnonzero(np.concatenate([[1], np.asarray(clear)[1:]]))
    lengths = np.diff(np.append(begins, len(a)))
    sums = np.empty(len(a), np.int64)
    total = np.full(len(begins), candidate.zero, np.int64)
    for t in range(int(lengths.max())):
        running = lengths > t
        rows = begins[running] + t
        sums[rows] = total[running] = candidate.step(a[rows], b[rows], total[running])
    return sums
