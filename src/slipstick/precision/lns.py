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
from dataclasses import asdict, dataclass, field
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.precision import criteria
from slipstick.precision.criteria import PAPER, Constants
from slipstick.precision.explanation import KINDS, Kind, Reason, explain, find_layer, tensor_name
from slipstick.precision.statistics import LayerStatistics, Statistics
from slipstick.precision.target import check_request, unreachable

UNDERFLOW_SHARE = 0.1
"""Of the target: what underflow of weights and activations may add. I hardly depends on it, the range being 2^(2^I)."""

MOST_INT_BITS = 6
"""What float32 carriers hold."""

MOST_FRAC_BITS = 16

_LN2 = math.log(2)


@dataclass(frozen=True)
class LNSLayer:
    """One layer with weights, as ``LayerAssignment``; the accumulator is the format in which weights are updated.

    weight_mismatch, activation_mismatch: the tensor's part of the predicted mismatch, of rounding and of underflow.
    """

    name: str
    weight: LNS
    activation: LNS
    weight_gradient: LNS
    activation_gradient: LNS
    accumulator: LNS
    weight_mismatch: float = 0.0
    activation_mismatch: float = 0.0
    reasons: dict[str, Reason] = field(default_factory=dict)

    def format(self, kind: Kind) -> LNS:
        """Of one of the five tensors."""
        value: LNS = getattr(self, kind)
        return value

    def describe(self, kind: Kind) -> str:
        """Format, bits and range of one of the five tensors."""
        format = self.format(kind)
        return f"{format}, {format.width} bits, magnitudes 2^-{1 << format.int_bits} to 2^{1 << format.int_bits}"


@dataclass(frozen=True)
class LNSAssignment:
    """Logarithmic formats of a model's training.

    minimum_frac_bits: F_min, the fraction bits of the weight or activation that needs fewest. predicted_mismatch,
    target: of the bound on mismatches.
    """

    model: str
    layers: tuple[LNSLayer, ...]
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

    def layer(self, name: str) -> LNSLayer:
        """Raises SpecificationError for a name that no layer has."""
        return find_layer(self.model, self.layers, name)

    def explain(self, name: str) -> str:
        """What set the format of a tensor, as "layer3.weight", or of the five of a layer, as "layer3".

        Raises SpecificationError for a name that does not exist.
        """
        return explain(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LNSAssignment":
        """Raises SpecificationError for what is no such data."""
        try:
            layers = tuple(_read_layer(layer) for layer in data["layers"])
            return cls(**{**data, "layers": layers, "constants": Constants(**data["constants"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecificationError(f"LNS assignment: {error}; assign again") from None


def assign_lns(
    statistics: Statistics,
    target: float = 0.01,
    *,
    constants: Constants = PAPER,
    minimum_frac_bits: int | None = None,
    smallest_lr: float | None = None,
) -> LNSAssignment:
    """Formats with the smallest F_min whose predicted mismatch is at most ``target``.

    minimum_frac_bits: F_min to use instead, 0 to 16, whatever the mismatch. smallest_lr: instead of that of the
    statistics. Where an accumulator would need more than 16 fraction bits it gets 16, and its reason says what is lost.
    Raises SpecificationError, naming the tensor, for a target or range out of reach and for statistics to which a
    criterion does not apply (zero, not finite).
    """
    check_request(statistics, target)
    lr = statistics.smallest_lr if smallest_lr is None else smallest_lr
    allowance = UNDERFLOW_SHARE * target / (2 * len(statistics.layers))
    pairs = [_operands(layer, allowance) for layer in statistics.layers]
    operands = {operand.name: operand for pair in pairs for operand in pair}
    gains = {name: operand.relative_gain for name, operand in operands.items()}
    offsets = criteria.feed_forward_offsets(dict.fromkeys(gains, 1.0), gains)
    f_min = (
        _smallest(operands, offsets, target)
        if minimum_frac_bits is None
        else check_minimum_frac_bits(minimum_frac_bits)
    )
    layers = tuple(
        _layer(layer, weight, activation, offsets, f_min, constants, lr, statistics.batch)
        for layer, (weight, activation) in zip(statistics.layers, pairs, strict=True)
    )
    predicted = math.fsum(layer.weight_mismatch + layer.activation_mismatch for layer in layers)
    return LNSAssignment(statistics.model, layers, f_min, predicted, target, constants)


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

    def format(self, wanted: int) -> LNS:
        return LNS(self.int_bits, min(wanted, MOST_FRAC_BITS))

    def mismatch(self, wanted: int) -> float:
        """Of rounding and of underflow."""
        format = self.format(wanted)
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
    relative = criteria.positive_gain(name, gain) * (maximum**2 if mean_square is None else mean_square)
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


def check_minimum_frac_bits(minimum: int) -> int:
    """The same number. Raises SpecificationError for one that cannot be F_min."""
    if not isinstance(minimum, int) or isinstance(minimum, bool) or not 0 <= minimum <= MOST_FRAC_BITS:
        raise SpecificationError(f"minimum_frac_bits={minimum!r}: must be an integer from 0 to {MOST_FRAC_BITS}")
    return minimum


def _smallest(operands: dict[str, _Operand], offsets: dict[str, int], target: float) -> int:
    parts: dict[str, float] = {}
    for f_min in range(MOST_FRAC_BITS + 1):
        parts = {name: operand.mismatch(f_min + offsets[name]) for name, operand in operands.items()}
        if math.fsum(parts.values()) <= target:
            return f_min
    raise unreachable(target, parts, f"{MOST_FRAC_BITS} fraction bits")


def _layer(
    layer: LayerStatistics,
    weight: _Operand,
    activation: _Operand,
    offsets: dict[str, int],
    f_min: int,
    constants: Constants,
    lr: float,
    batch: int,
) -> LNSLayer:
    w, a = (operand.format(f_min + offsets[operand.name]) for operand in (weight, activation))
    gradient_step = criteria.weight_gradient_step(
        tensor_name(layer.name, "weight_gradient"), layer.weight_gradient.smallest, constants.bias_fraction
    )
    gw, gw_reason = _weight_gradient(layer, gradient_step, constants)
    ga, ga_reason = _activation_gradient(layer, gradient_step, gw.frac_bits, constants, batch)
    accumulator, accumulator_reason = _accumulator(layer, weight, w, gradient_step, lr)
    return LNSLayer(
        layer.name,
        weight=w,
        activation=a,
        weight_gradient=gw,
        activation_gradient=ga,
        accumulator=accumulator,
        weight_mismatch=weight.mismatch(f_min + offsets[weight.name]),
        activation_mismatch=activation.mismatch(f_min + offsets[activation.name]),
        reasons={
            "weight": _feed_forward_reason(weight, offsets, f_min),
            "activation": _feed_forward_reason(activation, offsets, f_min),
            "weight_gradient": gw_reason,
            "activation_gradient": ga_reason,
            "accumulator": accumulator_reason,
        },
    )


def _feed_forward_reason(operand: _Operand, offsets: dict[str, int], f_min: int) -> Reason:
    offset = offsets[operand.name]
    wanted = f_min + offset
    least = min(offsets, key=lambda name: offsets[name])
    known = "" if operand.measured else ", a bound by the squared maximum"
    text = (
        f"{offset} fraction bits more than {least}, which needs fewest, for a relative noise gain of "
        f"{operand.relative_gain:.4g}{known}; F_min = {f_min}"
    )
    criterion = "EFQN"
    if wanted > MOST_FRAC_BITS:
        criterion, text = "limit", f"EFQN asks for {wanted} ({text}); the most are {MOST_FRAC_BITS}"
    return Reason(
        criterion, f"largest magnitude {operand.maximum:.4g}, smallest that matters {operand.smallest:.2g}", text
    )


def _weight_gradient(layer: LayerStatistics, step: float, constants: Constants) -> tuple[LNS, Reason]:
    name, sigma = tensor_name(layer.name, "weight_gradient"), layer.weight_gradient.largest
    reach = criteria.gradient_range(name, sigma, constants.weight_gradient_sigmas, constants.ema_correction)
    frac_bits = max(0, _ceil_log2(_LN2 / constants.bias_fraction))
    return LNS(_int_bits(name, reach, step / 2), frac_bits), Reason(
        "RQB",
        f"GC: {reach:.3g} for sigma_max = {sigma:.4g}; down to {step / 2:.2g}, half of fixed point's step",
        f"ln 2 2^-F at most {constants.bias_fraction:g}, whatever the size of gradients",
    )


def _activation_gradient(
    layer: LayerStatistics, step: float, weight_gradient_bits: int, constants: Constants, batch: int
) -> tuple[LNS, Reason]:
    name, a, w = tensor_name(layer.name, "activation_gradient"), layer.activation_gradient, layer.weight_gradient
    reach = criteria.gradient_range(name, a.largest, constants.activation_gradient_sigmas, constants.ema_correction)
    smallest = criteria.activation_gradient_step(name, step, layer.jacobian, batch) / 2
    ratio = max(a.largest / w.largest, a.smallest / w.smallest)
    more = -(-_ceil_log2(batch * layer.jacobian * ratio**2) // 2)
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


def _accumulator(layer: LayerStatistics, weight: _Operand, format: LNS, step: float, lr: float) -> tuple[LNS, Reason]:
    name = tensor_name(layer.name, "accumulator")
    update = criteria.smallest_update(name, step, lr)
    wanted = max(_ceil_log2(_LN2 * weight.maximum / (2 * update)), format.frac_bits)
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


def _ceil_log2(x: float) -> int:
    mantissa, exponent = math.frexp(x)
    return exponent - (mantissa == 0.5)


def _common(formats: Iterable[LNS]) -> LNS:
    """The narrowest format that has the integer and the fraction bits of all."""
    every = list(formats)
    return LNS(max(format.int_bits for format in every), max(format.frac_bits for format in every))


def _read_layer(data: Mapping[str, Any]) -> LNSLayer:
    formats: dict[str, Any] = {kind: LNS(**data[kind]) for kind in KINDS}
    reasons = {kind: Reason(**reason) for kind, reason in data["reasons"].items()}
    return LNSLayer(**{**data, **formats, "reasons": reasons})
