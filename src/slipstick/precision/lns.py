"""The five questions of precision assignment, answered for logarithmic numbers: (I, F) of every tensor of a training.

Sakr & Shanbhag 2019 (arXiv 1812.11732) ask them of fixed point, whose error is absolute: the range of a tensor and its
step are a matter of their ratio, and one number of bits pays for both. LNS(I, F), with magnitudes 2^(L / 2^F), rounds
log2|x| to a multiple of 2^-F: its error is relative, I alone pays for the range and F alone for the error. Everything
below is ours; no paper states it. ``statistics`` are those of the fixed-point criteria.

**Rounding error.** log2|x| is off by e, uniform in [-d/2, d/2] with d = 2^-F octaves. So x is off by the fraction
2^e - 1, about e ln 2, of variance (d ln 2)^2 / 12, and of mean sinh(h) / h - 1 with h = d ln 2 / 2, about
(d ln 2)^2 / 24. That is, s = ln 2 2^-F stands where fixed point has step / |x|.

**Range: clipping, twice.** Magnitudes reach from 2^-(2^I) to 2^(2^I). Above: what holds a weight or activation, and
the range of GC for gradients. Below: the smallest magnitude m that matters, because what is smaller becomes m or 0, an
error of at most m. Of a weight gradient m is half the step of RQB (what fixed point rounds to zero), of an activation
gradient half the step of BQN. Of weights and activations: errors of second moment m^2 in place of step^2 / 12 add
12 m^2 E to the bound on mismatches, and all tensors together may add UNDERFLOW_SHARE of the target; the bound takes
such errors for independent noise, which they are not quite. The accumulator also holds the smallest update.

**EFQN.** With the noise above each number t has the variance t^2 s^2 / 12, so that the bound on mismatches is
    p_m <= sum_T s_T^2 E'_T,   E'_T = mean over samples of sum_{i != y} ||t d(z_i - z_y)/dt||^2 / (24 (z_i - z_y)^2),
the norm over the elements t of T. Where t^2 and the squared derivatives are uncorrelated over T, E'_T is E_T times
the mean square of T, which is what is used; never more than E_T times the squared maximum, used where the mean square
is unknown. As with steps, the fewest bits have equal terms:
    F_T = round(log2 sqrt(E'_T / E'_min)) + F_min,  F_min the smallest that meets the target.
Scaling a tensor and unscaling the next changes no E', unlike E: offsets are small, and I takes the place of ranges.

**RQB.** Rounding weight gradients biases them by the fraction s^2 / 24 whatever their size; fixed point, by
(step / sigma)^2 / 24 (see ``criteria.weight_gradient_step``). Equally much at the time of training when sigma is least:
    ln 2 2^-F <= bias_fraction, so F = ceil(log2(ln 2 / bias_fraction)), 2 for 1/4.
It does not depend on the gradients: how far their size varies over training is a matter of I.

**BQN.** An activation gradient g has noise g^2 s^2 / 12, on average sigma_A^2 s_A^2 / 12. Through the square-Jacobians
of a step's N samples at most N lambda times that reaches the weight gradient, whose own is sigma_W^2 s_W^2 / 12:
    F_G(A) = F_G(W) + ceil(log2( sqrt(N lambda) sigma_A / sigma_W )), at least 0.
The ratio at one time is not known; the larger of that of the largest and that of the smallest sigmas is taken, which is
right if both gradients rise and fall together.

**AS.** The update u = lr_min step_G(W), as in fixed point, moves log2|w| by about u / (|w| ln 2), and rounding to
nearest keeps a move of half a step. So that the largest weight can still move,
    F_Acc = ceil(log2( ln 2 w_max / (2 u) )), and not below F_W.
The accumulator is not a residue here but the finer format in which weights and state are updated,
``ss.use(compute, update=...)``; the compute format's logs are its upper bits.

Not counted: in a log-domain sum every addition rounds again, which this, like the paper, leaves to a wider accumulator
of the arithmetic; and the error of approximate adders.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.precision import criteria
from slipstick.precision.conditions import Conditions, conditions_of
from slipstick.precision.criteria import PAPER, RELEASED, Constants
from slipstick.precision.explanation import KINDS, Kind, Reason, tensor_name
from slipstick.precision.feed_forward import Level, Minimum, find_level
from slipstick.precision.layerwise import AssignedLayer, Choice, LayerwiseAssignment, total_mismatch
from slipstick.precision.statistics import LayerStatistics, Statistics

UNDERFLOW_SHARE = 0.1
"""Of the target: what underflow of weights and activations may add. I hardly depends on it, the range being 2^(2^I)."""

MOST_INT_BITS = 6
"""What float32 carriers hold."""

MOST_FRAC_BITS = 16

_LN2 = math.log(2)
_F_MIN = Minimum("F_min", "fraction bits", "minimum_frac_bits", 0, MOST_FRAC_BITS)


@dataclass(frozen=True)
class LNSLayer(AssignedLayer[LNS, LNS]):
    """One layer; the accumulator is the format in which weights are updated. Mismatches are of rounding and of
    underflow."""

    def format(self, kind: Kind) -> LNS:
        """Of one of the five tensors."""
        return self.number(kind)

    def describe(self, kind: Kind) -> str:
        """Format, bits and range of one of the five tensors."""
        format = self.format(kind)
        return f"{format}, {format.width} bits, magnitudes 2^-{1 << format.int_bits} to 2^{1 << format.int_bits}"

    @staticmethod
    def number_from(data: Mapping[str, Any]) -> LNS:
        return LNS(**data)


@dataclass(frozen=True)
class LNSAssignment(LayerwiseAssignment[LNSLayer]):
    """Logarithmic formats of a model's training.

    minimum_frac_bits: F_min, the fraction bits of the weight or activation that needs fewest. predicted_mismatch,
    target: of the bound on mismatches.
    """

    layer_type: ClassVar = LNSLayer
    title: ClassVar = "LNS assignment"

    minimum_frac_bits: int
    predicted_mismatch: float
    target: float
    constants: Constants = PAPER

    @property
    def compute(self) -> LNS:
        """One format in which weights, activations and gradients of all layers fit."""
        return _common(layer.format(kind) for layer in self.layers for kind in KINDS if kind != "accumulator")

    @property
    def update(self) -> LNS:
        """One format in which also all accumulators fit: for ``ss.use(compute, update=...)``."""
        return _common(layer.format(kind) for layer in self.layers for kind in KINDS)


def assign_lns(
    statistics: Statistics,
    target: float = 0.01,
    *,
    constants: Constants = RELEASED,
    minimum_frac_bits: int | None = None,
    smallest_lr: float | None = None,
) -> LNSAssignment:
    """Formats with the smallest F_min whose predicted mismatch is at most ``target``.

    minimum_frac_bits: F_min to use instead, 0 to 16, whatever the mismatch. smallest_lr: instead of that of the
    statistics. Where an accumulator would need more than 16 fraction bits it gets 16, and its reason says what is lost.
    Raises SpecificationError, naming the tensor, for a target or range out of reach and for statistics to which a
    criterion does not apply (zero, not finite).
    """
    conditions = conditions_of(statistics, target, constants, smallest_lr)
    allowance = UNDERFLOW_SHARE * target / (2 * len(statistics.layers))
    pairs = [_operands(layer, allowance) for layer in statistics.layers]
    operands = [operand for pair in pairs for operand in pair]
    gains = {operand.name: operand.relative_gain for operand in operands}
    offsets = criteria.feed_forward_offsets(dict.fromkeys(gains, 1.0), gains)
    level = find_level(operands, offsets, target, _F_MIN, minimum_frac_bits)
    layers = tuple(_layer(layer, pair, level, conditions) for layer, pair in zip(statistics.layers, pairs, strict=True))
    return LNSAssignment(statistics.model, layers, level.minimum, total_mismatch(layers), target, constants)


def check_minimum_frac_bits(minimum: int) -> int:
    """The same number. Raises SpecificationError for one that cannot be F_min."""
    return _F_MIN.check(minimum)


def relative_gain(gain: float, maximum: float, mean_square: float | None) -> float:
    """E' of a tensor with noise gain E; where its mean square is unknown, that of its maximum stands in."""
    return gain * (maximum**2 if mean_square is None else mean_square)


def relative_gain_reason(relative: float, measured: bool) -> str:
    """E' in words. measured: whether the mean square was known."""
    return f"a relative noise gain of {relative:.4g}{'' if measured else ', a bound by the squared maximum'}"


@dataclass(frozen=True)
class _Operand:
    """A weight or activation before its fraction bits are known. smallest: the least magnitude that matters."""

    name: str
    maximum: float
    gain: float
    relative_gain: float
    measured: bool
    smallest: float
    int_bits: int

    @property
    def range_reason(self) -> str:
        return f"largest magnitude {self.maximum:.4g}, smallest that matters {self.smallest:.2g}"

    @property
    def bits_reason(self) -> str:
        return relative_gain_reason(self.relative_gain, self.measured)

    def granted(self, wanted: int) -> int:
        return min(wanted, MOST_FRAC_BITS)

    def number(self, wanted: int) -> LNS:
        return LNS(self.int_bits, self.granted(wanted))

    def mismatch(self, wanted: int) -> float:
        """Of rounding and of underflow."""
        format = self.number(wanted)
        return (_LN2 * 2.0**-format.frac_bits) ** 2 * self.relative_gain + 12 * format.smallest**2 * self.gain


def _operands(layer: LayerStatistics, allowance: float) -> tuple[_Operand, _Operand]:
    weight = _operand(layer, "weight", layer.weight_gain, layer.weight_maximum, layer.weight_mean_square, allowance)
    return weight, _operand(
        layer, "activation", layer.activation_gain, layer.activation_maximum, layer.activation_mean_square, allowance
    )


def _operand(
    layer: LayerStatistics, kind: Kind, gain: float, maximum: float, mean_square: float | None, allowance: float
) -> _Operand:
    name = tensor_name(layer.name, kind)
    reach = criteria.holding_range(name, maximum)
    relative = relative_gain(criteria.positive_gain(name, gain), maximum, mean_square)
    smallest = math.sqrt(allowance / (12 * gain))
    int_bits = _int_bits(name, reach, smallest)
    return _Operand(name, maximum, gain, relative, mean_square is not None, smallest, int_bits)


def _int_bits(tensor: str, largest: float, smallest: float) -> int:
    """The fewest with which 2^+-(2^I) encloses the largest magnitude (a power of two) and the smallest that matters."""
    exponent = max(math.frexp(largest)[1] - 1, 1 - math.frexp(smallest)[1], 1)
    if exponent.bit_length() > MOST_INT_BITS:
        raise SpecificationError(
            f"{tensor}: magnitudes from {smallest:.3g} to {largest:.3g} need int_bits={exponent.bit_length()}, "
            f"{MOST_INT_BITS} are the most; scale the loss"
        )
    return exponent.bit_length()


def _layer(
    layer: LayerStatistics, operands: tuple[_Operand, _Operand], level: Level, conditions: Conditions
) -> LNSLayer:
    weight, activation = operands
    w, constants = level.choice(weight), conditions.constants
    step = criteria.weight_gradient_step(
        tensor_name(layer.name, "weight_gradient"), layer.weight_gradient.smallest, constants.bias_fraction
    )
    gw = _weight_gradient(layer, step, constants)
    return LNSLayer.of(
        layer.name,
        {
            "weight": w,
            "activation": level.choice(activation),
            "weight_gradient": gw,
            "activation_gradient": _activation_gradient(layer, step, gw[0].frac_bits, conditions),
            "accumulator": _accumulator(layer, weight, w[0], step, conditions.smallest_lr),
        },
        level.mismatch(weight),
        level.mismatch(activation),
    )


def _weight_gradient(layer: LayerStatistics, step: float, constants: Constants) -> Choice[LNS]:
    name, sigma = tensor_name(layer.name, "weight_gradient"), layer.weight_gradient.largest
    reach = criteria.gradient_range(name, sigma, constants.weight_gradient_sigmas, constants.ema_correction)
    frac_bits = max(0, criteria.ceil_log2(_LN2 / constants.bias_fraction))
    return LNS(_int_bits(name, reach, step / 2), frac_bits), Reason(
        "RQB",
        f"GC: {reach:.3g} for sigma_max = {sigma:.4g}; down to {step / 2:.2g}, half of fixed point's step",
        f"ln 2 2^-F at most {constants.bias_fraction:g}, whatever the size of gradients",
    )


def _activation_gradient(
    layer: LayerStatistics, step: float, weight_gradient_bits: int, conditions: Conditions
) -> Choice[LNS]:
    constants, batch = conditions.constants, conditions.batch
    name, a, w = tensor_name(layer.name, "activation_gradient"), layer.activation_gradient, layer.weight_gradient
    reach = criteria.gradient_range(name, a.largest, constants.activation_gradient_sigmas, constants.ema_correction)
    smallest = criteria.activation_gradient_step(name, step, layer.jacobian, batch) / 2
    ratio = max(a.largest / w.largest, a.smallest / w.smallest)
    more = -(-criteria.ceil_log2(batch * layer.jacobian * ratio**2) // 2)
    frac_bits = max(0, weight_gradient_bits + more)
    if frac_bits > MOST_FRAC_BITS:
        raise SpecificationError(
            f"{name}: BQN asks for {frac_bits} fraction bits, {MOST_FRAC_BITS} are the most: N lambda is "
            f"{batch * layer.jacobian:.3g}; raise Constants.bias_fraction"
        )
    return LNS(_int_bits(name, reach, smallest), frac_bits), Reason(
        "BQN",
        f"GC: {reach:.3g} for sigma_max = {a.largest:.4g}; down to {smallest:.2g}, half of fixed point's step",
        f"{more:+d} to the {weight_gradient_bits} of the weight gradient for lambda = {layer.jacobian:.4g}, "
        f"N = {batch} and sigma_A / sigma_W = {ratio:.3g}; 0 at least",
    )


def _accumulator(layer: LayerStatistics, weight: _Operand, format: LNS, step: float, lr: float) -> Choice[LNS]:
    name = tensor_name(layer.name, "accumulator")
    update = criteria.smallest_update(name, step, lr)
    wanted = max(criteria.ceil_log2(_LN2 * weight.maximum / (2 * update)), format.frac_bits)
    frac_bits = min(wanted, MOST_FRAC_BITS)
    smallest = min(weight.smallest, update)
    int_bits = _int_bits(name, criteria.holding_range(name, weight.maximum), smallest)
    text = f"the update {update:.2g}, lr_min = {lr:g} times {step:.2g}, moves the largest weight, {weight.maximum:.4g}"
    criterion = "AS"
    if wanted > frac_bits:
        still = _LN2 * weight.maximum / (2 * lr) * 2.0**-frac_bits
        criterion = "limit"
        text = (
            f"AS asks for {wanted} ({text}), {frac_bits} are the most: at lr_min gradients below {still:.2g} leave the "
            "largest weight where it is; round updates stochastically, or end at a higher lr"
        )
    reason = f"as the weight's, and down to the smallest update or weight that matters, {smallest:.2g}"
    return LNS(int_bits, frac_bits), Reason(criterion, reason, text)


def _common(formats: Iterable[LNS]) -> LNS:
    """The narrowest format that has the integer and the fraction bits of all."""
    every = list(formats)
    return LNS(max(format.int_bits for format in every), max(format.frac_bits for format in every))
