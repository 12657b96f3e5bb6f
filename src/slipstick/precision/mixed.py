"""Fixed point and logarithms in one training: every activation and its gradient in whichever needs fewer bits.

Sakr & Shanbhag 2019 (arXiv 1812.11732) choose bits of fixed point, ``lns`` those of logarithms; here both are offered
to the same criteria. Everything below is ours. Weights, weight gradients and accumulators stay in fixed point, because
``AccumulatorSGD`` keeps a weight as an integer and its residue as another one, on one grid: logarithms have no residue
that goes on where the code ends, and a multiple of the weight gradient's step is what the accumulator adds up.

**Which logarithms.** LNS(I, F) with the octaves that it reaches placed by a power of two that the whole tensor shares,
as the range of fixed point is; without a sign where fixed point has none; zero is a number, and what is smaller than
the smallest is zero (``formats.ScaledLNS``). Bits: 1 + I + F, and a sign.

**EFQN, jointly.** What two kinds of numbers have in common is a tensor's term in the bound on mismatches,
    fixed point: step_T^2 E_T        logarithms: s_T^2 E'_T + 12 m_T^2 E_T,   s_T = ln 2 2^-F, m_T the smallest number,
the second as in ``lns``; underflow, the last part, may be UNDERFLOW_SHARE of the level at most. For a level q every
tensor takes the fewest bits whose term is at most q: of both kinds, fixed point where they are equal, which needs no
tables. Of all levels the largest is taken at which the terms of all tensors together meet the target; bits only fall
as q rises, so that this is the smallest total. The bits of the released rule are those of fixed point at one such level
in every factor of 4; with the levels between, fixed point alone may need fewer bits than in ``search`` already.

**Range.** Of fixed point as in ``search``. Of logarithms the smallest power of two that the largest magnitude stays
below when it is rounded: their last step is wide, and where 1 is the largest number, as in a one-hot input, it should
be a number. GC gives the same range to gradients of both kinds.

**BQN.** The step D_W of weight gradients is in fixed point, so that an activation gradient's noise, through the
square-Jacobians of N samples, may reach D_W^2 / 12. Logarithms bring N lambda sigma_A^2 s^2 / 12, most when sigma_A is
largest:
    ln 2 2^-F sqrt(N lambda) sigma_A,max <= D_W,    F from 0.
As in ``lns`` they reach down to half the step that fixed point would have, what that rounds to zero.

**When logarithms win.** By the two terms, where 2^(I + 1/2) or more lies between a tensor's largest magnitude and its
root mean square; of gradients, where the constants make GC's range so many sigma: hardly ever with the 4 of the paper,
mostly with the 25 of the released code, which heavy tails need. So not where numbers fill their range, but for peaked
tensors, with few numbers far above the rest.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from slipstick.errors import SpecificationError
from slipstick.precision import criteria
from slipstick.precision.assignment import MOST_BITS, Assignment, LayerAssignment, Precision, least_bits, power
from slipstick.precision.conditions import Conditions, conditions_of
from slipstick.precision.criteria import RELEASED, Constants
from slipstick.precision.explanation import Reason
from slipstick.precision.fixed_point_demands import Demand, accumulator, activation_gradient, weight_gradient
from slipstick.precision.layerwise import Choice, total_mismatch
from slipstick.precision.lns import UNDERFLOW_SHARE, relative_gain, relative_gain_reason
from slipstick.precision.log_precision import MOST_FRAC_BITS, MOST_INT_BITS, LogPrecision
from slipstick.precision.search import FixedPointOperand, check_minimum_bits, feed_forward_operands
from slipstick.precision.statistics import LayerStatistics, Statistics
from slipstick.precision.target import unreachable

_LN2 = math.log(2)

Either = Precision | LogPrecision


def assign_mixed(
    statistics: Statistics,
    target: float = 0.01,
    *,
    constants: Constants = RELEASED,
    minimum_bits: int | None = None,
    smallest_lr: float | None = None,
) -> Assignment:
    """The fewest bits, level by level, whose predicted mismatch is at most ``target``; see above.

    minimum_bits: B_min to use instead, 1 to 24, whatever the mismatch: the largest level at which no weight or
    activation has fewer bits. The rest as in ``search.assign``.
    """
    conditions = conditions_of(statistics, target, constants, smallest_lr)
    pairs = [_tensors(layer) for layer in statistics.layers]
    tensors = [tensor for pair in pairs for tensor in pair]
    level = _level(tensors, target) if minimum_bits is None else _level_of(tensors, check_minimum_bits(minimum_bits))
    layers = tuple(
        _layer(layer, *pair, level, conditions) for layer, pair in zip(statistics.layers, pairs, strict=True)
    )
    least = min(tensor.at(level).number.bits for tensor in tensors)
    return Assignment(statistics.model, layers, least, total_mismatch(layers), target, constants)


@dataclass(frozen=True)
class _Option:
    """One way to make a tensor of numbers. term: its part of the predicted mismatch. level: from which on it may be
    taken."""

    number: Either
    term: float
    level: float


@dataclass(frozen=True)
class _Options:
    """Of one kind, from the most bits to the fewest, which have the highest levels."""

    options: tuple[_Option, ...]

    @classmethod
    def of(cls, options: Iterable[_Option]) -> "_Options":
        """Without those of which another one with no more bits may be taken earlier."""
        kept: list[_Option] = []
        for option in sorted(options, key=lambda option: (option.number.bits, option.level)):
            if not kept or option.level < kept[-1].level:
                kept.append(option)
        return cls(tuple(reversed(kept)))

    @cached_property
    def levels(self) -> list[float]:
        return [option.level for option in self.options]

    def at(self, level: float) -> _Option | None:
        """The fewest bits that may be taken; None where none may."""
        index = bisect_right(self.levels, level) - 1
        return self.options[index] if index >= 0 else None


@dataclass(frozen=True)
class _Tensor:
    """A weight or activation. gain_reason: of logarithms, for its ``Reason``."""

    operand: FixedPointOperand
    gain_reason: str
    fixed: _Options
    logs: _Options

    @property
    def finest(self) -> _Option:
        """The most bits of fixed point, taken where none may be."""
        return self.fixed.options[0]

    @property
    def levels(self) -> list[float]:
        return [*self.fixed.levels, *self.logs.levels]

    def at(self, level: float) -> _Option:
        """What the tensor is made of."""
        fixed, logs = self.fixed.at(level), self.logs.at(level)
        if logs is not None and logs.number.bits < (fixed or self.finest).number.bits:
            return logs
        return fixed or self.finest


def _tensors(layer: LayerStatistics) -> tuple[_Tensor, _Tensor]:
    """The weight, for which there is fixed point alone, and the activation."""
    weight, activation = feed_forward_operands(layer)
    mean_square = layer.activation_mean_square
    relative = relative_gain(activation.gain, layer.activation_maximum, mean_square)
    reason = relative_gain_reason(relative, mean_square is not None)
    return (
        _Tensor(weight, "", _fixed_options(weight), _Options(())),
        _Tensor(activation, reason, _fixed_options(activation), _log_options(activation, relative)),
    )


def _fixed_options(operand: FixedPointOperand) -> _Options:
    criteria.positive_gain(operand.name, operand.gain)
    bits = range(least_bits(operand.signed), MOST_BITS + 1)
    return _Options.of(_Option(operand.number(n), operand.mismatch(n), operand.mismatch(n)) for n in bits)


def _log_options(operand: FixedPointOperand, relative: float) -> _Options:
    options = []
    for frac_bits in range(MOST_FRAC_BITS + 1):
        reach = _range_above(operand.maximum, frac_bits)
        for int_bits in range(MOST_INT_BITS + 1):
            if (number := _within_float32(int_bits, frac_bits, reach, operand.signed)) is not None:
                underflow = 12 * number.smallest**2 * operand.gain
                term = number.relative_step**2 * relative + underflow
                options.append(_Option(number, term, max(term, underflow / UNDERFLOW_SHARE)))
    return _Options.of(options)


def _range_above(maximum: float, frac_bits: int) -> float:
    """The smallest power of two r for which ``maximum`` is nearer to the number below r than to r."""
    return math.ldexp(1.0, math.frexp(maximum * math.exp2(2.0**-frac_bits / 2))[1])


def _within_float32(int_bits: int, frac_bits: int, reach: float, signed: bool) -> LogPrecision | None:
    try:
        return LogPrecision(int_bits, frac_bits, reach, signed)
    except SpecificationError:
        return None


def _levels(tensors: Sequence[_Tensor]) -> list[float]:
    """At which a tensor changes, from the largest on; at 0 every tensor has the most bits of fixed point."""
    return [*sorted({level for tensor in tensors for level in tensor.levels}, reverse=True), 0.0]


def _level(tensors: Sequence[_Tensor], target: float) -> float:
    for level in _levels(tensors):
        if math.fsum(tensor.at(level).term for tensor in tensors) <= target:
            return level
    parts = {tensor.operand.name: tensor.finest.term for tensor in tensors}
    raise unreachable(target, parts, f"{MOST_BITS} bits")


def _level_of(tensors: Sequence[_Tensor], minimum_bits: int) -> float:
    return next(level for level in _levels(tensors) if min(t.at(level).number.bits for t in tensors) >= minimum_bits)


def _layer(
    layer: LayerStatistics, weight: _Tensor, activation: _Tensor, level: float, conditions: Conditions
) -> LayerAssignment:
    w = weight.at(level).number
    assert isinstance(w, Precision)
    gw = weight_gradient(layer, conditions.constants).met()
    step = gw[0].step
    return LayerAssignment.of(
        layer.name,
        {
            "weight": (w, _feed_forward_reason(weight, level)),
            "activation": (activation.at(level).number, _feed_forward_reason(activation, level)),
            "weight_gradient": gw,
            "activation_gradient": _activation_gradient(layer, step, conditions),
            "accumulator": accumulator(layer, w, step, conditions).met(),
        },
        weight.at(level).term,
        activation.at(level).term,
    )


def _feed_forward_reason(tensor: _Tensor, level: float) -> Reason:
    chosen, operand = tensor.at(level), tensor.operand
    number = chosen.number
    if isinstance(number, LogPrecision):
        reach = f"largest magnitude {operand.maximum:.4g}, rounded, is below {power(number.range)}; smallest number"
        reach += f" {number.smallest:.2g}"
        gain, fixed = tensor.gain_reason, tensor.fixed.at(level)
        other = f"fixed point would take {'more than 24' if fixed is None else fixed.number.bits}"
    else:
        reach, gain = operand.range_reason, operand.bits_reason
        other = _instead(logs.number if (logs := tensor.logs.at(level)) is not None else None)
    if not tensor.logs.options:
        other = "weights stay in fixed point"
    if chosen.level > level:
        why = f"EFQN asks for a term of at most {level:.2g}, for {gain}; {number.bits} bits, the most, give"
        return Reason("limit", reach, f"{why} {chosen.term:.2g}; {other}")
    return Reason(
        "EFQN", reach, f"a term of {chosen.term:.2g}, at most {level:.2g} for any tensor, for {gain}; {other}"
    )


def _activation_gradient(layer: LayerStatistics, weight_gradient_step: float, conditions: Conditions) -> Choice[Either]:
    demand = activation_gradient(layer, weight_gradient_step, conditions)
    sigma, amplified = layer.activation_gradient.largest, conditions.batch * layer.jacobian
    logs = _log_gradient(demand, amplified * (_LN2 * sigma / weight_gradient_step) ** 2)
    if logs is None or logs.bits >= demand.bits:
        number, reason = demand.met()
        return number, replace(reason, bits=f"{reason.bits}; {_instead(logs)}")
    return logs, Reason(
        demand.criterion,
        f"{demand.range_reason}; down to {power(demand.step / 2)}, half of fixed point's step",
        f"noise of ln 2 2^-F sigma_max, at most {power(weight_gradient_step)}, the step of weight gradients, over "
        f"sqrt(N lambda); N lambda = {amplified:.4g}; fixed point would take {demand.bits}",
    )


def _log_gradient(demand: Demand, noise: float) -> LogPrecision | None:
    """The logarithms that meet ``demand``. noise: that of F = 0, in units of what is allowed."""
    octaves = math.frexp(demand.range)[1] - math.frexp(demand.step / 2)[1]
    int_bits = max(octaves, 1).bit_length() - 1
    frac_bits = max(0, -(-criteria.ceil_log2(noise) // 2))
    if int_bits > MOST_INT_BITS or frac_bits > MOST_FRAC_BITS:
        return None
    return _within_float32(int_bits, frac_bits, demand.range, signed=True)


def _instead(logs: Either | None) -> str:
    if logs is None:
        return "no logarithms would do"
    assert isinstance(logs, LogPrecision)
    return f"LNS({logs.int_bits},{logs.frac_bits}) would take {logs.bits}"
