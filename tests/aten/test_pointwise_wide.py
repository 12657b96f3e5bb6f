"""Pointwise operators in a wide format agree with float64, in every layout, type and calling form."""

import math

import pytest
import torch
import torch.nn.functional as F
from wide import FORMAT, WIDE, U, assert_on_grid, assert_says_what_to_do, assert_within, check, on_grid, positive, randn

import slipstick as ss

UNARY = {
    "neg": (torch.neg, randn(7, 5)),
    "abs": (torch.abs, randn(7, 5)),
    "sqrt": (torch.sqrt, positive(7, 5)),
    "rsqrt": (torch.rsqrt, positive(7, 5)),
    "reciprocal": (torch.reciprocal, randn(7, 5, low=0.05)),
    "square": (torch.square, randn(7, 5)),
    "exp": (torch.exp, randn(7, 5)),
    "exp2": (torch.exp2, randn(7, 5)),
    "expm1": (torch.expm1, randn(7, 5)),
    "log": (torch.log, positive(7, 5)),
    "log2": (torch.log2, positive(7, 5)),
    "log1p": (torch.log1p, positive(7, 5)),
    "tanh": (torch.tanh, randn(7, 5)),
    "sigmoid": (torch.sigmoid, randn(7, 5)),
    "relu": (torch.relu, randn(7, 5)),
    "silu": (F.silu, randn(7, 5)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), randn(7, 5)),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 0.75), randn(7, 5)),
    "relu6": (lambda x: F.relu6(x * 5), randn(7, 5)),
    "sign": (torch.sign, randn(7, 5)),
    "pow 2": (lambda x: x**2, randn(7, 5)),
    "pow 3": (lambda x: x**3, randn(7, 5)),
    "pow -1": (lambda x: x**-1, randn(7, 5, low=0.05)),
    "pow -2": (lambda x: x**-2, randn(7, 5, low=0.05)),
    "pow 0": (lambda x: x**0, randn(7, 5)),
    "pow 1/2": (lambda x: x**0.5, positive(7, 5)),
    "pow -1/2": (lambda x: x**-0.5, positive(7, 5)),
    "pow 3/2": (lambda x: x**1.5, positive(7, 5)),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), randn(7, 5)),
    "clamp low": (lambda x: x.clamp(min=-0.25), randn(7, 5)),
    "clamp high": (lambda x: x.clamp(max=0.25), randn(7, 5)),
    "clamp_min": (lambda x: x.clamp_min(-0.25), randn(7, 5)),
    "clamp_max": (lambda x: x.clamp_max(0.25), randn(7, 5)),
    "1 - x": (lambda x: 1 - x, randn(7, 5)),
    "rsub alpha": (lambda x: torch.rsub(x, 1.5, alpha=0.25), randn(7, 5)),
    "1 / x": (lambda x: 1 / x, randn(7, 5, low=0.05)),
    "x + 1.5": (lambda x: x + 1.5, randn(7, 5)),
    "x * 0.3": (lambda x: x * 0.3, randn(7, 5)),
    "x / 3": (lambda x: x / 3, randn(7, 5)),
    "positive": (lambda x: +x, randn(7, 5)),
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_operators_equal_float64_within_their_roundings(name: str) -> None:
    program, x = UNARY[name]
    # sigmoid times x, and scaled operands and constants, round more than once.
    several = {"silu": 2, "relu6": 1.5, "rsub alpha": 2.5}
    constants = {"x + 1.5": 2, "x * 0.3": 1.5, "x / 3": 1.5, "1 - x": 1, "leaky_relu": 1.5, "hardtanh": 1}
    roundings = several.get(name, constants.get(name, 1))
    cancels = name in ("rsub alpha", "x + 1.5")
    check(program, x, roundings=roundings, gradient_roundings=8, elementwise=not cancels)


REFUSED_OR_RIGHT = {
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "threshold": lambda x: F.threshold(x, 0.25, -1.0),
    "prelu": lambda x: F.prelu(x, x.new_full((1,), 0.25)),
    "glu": lambda x: F.glu(x, 0),
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "floor": torch.floor,
    "round": torch.round,
    "trunc": torch.trunc,
    "frac": torch.frac,
    "remainder": lambda x: x % 0.75,
    "floor_divide": lambda x: x.detach() // 0.75,
    "fmod": lambda x: torch.fmod(x, 0.75),
    "atan2": lambda x: torch.atan2(x, x * x + 1),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "logaddexp": lambda x: torch.logaddexp(x, x * 0.5),
    "copysign": lambda x: torch.copysign(x, -x),
    "nan_to_num": torch.nan_to_num,
    "pow scalar tensor": lambda x: 2.0**x,
    "pow tensor tensor": lambda x: (x.abs() + 0.5) ** (x * 0.5),
    "cumsum": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(0),
    "prod": lambda x: x.prod(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "addr": lambda x: torch.addr(x[:4, :4], x[0, :4], x[1, :4]),
    "outer": lambda x: torch.outer(x[0], x[1]),
    "cdist": lambda x: torch.cdist(x, x * 0.5),
    "var of one": lambda x: x.var(0),
}


@pytest.mark.parametrize("name", REFUSED_OR_RIGHT)
def test_the_long_tail_is_right_or_refused_never_approximate(name: str) -> None:
    x = randn(8, 5)
    try:
        check(REFUSED_OR_RIGHT[name], x, roundings=16, gradient_roundings=64)
    except ss.UnsupportedOperation as refusal:
        assert_says_what_to_do(refusal)


BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_operators_round_the_real_result_once(name: str) -> None:
    check(BINARY[name], randn(9, 6), randn(9, 6, seed=1, low=0.05), elementwise=True, gradient_roundings=6)


@pytest.mark.parametrize("name", ["add", "sub"])
@pytest.mark.parametrize("alpha", [2, -0.75, 0.0])
def test_alpha_scales_the_second_operand(name: str, alpha: float) -> None:
    check(lambda x, y: getattr(torch, name)(x, y, alpha=alpha), randn(9, 6), randn(9, 6, seed=1), roundings=3)


@pytest.mark.parametrize(
    "program",
    [
        lambda x, a, b: torch.addcmul(x, a, b),
        lambda x, a, b: torch.addcmul(x, a, b, value=-0.3),
        lambda x, a, b: torch.addcdiv(x, a, b),
        lambda x, a, b: torch.addcdiv(x, a, b, value=0.7),
        lambda x, a, b: torch.lerp(x, a, 0.3),
        lambda x, a, b: torch.lerp(x, a, 0.9),
        lambda x, a, b: torch.lerp(x, a, b),
        lambda x, a, b: torch.where(a > 0, x, b),
        lambda x, a, b: torch.where(a > 0, x, 0.5),
        lambda x, a, b: torch.where(a > 0, 0.5, x),
        lambda x, a, b: x.clamp(min=a.minimum(b), max=a.maximum(b)),
    ],
)
def test_ternary_operators(program) -> None:
    check(program, randn(9, 6), randn(9, 6, seed=1), randn(9, 6, seed=2, low=0.1), roundings=6)


SHAPES = [((4, 3), (3,)), ((4, 1), (1, 3)), ((2, 1, 3), (4, 1)), ((), (4, 3)), ((4, 3), ()), ((0, 3), (3,)), ((), ())]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["add", "mul", "div"])
def test_operands_broadcast_and_gradients_are_summed_back(shapes, name: str) -> None:
    a, b = (randn(*shape, seed=i, low=0.05) for i, shape in enumerate(shapes))
    check(BINARY[name], a, b, elementwise=True, gradient_roundings=12)


def _layouts(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The numbers of the contiguous x [4, 6, 5, 3] in other memory layouts."""
    padded = torch.full((4, 6, 10, 3), math.nan)
    padded[:, :, ::2] = x
    return {
        "contiguous": x.clone(),
        "channels last": x.clone(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3).contiguous().transpose(1, 3),
        "permuted": x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
        "strided": padded[:, :, ::2],
        "offset": torch.cat([torch.full((1,), math.nan), x.flatten()])[1:].view(x.shape),
    }


LAYOUTS = tuple(_layouts(torch.zeros(4, 6, 5, 3)))


@pytest.mark.parametrize("form", ["functional", "in place", "out"])
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_the_memory_layout_does_not_change_a_number(first: str, second: str, form: str) -> None:
    x, y = randn(4, 6, 5, 3), randn(4, 6, 5, 3, seed=1)
    with ss.use(WIDE):
        want = torch.add(x, y, alpha=0.5)
        a, b = _layouts(x)[first], _layouts(y)[second]
        if form == "functional":
            got = torch.add(a, b, alpha=0.5)
        elif form == "in place":
            got = a.add_(b, alpha=0.5)
            assert got is a
        else:
            target = _layouts(torch.zeros_like(x))[second]
            got = torch.add(a, b, alpha=0.5, out=target)
            assert got is target
    assert torch.equal(got, want)
    assert torch.equal(b, y)


@pytest.mark.parametrize("expanded", ["first", "second", "both"])
@pytest.mark.parametrize("name", ["add", "mul", "div"])
def test_expanded_operands_are_read_as_the_numbers_they_stand_for(expanded: str, name: str) -> None:
    x, y = randn(5, 1, low=0.1), randn(1, 7, seed=1, low=0.1)
    a = x.expand(5, 7) if expanded != "second" else randn(5, 7, seed=2)
    b = y.expand(5, 7) if expanded != "first" else randn(5, 7, seed=3, low=0.1)
    with ss.use(WIDE):
        assert torch.equal(BINARY[name](a, b), BINARY[name](a.contiguous(), b.contiguous()))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(x.t()),
        lambda x: x.mul_(x.t()),
        lambda x: x.sub_(x.flip(0)),
        lambda x: x.add_(x),
        lambda x: x.div_(x[0, 0]),
        lambda x: x.sub_(x[:1]),
        lambda x: x.mul_(x[:, 2:3]),
        lambda x: torch.add(x.t(), x, out=x),
        lambda x: torch.mul(x, 0.5, out=x),
        lambda x: x[1:].add_(x[:-1]),
        lambda x: x.addcmul_(x.t(), x[0]),
        lambda x: x.lerp_(x.t(), 0.25),
    ],
)
def test_writing_in_place_over_an_operand_reads_the_old_numbers(change) -> None:
    x = randn(97, 97, low=0.1)  # more than the kernels read at once
    old = x.clone()

    class Frozen(torch.utils._python_dispatch.TorchDispatchMode):
        """Gives every in-place call operands that share no memory with what it writes."""

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            target = kwargs.get("out", args[0])
            writes = any(a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments)
            if writes and func is not torch.ops.aten.copy_.default:
                copies = [a.clone() if isinstance(a, torch.Tensor) and a is not target else a for a in args]
                if "out" not in kwargs:
                    return func(*copies, **kwargs)
                fresh = torch.empty_like(target)
                func(*[a.clone() if isinstance(a, torch.Tensor) else a for a in args], out=fresh)
                return target.copy_(fresh)
            return func(*args, **kwargs)

    try:
        with ss.use(WIDE):
            change(x)
    except RuntimeError as refusal:
        if "memory location" not in str(refusal):  # PyTorch itself refuses some of these
            raise
        assert torch.equal(x, old)
        return
    with ss.use(WIDE), Frozen():
        change(old)
    assert torch.equal(x, old)


def test_in_place_operators_write_every_unary_and_binary_form() -> None:
    x, y = positive(4, 3), positive(4, 3, seed=1)
    names = "neg abs sqrt rsqrt reciprocal exp exp2 expm1 log log2 log1p tanh sigmoid relu square"
    with ss.use(WIDE):
        for name in names.split():
            z = x.clone()
            assert getattr(z, name + "_")() is z
            assert torch.equal(z, getattr(torch, name)(x)), name
            if name not in ("relu",):
                out = torch.empty_like(x)
                getattr(torch, name)(x, out=out)
                assert torch.equal(out, z), name
        for name in ("add", "sub", "mul", "div"):
            for other in (y, 0.75, y[0]):
                z = x.clone()
                assert getattr(z, name + "_")(other) is z
                assert torch.equal(z, getattr(torch, name)(x, other)), name
                assert torch.equal(torch.empty_like(x).copy_(getattr(x, name)(other)), z)
        for name, arguments in {
            "addcmul_": (y, y), "addcdiv_": (x, y), "lerp_": (y, 0.3), "clamp_": (0.5, 1.0), "pow_": (1.5,),
            "clamp_min_": (0.5,), "clamp_max_": (0.5,), "hardtanh_": (), "leaky_relu_": (),
        }.items():  # fmt: skip
            z = x.clone()
            functional = getattr(torch, name[:-1], None) or getattr(F, name[:-1])
            target = getattr(z, name, None)
            target(*arguments) if target else getattr(F, name)(z, *arguments)
            assert torch.equal(z, functional(x, *arguments)), name


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (torch.float64, torch.float64, torch.float64),
        (torch.float64, torch.float32, torch.float64),
        (torch.float32, torch.int64, torch.float32),
        (torch.int32, torch.float32, torch.float32),
        (torch.bool, torch.float32, torch.float32),
        (torch.float32, torch.bool, torch.float32),
        (torch.uint8, torch.float64, torch.float64),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["add", "mul", "div"])
def test_types_promote_as_in_pytorch(name: str, first, second, expected) -> None:
    x = (positive(4, 3) * 3).to(first)
    y = (positive(4, 3, seed=1) * 2 + 1).to(second)
    x, y = (on_grid(t) if t.dtype.is_floating_point else t for t in (x, y))
    with ss.use(WIDE):
        got = getattr(torch, name)(x, y)
    want = getattr(torch, name)(x.double(), y.double())
    assert got.dtype == expected == getattr(torch, name)(x, y).dtype
    # An integer that is no power of two is rounded on entry.
    assert_within(got, want, 3, x.double().abs() + y.double().abs() + want.abs())
    assert_on_grid(got)


@pytest.mark.parametrize("name", ["add", "mul", "sub", "div"])
def test_a_tensor_without_dimensions_does_not_promote_one_with(name: str) -> None:
    with ss.use(WIDE):
        assert getattr(torch, name)(randn(3), torch.tensor(2.0, dtype=torch.float64)).dtype == torch.float32
        assert getattr(torch, name)(torch.tensor(2.0, dtype=torch.float64), randn(3)).dtype == torch.float32
        assert getattr(torch, name)(torch.tensor(2, dtype=torch.int64), torch.tensor(2.0)).dtype == torch.float32


@pytest.mark.parametrize("name", ["gt", "ge", "lt", "le", "eq", "ne"])
@pytest.mark.parametrize("other", ["tensor", "scalar", "int tensor", "expanded"])
def test_comparisons_equal_float64_on_the_grid(name: str, other: str) -> None:
    x = on_grid(torch.randint(-3, 4, (6, 8)) / 2.0)
    y = {
        "tensor": on_grid(torch.randint(-3, 4, (6, 8)) / 2.0),
        "scalar": 0.5,
        "int tensor": torch.randint(-2, 3, (6, 8)),
        "expanded": on_grid(torch.randint(-3, 4, (8,)) / 2.0),
    }[other]
    with ss.use(WIDE):
        got = getattr(torch, name)(x, y)
    assert got.dtype == torch.bool
    assert torch.equal(got, getattr(torch, name)(x, y))


def test_comparisons_round_their_operands_first() -> None:
    between = torch.tensor([1.0 + U / 4, 1.0 - U / 4, 1.0 + 1.5 * U])
    with ss.use(WIDE):
        assert (between == 1.0).tolist() == [True, True, False]
        assert (between > 1.0).tolist() == [False, False, True]


def test_numbers_off_the_grid_are_rounded_at_first_use() -> None:
    raw = torch.randn(64, generator=torch.Generator().manual_seed(3))
    with ss.use(WIDE):
        assert torch.equal(raw * 1.0, on_grid(raw))
        assert torch.equal(raw + raw, on_grid(raw) + on_grid(raw))


def test_results_saturate_at_the_ends_of_the_format() -> None:
    big, small = torch.tensor([FORMAT.largest, -FORMAT.largest]), torch.tensor([FORMAT.smallest, -FORMAT.smallest])
    with ss.use(WIDE):
        assert torch.equal(big * 2, on_grid(big))
        assert torch.equal(big + big, on_grid(big))
        assert torch.equal(small / 2, on_grid(small))
        assert torch.equal(torch.tensor([math.inf, -math.inf]) * 1, on_grid(big))
