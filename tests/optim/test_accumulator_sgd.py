import io
import itertools
import math
import random
from fractions import Fraction

import pytest
import torch
from torch import nn

from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.formats import FixedPoint, LogQuant
from slipstick.optim import AccumulatorSGD, WeightFormats


def formats(
    weight: tuple[int, float] = (8, 1.0), gradient: tuple[int, float] = (8, 1.0), accumulator: int = 8
) -> WeightFormats:
    """Of bits and ranges."""
    grid = fixed_point(*weight)
    return WeightFormats(grid, fixed_point(*gradient), fixed_point(accumulator, grid.step / 2))


def fixed_point(bits: int, range_: float) -> FixedPoint:
    int_bits = int(math.log2(range_))
    return FixedPoint(int_bits, bits - 1 - int_bits)


def optimizer_of(values: torch.Tensor, given: WeightFormats, lr: float) -> tuple[nn.Parameter, AccumulatorSGD]:
    parameter = nn.Parameter(values.clone())
    return parameter, AccumulatorSGD([{"params": [("fc.weight", parameter)], "formats": given}], lr)


def step(parameter: nn.Parameter, optimizer: AccumulatorSGD, gradient: torch.Tensor) -> tuple[list[int], list[int]]:
    """The codes of the weight and of the accumulator afterwards."""
    parameter.grad = gradient.clone()
    optimizer.step()
    return codes(parameter, optimizer)


def codes(parameter: nn.Parameter, optimizer: AccumulatorSGD) -> tuple[list[int], list[int]]:
    state = optimizer.state[parameter]
    return state["weight"].flatten().tolist(), state["accumulator"].flatten().tolist()


def nearest(x: Fraction) -> int:
    """Ties away from zero."""
    return (-1 if x < 0 else 1) * math.floor(abs(x) + Fraction(1, 2))


def quantised(x: Fraction, format: FixedPoint) -> Fraction:
    """Q(x, B, r) = clip(round(x / step) step, -r, r - step)."""
    unit = Fraction(format.step)
    limit = 2 ** (format.width - 1)
    return max(-limit, min(limit - 1, nearest(x / unit))) * unit


def paper_step(w: Fraction, acc: Fraction, g: float, lr: float, given: WeightFormats) -> tuple[Fraction, Fraction]:
    """The update of Sakr & Shanbhag 2019 on rational numbers; lr g is rounded to the step of the accumulator."""
    rate = Fraction(torch.tensor(lr, dtype=torch.float32).item())
    unit = Fraction(given.accumulator.step)
    update = nearest(rate * quantised(Fraction(g), given.gradient) / unit) * unit
    moved = w + acc - update
    new = quantised(moved, given.weight)
    return new, quantised(moved - new, given.accumulator)


FORMATS = [
    formats(),
    formats((2, 1.0), (2, 1.0), 2),
    formats((10, 0.5), (12, 2.0**-5), 13),
    formats((4, 8.0), (16, 2.0**-9), 20),
    formats((24, 1.0), (24, 4.0), 24),
    formats((24, 2.0**20), (2, 2.0**-40), 24),
]


@pytest.mark.parametrize("given", FORMATS, ids=lambda f: "/".join(map(str, (f.weight, f.gradient, f.accumulator))))
@pytest.mark.parametrize("lr", [0.0, 1e-30, 0.001, 0.01, 2.0**-7, 0.5, 1.0, 3.7, 2.0**20, 2.0**90])
def test_a_step_is_that_of_the_paper_in_rational_numbers(given: WeightFormats, lr: float) -> None:
    draw = random.Random(1)
    ends = [given.weight.min_integer, -1, 0, 1, given.weight.max_integer]
    start = torch.tensor([draw.choice(ends) * given.weight.step for _ in range(60)])
    parameter, optimizer = optimizer_of(start, given, lr)
    expected = [(Fraction(w), Fraction(0)) for w in parameter.tolist()]
    for _ in range(3):
        size = given.gradient.largest
        gradient = torch.tensor([draw.choice([0, 1, -1, 1e-3, 3]) * draw.uniform(-size, size) for _ in start])
        w, acc = step(parameter, optimizer, gradient)
        expected = [paper_step(*each, g, lr, given) for each, g in zip(expected, gradient.tolist(), strict=True)]
        assert [Fraction(c) * Fraction(given.weight.step) for c in w] == [new for new, _ in expected]
        assert [Fraction(c) * Fraction(given.accumulator.step) for c in acc] == [rest for _, rest in expected]


@pytest.mark.parametrize("sign", [1, -1])
def test_updates_far_below_a_step_of_the_weight_add_up_exactly(sign: int) -> None:
    given = formats(accumulator=6)
    parameter, optimizer = optimizer_of(torch.zeros(1), given, lr=0.125)
    eighth = torch.tensor([sign * given.weight.step])  # times lr: an eighth of a step, 8 codes of the accumulator
    path = [step(parameter, optimizer, -eighth) for _ in range(20)]
    moved = [sign * w for (w,), _ in path]
    assert moved == [0] * 3 + [1] * 8 + [2] * 8 + [3]  # to nearest: after a half, then after 8 updates each
    total = [64 * w + a for (w,), (a,) in path]
    # the tie below zero, at the fourth update, leaves +1/2, which the accumulator does not have
    assert total == [sign * 8 * n - (sign < 0 and n >= 4) for n in range(1, 21)]


def test_a_weight_moves_after_eight_updates_of_an_eighth_and_not_before() -> None:
    given = formats(accumulator=6)
    parameter, optimizer = optimizer_of(torch.zeros(1), given, lr=0.125)
    gradient = torch.tensor([-given.weight.step])
    for _ in range(4):
        step(parameter, optimizer, gradient)
    assert codes(parameter, optimizer) == ([1], [-32])  # the least residue
    assert [step(parameter, optimizer, gradient)[0] for _ in range(8)] == [[1]] * 7 + [[2]]


def test_without_an_accumulator_to_resolve_them_updates_are_lost() -> None:
    given = formats(accumulator=2)  # steps of a quarter
    parameter, optimizer = optimizer_of(torch.zeros(1), given, lr=0.1)
    assert step(parameter, optimizer, torch.tensor([given.weight.step])) == ([0], [0])


@pytest.mark.parametrize(("end", "sign"), [(127, -1.0), (-128, 1.0)])
def test_weight_and_accumulator_saturate_at_both_ends_and_come_back(end: int, sign: float) -> None:
    given = formats((8, 1.0), (8, 1.0), 8)
    parameter, optimizer = optimizer_of(torch.zeros(3), given, lr=8.0)
    for _ in range(3):
        w, acc = step(parameter, optimizer, torch.full((3,), sign * 0.5))
    assert w == [end] * 3
    assert acc == [127 if sign < 0 else -128] * 3
    assert parameter.tolist() == [end / 128] * 3
    w, _ = step(parameter, optimizer, torch.full((3,), -sign * 2.0**-7))  # eight steps back, from half a step beyond
    assert w[0] == (119 if sign < 0 else -121)  # 127 127/256 - 8, and -128 - 1/2 + 8, a tie, away from zero


def test_initial_weights_are_rounded_away_from_zero_and_saturate() -> None:
    given = formats()
    start = torch.tensor([0.5, -0.5, 1.5, -1.5, 0.49, 500.0, -500.0]) / 128
    parameter, optimizer = optimizer_of(start, given, lr=0.1)
    assert codes(parameter, optimizer) == ([1, -1, 2, -2, 0, 127, -128], [0] * 7)


def test_products_and_gradients_are_rounded_alike_on_both_sides_of_zero() -> None:
    given = formats((8, 1.0), (8, 1.0), 8)
    gradient = torch.tensor([0.5, 1.5, 2.5, 100.0, 1.0, 3.0, 5.0]) / 128
    states = []
    for sign in (1, -1):
        parameter, optimizer = optimizer_of(torch.zeros(7), given, lr=2.0**-9)
        states.append(step(parameter, optimizer, sign * gradient)[1])
    assert states[0] == [-c for c in states[1]]
    # G = 1, 2, 3, 100, 1, 3, 5 and U = G / 2
    assert states[1] == [1, 1, 2, 50, 1, 2, 3]


def test_the_parameter_is_the_code_times_the_step_after_fifty_random_steps() -> None:
    generator = torch.Generator().manual_seed(3)
    given = formats((10, 1.0), (12, 0.25), 13)
    start = torch.randn(40, 1000, generator=generator) / 3  # more than one piece
    parameter, optimizer = optimizer_of(start, given, lr=0.05)
    for n in range(50):
        parameter.grad = torch.randn(start.shape, generator=generator) * 10.0 ** (n % 4 - 3)
        optimizer.step()
        state = optimizer.state[parameter]
        assert parameter.dtype == torch.float32
        assert (state["weight"].dtype, state["accumulator"].dtype) == (torch.int32, torch.int32)
        assert torch.equal(parameter.detach().double(), state["weight"].double() * given.weight.step)
        assert int(state["weight"].min()) >= -512
        assert int(state["weight"].max()) <= 511
        assert int(state["accumulator"].abs().max()) <= 4096


def test_a_gradient_that_a_recipe_has_rounded_is_rounded_no_more() -> None:
    generator = torch.Generator().manual_seed(3)
    given = formats((8, 1.0), (6, 0.5), 10)
    gradient = torch.randn(500, generator=generator)
    results = []
    for each in (gradient, given.gradient.quantize(gradient)):
        parameter, optimizer = optimizer_of(torch.zeros(500), given, lr=0.01)
        results.append(step(parameter, optimizer, each))
    assert results[0] == results[1]


def test_other_parameters_are_moved_as_by_sgd() -> None:
    torch.manual_seed(0)
    network, twin = nn.Linear(4, 3), nn.Linear(4, 3)
    twin.load_state_dict(network.state_dict())
    optimizers = [AccumulatorSGD(network.named_parameters(), 0.3), torch.optim.SGD(twin.parameters(), 0.3)]
    for _ in range(5):
        for model, optimizer in zip((network, twin), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))
    assert not optimizers[0].state


def test_other_parameters_stay_within_a_bound_only_if_asked() -> None:
    for bound, expected in ((None, [5.0, -5.0]), (1.0, [1.0, -1.0])):
        parameter = nn.Parameter(torch.zeros(2))
        optimizer = AccumulatorSGD([parameter], 1.0, bound=bound)
        parameter.grad = torch.tensor([-5.0, 5.0])
        optimizer.step()
        assert parameter.tolist() == expected


def test_a_layout_that_is_not_contiguous_makes_no_difference() -> None:
    generator = torch.Generator().manual_seed(3)
    start, gradient = (torch.randn(4, 3, 2, 2, generator=generator) for _ in range(2))
    plain, last = (
        optimizer_of(start.to(memory_format=layout), formats(), 0.3)
        for layout in (torch.contiguous_format, torch.channels_last)
    )
    for _ in range(3):
        step(*plain, gradient)
        step(*last, gradient.to(memory_format=torch.channels_last))
    assert last[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain[0], last[0])
    assert codes(*plain) == codes(*last)


def test_the_closure_and_a_missing_gradient() -> None:
    parameter, optimizer = optimizer_of(torch.ones(2) / 2, formats(), 0.1)
    before = codes(parameter, optimizer)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert codes(parameter, optimizer) == before


def train(parameter: nn.Parameter, optimizer: AccumulatorSGD, steps: range) -> None:
    for n in steps:
        step(parameter, optimizer, torch.randn(50, generator=torch.Generator().manual_seed(n)) / 10)


def test_a_state_through_a_file_goes_on_in_the_same_bits() -> None:
    given = formats((8, 1.0), (10, 0.5), 24)  # an accumulator that float32 would not hold beside its sign
    whole, first, second = (optimizer_of(torch.zeros(50), given, 0.011) for _ in range(3))
    train(*whole, range(20))
    train(*first, range(9))
    file = io.BytesIO()
    torch.save(first[1].state_dict(), file)
    file.seek(0)
    second[1].load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(second[0], first[0])
    train(*second, range(9, 20))
    assert codes(*second) == codes(*whole)
    assert torch.equal(second[0], whole[0])
    assert second[1].param_groups[0]["formats"] == given
    assert second[1].state[second[0]]["accumulator"].dtype == torch.int32
    train(*first, range(9, 10))  # the state that was loaded is a copy
    assert codes(*second) == codes(*whole)


def test_a_state_of_other_formats_or_of_none_is_refused() -> None:
    _, optimizer = optimizer_of(torch.zeros(3), formats(), 0.1)
    _, other = optimizer_of(torch.zeros(3), formats((9, 1.0)), 0.1)
    with pytest.raises(SpecificationError, match=r"group 0 of the state has formats .*; give the optimiser those"):
        optimizer.load_state_dict(other.state_dict())
    with pytest.raises(SpecificationError, match="group 0 of the state has formats None, not"):
        optimizer.load_state_dict(torch.optim.SGD([torch.zeros(3)], 0.1).state_dict())
    state = optimizer.state_dict()
    del state["state"][0]["accumulator"]
    with pytest.raises(SpecificationError, match=r"^fc\.weight: the state has no integers of its shape"):
        optimizer.load_state_dict(state)


def test_the_learning_rate_of_a_schedule_counts() -> None:
    given = formats()
    parameter, optimizer = optimizer_of(torch.zeros(1), given, 1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    seen = []
    for _ in range(3):
        seen.append(step(parameter, optimizer, torch.tensor([-1 / 128]))[1][0] + 256 * int(parameter.item() * 128))
        schedule.step()
    assert seen == [256, 384, 448]


def test_a_weight_that_something_else_has_changed_is_named() -> None:
    parameter, optimizer = optimizer_of(torch.zeros(3), formats(), 0.1)
    with torch.no_grad():
        parameter.add_(0.5)
    with pytest.raises(SpecificationError, match=r"^fc\.weight: was changed outside AccumulatorSGD"):
        step(parameter, optimizer, torch.ones(3))


def test_nan_is_named() -> None:
    parameter, optimizer = optimizer_of(torch.zeros(3), formats(), 0.1)
    with pytest.raises(NonFiniteError, match=r"^gradient of fc\.weight: .*NaN"):
        step(parameter, optimizer, torch.tensor([0.0, math.nan, 1.0]))
    assert step(parameter, optimizer, torch.tensor([0.0, math.inf, -math.inf]))[0] == [0, -13, 13]


def test_options_that_cannot_be_are_refused_in_one_line() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    with pytest.raises(SpecificationError, match=r"AccumulatorSGD\(momentum=0\.9\): integer weights move without"):
        AccumulatorSGD([parameter], 0.1, momentum=0.9)
    for options in ({"lr": -0.1}, {"lr": math.nan}, {"lr": math.inf}, {"bound": 0.0}):
        with pytest.raises(SpecificationError, match=r"^AccumulatorSGD\((lr|bound)="):
            AccumulatorSGD([parameter], **options)
    with pytest.raises(SpecificationError, match="must be a WeightFormats or None"):
        AccumulatorSGD([{"params": [parameter], "formats": FixedPoint(0, 7)}], 0.1)
    with pytest.raises(SpecificationError, match=r"^group 0 parameter 0 \(2\): is torch\.float64; use float32"):
        AccumulatorSGD([{"params": [nn.Parameter(torch.zeros(2).double())], "formats": formats()}], 0.1)


def test_formats_that_do_not_fit_are_refused_in_one_line() -> None:
    fine = FixedPoint(0, 7)
    for wrong in (
        FixedPoint(0, 7, signed=False),
        FixedPoint(0, 7, rounding="half-even"),
        FixedPoint(0, 7, symmetric=True),
        LogQuant(4, 0),
    ):
        with pytest.raises(SpecificationError, match=r"^WeightFormats\(gradient=.*'half-away'$"):
            WeightFormats(fine, wrong, FixedPoint(-8, 15))
    with pytest.raises(SpecificationError, match=r"must be half a step of the weight, FixedPoint.*: int_bits = -8"):
        WeightFormats(fine, fine, FixedPoint(-7, 15))


def test_every_pair_of_codes_moves_as_the_paper_says() -> None:
    """All states of a small weight, the saturated among them, with all gradients."""
    given = formats((3, 1.0), (3, 1.0), 3)
    cases = list(itertools.product(range(-4, 4), repeat=3))
    parameter, optimizer = optimizer_of(torch.tensor([w / 4 for w, _, _ in cases]), given, 0.3)
    optimizer.state[parameter]["accumulator"] = torch.tensor([a for _, a, _ in cases], dtype=torch.int32)
    w, acc = step(parameter, optimizer, torch.tensor([g / 4 for _, _, g in cases]))
    unit = Fraction(given.accumulator.step)
    for (w0, a0, g0), new_w, new_acc in zip(cases, w, acc, strict=True):
        expected = paper_step(Fraction(w0, 4), a0 * unit, g0 / 4, 0.3, given)
        assert (Fraction(new_w, 4), new_acc * unit) == expected
