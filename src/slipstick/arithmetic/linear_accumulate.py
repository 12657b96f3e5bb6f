"""LinearAccumulate: logarithms are multiplied by adding them, and the products summed as integers.

The datapath of LNS-Madam (Zhao et al. 2021, arXiv 2106.13914, section on hardware). Operands are MultiBaseLNS:
sign * s * 2^(x / gamma), x = 0 .. X, X = 2^(B-1) - 1, gamma the base factor, s the scale of a tensor. All of what
follows is integers:

    product      p = xa + xb, sign = sign a xor sign b; octave q = p div gamma, remainder r = p mod gamma.
                 A zero among the operands makes the product zero.
    constant     c[r] stands for 2^(r / gamma) in units of 2^-m, from a table of E entries: with L = gamma / E,
                 r = i L + j, i = 0 .. E - 1, j = 0 .. L - 1,
                     c[r] = T[i] + floor(T[i] j / gamma),   T[i] = nearest integer to 2^m 2^(i / E).
                 E = gamma has every constant in the table; E = 1 is Mitchell's 2^f = 1 + f; between, the hybrid.
    term         t[p] = nearest integer to c[r] 2^(q - lsb - m), ties away from zero: shifted into the window of the
                 accumulator, whose last bit weighs 2^lsb, lsb = (2X div gamma) - (A - 2 - h). So the largest product
                 leaves h bits of headroom below the sign of an accumulator of A bits (a hybrid's constants, up to 6 %
                 too large, may pass a power of two), and products of less than half the last bit vanish.
    sum          an A-bit two's complement integer, from 0, products with k ascending. "saturate": each addition stops
                 at -2^(A-1) and 2^(A-1) - 1. "wrap": modulo 2^A, in whatever order.
    result       sum * 2^lsb * (sa sb), in float64 from the right, once rounded to float32. What follows in the network
                 rounds it to logarithms again.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.formats.quantiser import check_choice, check_integer
from slipstick.formats.rounding_tables import PRECISION, powers_of_two

Overflow = Literal["saturate", "wrap"]

_OWNER = "LinearAccumulate"


@dataclass(frozen=True)
class LinearAccumulate:
    """Log multiply, integer accumulate; see the module for every integer.

    format: of both operands, at most 10 bits; its ``zero`` and ``scale`` do not matter here, nor does a format of equal
        bits and base factor that differs in them.
    entries: E, a power of two up to the base factor; None: the base factor, no approximation but rounding.
    constant_bits: m, 1 to 20. bits: A, 8 to 31. headroom: h, 0 to A - 3.
    overflow: "saturate" or "wrap".
    """

    kind: ClassVar[str] = "linear"

    format: MultiBaseLNS
    entries: int | None = None
    constant_bits: int = 20
    bits: int = 24
    headroom: int = 8
    overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        if not isinstance(self.format, MultiBaseLNS) or self.format.bits > 10:
            raise SpecificationError(f"{_OWNER}(format={self.format}): must be a MultiBaseLNS of at most 10 bits")
        if self.entries is not None:
            check_integer(_OWNER, "entries", self.entries, 1, self.format.base_factor)
            if self.entries & (self.entries - 1):
                raise SpecificationError(f"{_OWNER}(entries={self.entries}): must be a power of two")
        check_integer(_OWNER, "constant_bits", self.constant_bits, 1, 20)
        check_integer(_OWNER, "bits", self.bits, 8, 31)
        check_integer(_OWNER, "headroom", self.headroom, 0, self.bits - 3)
        check_choice(_OWNER, "overflow", self.overflow, ("saturate", "wrap"))

    def __str__(self) -> str:
        table = "exact" if self.table_entries == self.format.base_factor else f"{self.table_entries} entries"
        window = f"{self.bits} bits, headroom {self.headroom}, {self.overflow}"
        return f"{self.format} linear ({table}, m={self.constant_bits}, {window})"

    @property
    def table_entries(self) -> int:
        """E."""
        return self.format.base_factor if self.entries is None else self.entries

    @property
    def largest_log(self) -> int:
        """X, the largest logarithm of an operand in steps of 1 / gamma octave."""
        return (1 << (self.format.bits - 1)) - 1

    @property
    def lsb(self) -> int:
        """log2 of what the accumulator's last bit weighs, in units of the product of both scales."""
        return 2 * self.largest_log // self.format.base_factor - (self.bits - 2 - self.headroom)

    @cached_property
    def constants(self) -> NDArray[np.int32]:
        """c[r] for r = 0 .. gamma - 1."""
        gamma, entries = self.format.base_factor, self.table_entries
        shift = PRECISION - self.constant_bits
        table = [(power + (1 << (shift - 1))) >> shift for power in powers_of_two(entries.bit_length() - 1)]
        steps = gamma // entries
        made = [table[r // steps] + table[r // steps] * (r % steps) // gamma for r in range(gamma)]
        return np.array(made, np.int32)

    @cached_property
    def terms(self) -> NDArray[np.int32]:
        """t[p] for p = 0 .. 2X."""
        gamma = self.format.base_factor
        made = []
        for p in range(2 * self.largest_log + 1):
            constant, shift = int(self.constants[p % gamma]), p // gamma - self.lsb - self.constant_bits
            made.append(constant << shift if shift >= 0 else ((constant >> (-shift - 1)) + 1) >> 1)
        return np.array(made, np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back."""
        return {"kind": self.kind, **asdict(self), "format": self.format.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "LinearAccumulate":
        """Raises SpecificationError for an unknown or missing field."""
        given = {key: value for key, value in data.items() if key != "kind"}
        unknown = sorted(set(given) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise SpecificationError(f"{_OWNER}: unknown field {unknown[0]!r}; the fields are {known}")
        if "format" not in given:
            raise SpecificationError(f"{_OWNER}: the field 'format' is missing")
        format = given.pop("format")
        return cls(MultiBaseLNS.from_dict(format) if isinstance(format, dict) else format, **given)
