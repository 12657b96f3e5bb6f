"""What a training's precisions cost: bits to hold, full adders to compute, bits to send.

For one step on a batch of N samples, after Sakr & Shanbhag 2019 (arXiv 1812.11732):

    representational  C_R = sum over layers of N |A| B_A + N |O| B_G(A) + |W| (B_W + B_G(W) + B_Acc)      bits
    communication     C_M = sum over layers of |W| B_G(W)                                                 bits
    computational     C_C = 1-bit full adders of all dot products: forward (W with A), input gradient (W with G(A)),
                            weight gradient (A with G(A))

|A|, |O|: numbers in a layer's input and in its output, of one sample; the paper, where the output of one layer is the
input of the next, writes |A| for both. C_R and C_M are recalled from the paper. A dot product of D terms with operands
of B_X and B_Y bits takes

    D B_X B_Y + (D - 1) (B_X + B_Y + ceil(log2 D) - 1)

full adders, an array multiplier for each term and ripple-carry additions of full width: cost_evaluation.py of
github.com/charbel-sakr/Precision-Analysis-of-Neural-Networks. That the three products of training are summed is
recalled. Ours: biases, normalisation and the update are left out, as they are small; the first layer has no input
gradient; where dot products of a layer have different lengths (padding, stride) D is the mean, rounded up in the
logarithm alone.

The paper's count for floating point is not known to us. Ours, meant to flatter it: numbers of 24 significant bits and
8 bits of exponent; a product takes 24 * 24 full adders for the significands and 8 for the sum of exponents, an addition
24 for the significands and 8 for the difference of exponents; the shifters that align and normalise, the rounding and
the leading-zero count, which are multiplexers and half adders rather than full adders, are free. A fixed-point operand
of B bits beside a float one counts B * 24 for the product, and sums are then float.

Logarithms. C_R and C_M are bits and numbers as before; the accumulator of ``lns`` is the weight with more bits, so that
together they count as the accumulator alone. Of C_C full adders are defined for a part: the product of two logarithms
is one addition of their logs, aligned, 1 + I + F bits with the larger I and the larger F. A sum of logarithms is a
subtraction, a maximum, and D+ or D- of an adder that is tables, shifters or comparators as designed; the product of a
logarithm and an integer is a conversion of one of them. Neither is a number of full adders: they are left out, the
count is a lower bound and says so (``Cost.complete``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment, LogPrecision, Precision
from slipstick.precision.explanation import KINDS
from slipstick.precision.lns import LNSAssignment, LNSLayer

_SIGNIFICAND = 24
_EXPONENT = 8
_FLOAT = 32


class SizedLayer(Protocol):
    """What costs ask of a layer, as ``LayerStatistics`` and ``LayerSizes`` have it."""

    @property
    def name(self) -> str: ...

    @property
    def weight_shape(self) -> tuple[int, ...]: ...

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    @property
    def output_shape(self) -> tuple[int, ...]: ...

    @property
    def macs(self) -> int: ...


class SizedNetwork(Protocol):
    """Layers in the order of the forward pass."""

    @property
    def layers(self) -> Sequence[SizedLayer]: ...


@dataclass(frozen=True)
class Width:
    """Bits of a tensor's numbers. is_float: they are float32, of 32 bits. log: of logarithms, their I and F."""

    bits: int
    is_float: bool = False
    log: tuple[int, int] | None = None

    @property
    def multiplied(self) -> int:
        """Bits that enter a multiplier."""
        return _SIGNIFICAND if self.is_float else self.bits


FLOAT32 = Width(_FLOAT, is_float=True)


@dataclass(frozen=True)
class LayerWidths:
    """Of the five tensors of a layer: stored and multiplied. weight_gradient: as it is sent."""

    weight: Width
    activation: Width
    weight_gradient: Width
    activation_gradient: Width
    accumulator: Width


@dataclass(frozen=True)
class Design:
    """A way to train, as far as cost goes. layers: widths by layer name, or ``everywhere`` for all."""

    name: str
    everywhere: LayerWidths | None = None
    layers: Mapping[str, LayerWidths] | None = None

    def widths(self, layer: str) -> LayerWidths:
        """Raises SpecificationError for a layer that the design does not know."""
        if self.everywhere is not None:
            return self.everywhere
        if self.layers is None or layer not in self.layers:
            raise SpecificationError(
                f"design {self.name}: knows no layer {layer!r}; use the statistics it was made from"
            )
        return self.layers[layer]


def float32() -> Design:
    """Everything in float32, its accumulator (the weights before a step's rounding) counted as a tensor of its own,
    as the paper's formula has it."""
    return Design("fp32", LayerWidths(FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32))


def fixed_point(assignment: Assignment, name: str = "assigned") -> Design:
    """As assigned tensor by tensor, logarithms of a mixed assignment included."""
    layers = {
        layer.name: LayerWidths(**{kind: _width(layer.precision(kind)) for kind in KINDS})
        for layer in assignment.layers
    }
    return Design(name, layers=layers)


def logarithmic(assignment: LNSAssignment, name: str = "assigned") -> Design:
    """Logarithms throughout. Weights are held in the format of the accumulator."""
    return Design(name, layers={layer.name: _log_widths(layer) for layer in assignment.layers})


def _width(precision: Precision | LogPrecision) -> Width:
    if isinstance(precision, LogPrecision):
        return Width(precision.bits, log=(precision.int_bits, precision.frac_bits))
    return Width(precision.bits)


def _log_widths(layer: LNSLayer) -> LayerWidths:
    formats = {kind: layer.format(kind) for kind in KINDS}
    widths = {kind: Width(format.width, log=(format.int_bits, format.frac_bits)) for kind, format in formats.items()}
    more = layer.accumulator.width - layer.weight.width
    return LayerWidths(**widths | {"accumulator": Width(more)})


def uniform(bits: int) -> Design:
    """Fixed point of ``bits`` bits for all five tensors."""
    if not isinstance(bits, int) or isinstance(bits, bool) or bits < 1:
        raise SpecificationError(f"uniform({bits!r}): bits must be a positive integer")
    width = Width(bits)
    return Design(f"uniform {bits}", LayerWidths(width, width, width, width, width))


def binarised() -> Design:
    """Weights and activations of one bit in all products, gradients and accumulators in float32: the binarised
    networks of Hubara et al. 2016 (arXiv 1602.02830) with float training. A one-bit factor counts 24 full adders with
    a float, though it only flips a sign."""
    return Design("binarised", LayerWidths(Width(1), Width(1), FLOAT32, FLOAT32, FLOAT32))


def ternary_gradients() -> Design:
    """float32, with weight gradients sent as -1, 0, 1 (2 bits): TernGrad, Wen et al. 2017 (arXiv 1705.07878)."""
    return Design("ternary gradients", LayerWidths(FLOAT32, FLOAT32, Width(2), FLOAT32, FLOAT32))


@dataclass(frozen=True)
class LayerCost:
    """representational and communication in bits; forward, input_gradient and weight_gradient in full adders.

    complete: whether those are all that it takes, or a part.
    """

    name: str
    representational: int
    forward: int
    input_gradient: int
    weight_gradient: int
    communication: int
    complete: bool = True

    @property
    def computational(self) -> int:
        return self.forward + self.input_gradient + self.weight_gradient


@dataclass(frozen=True)
class Cost:
    """Of one training step. batch: its samples."""

    design: str
    batch: int
    layers: tuple[LayerCost, ...]

    @property
    def representational(self) -> int:
        """C_R, bits."""
        return sum(layer.representational for layer in self.layers)

    @property
    def complete(self) -> bool:
        """Whether C_C is all that it takes. Of a design with logarithms it is a part."""
        return all(layer.complete for layer in self.layers)

    @property
    def computational(self) -> int:
        """C_C, 1-bit full adders."""
        return sum(layer.computational for layer in self.layers)

    @property
    def communication(self) -> int:
        """C_M, bits."""
        return sum(layer.communication for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, totals included."""
        totals = ("representational", "computational", "communication", "complete")
        layers = [{**vars(layer), "computational": layer.computational} for layer in self.layers]
        return {"design": self.design, "batch": self.batch, "layers": layers} | {
            key: getattr(self, key) for key in totals
        }


def cost(network: SizedNetwork, design: Design, batch: int = 1) -> Cost:
    """The three costs of one training step of a network: its ``Statistics`` or its ``NetworkSizes``.

    batch: samples of a step. Weight gradients are summed over them.
    """
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise SpecificationError(f"cost(batch={batch!r}): must be a positive integer")
    layers = tuple(
        _layer_cost(layer, design.widths(layer.name), batch, first=layer is network.layers[0])
        for layer in network.layers
    )
    return Cost(design.name, batch, layers)


def dot_products(count: int, macs: int, x: Width, y: Width) -> int:
    """1-bit full adders of ``count`` dot products with ``macs`` terms in all, see above; of logarithms a part."""
    if x.log is not None and y.log is not None:
        return macs * (1 + max(x.log[0], y.log[0]) + max(x.log[1], y.log[1]))
    if x.log is not None or y.log is not None:
        return 0
    additions = max(macs - count, 0)
    if x.is_float or y.is_float:
        exponents = _EXPONENT if x.is_float and y.is_float else 0
        return macs * (x.multiplied * y.multiplied + exponents) + additions * (_SIGNIFICAND + _EXPONENT)
    carries = (math.ceil(macs / count) - 1).bit_length()  # ceil(log2 D)
    return macs * x.bits * y.bits + additions * (x.bits + y.bits + carries - 1)


def _layer_cost(layer: SizedLayer, widths: LayerWidths, batch: int, first: bool) -> LayerCost:
    weights, inputs, outputs = (
        math.prod(shape) for shape in (layer.weight_shape, layer.input_shape, layer.output_shape)
    )
    macs = layer.macs
    w, a, ga = widths.weight, widths.activation, widths.activation_gradient
    return LayerCost(
        layer.name,
        representational=batch * (inputs * a.bits + outputs * ga.bits)
        + weights * (w.bits + widths.weight_gradient.bits + widths.accumulator.bits),
        forward=batch * dot_products(outputs, macs, w, a),
        input_gradient=0 if first else batch * dot_products(inputs, macs, w, ga),
        weight_gradient=dot_products(weights, batch * macs, a, ga),
        communication=weights * widths.weight_gradient.bits,
        complete=all(width.log is None for width in (w, a, ga)),
    )
