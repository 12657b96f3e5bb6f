"""Elementwise operators and their gradients equal, code for code, compositions of the NumPy reference."""

import operator

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import extremes, numbers, real
from oracle import Number, Oracle

import slipstick as ss
from slipstick.kernels import reference

aten = torch.ops.aten
prims = torch.ops.prims

MIXED = torch.cat([numbers(60), extremes(40), torch.tensor([0.0, 1.0, -1.0, 2.0**-40, -(2.0**40), 1e-45])])
OTHER = torch.cat([numbers(60, seed=1), extremes(40, seed=1), torch.tensor([0.0, -1.0, -1.0, 3.0, 2.0**40, -1.0])])

TABLES = {
    "tan": (mpmath.tan, MIXED),
    "expm1": (mpmath.expm1, MIXED),
    "cosh": (mpmath.cosh, MIXED),
    "asin": (mpmath.asin, MIXED.clamp(-1, 1)),
    "acos": (mpmath.acos, MIXED.clamp(-1, 1)),
    "atanh": (lambda v: mpmath.inf * v if abs(v) == 1 else mpmath.atanh(v), MIXED.clamp(-1, 1)),
    "acosh": (mpmath.acosh, MIXED.abs() + 1.05),
    "log2": (lambda v: mpmath.log(v, 2) if v else -mpmath.inf, MIXED.abs()),
    "log10": (lambda v: mpmath.log(v, 10) if v else -mpmath.inf, MIXED.abs()),
    "log1p": (mpmath.log1p, MIXED.clamp(min=-0.9)),
    "trunc": (lambda v: mpmath.floor(v) if v > 0 else mpmath.ceil(v), MIXED),
    "exp2": (lambda v: mpmath.power(2, v), MIXED),
    "sin": (mpmath.sin, numbers(50)),
    "cos": (mpmath.cos, numbers(50)),
    "atan": (mpmath.atan, MIXED),
    "sinh": (mpmath.sinh, MIXED),
    "asinh": (mpmath.asinh, MIXED),
    "erf": (mpmath.erf, MIXED),
    "erfc": (mpmath.erfc, MIXED),
    "floor": (mpmath.floor, MIXED),
    "ceil": (mpmath.ceil, MIXED),
    "round": (mpmath.nint, MIXED),
    "exp": (mpmath.exp, MIXED),
    "tanh": (mpmath.tanh, MIXED),
    "log": (lambda v: mpmath.log(v) if v else -mpmath.inf, MIXED.abs()),
}


@pytest.mark.parametrize("name", TABLES)
def test_functions_of_one_number_in_every_form(name: str, o: Oracle) -> None:
    f, a = TABLES[name]
    want = real(o.numbers(a), name, f)
    out, list_of_one = torch.zeros_like(a), [a.clone()]
    with ss.use(o.arithmetic):
        o.same(getattr(torch, name)(a), want)
        o.same(getattr(a.clone(), f"{name}_")(), want)
        getattr(torch, name)(a, out=out)
        o.same(out, want)
        if hasattr(prims, name):
            o.same(getattr(prims, name)(a), want)
        if hasattr(torch.special, name):
            o.same(getattr(torch.special, name)(a), want)
        if hasattr(torch, f"_foreach_{name}"):
            o.same(getattr(torch, f"_foreach_{name}")([a])[0], want)
            getattr(torch, f"_foreach_{name}_")(list_of_one)
            o.same(list_of_one[0], want)


EXACT = {
    "neg": lambda x: -x,
    "abs": lambda x: x.call("absolute"),
    "relu": lambda x: x.maximum(0.0),
    "sign": lambda x: signs(x),
    "sgn": lambda x: signs(x),
    "square": lambda x: x * x,
}


def signs(x: Number) -> Number:
    one, zero = (x.o.numbers(torch.full(x.a.shape, v)) for v in (1.0, 0.0))
    return zero.where(x.a.is_zero, one.where(x.a.sign == 0, -one))


@pytest.mark.parametrize("name", EXACT)
def test_functions_that_move_no_fraction(name: str, o: Oracle) -> None:
    want = EXACT[name](o.numbers(MIXED))
    with ss.use(o.arithmetic):
        o.same(getattr(torch, name)(MIXED), want)
        o.same(getattr(MIXED.clone(), f"{name}_")(), want)
        if hasattr(prims, name):
            o.same(getattr(prims, name)(MIXED), want)


def test_comparisons_compare_the_numbers_on_the_grid(o: Oracle) -> None:
    near = MIXED * (1 + 1e-4)  # mostly the same code
    for b in (OTHER, near, torch.zeros(())):
        x, y = o.numbers(MIXED).a, o.numbers(b).a
        p, q = (v.numbers().astype(np.float64) for v in (x, y))
        for name in ("gt", "ge", "lt", "le", "eq", "ne"):
            want = torch.from_numpy(getattr(operator, name)(*np.broadcast_arrays(p, q)))
            with ss.use(o.arithmetic):
                assert torch.equal(getattr(torch, name)(MIXED, b), want)
                assert torch.equal(getattr(prims, name)(MIXED, b.expand(MIXED.shape)), want)
    with ss.use(o.arithmetic):
        assert torch.equal(MIXED > 0.3, torch.from_numpy(o.numbers(MIXED).a.numbers() > 0.3))
        assert torch.allclose(MIXED, MIXED.clone())
        assert not torch.allclose(MIXED, OTHER)


def test_choices_between_two_numbers(o: Oracle) -> None:
    a, b, mask = MIXED, OTHER, MIXED > OTHER
    x, y = o.numbers(a), o.numbers(b)
    wide = o.numbers(torch.full(a.shape, 0.3, dtype=torch.float64))
    with ss.use(o.arithmetic):
        for packet in (torch.where, prims.where):
            o.same(packet(mask, a, b), x.where(mask.numpy(), y))
        o.same(torch.where(mask, a, 0.3), x.where(mask.numpy(), wide))
        o.same(torch.where(mask, 0.3, b), wide.where(mask.numpy(), y))
        o.same(torch.clamp_min(a, 0.3), x.maximum(0.3))
        o.same(torch.clamp_max(a, b), x.minimum(y))
        o.same(a.clone().clamp_min_(b), x.maximum(y))
        o.same(prims.maximum(a, b), x.maximum(y))
        o.same(prims.minimum(a, b), x.minimum(y))
        o.same(torch.copysign(a, b), (-x.call("absolute")).where(y.a.sign == 1, x.call("absolute")))


def test_the_four_operations_as_prims_and_in_lists(o: Oracle) -> None:
    a, b = MIXED, torch.where(OTHER == 0, 1.0, OTHER)
    x, y = o.numbers(a), o.numbers(b)
    for name, want in (("add", x + y), ("sub", x - y), ("mul", x * y), ("div", x / y)):
        kept = [a.clone()]
        with ss.use(o.arithmetic):
            o.same(getattr(prims, name)(a, b), want)
            o.same(getattr(torch, f"_foreach_{name}")([a, b], [b, a])[0], want)
            getattr(torch, f"_foreach_{name}_")(kept, [b])
            o.same(kept[0], want)
    with ss.use(o.arithmetic):
        o.same(torch._foreach_addcmul([a], [a], [b], 0.3)[0], x + 0.3 * (x * y))
        o.same(torch._foreach_addcdiv([a], [a], [b], [0.3])[0], x + 0.3 * (x / y))
        o.same(torch._foreach_lerp([a], [b], 0.3)[0], x + 0.3 * (y - x))
        o.same(torch._foreach_maximum([a], [b])[0], x.maximum(y))
        o.same(torch._foreach_norm([a])[0], (x * x).sum([0]).call("sqrt"))


def test_quotients_and_remainders_of_whole_numbers(o: Oracle) -> None:
    a, b = numbers(80, spread=20.0), torch.where(numbers(80, seed=1).abs() < 1e-3, 0.7, numbers(80, seed=1))
    x, y = o.numbers(a), o.numbers(b)
    floor = real(x / y, "floor", mpmath.floor)
    trunc = real(x / y, "trunc", lambda v: mpmath.floor(v) if v > 0 else mpmath.ceil(v))
    seven = o.numbers(torch.full((80,), 7.3, dtype=torch.float64))
    with ss.use(o.arithmetic):
        o.same(torch.floor_divide(a, b), floor)
        o.same(prims.fmod(a, b), x - y * trunc)
        o.same(prims.remainder(a, b), x - y * floor)
        o.same(torch.remainder(7.3, b), seven - y * real(seven / y, "floor", mpmath.floor))
        o.same(a.clone().remainder_(b), x - y * floor)


def test_gradients_that_pass_or_stop(o: Oracle) -> None:
    a, g = torch.cat([MIXED, torch.tensor([0.5, -0.5, 1.0])]), torch.cat([OTHER, torch.tensor([1.0, 2.0, 3.0])])
    x, d = o.numbers(a), o.numbers(g)
    zero, value = o.numbers(torch.zeros(a.shape)), x.a.numbers().astype(np.float64)
    half = o.numbers(torch.tensor(0.5)).a.numbers()
    with ss.use(o.arithmetic):
        o.same(aten.hardtanh_backward(g, a, -1, 1), d.where((value > -1) & (value < 1), zero))
        o.same(aten.threshold_backward(g, a, 0.5), d.where(value > half, zero))
        o.same(aten.hardshrink_backward(g, a, 0.5), d.where(abs(value) > half, zero))
        o.same(aten.softshrink_backward(g, a, 0.5), d.where(abs(value) > half, zero))
        o.same(aten.leaky_relu_backward(g, a, 0.1, False), d.where(value > 0, 0.1 * d))
        o.same(F.hardtanh(a, -0.5, 0.5), x.maximum(-0.5).minimum(0.5))


def test_the_gradient_of_silu(o: Oracle) -> None:
    a, g = MIXED, OTHER
    x, d = o.numbers(a), o.numbers(g)
    s = x.call("sigmoid")
    with ss.use(o.arithmetic):
        o.same(aten.silu_backward(g, a), d * (s * (1.0 + x * (1.0 - s))))


def test_dropout_scales_what_it_keeps(o: Oracle) -> None:
    a, g = MIXED, OTHER
    x, zero = o.numbers(a), o.numbers(torch.zeros(a.shape))
    torch.manual_seed(0)
    with ss.use(o.arithmetic):
        y, mask = aten.native_dropout(a, 0.3, True)
        back = aten.native_dropout_backward(g, mask, 1 / 0.7)
        kept, every = aten.native_dropout(a, 0.3, False)
    assert 0 < mask.sum() < mask.numel()
    o.same(y, ((1 / 0.7) * x).where(mask.numpy(), zero))
    o.same(back, ((1 / 0.7) * o.numbers(g)).where(mask.numpy(), zero))
    o.same(kept, x)
    assert every.all()
    for _ in range(2):
        torch.manual_seed(1)
        with torch.inference_mode(), ss.use(o.arithmetic):
            dropped = F.dropout(a, 0.3)
        o.same(dropped, ((1 / 0.7) * x).where((dropped != 0).numpy(), zero))


def test_randomised_leaky_relu_multiplies_by_its_noise(o: Oracle) -> None:
    a, noise = MIXED, torch.zeros_like(MIXED)
    x = o.numbers(a)
    torch.manual_seed(0)
    with ss.use(o.arithmetic):
        y = aten.rrelu_with_noise(a, noise, 0.1, 0.4, True)
        mean = F.rrelu(a, 0.1, 0.4)
    below = (x.a.sign == 1) | x.a.is_zero
    assert torch.equal(noise != 1, torch.from_numpy(below))
    o.same(y, x * o.numbers(noise))
    o.same(mean, (0.25 * x).where(below, x))


DEVIATIONS = OTHER.abs()
SAMPLES = {
    "rand": lambda: torch.rand(40),
    "randn": lambda: torch.randn(40),
    "rand_like": lambda: torch.rand_like(MIXED),
    "randn_like": lambda: torch.randn_like(MIXED),
    "normal": lambda: torch.normal(MIXED, DEVIATIONS),
    "randint": lambda: torch.randint(0, 99, (40,), dtype=torch.float32),
    "randint_like": lambda: torch.randint_like(MIXED, 99),
    "randperm": lambda: torch.randperm(40, dtype=torch.float32),
} | {
    name: lambda name=name, given=given: getattr(torch.empty(40), name)(*given)
    for name, given in (
        ("uniform_", ()), ("normal_", ()), ("exponential_", ()), ("log_normal_", ()), ("cauchy_", ()),
        ("geometric_", (0.3,)), ("random_", (0, 99)),
    )
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_random_numbers_are_those_of_pytorch_rounded(name: str, o: Oracle) -> None:
    torch.manual_seed(0)
    want = SAMPLES[name]()
    torch.manual_seed(0)
    with ss.use(o.arithmetic):
        got = SAMPLES[name]()
    o.same(got, o.numbers(want))


def test_a_change_of_type_rounds(o: Oracle) -> None:
    a, target = MIXED.double() / 3, torch.zeros(MIXED.shape)
    x = o.numbers(a)
    with ss.use(o.arithmetic):
        o.same(a.float(), x)
        o.same(MIXED.double(), o.numbers(MIXED))
        o.same(prims.convert_element_type(a, torch.float32), x)
        o.same(target.copy_(a), x)
        o.same(torch.arange(-9, 9).float(), o.numbers(torch.arange(-9, 9).double()))


def test_powers_between_tensors_and_of_constants(o: Oracle) -> None:
    base, p = numbers(60).abs(), numbers(60, seed=1)
    x, y = o.numbers(base), o.numbers(p)
    safe = x.where(~x.a.is_zero, o.numbers(torch.ones(60)))
    log = real(safe, "log2", lambda v: mpmath.log(v, 2))
    power = real(y * log, "exp2", lambda v: mpmath.power(2, v))
    largest = o.numbers(torch.full((60,), 2.0**60))
    at_zero = largest.where(y.a.sign == 1, o.numbers(torch.zeros(60)))
    power = power.where(~x.a.is_zero, at_zero).where(~y.a.is_zero, o.numbers(torch.ones(60)))
    whole = torch.tensor([3.0, 2.0, -1.0, 0.0])
    odd = torch.tensor([-2.0, -0.5, -4.0, -1.0])
    with ss.use(o.arithmetic):
        o.same(torch.pow(base, p), power)
        o.same(prims.pow(base, p), power)
        o.same(torch._foreach_pow([base], [p])[0], power)
        o.same(odd**whole, o.numbers(odd**whole))
        for constant in (0.5, -0.5):
            o.same(base**constant, x.call("sqrt" if constant > 0 else "rsqrt"))
        o.same(0.25**p, Number(o, reference.apply("exp", lambda v: mpmath.power(0.25, v), y.a)))
