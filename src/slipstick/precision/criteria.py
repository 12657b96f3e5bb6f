"""The five criteria of Sakr & Shanbhag 2019 (arXiv 1812.11732), which fix the bits of the tensors of a training, and
the bound on mismatches that sets their level.

    EFQN  feed_forward_offsets      B_W, B_A   every tensor adds as much noise to the decision
    GC    gradient_range            r_G        gradients hardly ever clip
    RQB   weight_gradient_step      B_G(W)     rounding small weight gradients to zero biases little
    BQN   activation_gradient_step  B_G(A)     activation gradients bring no more noise than weight gradients have
    AS    accumulator_step          B_Acc      the smallest update still moves the weights

Steps and ranges are powers of two, so that hardware shifts. Exponents are taken apart from the floats (frexp), not from
rounded logarithms. Of the sources: the bound and the claims are the paper's as we recall them; where the rule is known
from the authors' released code (github.com/charbel-sakr/Fixed-Point-Training) the docstring says so. A tensor's name
is an argument for messages alone.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slipstick.errors import SpecificationError


@dataclass(frozen=True)
class Constants:
    """The numbers in the criteria: of the paper, as recalled, unless given; or ``RELEASED``, of the authors' code.

    weight_gradient_sigmas, activation_gradient_sigmas: GC, how many standard deviations a range holds. Paper: 2 and 4,
        more for activation gradients because their tails are heavier. Released: 2 and 8 (the training script then
        doubles the range of activation gradients once more, at the same bits).
    ema_correction: GC, factor on the largest standard deviation. Paper: none, so 1. Released: 1 / sqrt(1 - 0.9), 0.9
        the decay of the average that tracks the variance, which starts at zero there. ``Probe``'s starts at the first
        variance and needs none; the factor then widens ranges to 6.3 and 25 sigma, 1.66 bits.
    bias_fraction: RQB, the largest step of weight gradients in units of the least standard deviation; 1/4 in both.

    Ours, a check: the gradient of C logits, softmax less one-hot, has its target at sqrt(C - 1) sigma while the network
    knows nothing, so that from 18 classes on 4 sigma may clip what training is about; 25 sigma hold that of 641. A
    character transformer of 99 classes lost half a nat to it in a trial (experiments/sakr2019-transformer.toml), and a
    network of 100 classes did not learn. So assignments take ``RELEASED``.
    """

    weight_gradient_sigmas: float = 2.0
    activation_gradient_sigmas: float = 4.0
    ema_correction: float = 1.0
    bias_fraction: float = 0.25

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise SpecificationError(f"Constants({name}={value!r}): must be a positive number")


PAPER = Constants()
"""As the text states them, recalled: 2 sigma for weight gradients, 4 for activation gradients, no correction."""

RELEASED = Constants(activation_gradient_sigmas=8.0, ema_correction=1 / math.sqrt(1 - 0.9))
"""Of the released code, which gave the published precisions: what assignments are made with by default."""


def feed_forward_offsets(spans: Mapping[str, float], gains: Mapping[str, float]) -> dict[str, int]:
    """EFQN, equalised feed-forward quantisation noise: how many bits each weight and activation needs more than B_min.

    Claim: for a given bound on mismatches the fewest bits are those with which every tensor contributes the same
    step^2 E. Released rule, for tensors whose intervals are all 2 wide (weights in [-1, 1), activations in [0, 2)):
        B_T = round(log2 sqrt(E_T / E_min)) + B_min.
    Ours, for intervals of any width: the step is span 2^-B, so that
        B_T = round(log2( span_T sqrt(E_T) / min over tensors )) + B_min,
    which is the released rule where spans are equal. A tie gives the larger number.

    spans: width of each tensor's interval of numbers, a power of two: 2r of [-r, r), r of [0, r).
    gains: E of each tensor, see ``mismatch_bound``.
    Raises SpecificationError for a gain that is 0 or not finite.
    """
    needs = {tensor: spans[tensor] ** 2 * positive_gain(tensor, gain) for tensor, gain in gains.items()}
    least = min(needs.values())
    return {tensor: math.frexp(need / least)[1] // 2 for tensor, need in needs.items()}


def mismatch_bound(terms: Iterable[tuple[float, float]]) -> float:
    """Bound on the probability that fixed point decides otherwise than float: sum of step^2 E over (step, E).

    terms: of every weight and every activation.
    Claim of the paper, recalled, its E as in the released code. Rounding adds noise of variance step^2 / 12 to every
    number; to first order z_i - z_y, y the float decision, gets the variance sum_T step_T^2 / 12 ||d(z_i - z_y)/dT||^2;
    such noise, symmetric, reverses z_i and z_y with a probability of at most variance / (2 (z_i - z_y)^2) (Chebyshev,
    one side); summed over i != y:
        p_m <= sum_T step_T^2 E_T,   E_T = mean over samples of sum_{i != y} ||d(z_i - z_y)/dT||^2 / (24 (z_i - z_y)^2).
    """
    return math.fsum(step**2 * gain for step, gain in terms)


def holding_range(tensor: str, maximum: float) -> float:
    """The smallest power of two that is at least ``maximum``, the largest magnitude of a weight or activation.

    The paper fixes [-1, 1) for weights and [0, 2) for activations and trains with clipping to them; ours holds what an
    unclipped training had. Raises SpecificationError for 0 and what is not finite.
    """
    if maximum == 0:
        raise SpecificationError(
            f"{tensor}: the largest magnitude seen is 0: the layer was never reached; leave it out, or probe with data "
            "that passes through it"
        )
    _check_finite(tensor, "largest magnitude", maximum)
    return _power_of_two_above(maximum)


def gradient_range(tensor: str, largest_sigma: float, sigmas: float, ema_correction: float = 1.0) -> float:
    """GC, gradient clipping: the range of a gradient, r = 2^ceil(log2(sigmas sigma_max ema_correction)).

    Claim: with r at least 2 sigma_max for weight gradients and 4 sigma_max for activation gradients (recalled)
    clipping is rare. Released: ``Constants``, and what speaks against 4.
    largest_sigma: the largest standard deviation over training. Raises SpecificationError for 0 (no gradient ever).
    """
    if largest_sigma == 0:
        raise SpecificationError(
            f"{tensor}: zero throughout training: the layer was never reached, or is frozen; leave it out"
        )
    _check_finite(tensor, "largest standard deviation", largest_sigma)
    return _power_of_two_above(sigmas * largest_sigma * ema_correction)


def clipped_target(classes: int, constants: Constants) -> float | None:
    """GC and the logits: how many sigma the target's element of their gradient lies out, where its range is less.

    Ours. Where a softmax over many classes is undecided, its gradient is about 1 - C at the target and 1 elsewhere, so
    that its root mean square is sqrt(C - 1), and it clips what the training is about. None where the range holds it.
    """
    out = math.sqrt(max(classes - 1, 0))
    return out if out > constants.activation_gradient_sigmas * constants.ema_correction else None


def weight_gradient_step(tensor: str, smallest_sigma: float, bias_fraction: float = Constants.bias_fraction) -> float:
    """RQB, relative quantisation bias: the step of weight gradients, 2^floor(log2(bias_fraction sigma_min)).

    Claim: gradients that round to zero bias the update; with a step below sigma_min / 4 the relative bias stays below
    1 % (recalled). Released: the same. Ours, a check: for Gaussian gradients the mean of |Q(g)| falls short of that of
    |g| by the fraction (step / sigma)^2 / 24, 0.26 % at a quarter, and reaches 1 % at step = 0.49 sigma.
    smallest_sigma: the least standard deviation over training. Raises SpecificationError for 0.
    """
    _check_sigma(tensor, smallest_sigma)
    return _power_of_two_below(bias_fraction * smallest_sigma)


def activation_gradient_step(tensor: str, weight_gradient_step: float, jacobian: float, batch: int = 1) -> float:
    """BQN, bounded quantisation noise: the step of activation gradients, 2^floor(log2(step_G(W) / sqrt(N lambda))).

    Claim: what the noise of an activation gradient adds to the weight gradient computed from it, at most lambda times
    its variance, must not exceed the quantisation noise that the weight gradient has anyway. Released: the same;
    lambda there is of a Jacobian averaged over samples and positions, and N is 1. Ours: the weight gradient of a step
    is a sum over its N samples, and the noise that each brings adds up; also where the loss is their mean, which makes
    gradients smaller but not their noise.
    jacobian: lambda, the largest singular value of one sample's square-Jacobian. batch: N, the samples of a step.
    Raises SpecificationError for a lambda of 0.
    """
    if jacobian == 0:
        raise SpecificationError(
            f"{tensor}: its square-Jacobian is 0: the layer's input is zero throughout; leave the layer out"
        )
    _check_finite(tensor, "largest singular value of the square-Jacobian", jacobian)
    exponent = math.frexp(weight_gradient_step**2 / (batch * jacobian))[1] - 1
    return math.ldexp(1.0, exponent // 2)


def accumulator_step(tensor: str, weight_gradient_step: float, smallest_lr: float) -> float:
    """AS, accumulator stopping: the step of the weight accumulator, 2^floor(log2(lr_min step_G(W))).

    Claim: an accumulator that cannot resolve the smallest update, the smallest learning rate times the least gradient
    other than zero, stops learning before float would. Released: the same, with lr_min = 0.001 and the accumulator's
    range 2^-B_W, half the step of the weights, because it holds what is left below that.
    """
    return _power_of_two_below(smallest_update(tensor, weight_gradient_step, smallest_lr))


def smallest_update(tensor: str, weight_gradient_step: float, smallest_lr: float) -> float:
    """lr_min step_G(W). Raises SpecificationError for a learning rate that is not positive."""
    if not 0 < smallest_lr < math.inf:
        raise SpecificationError(
            f"{tensor}: smallest learning rate {smallest_lr!r}: must be positive; pass smallest_lr, the least at which "
            "training must still go on"
        )
    return smallest_lr * weight_gradient_step


def positive_gain(tensor: str, gain: float) -> float:
    """``gain``, a noise gain. Raises SpecificationError for 0 and what is not finite."""
    if gain == 0:
        raise SpecificationError(
            f"{tensor}: noise gain 0: no decision depends on it, the layer was never reached; leave it out"
        )
    _check_finite(tensor, "noise gain", gain)
    return gain


def ceil_log2(x: float) -> int:
    """The smallest integer n with x <= 2^n, of a positive number."""
    mantissa, exponent = math.frexp(x)
    return exponent - (mantissa == 0.5)


def _check_sigma(tensor: str, smallest: float) -> None:
    if smallest == 0:
        raise SpecificationError(
            f"{tensor}: all zero at some time of the training, which no step resolves; probe a training that ends "
            "before, or leave the layer out"
        )
    _check_finite(tensor, "least standard deviation", smallest)


def _check_finite(tensor: str, what: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise SpecificationError(
            f"{tensor}: {what} {value!r}: must be positive and finite; did the float training diverge?"
        )


def _power_of_two_above(x: float) -> float:
    """2^ceil(log2 x)."""
    return math.ldexp(1.0, ceil_log2(x))


def _power_of_two_below(x: float) -> float:
    """2^floor(log2 x)."""
    return math.ldexp(1.0, math.frexp(x)[1] - 1)
