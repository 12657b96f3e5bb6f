"""Floating-point formats of hardware: those of ``slipstick.formats.MiniFloat``, and the wider ones of IEEE 754.

A code is sign, exponent field e of E bits, mantissa field m of M bits:
    e > 0:  (-1)^s * 2^(e - bias) * (1 + m 2^-M)        e = 0:  (-1)^s * 2^(1 - bias) * m 2^-M
"""

from dataclasses import dataclass

from slipstick.errors import SpecificationError
from slipstick.formats import MiniFloat
from slipstick.formats.mini_float import Overflow, Specials
from slipstick.formats.quantiser import check_choice, check_integer


@dataclass(frozen=True)
class FloatFormat:
    """A floating-point format with subnormals; the fields are those of ``MiniFloat``.

    exponent_bits: E, 1 to 8. mantissa_bits: M, 0 to 23. bias: 2^(E-1) - 1 if None; within +-256.
    specials: "ieee": the top exponent field holds infinity (m = 0) and NaN (m > 0); "fn": the code with all ones is
        NaN, there is no infinity; "none": every code is a number.
    overflow: a result beyond the largest number, infinite ones too, is infinity ("inf", where there is one) or the
        largest number of its sign ("saturate").
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int | None = None
    specials: Specials = "ieee"
    overflow: Overflow = "inf"

    def __post_init__(self) -> None:
        check_integer("FloatFormat", "exponent_bits", self.exponent_bits, 1, 8)
        check_integer("FloatFormat", "mantissa_bits", self.mantissa_bits, 0, 23)
        check_choice("FloatFormat", "specials", self.specials, ("ieee", "fn", "none"))
        check_choice("FloatFormat", "overflow", self.overflow, ("inf", "saturate"))
        if self.bias is None:
            object.__setattr__(self, "bias", (1 << (self.exponent_bits - 1)) - 1)
        check_integer("FloatFormat", "bias", self.bias, -256, 256)
        if self.overflow == "inf" and self.specials != "ieee":
            raise SpecificationError(f"{self}: there is no code of infinity; use overflow='saturate'")
        if self.top_code < 1 or (self.specials == "ieee" and self.exponent_bits == 1):
            raise SpecificationError(f"{self}: the special values leave no normal number; use specials='none'")

    @classmethod
    def of(cls, format: "MiniFloat | FloatFormat") -> "FloatFormat":
        """The same format, from either class."""
        if isinstance(format, FloatFormat):
            return format
        if not isinstance(format, MiniFloat):
            raise SpecificationError(f"{format!r}: not a floating-point format; use MiniFloat or FloatFormat")
        return cls(format.exponent_bits, format.mantissa_bits, format.bias, format.specials, format.overflow)

    def __str__(self) -> str:
        return f"FloatFormat({self.name})"

    @property
    def name(self) -> str:
        """Like e4m3fn: exponent and mantissa bits, then whatever differs from IEEE 754."""
        usual = (1 << (self.exponent_bits - 1)) - 1
        bias = "" if self.bias == usual else f"b{self.zero_exponent}".replace("-", "m")
        tail = {"ieee": "sat" if self.overflow == "saturate" else "", "fn": "fn", "none": "none"}[self.specials]
        return f"e{self.exponent_bits}m{self.mantissa_bits}{tail}{bias}"

    @property
    def width(self) -> int:
        """Bits of a code."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def precision(self) -> int:
        """Bits of a significand, the hidden one included."""
        return 1 + self.mantissa_bits

    @property
    def zero_exponent(self) -> int:
        """The bias: the field whose numbers lie from 1 to below 2."""
        assert self.bias is not None
        return self.bias

    @property
    def smallest_exponent(self) -> int:
        """log2 of the smallest normal number, the exponent of every subnormal one."""
        return 1 - self.zero_exponent

    @property
    def top_code(self) -> int:
        """The code of the largest number."""
        codes = 1 << (self.exponent_bits + self.mantissa_bits)
        return codes - {"ieee": 1 << self.mantissa_bits, "fn": 1, "none": 0}[self.specials] - 1

    @property
    def beyond_code(self) -> int:
        """The positive code of a result beyond the largest number."""
        return self.top_code + (self.overflow == "inf")

    @property
    def has_infinity(self) -> bool:
        return self.specials == "ieee"

    @property
    def has_nan(self) -> bool:
        return self.specials == "fn" or (self.specials == "ieee" and self.mantissa_bits > 0)

    @property
    def nan_code(self) -> int:
        """The NaN that results are: sign 0; of IEEE 754's, the quiet one without payload. Of formats that have one."""
        return self.top_code + 1 + (0 if self.specials == "fn" else 1 << (self.mantissa_bits - 1))


FP16 = FloatFormat(5, 10)
"""IEEE 754 binary16."""

BF16 = FloatFormat(8, 7)
"""bfloat16."""

FP32 = FloatFormat(8, 23)
"""IEEE 754 binary32."""
