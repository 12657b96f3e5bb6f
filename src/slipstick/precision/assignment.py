"""The answer of precision assignment: bits and range of the five tensors of every layer, and why.

The configuration matrix C of Sakr & Shanbhag 2019 (arXiv 1812.11732), L layers x 5 precisions, with the ranges.
``search.assign`` makes it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint
from slipstick.precision.criteria import PAPER, Constants
from slipstick.precision.explanation import KINDS, Kind, Reason
from slipstick.precision.layerwise import AssignedLayer, LayerwiseAssignment, total_mismatch
from slipstick.precision.log_precision import LogPrecision, power

__all__ = [
    "KINDS",
    "MOST_BITS",
    "Assignment",
    "Kind",
    "LayerAssignment",
    "LogPrecision",
    "Precision",
    "Reason",
    "least_bits",
    "power",
]

MOST_BITS = 24
"""Of a precision: what ``FixedPoint`` and a float32 hold."""


@dataclass(frozen=True)
class Precision:
    """Fixed point of ``bits`` bits: two's complement in [-range, range) with step range 2^(1-bits), or without signs in
    [0, range) with step range 2^-bits.

    bits: 2 to 24 with signs, 1 to 24 without. range: a power of two.
    The paper's activations, [0, 2) with step 2^(1-B), are Precision(B, 2.0, signed=False): the same step as that of its
    weights, Precision(B, 1.0), because both intervals are 2 wide.
    """

    bits: int
    range: float
    signed: bool = True

    def __post_init__(self) -> None:
        lowest = least_bits(self.signed)
        if not isinstance(self.bits, int) or isinstance(self.bits, bool) or not lowest <= self.bits <= MOST_BITS:
            raise SpecificationError(f"{self}: bits must be an integer from {lowest} to {MOST_BITS}")
        if not 0 < self.range < math.inf or math.frexp(self.range)[0] != 0.5:
            raise SpecificationError(f"{self}: range must be a power of two")

    @property
    def span(self) -> float:
        """The width of the interval of numbers: 2 range with signs, range without."""
        return 2 * self.range if self.signed else self.range

    @property
    def step(self) -> float:
        """The distance of neighbours, span 2^-bits."""
        return math.ldexp(self.span, -self.bits)

    @property
    def format(self) -> FixedPoint:
        """The format whose numbers these are; ties round away from zero, as the paper has it."""
        int_bits = math.frexp(self.range)[1] - 1
        return FixedPoint(int_bits, self.bits - self.signed - int_bits, signed=self.signed)

    def widened(self, bits: int) -> "Precision":
        """With so many bits more, within what a format can have."""
        return replace(self, bits=min(max(self.bits + bits, least_bits(self.signed)), MOST_BITS))

    def describe(self) -> str:
        """Bits, interval and step."""
        least = f"-{power(self.range)}" if self.signed else "0"
        return f"{self.bits} bits, [{least}, {power(self.range)}), step {power(self.step)}"


def least_bits(signed: bool) -> int:
    """The fewest bits of a precision: a number other than zero must exist."""
    return 2 if signed else 1


@dataclass(frozen=True)
class LayerAssignment(AssignedLayer[Precision, Precision | LogPrecision]):
    """One layer. Fixed point; an activation or its gradient may be logarithmic, see ``mixed.assign_mixed``."""

    def precision(self, kind: Kind) -> Precision | LogPrecision:
        """The precision of one of the five tensors."""
        return self.number(kind)

    def describe(self, kind: Kind) -> str:
        """Bits, interval and step of one of the five tensors."""
        return self.precision(kind).describe()

    @staticmethod
    def number_from(data: Mapping[str, Any]) -> Precision | LogPrecision:
        return LogPrecision(**data) if "frac_bits" in data else Precision(**data)


@dataclass(frozen=True)
class Assignment(LayerwiseAssignment[LayerAssignment]):
    """Precisions of a model's training.

    minimum_bits: B_min, the bits of the weight or activation that needs fewest. predicted_mismatch: the bound on the
    probability that rounded numbers decide otherwise than float, ``criteria.mismatch_bound``; target: what was asked
    of it. constants: of the criteria.
    """

    layer_type: ClassVar = LayerAssignment
    title: ClassVar = "assignment"

    minimum_bits: int
    predicted_mismatch: float
    target: float
    constants: Constants = PAPER

    @property
    def is_mixed(self) -> bool:
        """Whether some tensor is logarithmic."""
        return any(isinstance(layer.precision(kind), LogPrecision) for layer in self.layers for kind in KINDS)

    def with_offset(self, kind: Kind | None, delta: int) -> "Assignment":
        """The assignment with ``delta`` bits more (fewer) for every tensor of one kind, or of all kinds with None.

        Bits stay between the fewest and the most that a format can have; ``Reason.offset`` says what was added.
        Of logarithms they are fraction bits, and the part of underflow in the predicted mismatch moves with the rest.
        Ranges stay, except that the accumulator's is always half the weight's step: with kind="weight" the
        accumulator keeps its bits and its step moves with the weight's, as in the paper's experiments.
        Raises SpecificationError for a kind that does not exist.
        """
        if kind is not None and kind not in KINDS:
            raise SpecificationError(f"{kind!r} is no kind of tensor; choose one of {', '.join(KINDS)}, or None")
        kinds = KINDS if kind is None else (kind,)
        layers = tuple(_offset(layer, kinds, delta) for layer in self.layers)
        return replace(self, layers=layers, predicted_mismatch=total_mismatch(layers))


def _offset(layer: LayerAssignment, kinds: tuple[Kind, ...], delta: int) -> LayerAssignment:
    changed: dict[str, Any] = {}
    reasons = dict(layer.reasons)
    more = dict.fromkeys(KINDS, 0)
    for kind in kinds:
        old = layer.precision(kind)
        changed[kind] = old.widened(delta)
        more[kind] = changed[kind].bits - old.bits
        if kind in reasons:
            reasons[kind] = replace(reasons[kind], offset=reasons[kind].offset + more[kind])
    new = replace(layer, **changed, reasons=reasons)
    return replace(
        new,
        accumulator=replace(new.accumulator, range=new.weight.step / 2),
        weight_mismatch=math.ldexp(layer.weight_mismatch, -2 * more["weight"]),
        activation_mismatch=math.ldexp(layer.activation_mismatch, -2 * more["activation"]),
    )
