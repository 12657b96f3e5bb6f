"""From the statistics of one float training to its fixed-point precisions: the five criteria, and the smallest B_min.

After Sakr & Shanbhag 2019 (arXiv 1812.11732). The released code sweeps B_min and looks at the measured error of the
quantised network; this takes the smallest B_min whose predicted mismatch meets a target, so that no network is run.
"""

from dataclasses import dataclass

from slipstick.precision import criteria
from slipstick.precision.assignment import MOST_BITS, Assignment, LayerAssignment, Precision, least_bits
from slipstick.precision.conditions import Conditions, conditions_of
from slipstick.precision.criteria import RELEASED, Constants
from slipstick.precision.explanation import tensor_name
from slipstick.precision.feed_forward import Level, Minimum, find_level
from slipstick.precision.fixed_point_demands import accumulator, activation_gradient, weight_gradient
from slipstick.precision.layerwise import total_mismatch
from slipstick.precision.statistics import LayerStatistics, Statistics

_B_MIN = Minimum("B_min", "bits", "minimum_bits", 1, MOST_BITS)


def assign(
    statistics: Statistics,
    target: float = 0.01,
    *,
    constants: Constants = RELEASED,
    minimum_bits: int | None = None,
    smallest_lr: float | None = None,
) -> Assignment:
    """Precisions with the smallest B_min whose predicted mismatch is at most ``target``.

    constants: the released code's, which gave the published precisions; the paper's, as recalled, save two bits of each
    gradient and clip those of many classes: see ``Constants``.
    minimum_bits: B_min to use instead, 1 to 24, whatever the mismatch. smallest_lr: instead of that of the statistics.
    A weight or activation whose criterion asks for more than 24 bits gets 24 as long as the target is met.
    Raises SpecificationError, naming the tensor, for a target out of reach, a gradient or accumulator that needs more
    than 24 bits, and statistics to which a criterion does not apply (zero, not finite).
    """
    conditions = conditions_of(statistics, target, constants, smallest_lr)
    operands = [operand for layer in statistics.layers for operand in feed_forward_operands(layer)]
    offsets = criteria.feed_forward_offsets(
        {operand.name: operand.span for operand in operands}, {operand.name: operand.gain for operand in operands}
    )
    level = find_level(operands, offsets, target, _B_MIN, minimum_bits)
    layers = tuple(_layer(layer, level, conditions) for layer in statistics.layers)
    return Assignment(statistics.model, layers, level.minimum, total_mismatch(layers), target, constants)


def check_minimum_bits(minimum_bits: int) -> int:
    """The same number. Raises SpecificationError for one that cannot be B_min."""
    return _B_MIN.check(minimum_bits)


@dataclass(frozen=True)
class FixedPointOperand:
    """A weight or activation before its bits are known."""

    name: str
    maximum: float
    gain: float
    range: float
    signed: bool

    @property
    def span(self) -> float:
        return self.number(MOST_BITS).span

    @property
    def range_reason(self) -> str:
        return f"largest magnitude {self.maximum:.4g}; next power of two"

    @property
    def bits_reason(self) -> str:
        return f"noise gain {self.gain:.4g} and an interval {self.span:g} wide"

    def granted(self, wanted: int) -> int:
        return min(max(wanted, least_bits(self.signed)), MOST_BITS)

    def number(self, wanted: int) -> Precision:
        return Precision(self.granted(wanted), self.range, self.signed)

    def mismatch(self, wanted: int) -> float:
        return criteria.mismatch_bound([(self.number(wanted).step, self.gain)])


def feed_forward_operands(layer: LayerStatistics) -> tuple[FixedPointOperand, FixedPointOperand]:
    """The weight and the activation of a layer. Raises SpecificationError where there was none."""
    weight, activation = tensor_name(layer.name, "weight"), tensor_name(layer.name, "activation")
    holding = criteria.holding_range
    return (
        FixedPointOperand(
            weight, layer.weight_maximum, layer.weight_gain, holding(weight, layer.weight_maximum), signed=True
        ),
        FixedPointOperand(
            activation,
            layer.activation_maximum,
            layer.activation_gain,
            holding(activation, layer.activation_maximum),
            layer.activation_has_signs,
        ),
    )


def _layer(layer: LayerStatistics, level: Level, conditions: Conditions) -> LayerAssignment:
    weight, activation = feed_forward_operands(layer)
    w, gw = level.choice(weight), weight_gradient(layer, conditions.constants).met()
    step = gw[0].step
    return LayerAssignment.of(
        layer.name,
        {
            "weight": w,
            "activation": level.choice(activation),
            "weight_gradient": gw,
            "activation_gradient": activation_gradient(layer, step, conditions).met(),
            "accumulator": accumulator(layer, w[0], step, conditions).met(),
        },
        level.mismatch(weight),
        level.mismatch(activation),
    )
