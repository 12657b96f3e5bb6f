"""The bounds of LNS-Madam's theory hold where its proof says so, and each assumption is needed."""

import importlib
import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.optim import Madam
from slipstick.optim import update_error as theory

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "lns-madam-theory"
SCALE = 2.0**-10
FORMATS = [MultiBaseLNS(bits, 8 << (bits - 8)) for bits in (8, 10, 12, 16)]
FORMAT = FORMATS[2]


def drawn(seed: int, count: int = 500, octave: float = 0.0, format: MultiBaseLNS = FORMAT) -> torch.Tensor:
    """Weights of both signs within half an octave of 2^octave, on the grid."""
    generator = torch.Generator().manual_seed(seed)
    sign = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    magnitude = torch.exp2(torch.rand(count, generator=generator, dtype=torch.float64) - 0.5 + octave)
    return theory.on_grid(sign * magnitude, format, SCALE)


def normal(seed: int, count: int = 500) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def total(updated: torch.Tensor, format: MultiBaseLNS) -> float:
    """E r."""
    return float(theory.expected_square(updated, format.base_factor).sum())


weights = st.lists(st.tuples(st.floats(-8, 4), st.booleans(), st.floats(-1e3, 1e3)), min_size=1, max_size=20)


@settings(deadline=None)
@given(weights, st.integers(-14, 2), st.sampled_from(FORMATS))
def test_every_bound_holds_on_the_grid(drawn: list[tuple[float, bool, float]], rate: int, format: MultiBaseLNS) -> None:
    lr, gamma, count = 2.0**rate, format.base_factor, len(drawn)
    octaves, negative, gradients = zip(*drawn, strict=True)
    sign = torch.tensor([-1.0 if n else 1.0 for n in negative], dtype=torch.float64)
    weight = theory.on_grid(sign * torch.tensor(octaves, dtype=torch.float64).exp2(), format, SCALE)
    gradient = torch.tensor(gradients, dtype=torch.float64).clamp(-100 / lr, 100 / lr)
    slack = 1 + 1e-6, 1e-9  # of float64 logarithms, times a step or more
    for rule, bound in (
        (theory.gradient_descent, theory.bound_of_gd(theory.gradient_descent(weight, gradient, lr), gamma)),
        (theory.multiplicative, theory.bound_of_mul(gradient, lr, gamma)),
        (theory.sign_multiplicative, theory.bound_of_sign_mul(count, lr, gamma)),
    ):
        updated = rule(weight, gradient, lr)
        error, moves = total(updated, format), (updated / weight).abs().log2()
        assert error <= bound * slack[0] + slack[1]
        assert error <= theory.bound_of_rounding(count, gamma) * slack[0]
        if bool((updated != 0).all()):
            assert error <= theory.bound_of_moves(moves, gamma) * slack[0] + slack[1]


def test_the_expectation_is_the_mean_over_roundings_of_the_format() -> None:
    weight = drawn(0)
    updated = theory.gradient_descent(weight, normal(1), 2**-9)
    measured = theory.measure_update(
        weight,
        updated,
        FORMAT,
        scale=SCALE,
        rounding="stochastic-log",
        generator=torch.Generator().manual_seed(2),
        draws=2000,
    )
    expected = theory.expected_square(updated, FORMAT.base_factor)
    assert bool(measured.valid.all())
    assert measured.square.mean().item() == pytest.approx(expected.mean().item(), rel=0.01)
    deviation = expected.sqrt() / math.sqrt(2000)
    assert bool((measured.error.abs() <= 5 * deviation + 1e-6).all())  # unbiased in octaves, weight by weight
    assert measured.summary()["kept"] == pytest.approx(1, abs=0.02)


def test_expectation_by_hand() -> None:
    numbers = torch.tensor([1.0, 2.0, 2.0**0.25, -(2.0**0.25), 2.0**-0.125, 0.0], dtype=torch.float64)
    square = theory.expected_square(numbers, 2)
    torch.testing.assert_close(square, torch.tensor([0, 0, 1 / 16, 1 / 16, 3 / 64, 0], dtype=torch.float64))


def test_the_rules_by_hand() -> None:
    weight, gradient = torch.tensor([1.0, -2.0, -2.0, 0.0]), torch.tensor([2.0, 2.0, -1.0, 1.0])
    assert theory.gradient_descent(weight, gradient, 0.5).tolist() == [0, -3, -1.5, -0.5]
    assert theory.multiplicative(weight, gradient, 1.0).tolist() == [0.25, -8, -1, 0]
    assert theory.sign_multiplicative(weight, gradient, 1.0).tolist() == [0.5, -4, -1, 0]


def test_the_bounds_by_hand() -> None:
    gradient = torch.tensor([3.0, -4.0])
    assert theory.bound_of_mul(gradient, 0.5, 8) == pytest.approx(math.sqrt(2) * 0.5 / 8 * 5)
    assert theory.bound_of_sign_mul(3, 0.5, 8) == 3 * 0.5 / 8
    assert theory.bound_of_gd(torch.tensor([8.0, -16.0]), 8) == pytest.approx(math.sqrt(2) / 8 * 5)
    assert theory.bound_of_gd(torch.tensor([1.0, 0.0]), 8) == math.inf
    assert theory.bound_of_moves(torch.tensor([-0.01, 7.0]), 8) == pytest.approx(0.01 / 8 + 1 / 256)
    assert theory.bound_of_rounding(3, 8) == 3 / 256


def test_no_gradient_no_error() -> None:
    weight, still = drawn(3), torch.zeros(500, dtype=torch.float64)
    for rule in (theory.gradient_descent, theory.multiplicative, theory.sign_multiplicative):
        updated = rule(weight, still, 0.25)
        assert torch.equal(updated, weight)
        result = theory.measure_update(weight, updated, FORMAT, scale=SCALE).summary()
        assert (result["move_rms"], result["unchanged"]) == (0, 1)
        assert result["rms"] < 1e-12
        assert math.isnan(result["lost"])
        assert math.isnan(result["kept"])


def test_off_the_grid_the_multiplicative_bounds_fail() -> None:
    weight = drawn(4) * 2 ** (0.5 / FORMAT.base_factor)
    gradient, lr = normal(5), 2**-12
    for rule, bound in (
        (theory.multiplicative, theory.bound_of_mul(gradient, lr, FORMAT.base_factor)),
        (theory.sign_multiplicative, theory.bound_of_sign_mul(500, lr, FORMAT.base_factor)),
    ):
        assert total(rule(weight, gradient, lr), FORMAT) > 2 * bound
        assert total(rule(drawn(4), gradient, lr), FORMAT) <= bound


def test_the_gd_bound_needs_the_absolute_value_outside() -> None:
    """|W| - eta g is not |W - eta g|: here its logarithm is 0 where W' is -3."""
    weight, gradient = torch.tensor([-2.0], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    as_recalled = theory.bound_of_gd(weight.abs() - gradient, FORMAT.base_factor)
    updated = theory.gradient_descent(weight, gradient, 1.0)
    assert updated.item() == -3
    assert as_recalled == 0 < total(updated, FORMAT) <= theory.bound_of_gd(updated, FORMAT.base_factor)


def test_the_bounds_are_of_the_square_of_the_norm() -> None:
    weight, gradient = drawn(6, count=1), torch.ones(1, dtype=torch.float64)
    lr, gamma = 2**-10, FORMAT.base_factor
    updated = theory.multiplicative(weight, gradient, lr)
    fraction = lr * gamma
    norm = 2 * fraction * (1 - fraction) / gamma  # E of the norm of one number
    assert total(updated, FORMAT) <= theory.bound_of_mul(gradient, lr, gamma) < norm


def test_the_gd_bound_says_less_than_the_step_of_the_grid() -> None:
    for octave in (-6, -2, 0, 3):
        updated = theory.gradient_descent(drawn(7, octave=octave), normal(8), 2**-12)
        anything = theory.bound_of_rounding(500, FORMAT.base_factor)
        assert theory.bound_of_gd(updated, FORMAT.base_factor) > 100 * anything


def test_of_equal_moves_gd_has_the_error_of_mul() -> None:
    weight, gradient = drawn(9), normal(10)
    updated = theory.gradient_descent(weight, gradient, 2**-10)
    move = (updated / weight).abs().log2()
    same = theory.multiplicative(weight, -move * weight.sign(), 1.0)
    torch.testing.assert_close(theory.expected_square(updated, 128), theory.expected_square(same, 128))


def relative_error(updated: torch.Tensor, weight: torch.Tensor) -> float:
    error = theory.expected_square(updated, FORMAT.base_factor).mean().sqrt()
    return float(error / (updated / weight).abs().log2().square().mean().sqrt())


def madam_step(weight: torch.Tensor, gradients: list[torch.Tensor], **options: object) -> torch.Tensor:
    parameter = nn.Parameter(weight.clone())
    optimizer = Madam([parameter], p_scale=None, **options)
    for i, gradient in enumerate(gradients):
        optimizer.param_groups[0]["lr"] = 2**-7 if i + 1 == len(gradients) else 0.0
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def test_the_error_of_madam_does_not_depend_on_the_magnitude() -> None:
    gradients = [normal(seed) for seed in range(8)]
    errors = [
        theory.expected_square(madam_step(drawn(11) * 2.0**octave, gradients, round_gradient=False), 128)
        for octave in (-6, 0, 4)
    ]
    assert errors[1].max() > 0
    torch.testing.assert_close(errors[0], errors[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(errors[2], errors[1], rtol=0, atol=1e-12)


def test_the_error_of_gd_grows_with_the_magnitude_relative_to_its_move() -> None:
    lr, gradient = 2**-8, normal(12)
    before = [drawn(13) * 2.0**octave for octave in range(-4, 3)]
    steps = [theory.gradient_descent(weight, gradient, lr) for weight in before]
    relative = [relative_error(updated, weight) for updated, weight in zip(steps, before, strict=True)]
    assert relative == sorted(relative)
    assert relative[-1] > 10 * relative[0]
    lost = [
        theory.measure_update(weight, updated, FORMAT, scale=SCALE / 8).summary()["lost"]
        for updated, weight in zip(steps, before, strict=True)
    ]
    assert lost == sorted(lost)
    assert lost[0] < 0.2
    assert lost[-1] > 0.9


@pytest.mark.parametrize("rule", [theory.gradient_descent, theory.multiplicative, theory.sign_multiplicative])
def test_small_moves_have_an_error_of_the_root_of_the_move(rule: object) -> None:
    weight, gradient = drawn(14), normal(15)
    errors = [total(rule(weight, gradient, lr), FORMAT) for lr in (2**-16, 2**-18)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


def test_nearest_loses_moves_below_half_a_step_and_no_others() -> None:
    weight = drawn(16)
    steps = torch.linspace(-3, 3, 500, dtype=torch.float64)
    updated = weight * torch.exp2(steps / FORMAT.base_factor)
    measured = theory.measure_update(weight, updated, FORMAT, scale=SCALE)
    torch.testing.assert_close(measured.move, steps / FORMAT.base_factor)
    assert torch.equal(measured.unchanged == 1, steps.abs() < 0.5)
    assert float(measured.error.abs().max()) <= 0.5 / FORMAT.base_factor + 1e-12
    assert measured.summary(steps.abs() < 0.5)["kept"] == pytest.approx(0, abs=1e-12)
    assert measured.summary(steps.abs() < 0.5)["lost"] == 1
    assert measured.summary(steps.abs() >= 0.5)["lost"] == 0
    assert measured.summary(steps.abs() > 1.5)["kept"] == pytest.approx(1, abs=0.05)


def test_a_rounding_that_loses_everything_has_the_bias_of_all_moves() -> None:
    weight = drawn(17)
    updated = theory.multiplicative(weight, normal(18), 2**-14)
    result = theory.measure_update(weight, updated, FORMAT, scale=SCALE).summary()
    assert result["lost"] == 1
    assert result["bias"] == pytest.approx(-float((updated / weight).log2().abs().mean()))
    assert result["rms"] == pytest.approx(result["move_rms"])


def test_stochastic_rounding_loses_what_the_fraction_says() -> None:
    weight = drawn(19)
    updated = weight * 2 ** (0.25 / FORMAT.base_factor)
    generator = torch.Generator().manual_seed(20)
    measured = theory.measure_update(
        weight, updated, FORMAT, scale=SCALE, rounding="stochastic-log", generator=generator, draws=100
    )
    assert measured.summary()["lost"] == pytest.approx(0.75, abs=0.01)


def test_sign_mul_on_the_lattice_has_no_error() -> None:
    weight, gradient = drawn(21), normal(22)
    exact = theory.measure_update(weight, theory.sign_multiplicative(weight, gradient, 2**-7), FORMAT, scale=SCALE)
    assert exact.summary()["rms"] < 1e-12
    assert exact.summary()["kept"] == pytest.approx(1)
    half = theory.sign_multiplicative(weight, gradient, 2**-8)
    assert total(half, FORMAT) == pytest.approx(theory.bound_of_rounding(500, FORMAT.base_factor))


def test_the_released_rounding_of_the_gradient_is_a_grid_of_its_own() -> None:
    """Rounding g* to integers is rounding to nearest with base factor 1 / lr."""
    gradients = [normal(seed) for seed in range(30, 38)]
    coarse = MultiBaseLNS(12, 128)
    weight = drawn(23, format=coarse)
    real = madam_step(weight, gradients, round_gradient=False)
    released = madam_step(weight, gradients)
    rounded = theory.on_grid(real, coarse, SCALE)
    torch.testing.assert_close(released, rounded, rtol=1e-12, atol=0)
    assert not torch.equal(real, released)


def test_nearest_is_what_madam_does_to_held_weights() -> None:
    gradients = [normal(seed) for seed in range(40, 44)]
    parameter = nn.Parameter(drawn(24).reshape(20, 25).float())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = Madam([parameter], p_scale=None, round_gradient=False, update_format=FORMAT)
    scale = optimizer.state[parameter]["scale"]
    weight = theory.on_grid(parameter.detach(), FORMAT, scale)
    for i, gradient in enumerate(gradients):
        optimizer.param_groups[0]["lr"] = 2**-7 if i + 1 == len(gradients) else 0.0
        parameter.grad = gradient.reshape(20, 25).float()
        optimizer.step()
    real = madam_step(weight, [gradient.reshape(20, 25) for gradient in gradients], round_gradient=False)
    measured = theory.measure_update(weight, real, FORMAT, scale=scale)
    torch.testing.assert_close((weight + measured.done)[measured.valid], parameter.detach().double()[measured.valid])
    assert int(measured.valid.sum()) > 400


def test_weights_beyond_the_range_and_zeros_are_counted_apart() -> None:
    weight = theory.on_grid(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0]), FORMAT, SCALE)
    updated = torch.tensor([1.01, 2.0**6.5, 2.0**-10.5, 0.0, -1.02], dtype=torch.float64)
    measured = theory.measure_update(weight, updated, FORMAT, scale=SCALE)
    assert measured.valid.tolist() == [True, False, False, False, True]
    result = measured.summary()
    assert result["count"] == 2
    assert result["out_of_range"] == pytest.approx(0.6)
    assert result["rms"] < 1 / FORMAT.base_factor
    assert all(math.isfinite(value) for value in result.values())
    nothing = measured.summary(~measured.valid)
    assert nothing["count"] == 0
    assert math.isnan(nothing["rms"])


def test_on_grid_is_the_format_in_float64() -> None:
    x = normal(25)
    held = theory.on_grid(x, FORMAT, SCALE)
    assert held.dtype == torch.float64
    assert torch.equal(held.float(), FORMAT.quantize(x.float(), scale=SCALE))
    assert total(held, FORMAT) < 1e-12


def test_what_cannot_be_measured_is_one_line() -> None:
    weight = drawn(26, count=4)
    with pytest.raises(SpecificationError, match=r"measure_update: \(4,\) weights, but \(2,\) updated ones"):
        theory.measure_update(weight, weight[:2], FORMAT, scale=SCALE)
    with pytest.raises(SpecificationError, match=r"rounds to zero, which has no octave; use zero=False"):
        theory.measure_update(weight, weight, MultiBaseLNS(12, 128, zero=True), scale=SCALE)
    with pytest.raises(SpecificationError, match="pass generator"):
        theory.measure_update(weight, weight, FORMAT, scale=SCALE, rounding="stochastic-log")


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The experiment, with fewer points."""
    monkeypatch.syspath_prepend(EXPERIMENT)
    names = [path.stem for path in EXPERIMENT.glob("*.py")]
    module = importlib.import_module("measure")
    monkeypatch.setattr(module, "RULES", ("SGD", "Madam, released"))
    monkeypatch.setattr(module, "EXPONENTS", range(-4, -3))
    monkeypatch.setattr(module, "RATES", [2.0**-7])
    monkeypatch.setattr(module, "WIDTHS", [12])
    monkeypatch.setattr(module, "SYNTHETIC_WEIGHTS", 256)
    yield module
    for name in names:
        sys.modules.pop(name, None)


def test_the_experiment_writes_bounded_numbers_twice_the_same(
    measure: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, texts = torch.get_num_threads(), []
    try:
        for folder in (tmp_path / "first", tmp_path / "second"):
            options = ["--out", str(folder), "--samples", "2", "--steps", "32", "--seed", "5"]
            monkeypatch.setattr(sys, "argv", ["measure.py", *options])
            measure.main()
            texts.append((folder / "lns-madam-theory.json").read_text())
            monkeypatch.setattr(measure, "save_figure", lambda *arguments: None)  # once is enough
    finally:
        torch.set_num_threads(threads)
    assert texts[0] == texts[1]
    assert all((tmp_path / "first" / f"{name}.png").stat().st_size > 10_000 for name in ("synthetic", "digits"))
    sweeps = json.loads(texts[0])
    for sweep in (*sweeps["synthetic"].values(), *sweeps["digits"].values()):
        assert {point["rule"] for point in sweep} == {"SGD", "Madam, released"}
        for point in sweep:
            assert all(point["expected_rms"] <= bound * (1 + 1e-6) + 1e-9 for bound in point["bounds"].values())
            assert point["nearest"]["count"] > 0
