"""ScaledLNS(I, F, e): the numbers of LNS(I, F) times 2^e, a power of two that a whole tensor shares.

Zero, or (-1)^s 2^(e + L / 2^F) with L an integer from -MAX to MAX, MAX = 2^(I+F) - 1. As the range of fixed point does,
the shared power puts the few octaves that a code reaches where a tensor's numbers are; in hardware it is a constant
added to the logarithms. e = 0 with signs is ``LNS(I, F, "flush")``.
"""

from dataclasses import dataclass

from slipstick.formats.log_quantiser import LogQuantiser
from slipstick.formats.quantiser import check_choice, check_integer

_LEAST_EXPONENT, _MOST_EXPONENT = -126, 127  # of normal float32 numbers


@dataclass(frozen=True)
class ScaledLNS(LogQuantiser):
    """Zero and 2^(1+I+F) - 1 magnitudes between 2^(e - 2^I) and 2^(e + 2^I), both excluded.

    int_bits: I, 0 to 6. frac_bits: F, 0 to 16. Neighbours differ by the factor 2^(2^-F).
    exponent: e. The magnitudes must lie between 2^-126 and 2^127, where float32 numbers are normal.
    signed: with a sign; without it negative numbers become zero (activations after ReLU).

    A code is the sign above the field L + 2^(I+F), 1 + I + F bits, whose 0 is zero. "nearest" is nearest in the
    logarithm; no float ties. Magnitudes whose L rounds below -MAX become zero, those above MAX and infinities the
    largest. "stochastic" is unbiased in the linear domain, with zero a neighbour of the smallest magnitude. -0.0 gives
    0.0; NaN raises.
    """

    int_bits: int
    frac_bits: int
    exponent: int = 0
    signed: bool = True

    def __post_init__(self) -> None:
        check_integer("ScaledLNS", "int_bits", self.int_bits, 0, 6)
        check_integer("ScaledLNS", "frac_bits", self.frac_bits, 0, 16)
        check_choice("ScaledLNS", "signed", self.signed, (True, False))
        reach = 1 << self.int_bits
        check_integer("ScaledLNS", "exponent", self.exponent, _LEAST_EXPONENT + reach, _MOST_EXPONENT - reach)

    def __str__(self) -> str:
        return f"ScaledLNS({self.int_bits},{self.frac_bits},2^{self.exponent}{'' if self.signed else ',unsigned'})"

    @property
    def _frac_bits(self) -> int:
        return self.frac_bits

    @property
    def _field_bits(self) -> int:
        return 1 + self.int_bits + self.frac_bits

    @property
    def _low(self) -> int:
        return (self.exponent - (1 << self.int_bits)) << self.frac_bits

    @property
    def _has_zero(self) -> bool:
        return True

    @property
    def _has_sign(self) -> bool:
        return self.signed
