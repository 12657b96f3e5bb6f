"""Linear fixed point: what the multiply-accumulate cores and the converter to operands compute.

All numbers are two's complement, all codes their bit patterns, zero-extended. A product weighs as much in its last bit
as the accumulator, so with operands of Fa and Fb fraction bits the accumulator has Fa + Fb.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slipstick.formats.quantiser import check_choice, check_integer

Overflow = Literal["saturate", "wrap"]
Ties = Literal["half-away", "half-even"]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class FixedMac:
    """sum = acc + a b, every product exact.

    a_bits, b_bits: of the operands, 2 to 24. accumulator_bits: 2 to 62, narrower than the product if need be.
    overflow: "saturate": the sum stops at -2^(A-1) and 2^(A-1) - 1; "wrap": modulo 2^A.
    """

    a_bits: int
    b_bits: int
    accumulator_bits: int
    overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        check_integer("FixedMac", "a_bits", self.a_bits, 2, 24)
        check_integer("FixedMac", "b_bits", self.b_bits, 2, 24)
        check_integer("FixedMac", "accumulator_bits", self.accumulator_bits, 2, 62)
        check_choice("FixedMac", "overflow", self.overflow, ("saturate", "wrap"))

    def __str__(self) -> str:
        return f"{self.a_bits} x {self.b_bits} + {self.accumulator_bits} bits, {self.overflow}"


@dataclass(frozen=True)
class FixedOutput:
    """An accumulator rounded to an operand: its value divided by 2^shift, to the nearest integer, saturated.

    accumulator_bits: A, 2 to 62. shift: fraction bits that go, 0 to A - 1. bits: of the operand, 2 to A.
    ties: "half-away": away from zero; "half-even": to the even integer.
    """

    accumulator_bits: int
    shift: int
    bits: int
    ties: Ties = "half-away"

    def __post_init__(self) -> None:
        check_integer("FixedOutput", "accumulator_bits", self.accumulator_bits, 2, 62)
        check_integer("FixedOutput", "shift", self.shift, 0, self.accumulator_bits - 1)
        check_integer("FixedOutput", "bits", self.bits, 2, self.accumulator_bits)
        check_choice("FixedOutput", "ties", self.ties, ("half-away", "half-even"))

    def __str__(self) -> str:
        return f"{self.accumulator_bits} bits / 2^{self.shift} to {self.bits} bits, ties {self.ties}"


def fixed_step(mac: FixedMac, a: Codes, b: Codes, acc: Codes) -> Codes:
    """Codes of the sum."""
    product = signed(a, mac.a_bits) * signed(b, mac.b_bits)
    total = signed(acc, mac.accumulator_bits) + product  # below 2^61 + 2^46
    if mac.overflow == "saturate":
        total = saturated(total, mac.accumulator_bits)
    return pattern(total, mac.accumulator_bits)


def fixed_output(output: FixedOutput, acc: Codes) -> Codes:
    """Codes of the operand."""
    value = signed(acc, output.accumulator_bits)
    floor, rest = value >> output.shift, value & ((1 << output.shift) - 1)
    half = (1 << output.shift) >> 1
    up_at_tie = value >= 0 if output.ties == "half-away" else (floor & 1) == 1
    up = (rest > half) | ((rest == half) & up_at_tie & (output.shift > 0))
    return pattern(saturated(floor + up, output.bits), output.bits)


def signed(codes: Codes, bits: int) -> Codes:
    """The integers of two's complement patterns."""
    half = np.int64(1 << (bits - 1))
    return (np.asarray(codes, np.int64) ^ half) - half


def pattern(values: Codes, bits: int) -> Codes:
    """The two's complement patterns of integers, modulo 2^bits."""
    return np.asarray(values, np.int64) & ((1 << bits) - 1)


def saturated(values: Codes, bits: int) -> Codes:
    """Integers, those beyond ``bits`` bits replaced by the nearest within."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return np.minimum(np.maximum(values, low), high)
