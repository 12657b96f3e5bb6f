"""LNS(I, F): logarithmic numbers, zero or (-1)^s 2^(L / 2^F) with L a two's-complement integer.

The public code of a number is its W-bit pattern, W = 2 + I + F: s in the top bit, L below it. Zero is
L = -(MAX + 1) with s = 0, MAX = 2^(I+F) - 1; the same L with s = 1 is no number.
Source: Hamad et al. 2025 (arXiv 2510.17058), whose separate zero flag is folded into the reserved code here.
"""

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.formats.rounding_tables import (
    DOUBLE_MANTISSA_BITS,
    FLOAT_MANTISSA_BITS,
    EncodeTable,
    decode_table,
    encode_table,
)

Underflow = Literal["saturate", "flush"]

_CARRIER_INT_BITS = 6
_MAX_INT_BITS = 10
_MAX_FRAC_BITS = 16


@dataclass(frozen=True)
class LNS:
    """A logarithmic number format.

    int_bits: I, 1 to 10. Magnitudes reach from 2^-(2^I) to 2^(2^I). Numbers that PyTorch sees travel in
        float32 and need int_bits <= 6; accumulators may be wider.
    frac_bits: F, 0 to 16. Neighbours differ by the factor 2^(2^-F).
    underflow: a magnitude below the smallest becomes the smallest ("saturate", Hamad et al. 2025) or zero ("flush").
    """

    int_bits: int
    frac_bits: int
    underflow: Underflow = "saturate"

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("int_bits", self.int_bits, 1, _MAX_INT_BITS),
            ("frac_bits", self.frac_bits, 0, _MAX_FRAC_BITS),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise SpecificationError(f"LNS({name}={value!r}): must be an integer from {low} to {high}")
        if self.underflow not in ("saturate", "flush"):
            raise SpecificationError(f"LNS(underflow={self.underflow!r}): choose 'saturate' or 'flush'")

    def __str__(self) -> str:
        tail = "" if self.underflow == "saturate" else f",{self.underflow}"
        return f"LNS({self.int_bits},{self.frac_bits}{tail})"

    @property
    def width(self) -> int:
        """Bits of a code: sign, sign of the log, int_bits, frac_bits."""
        return 2 + self.int_bits + self.frac_bits

    @property
    def max_log(self) -> int:
        """MAX: the largest L; the smallest of a live number is -MAX."""
        return (1 << (self.int_bits + self.frac_bits)) - 1

    @property
    def zero_log(self) -> int:
        """The reserved L of zero, -(MAX + 1)."""
        return -(self.max_log + 1)

    @property
    def fits_float32(self) -> bool:
        """Whether float32 holds every number of the format injectively."""
        return self.int_bits <= _CARRIER_INT_BITS

    @property
    def largest(self) -> float:
        """The largest magnitude, 2^(MAX / 2^F)."""
        return float(2.0 ** (self.max_log / (1 << self.frac_bits)))

    @property
    def smallest(self) -> float:
        """The smallest nonzero magnitude, 2^(-MAX / 2^F)."""
        return float(2.0 ** (-self.max_log / (1 << self.frac_bits)))

    def to_dict(self) -> dict[str, Any]:
        return {"int_bits": self.int_bits, "frac_bits": self.frac_bits, "underflow": self.underflow}

    @overload
    def encode(self, x: torch.Tensor) -> torch.Tensor: ...
    @overload
    def encode(self, x: NDArray[Any]) -> NDArray[np.int32]: ...
    def encode(self, x: torch.Tensor | NDArray[Any]) -> torch.Tensor | NDArray[np.int32]:
        """Codes (int32, the shape of ``x``) of float32 or float64 numbers, correctly rounded, saturating.

        Raises NonFiniteError for NaN. Infinities saturate; 0.0 and -0.0 give zero.
        """
        if isinstance(x, torch.Tensor):
            with _disable_current_modes():
                return torch.from_numpy(np.asarray(self.encode(x.detach().cpu().numpy()))).to(x.device)
        return self.pattern(*self.logs(x))

    @overload
    def decode(self, codes: torch.Tensor) -> torch.Tensor: ...
    @overload
    def decode(self, codes: NDArray[Any]) -> NDArray[np.float32]: ...
    def decode(self, codes: torch.Tensor | NDArray[Any]) -> torch.Tensor | NDArray[np.float32]:
        """The float32 numbers of integer codes. Raises SpecificationError for a pattern that is no number."""
        if isinstance(codes, torch.Tensor):
            with _disable_current_modes():
                return torch.from_numpy(np.asarray(self.decode(codes.detach().cpu().numpy()))).to(codes.device)
        return self.numbers(*self.split(codes))

    def logs(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sign (0 or 1) and log of every number in ``x``; zero has sign 0 and log ``zero_log``."""
        self._check_carrier()
        bits, table = _magnitude_bits(x, self.frac_bits)
        infinite = ((1 << 8) - 1) << 23 if table.mantissa_bits == FLOAT_MANTISSA_BITS else ((1 << 11) - 1) << 52
        if bool((bits > infinite).any()):
            raise NonFiniteError(f"{self}.encode: NaN has no code; find the operation that produced it")
        log = self.round_log(table.logs(bits))
        log = np.where(bits == 0, self.zero_log, log)
        sign = np.signbit(x) & (log != self.zero_log)
        return sign.astype(np.int64), log

    def round_log(self, log: NDArray[np.int64]) -> NDArray[np.int64]:
        """Saturate or flush a live log that left the range ("round to format")."""
        low = -self.max_log if self.underflow == "saturate" else self.zero_log
        clipped = np.minimum(log, self.max_log)
        return np.where(clipped < -self.max_log, low, clipped)

    def pattern(self, sign: NDArray[np.int64], log: NDArray[np.int64]) -> NDArray[np.int32]:
        """The W-bit code of sign and log."""
        field = self.width - 1
        return np.asarray((sign << field) | (log & ((1 << field) - 1)), dtype=np.int32)

    def split(self, codes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sign and log of W-bit codes."""
        codes = np.asarray(codes).astype(np.int64)
        field = self.width - 1
        sign = codes >> field
        log = codes & ((1 << field) - 1)
        log = np.where(log > self.max_log, log - (1 << field), log)
        bad = (sign < 0) | (sign > 1) | ((sign == 1) & (log == self.zero_log))
        if bool(bad.any()):
            code = int(codes[bad].flat[0])
            raise SpecificationError(f"{self}: {code} is not a code; codes have {self.width} bits and zero has no sign")
        return sign, log

    def numbers(self, sign: NDArray[np.int64], log: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 numbers of signs and logs, correctly rounded."""
        self._check_carrier()
        mantissa = decode_table(self.frac_bits)[log & ((1 << self.frac_bits) - 1)]
        bits = (((log >> self.frac_bits) + 127) << FLOAT_MANTISSA_BITS) | mantissa | (sign << 31)
        bits = np.where(log == self.zero_log, 0, bits)
        return np.asarray(bits.astype(np.uint32)).view(np.float32)

    def _check_carrier(self) -> None:
        if not self.fits_float32:
            raise SpecificationError(
                f"{self}: float32 holds formats up to int_bits={_CARRIER_INT_BITS}; "
                "wider ones serve as accumulators only"
            )


def _magnitude_bits(x: NDArray[Any], frac_bits: int) -> tuple[NDArray[np.int64], EncodeTable]:
    if x.dtype == np.float32:
        bits = np.ascontiguousarray(x).view(np.int32).astype(np.int64).reshape(x.shape) & 0x7FFFFFFF
        return bits, encode_table(frac_bits)
    if x.dtype == np.float64:
        bits = np.ascontiguousarray(x).view(np.int64).reshape(x.shape) & 0x7FFFFFFFFFFFFFFF
        return bits, encode_table(frac_bits, mantissa_bits=DOUBLE_MANTISSA_BITS)
    raise SpecificationError(f"encode: {x.dtype} numbers are not accepted; use float32 or float64")
