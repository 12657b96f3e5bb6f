"""GC, RQB, BQN and AS for one layer in fixed point: the precision of each tensor, and why it is that."""

import math
from dataclasses import dataclass

from slipstick.errors import SpecificationError
from slipstick.precision import criteria
from slipstick.precision.assignment import MOST_BITS, Precision, least_bits, power
from slipstick.precision.conditions import Conditions
from slipstick.precision.criteria import Constants
from slipstick.precision.explanation import Reason, tensor_name
from slipstick.precision.layerwise import Choice
from slipstick.precision.statistics import LayerStatistics


@dataclass(frozen=True)
class Demand:
    """What a tensor asks for. range, step: powers of two. criterion: that of the step.

    range_reason, bits_reason: for its ``Reason``; remedy: against more bits than there are.
    """

    name: str
    range: float
    step: float
    criterion: str
    range_reason: str
    bits_reason: str
    remedy: str

    @property
    def bits(self) -> int:
        """B = log2(range / step) + 1."""
        return math.frexp(self.range)[1] - math.frexp(self.step)[1] + 1

    def met(self) -> Choice[Precision]:
        """With at least the fewest bits that a format can have. Raises SpecificationError for more than the most."""
        least = least_bits(signed=True)
        if self.bits > MOST_BITS:
            raise SpecificationError(
                f"{self.name}: {self.criterion} asks for {self.bits} bits, {MOST_BITS} are the most: {self.remedy}"
            )
        if self.bits >= least:
            return Precision(self.bits, self.range), Reason(self.criterion, self.range_reason, self.bits_reason)
        why = (
            f"{self.criterion} asks for {self.bits_reason}, which the range leaves no room for; the fewest bits are "
            f"{least}"
        )
        return Precision(least, self.range), Reason("limit", self.range_reason, why)


def weight_gradient(layer: LayerStatistics, constants: Constants) -> Demand:
    name, spread = tensor_name(layer.name, "weight_gradient"), layer.weight_gradient
    sigmas, fraction = constants.weight_gradient_sigmas, constants.bias_fraction
    reach = criteria.gradient_range(name, spread.largest, sigmas, constants.ema_correction)
    step = criteria.weight_gradient_step(name, spread.smallest, fraction)
    return Demand(
        name,
        reach,
        step,
        "RQB",
        _clipping(spread.largest, sigmas, constants),
        f"a step of {power(step)}, at most {fraction:g} sigma_min, sigma_min = {spread.smallest:.4g}",
        f"its standard deviation falls from {spread.largest:.3g} to {spread.smallest:.3g}; probe a training that ends "
        "before, or raise Constants.bias_fraction",
    )


def activation_gradient(layer: LayerStatistics, weight_gradient_step: float, conditions: Conditions) -> Demand:
    name, spread = tensor_name(layer.name, "activation_gradient"), layer.activation_gradient
    constants, batch = conditions.constants, conditions.batch
    sigmas = constants.activation_gradient_sigmas
    reach = criteria.gradient_range(name, spread.largest, sigmas, constants.ema_correction)
    step = criteria.activation_gradient_step(name, weight_gradient_step, layer.jacobian, batch)
    return Demand(
        name,
        reach,
        step,
        "BQN",
        _clipping(spread.largest, sigmas, constants),
        f"a step of {power(step)}, at most {power(weight_gradient_step)}, that of weight gradients, over "
        f"sqrt(N lambda); lambda = {layer.jacobian:.4g}, N = {batch}, the samples of a step",
        f"its noise reaches the weight gradient {batch * layer.jacobian:.3g} times amplified; raise "
        "Constants.bias_fraction, which makes steps coarser",
    )


def accumulator(
    layer: LayerStatistics, weight: Precision, weight_gradient_step: float, conditions: Conditions
) -> Demand:
    name, lr = tensor_name(layer.name, "accumulator"), conditions.smallest_lr
    step = criteria.accumulator_step(name, weight_gradient_step, lr)
    return Demand(
        name,
        weight.step / 2,
        step,
        "AS",
        f"half of {power(weight.step)}, the weight's step",
        f"a step of {power(step)}, at most lr_min = {lr:g} times {power(weight_gradient_step)}, that of weight "
        "gradients",
        f"lr_min is {lr:g}; pass smallest_lr, the least at which training must still go on, or a lower target, which "
        "gives weights more bits",
    )


def _clipping(sigma: float, sigmas: float, constants: Constants) -> str:
    correction = f" times {constants.ema_correction:.4g}" if constants.ema_correction != 1 else ""
    return f"GC: {sigmas:g} sigma_max{correction}, sigma_max = {sigma:.4g}; next power of two"
