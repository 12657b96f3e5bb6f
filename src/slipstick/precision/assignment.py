"""The answer of precision assignment: bits and range of the five tensors of every layer, and why.

The configuration matrix C of Sakr & Shanbhag 2019 (arXiv 1812.11732), L layers x 5 precisions, with the ranges.
``search.assign`` makes it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint
from slipstick.precision.criteria import PAPER, Constants
from slipstick.precision.explanation import KINDS, Kind, Reason, explain, find_layer

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


def least_bits(signed: bool) -> int:
    """The fewest bits of a precision: a number other than zero must exist."""
    return 2 if signed else 1


@dataclass(frozen=True)
class LayerAssignment:
    """One layer with weights. activation: its input. activation_gradient: of its output.

    weight_mismatch, activation_mismatch: step^2 E of the tensor, its part of the predicted mismatch.
    reasons: by kind.
    """

    name: str
    weight: Precision
    activation: Precision
    weight_gradient: Precision
    activation_gradient: Precision
    accumulator: Precision
    weight_mismatch: float = 0.0
    activation_mismatch: float = 0.0
    reasons: dict[str, Reason] = field(default_factory=dict)

    def precision(self, kind: Kind) -> Precision:
        """The precision of one of the five tensors."""
        value: Precision = getattr(self, kind)
        return value

    def describe(self, kind: Kind) -> str:
        """Bits, interval and step of one of the five tensors."""
        precision = self.precision(kind)
        least = f"-{power(precision.range)}" if precision.signed else "0"
        return f"{precision.bits} bits, [{least}, {power(precision.range)}), step {power(precision.step)}"


@dataclass(frozen=True)
class Assignment:
    """Fixed-point precisions of a model's training.

    minimum_bits: B_min, the bits of the weight or activation that needs fewest. predicted_mismatch: the bound on the
    probability that fixed point decides otherwise than float, ``criteria.mismatch_bound``; target: what was asked of
    it. constants: of the criteria.
    """

    model: str
    layers: tuple[LayerAssignment, ...]
    minimum_bits: int
    predicted_mismatch: float
    target: float
    constants: Constants = PAPER

    def layer(self, name: str) -> LayerAssignment:
        """Raises SpecificationError for a name that no layer has."""
        return find_layer(self.model, self.layers, name)

    def with_offset(self, kind: Kind | None, delta: int) -> "Assignment":
        """The assignment with ``delta`` bits more (fewer) for every tensor of one kind, or of all kinds with None.

        Bits stay between the fewest and the most that a format can have; ``Reason.offset`` says what was added.
        Ranges stay, except that the accumulator's is always half the weight's step: with kind="weight" the
        accumulator keeps its bits and its step moves with the weight's, as in the paper's experiments.
        Raises SpecificationError for a kind that does not exist.
        """
        if kind is not None and kind not in KINDS:
            raise SpecificationError(f"{kind!r} is no kind of tensor; choose one of {', '.join(KINDS)}, or None")
        kinds = KINDS if kind is None else (kind,)
        layers = tuple(_offset(layer, kinds, delta) for layer in self.layers)
        mismatch = math.fsum(layer.weight_mismatch + layer.activation_mismatch for layer in layers)
        return replace(self, layers=layers, predicted_mismatch=mismatch)

    def explain(self, name: str) -> str:
        """What set the precision of a tensor, as "layer3.weight", or of the five of a layer, as "layer3".

        Raises SpecificationError for a name that does not exist.
        """
        return explain(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Assignment":
        """Raises SpecificationError for what is no such data."""
        try:
            layers = tuple(_layer(layer) for layer in data["layers"])
            return cls(**{**data, "layers": layers, "constants": Constants(**data["constants"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecificationError(f"assignment: {error}; assign again") from None


def power(x: float) -> str:
    """A power of two as text."""
    return f"2^{math.frexp(x)[1] - 1}"


def _layer(data: Mapping[str, Any]) -> LayerAssignment:
    precisions: dict[str, Any] = {kind: Precision(**data[kind]) for kind in KINDS}
    reasons = {kind: Reason(**reason) for kind, reason in data["reasons"].items()}
    return LayerAssignment(**{**data, **precisions, "reasons": reasons})


def _offset(layer: LayerAssignment, kinds: tuple[Kind, ...], delta: int) -> LayerAssignment:
    changed: dict[str, Any] = {}
    reasons = dict(layer.reasons)
    for kind in kinds:
        old = layer.precision(kind)
        bits = min(max(old.bits + delta, least_bits(old.signed)), MOST_BITS)
        changed[kind] = replace(old, bits=bits)
        if kind in reasons:
            reasons[kind] = replace(reasons[kind], offset=reasons[kind].offset + bits - old.bits)
    new = replace(layer, **changed, reasons=reasons)
    return replace(
        new,
        accumulator=replace(new.accumulator, range=new.weight.step / 2),
        weight_mismatch=layer.weight_mismatch * (new.weight.step / layer.weight.step) ** 2,
        activation_mismatch=layer.activation_mismatch * (new.activation.step / layer.activation.step) ** 2,
    )
