"""The five criteria against values worked out by hand and against the published precisions."""

import math

import pytest
import sakr2019
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint
from slipstick.precision import criteria
from slipstick.precision.criteria import PAPER, RELEASED, Constants

TENSORS = [f"a{i + 1}" for i in range(19)] + [f"w{i}" for i in range(22)]
GAINS = dict(zip(TENSORS, sakr2019.ACTIVATION_GAINS + sakr2019.WEIGHT_GAINS, strict=True))
positive = st.floats(1e-12, 1e12)


def released_bits(offset: float) -> dict[str, float]:
    """Steps of the published network with this B_min: both intervals are 2 wide."""
    offsets = criteria.feed_forward_offsets(dict.fromkeys(TENSORS, 2.0), GAINS)
    return {tensor: 2.0 ** (1 - bits - offset) for tensor, bits in offsets.items()}


def test_the_published_gains_give_all_41_published_offsets():
    offsets = criteria.feed_forward_offsets(dict.fromkeys(TENSORS, 2.0), GAINS)
    assert tuple(offsets.values()) == sakr2019.ACTIVATION_OFFSETS + sakr2019.WEIGHT_OFFSETS


def test_the_published_bits_are_the_offsets_plus_b_min_but_for_the_image():
    assert tuple(b + sakr2019.MINIMUM_BITS for b in sakr2019.WEIGHT_OFFSETS) == sakr2019.WEIGHT_BITS
    assert sakr2019.ACTIVATION_BITS[1:] == tuple(b + sakr2019.MINIMUM_BITS for b in sakr2019.ACTIVATION_OFFSETS)


@pytest.mark.parametrize(("b_min", "bound"), [(1, 0.0374), (2, 0.00936), (3, 0.00234)])
def test_the_bound_of_the_published_network_meets_one_per_cent_a_bit_before_the_published_b_min(b_min, bound):
    steps = released_bits(b_min)
    assert criteria.mismatch_bound((steps[t], GAINS[t]) for t in TENSORS) == pytest.approx(bound, rel=2e-3)


@pytest.mark.parametrize("index", range(22))
def test_published_weight_gradients_and_rates_give_every_published_accumulator(index):
    gradient_step = sakr2019.WEIGHT_GRADIENT_RANGES[index] * 2.0 ** (1 - sakr2019.WEIGHT_GRADIENT_BITS[index])
    step = criteria.accumulator_step("w", gradient_step, sakr2019.SMALLEST_LR)
    assert math.log2(2.0 ** -sakr2019.WEIGHT_BITS[index] / step) + 1 == sakr2019.ACCUMULATOR_BITS[index]


@pytest.mark.parametrize("index", range(22))
def test_some_spread_of_gradients_gives_each_published_range_and_step(index):
    """The spreads are not published; that there can be any (least <= largest) is all that the numbers can show."""
    reach, bits = sakr2019.WEIGHT_GRADIENT_RANGES[index], sakr2019.WEIGHT_GRADIENT_BITS[index]
    step = reach * 2.0 ** (1 - bits)
    largest, smallest = 0.99 * reach / 2 / RELEASED.ema_correction, 4 * step
    assert largest > smallest
    assert criteria.gradient_range("g", largest, 2.0, RELEASED.ema_correction) == reach
    assert criteria.weight_gradient_step("g", smallest) == step


@pytest.mark.parametrize(
    ("gains", "offsets"),
    [
        ((1.0, 1.0), (0, 0)),
        ((1.0, 4.0), (0, 1)),
        ((1.0, 1.99), (0, 0)),
        ((1.0, 2.0), (0, 1)),  # a tie
        ((1.0, 7.99), (0, 1)),
        ((1.0, 8.0), (0, 2)),
        ((3.0, 3.0 * 4**7), (0, 7)),
    ],
)
def test_offsets_are_the_rounded_logarithm_of_the_root_of_the_gains(gains, offsets):
    names = ("a", "b")
    result = criteria.feed_forward_offsets(dict.fromkeys(names, 2.0), dict(zip(names, gains, strict=True)))
    assert tuple(result.values()) == offsets


def test_an_interval_twice_as_wide_needs_one_bit_more():
    assert criteria.feed_forward_offsets({"a": 2.0, "b": 4.0}, {"a": 5.0, "b": 5.0}) == {"a": 0, "b": 1}
    assert criteria.feed_forward_offsets({"a": 0.5, "b": 4.0}, {"a": 5.0, "b": 5.0}) == {"a": 0, "b": 3}


@given(st.lists(positive, min_size=1, max_size=8), st.integers(-20, 20))
def test_offsets_start_at_zero_and_ignore_the_unit_of_the_gains(gains, exponent):
    spans = {str(i): 2.0 for i in range(len(gains))}
    offsets = criteria.feed_forward_offsets(spans, {str(i): gain for i, gain in enumerate(gains)})
    assert min(offsets.values()) == 0
    scaled = {str(i): math.ldexp(gain, exponent) for i, gain in enumerate(gains)}
    assert criteria.feed_forward_offsets(spans, scaled) == offsets


def test_the_bound_is_the_sum_of_squared_steps_times_gains():
    assert criteria.mismatch_bound([(0.5, 2.0), (0.25, 8.0)]) == 1.0


@pytest.mark.parametrize(
    ("maximum", "reach"), [(0.9, 1.0), (1.0, 1.0), (1.01, 2.0), (0.5, 0.5), (3.7, 4.0), (0.1, 0.125)]
)
def test_a_range_is_the_power_of_two_that_holds_the_maximum(maximum, reach):
    assert criteria.holding_range("w", maximum) == reach


@pytest.mark.parametrize(
    ("sigma", "constants", "weights", "activations"),
    [
        (0.01, RELEASED, 2**-3, 2**-1),  # 0.02 * 3.16 = 0.063 > 1/16; 0.08 * 3.16 = 0.253 > 1/4
        (0.01, PAPER, 2**-5, 2**-4),
        (2.0**-8, PAPER, 2**-7, 2**-6),
        (2.0**-8, Constants(8.0, 8.0, 1.0), 2**-5, 2**-5),
    ],
)
def test_the_range_of_gradients_holds_so_many_sigmas(sigma, constants, weights, activations):
    for sigmas, reach in (
        (constants.weight_gradient_sigmas, weights),
        (constants.activation_gradient_sigmas, activations),
    ):
        assert criteria.gradient_range("g", sigma, sigmas, constants.ema_correction) == reach


@pytest.mark.parametrize(("classes", "held"), [(10, True), (17, True), (18, False), (100, False)])
def test_four_sigma_hold_the_gradient_of_the_logits_of_up_to_17_classes(classes, held):
    logits = torch.zeros(64, classes, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(logits, torch.arange(64) % classes).backward()
    peak = float(logits.grad.abs().max() / logits.grad.std(correction=0))
    assert peak == pytest.approx(math.sqrt(classes - 1))
    assert criteria.clipped_target(classes, criteria.PAPER) == (None if held else math.sqrt(classes - 1))
    assert criteria.clipped_target(classes, criteria.RELEASED) is None
    assert (peak <= PAPER.activation_gradient_sigmas * (1 + 1e-9)) == held
    assert peak < RELEASED.activation_gradient_sigmas * RELEASED.ema_correction


@pytest.mark.parametrize(("sigma", "step"), [(1.0, 0.25), (0.99, 0.125), (2.0**-10, 2.0**-12), (3e-3, 2.0**-11)])
def test_the_step_of_weight_gradients_is_at_most_a_quarter_sigma(sigma, step):
    assert criteria.weight_gradient_step("g", sigma) == step


@pytest.mark.parametrize(
    ("jacobian", "step"), [(1.0, 1.0), (1.01, 0.5), (4.0, 0.5), (4.1, 0.25), (0.25, 2.0), (0.26, 1.0), (300.0, 2.0**-5)]
)
def test_the_step_of_activation_gradients_shrinks_with_the_root_of_lambda(jacobian, step):
    assert criteria.activation_gradient_step("g", 2.0**-12, jacobian) == step * 2.0**-12
    assert criteria.activation_gradient_step("g", 2.0**-12, jacobian / 64, batch=64) == step * 2.0**-12


def test_with_that_step_a_batch_brings_no_more_noise_than_the_weight_gradient_has():
    """Of a linear layer, dW = sum over N samples of x dy: the noise of dy, of variance step^2 / 12, adds up."""
    generator, samples, inputs, outputs = torch.Generator().manual_seed(0), 64, 20, 30
    x = torch.randn(samples, inputs, generator=generator)
    jacobian = float(x.square().mean(dim=0).norm())  # of one output; ||E x^2||
    step = criteria.activation_gradient_step("g", 1.0, jacobian, samples)
    gradients = torch.randn(1000, samples, outputs, generator=generator) / samples
    noise = (gradients / step).round() * step - gradients
    variance = torch.einsum("kni,nj->kij", noise, x).square().mean(dim=0)
    assert 0.25 * 0.9 / 12 < float(variance.norm(dim=1).max()) < 1.1 / 12


@pytest.mark.parametrize(("lr", "step"), [(1.0, 1.0), (0.5, 0.5), (0.001, 2.0**-10), (0.01, 2.0**-7)])
def test_the_step_of_the_accumulator_is_at_most_the_smallest_update(lr, step):
    assert criteria.accumulator_step("w", 2.0**-12, lr) == step * 2.0**-12


@given(positive, positive)
def test_steps_are_the_largest_powers_of_two_that_meet_their_criterion(sigma, jacobian):
    step = criteria.weight_gradient_step("g", sigma)
    assert step <= 0.25 * sigma < 2 * step
    inner = criteria.activation_gradient_step("g", step, jacobian)
    assert inner**2 * jacobian <= step**2 * (1 + 1e-12) < 4 * inner**2 * jacobian * (1 + 1e-12)
    assert math.frexp(inner)[0] == 0.5


@pytest.mark.parametrize("ratio", [0.25, 0.49])
def test_rounding_gaussian_gradients_biases_them_as_stated(ratio):
    quantiles = (torch.arange(1 << 20, dtype=torch.float64) + 0.5) / (1 << 20)
    gradients = torch.special.ndtri(quantiles) / ratio * 2.0**-10
    rounded = FixedPoint(0, 10).quantize(gradients)
    bias = 1 - rounded.abs().mean() / gradients.abs().mean()
    assert float(bias) == pytest.approx(ratio**2 / 24, rel=0.02)
    assert ratio**2 / 24 < 0.0101


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: criteria.feed_forward_offsets({"l.weight": 2.0}, {"l.weight": 0.0}), "l.weight: noise gain 0: no dec"),
        (lambda: criteria.feed_forward_offsets({"l.weight": 2.0}, {"l.weight": math.inf}), "l.weight: noise gain inf"),
        (lambda: criteria.holding_range("l.activation", 0.0), "l.activation: the largest magnitude seen is 0: .*never"),
        (lambda: criteria.holding_range("l.weight", math.nan), "l.weight: largest magnitude nan: .*diverge"),
        (lambda: criteria.gradient_range("l.g", 0.0, 2.0), "l.g: zero throughout training: .*leave it out"),
        (lambda: criteria.gradient_range("l.g", math.inf, 2.0), "l.g: largest standard deviation inf"),
        (lambda: criteria.weight_gradient_step("l.g", 0.0), "l.g: all zero at some time .*leave the layer out"),
        (lambda: criteria.weight_gradient_step("l.g", math.nan), "l.g: least standard deviation nan"),
        (lambda: criteria.activation_gradient_step("l.g", 1.0, 0.0), "l.g: its square-Jacobian is 0"),
        (lambda: criteria.activation_gradient_step("l.g", 1.0, math.inf), "l.g: largest singular value .* inf"),
        (lambda: criteria.accumulator_step("l.acc", 1.0, 0.0), "l.acc: smallest learning rate 0.0: .*smallest_lr"),
        (lambda: Constants(bias_fraction=0.0), r"Constants\(bias_fraction=0.0\): must be a positive number"),
    ],
)
def test_a_tensor_that_a_criterion_cannot_judge_is_named_in_one_line(call, message):
    with pytest.raises(SpecificationError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
