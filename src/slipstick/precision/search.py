"""From the statistics of one float training to its fixed-point precisions: the five criteria, and the smallest B_min.

After Sakr & Shanbhag 2019 (arXiv 1812.11732). The released code sweeps B_min and looks at the measured error of the
quantised network; this takes the smallest B_min whose predicted mismatch meets a target, so that no network is run.
"""

import math
from dataclasses import dataclass

from slipstick.errors import SpecificationError
from slipstick.precision import criteria
from slipstick.precision.assignment import (
    MOST_BITS,
    Assignment,
    LayerAssignment,
    Precision,
    least_bits,
    power,
)
from slipstick.precision.criteria import PAPER, Constants
from slipstick.precision.explanation import Reason, tensor_name
from slipstick.precision.statistics import LayerStatistics, Statistics
from slipstick.precision.target import check_request, unreachable


@dataclass(frozen=True)
class _Operand:
    """A weight or activation before its bits are known."""

    name: str
    maximum: float
    gain: float
    range: float
    signed: bool

    @property
    def span(self) -> float:
        return Precision(MOST_BITS, self.range, self.signed).span

    def precision(self, wanted: int) -> Precision:
        return Precision(min(max(wanted, least_bits(self.signed)), MOST_BITS), self.range, self.signed)

    def mismatch(self, wanted: int) -> float:
        """Its part of the predicted mismatch."""
        return criteria.mismatch_bound([(self.precision(wanted).step, self.gain)])


def assign(
    statistics: Statistics,
    target: float = 0.01,
    *,
    constants: Constants = PAPER,
    minimum_bits: int | None = None,
    smallest_lr: float | None = None,
) -> Assignment:
    """Precisions with the smallest B_min whose predicted mismatch is at most ``target``.

    constants: the paper's, because ``Probe`` measures spreads that need no correction; the released code's, which gave
    the published precisions, make the ranges of gradients 3.16 (6.3) times wider: see ``Constants``.
    minimum_bits: B_min to use instead, 1 to 24, whatever the mismatch. smallest_lr: instead of that of the statistics.
    A weight or activation whose criterion asks for more than 24 bits gets 24 as long as the target is met.
    Raises SpecificationError, naming the tensor, for a target out of reach, a gradient or accumulator that needs more
    than 24 bits, and statistics to which a criterion does not apply (zero, not finite).
    """
    check_request(statistics, target)
    pairs = [_operands(layer) for layer in statistics.layers]
    operands = {operand.name: operand for pair in pairs for operand in pair}
    offsets = criteria.feed_forward_offsets(
        {name: operand.span for name, operand in operands.items()},
        {name: operand.gain for name, operand in operands.items()},
    )
    b_min = _smallest(operands, offsets, target) if minimum_bits is None else check_minimum_bits(minimum_bits)
    lr = statistics.smallest_lr if smallest_lr is None else smallest_lr
    layers = tuple(
        _layer(layer, weight, activation, offsets, b_min, constants, lr, statistics.batch)
        for layer, (weight, activation) in zip(statistics.layers, pairs, strict=True)
    )
    predicted = math.fsum(layer.weight_mismatch + layer.activation_mismatch for layer in layers)
    return Assignment(statistics.model, layers, b_min, predicted, target, constants)


def _operands(layer: LayerStatistics) -> tuple[_Operand, _Operand]:
    weight, activation = tensor_name(layer.name, "weight"), tensor_name(layer.name, "activation")
    holding = criteria.holding_range
    return (
        _Operand(weight, layer.weight_maximum, layer.weight_gain, holding(weight, layer.weight_maximum), True),
        _Operand(
            activation,
            layer.activation_maximum,
            layer.activation_gain,
            holding(activation, layer.activation_maximum),
            layer.activation_has_signs,
        ),
    )


def check_minimum_bits(minimum_bits: int) -> int:
    """The same number. Raises SpecificationError for one that cannot be B_min."""
    if not isinstance(minimum_bits, int) or isinstance(minimum_bits, bool) or not 1 <= minimum_bits <= MOST_BITS:
        raise SpecificationError(f"minimum_bits={minimum_bits!r}: must be an integer from 1 to {MOST_BITS}")
    return minimum_bits


def _smallest(operands: dict[str, _Operand], offsets: dict[str, int], target: float) -> int:
    parts: dict[str, float] = {}
    for b_min in range(1, MOST_BITS + 1):
        parts = {name: operand.mismatch(b_min + offsets[name]) for name, operand in operands.items()}
        if math.fsum(parts.values()) <= target:
            return b_min
    raise unreachable(target, parts, f"{MOST_BITS} bits")


def _layer(
    layer: LayerStatistics,
    weight: _Operand,
    activation: _Operand,
    offsets: dict[str, int],
    b_min: int,
    constants: Constants,
    lr: float,
    batch: int,
) -> LayerAssignment:
    w, a = (operand.precision(b_min + offsets[operand.name]) for operand in (weight, activation))
    gw, gw_reason = _weight_gradient(layer, constants)
    ga, ga_reason = _activation_gradient(layer, gw.step, constants, batch)
    accumulator, accumulator_reason = _accumulator(layer, w, gw.step, lr)
    return LayerAssignment(
        layer.name,
        weight=w,
        activation=a,
        weight_gradient=gw,
        activation_gradient=ga,
        accumulator=accumulator,
        weight_mismatch=weight.mismatch(b_min + offsets[weight.name]),
        activation_mismatch=activation.mismatch(b_min + offsets[activation.name]),
        reasons={
            "weight": _feed_forward_reason(weight, offsets, b_min),
            "activation": _feed_forward_reason(activation, offsets, b_min),
            "weight_gradient": gw_reason,
            "activation_gradient": ga_reason,
            "accumulator": accumulator_reason,
        },
    )


def _feed_forward_reason(operand: _Operand, offsets: dict[str, int], b_min: int) -> Reason:
    offset = offsets[operand.name]
    wanted = b_min + offset
    got = operand.precision(wanted).bits
    least = min(offsets, key=lambda name: offsets[name])
    text = (
        f"{offset} bits more than {least}, which needs fewest, for noise gain {operand.gain:.4g} and an interval "
        f"{operand.span:g} wide; B_min = {b_min}"
    )
    criterion = "EFQN"
    if wanted != got:
        criterion, text = "limit", f"EFQN asks for {wanted} ({text}); {'most' if got < wanted else 'fewest'} are {got}"
    return Reason(criterion, f"largest magnitude {operand.maximum:.4g}; next power of two", text)


def _weight_gradient(layer: LayerStatistics, constants: Constants) -> tuple[Precision, Reason]:
    name, spread = tensor_name(layer.name, "weight_gradient"), layer.weight_gradient
    sigmas, fraction = constants.weight_gradient_sigmas, constants.bias_fraction
    reach = criteria.gradient_range(name, spread.largest, sigmas, constants.ema_correction)
    step = criteria.weight_gradient_step(name, spread.smallest, fraction)
    why = f"a step of {power(step)}, at most {fraction:g} sigma_min, sigma_min = {spread.smallest:.4g}"
    remedy = (
        f"its standard deviation falls from {spread.largest:.3g} to {spread.smallest:.3g}; probe a training that ends "
        "before, or raise Constants.bias_fraction"
    )
    return _between(name, reach, step, "RQB", _clipping(spread.largest, sigmas, constants), why, remedy)


def _activation_gradient(
    layer: LayerStatistics, weight_gradient_step: float, constants: Constants, batch: int
) -> tuple[Precision, Reason]:
    name, spread = tensor_name(layer.name, "activation_gradient"), layer.activation_gradient
    sigmas = constants.activation_gradient_sigmas
    reach = criteria.gradient_range(name, spread.largest, sigmas, constants.ema_correction)
    step = criteria.activation_gradient_step(name, weight_gradient_step, layer.jacobian, batch)
    why = (
        f"a step of {power(step)}, at most {power(weight_gradient_step)}, that of weight gradients, over "
        f"sqrt(N lambda); lambda = {layer.jacobian:.4g}, N = {batch}, the samples of a step"
    )
    remedy = (
        f"its noise reaches the weight gradient {batch * layer.jacobian:.3g} times amplified; raise "
        "Constants.bias_fraction, which makes steps coarser"
    )
    return _between(name, reach, step, "BQN", _clipping(spread.largest, sigmas, constants), why, remedy)


def _accumulator(
    layer: LayerStatistics, weight: Precision, weight_gradient_step: float, lr: float
) -> tuple[Precision, Reason]:
    name = tensor_name(layer.name, "accumulator")
    step = criteria.accumulator_step(name, weight_gradient_step, lr)
    gradient = power(weight_gradient_step)
    why = f"a step of {power(step)}, at most lr_min = {lr:g} times {gradient}, that of weight gradients"
    remedy = (
        f"lr_min is {lr:g}; pass smallest_lr, the least at which training must still go on, or a lower target, which "
        "gives weights more bits"
    )
    held = f"half of {power(weight.step)}, the weight's step"
    return _between(name, weight.step / 2, step, "AS", held, why, remedy)


def _clipping(sigma: float, sigmas: float, constants: Constants) -> str:
    correction = f" times {constants.ema_correction:.4g}" if constants.ema_correction != 1 else ""
    return f"GC: {sigmas:g} sigma_max{correction}, sigma_max = {sigma:.4g}; next power of two"


def _between(
    name: str, reach: float, step: float, criterion: str, clipping: str, why: str, remedy: str
) -> tuple[Precision, Reason]:
    """B = log2(range / step) + 1, of powers of two, and at least the fewest bits that a format can have."""
    bits = math.frexp(reach)[1] - math.frexp(step)[1] + 1
    if bits > MOST_BITS:
        raise SpecificationError(f"{name}: {criterion} asks for {bits} bits, {MOST_BITS} are the most: {remedy}")
    if bits < least_bits(signed=True):
        why = f"{criterion} asks for {why}, which the range leaves no room for; the fewest bits are {least_bits(True)}"
        return Precision(least_bits(signed=True), reach), Reason("limit", clipping, why)
    return Precision(bits, reach), Reason(criterion, clipping, why)
