"""LinearAccumulate in hardware: one product, several at once, and the way from a sum back to a logarithm.

Letters as in ``slipstick.arithmetic.linear_accumulate``. Codes are those of MultiBaseLNS: a sign above x; with
``zero`` in the format, x = 0 is zero, and without it there is no code of zero. Accumulators are two's complement.

    step      sum = acc + sign t[p], stopped at the ends of A bits or modulo 2^A: the software's, product by product.
    tree      sum = acc + the exact sum of the terms of all lanes, stopped once. The software's where nothing stops, and
              with "wrap" always.
    bins      the datapath of LNS-Madam. Products are added up by their remainder r before any constant is applied:
                  bin[i] = sum over lanes with r = i L + j of sign (gamma + j) 2^(q - low),   low = max(lsb - 1, 0),
                  sum = acc + floor(1/2 + 2^(low - lsb - m) / gamma * sum over i of T[i] bin[i]),
              T[i] = c[i L], products with q < low left out as in t. One rounding for all lanes, and the floor in c[r]
              is gone, so its sums are nearer to the exact ones than those of the software, which they need not equal.
    output    integer S to the nearest code, scales and all: x = (nearest integer to gamma log2|S|) + offset, stopped at
              0 and X. Never a tie. With "zero", x <= 0 gives zero; S = 0 gives zero or else the smallest, sign +.
              With offset = gamma log2(2^lsb sa sb / s), an integer where scales are powers of two, it is the code of
              format.encode(S 2^lsb sa sb, scale=s).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic import LinearAccumulate
from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.formats.quantiser import check_choice, check_integer
from slipstick.formats.rounding_tables import PRECISION, powers_of_two
from slipstick.hardware.models.fixed import pattern, saturated, signed
from slipstick.kernels.reference import linear_products, linear_sum

Codes = NDArray[np.int64]
Reduction = Literal["tree", "bins"]


@dataclass(frozen=True)
class LinearVector:
    """A processing element: ``lanes`` products in a cycle, added to one accumulator.

    lanes: n, 1 to 64. reduction: "tree" or "bins", see the module.
    """

    arithmetic: LinearAccumulate
    lanes: int
    reduction: Reduction = "tree"

    def __post_init__(self) -> None:
        check_integer("LinearVector", "lanes", self.lanes, 1, 64)
        check_choice("LinearVector", "reduction", self.reduction, ("tree", "bins"))
        if self.reduction == "bins" and self.arithmetic.constant_bits + self.arithmetic.lsb - self.low < 1:
            raise SpecificationError(
                f"LinearVector({self.arithmetic}, reduction='bins'): the constants end above the last bit of the "
                "accumulator; use reduction='tree'"
            )

    def __str__(self) -> str:
        return f"{self.arithmetic}, {self.lanes} lanes, {self.reduction}"

    @property
    def low(self) -> int:
        """The first octave that the bins count."""
        return max(self.arithmetic.lsb - 1, 0)

    @property
    def bin_weights(self) -> tuple[int, ...]:
        """T[i]."""
        entries, gamma = self.arithmetic.table_entries, self.arithmetic.format.base_factor
        return tuple(int(c) for c in self.arithmetic.constants[:: gamma // entries])

    @property
    def point(self) -> int:
        """How many bits of gamma times the weighted sum of bins lie below the accumulator's last."""
        steps = self.arithmetic.format.base_factor.bit_length() - 1
        return self.arithmetic.constant_bits + steps + self.arithmetic.lsb - self.low


@dataclass(frozen=True)
class LinearOutput:
    """The converter from an accumulator to a code of ``format``.

    accumulator_bits: A, 2 to 62. offset_bits: of the two's complement offset, in steps of the format, 2 to 16.
    """

    format: MultiBaseLNS
    accumulator_bits: int
    offset_bits: int = 9

    def __post_init__(self) -> None:
        if not isinstance(self.format, MultiBaseLNS) or self.format.bits > 10:
            raise SpecificationError(f"LinearOutput(format={self.format}): must be a MultiBaseLNS of at most 10 bits")
        check_integer("LinearOutput", "accumulator_bits", self.accumulator_bits, 2, 62)
        check_integer("LinearOutput", "offset_bits", self.offset_bits, 2, 16)

    def __str__(self) -> str:
        return f"{self.accumulator_bits} bits to {self.format}"

    @property
    def largest_log(self) -> int:
        """X."""
        return (1 << (self.format.bits - 1)) - 1

    @cached_property
    def thresholds(self) -> tuple[int, ...]:
        """floor(2^(A-1) 2^((2r+1) / (2 gamma))), r = 0 .. gamma - 1: the last mantissas of A bits that round to r."""
        powers = powers_of_two(self.format.base_factor.bit_length())
        return tuple(powers[2 * r + 1] >> (PRECISION - self.accumulator_bits + 1) for r in range(len(powers) // 2))


def linear_step(arithmetic: LinearAccumulate, a: Codes, b: Codes, acc: Codes) -> Codes:
    """Codes of the accumulator after one product."""
    product = linear_products(signed_logs(arithmetic.format, a), signed_logs(arithmetic.format, b), arithmetic)
    before = np.broadcast_to(signed(acc, arithmetic.bits), product.shape)
    return pattern(linear_sum(np.stack([before, product]), arithmetic), arithmetic.bits)


def linear_vector_step(vector: LinearVector, a: Codes, b: Codes, acc: Codes) -> Codes:
    """Codes of the accumulator after the products of all lanes. a, b: [..., lanes]; acc: [...]."""
    arithmetic = vector.arithmetic
    a, b = signed_logs(arithmetic.format, a), signed_logs(arithmetic.format, b)
    if vector.reduction == "tree":
        added = linear_products(a, b, arithmetic).sum(axis=-1)
    else:
        added = (_weighted_bins(vector, a, b) + ((1 << vector.point) >> 1)) >> vector.point
    total = signed(acc, arithmetic.bits) + np.asarray(added).astype(np.int64)
    if arithmetic.overflow == "saturate":
        total = saturated(total, arithmetic.bits)
    return pattern(total, arithmetic.bits)


def _weighted_bins(vector: LinearVector, a: Codes, b: Codes) -> NDArray[np.object_]:
    """Sum of T[i] bin[i], times gamma, as Python integers: they may need more than 64 bits."""
    gamma = vector.arithmetic.format.base_factor
    steps = gamma // vector.arithmetic.table_entries
    octave, remainder = np.divmod(np.abs(a) + np.abs(b) - 2, gamma)
    counted = (a != 0) & (b != 0) & (octave >= vector.low)
    weight = np.array(vector.bin_weights, object)[remainder // steps] * (gamma + remainder % steps)
    place = np.where(counted, octave - vector.low, 0).astype(object)
    terms = np.where(counted, np.sign(a) * np.sign(b), 0).astype(object) * weight * 2**place
    total: NDArray[np.object_] = np.asarray(terms.sum(axis=-1), object)
    return total


def linear_output(output: LinearOutput, acc: Codes, offset: Codes) -> Codes:
    """Codes of the accumulator's logarithm."""
    value, offset = signed(acc, output.accumulator_bits), signed(offset, output.offset_bits)
    magnitude = np.abs(value)
    octave = np.searchsorted(1 << np.arange(output.accumulator_bits), magnitude, side="right") - 1  # -1 for 0
    mantissa = magnitude << np.maximum(output.accumulator_bits - 1 - octave, 0)
    rest = np.searchsorted(np.array(output.thresholds), mantissa, side="left")
    x = octave * output.format.base_factor + rest + offset
    x = np.where(magnitude == 0, 0, np.clip(x, 0, output.largest_log))
    plus = (x == 0) if output.format.zero else (magnitude == 0)
    sign: Codes = ((value < 0) & ~plus).astype(np.int64)
    return x | (sign << (output.format.bits - 1))


def signed_logs(format: MultiBaseLNS, codes: Codes) -> Codes:
    """The kernels' operands of codes: 0 is zero, +-(x + 1) has the logarithm x."""
    codes = np.asarray(codes, np.int64)
    x = codes & ((1 << (format.bits - 1)) - 1)
    number = np.where(codes >> (format.bits - 1) == 1, -(x + 1), x + 1)
    return np.where(x == 0, 0, number) if format.zero else number
