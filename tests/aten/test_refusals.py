"""What has no definition is refused in one line that names it, before anything is computed."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from small import LNS12, grid_in_force, is_on
from torch import nn
from wide import WIDE, assert_says_what_to_do, check, randn

import slipstick as ss


class Inverting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(x)


def test_the_message_names_operator_module_arithmetic_and_way_out() -> None:
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation) as refused:
        nn.Sequential(Inverting())(torch.eye(3))
    text = str(refused.value)
    for part in ("linalg_inv", "Inverting", "LNS(5,5)", "ss.exact()"):
        assert part in text
    assert "\n" not in text
    assert isinstance(refused.value, NotImplementedError)


def test_the_message_has_the_path_of_the_module_that_called() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), Inverting()))
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation, match=r"linalg_inv_ex.*called by 1\.1 \(Inverting\)"):
        model(torch.eye(3))


def test_a_refusal_by_a_definition_names_caller_and_arithmetic_too() -> None:
    class Averaging(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:0].mean()

    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation, match=r"mean.*called by 0 \(Averaging\).*LNS\(5,5\)"):
        nn.Sequential(Averaging())(torch.ones(3))


def test_a_refusal_in_the_backward_pass_says_so() -> None:
    class Inverse(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 1

        @staticmethod
        def backward(context, gradient):
            return torch.linalg.inv(gradient)

    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation, match="called in the backward pass"):
        Inverse.apply(torch.eye(3, requires_grad=True)).sum().backward()


@pytest.mark.parametrize(
    "call",
    [
        torch.linalg.inv,
        torch.linalg.svd,
        torch.linalg.cholesky,
        torch.fft.fft,
        torch.lgamma,
        torch.erfinv,
        torch.special.i0,
        lambda x: torch.histc(x, 4),
        lambda x: x.to_sparse() @ x,
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8),
    ],
)
def test_operators_without_a_definition_are_refused(call) -> None:
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation):
        call(torch.eye(3) + 0.1)


def _ctc_loss() -> None:
    F.ctc_loss(torch.zeros(5, 2, 3), torch.ones(2, 2, dtype=torch.long), torch.tensor([5, 5]), torch.tensor([2, 2]))


def _chunked_loss() -> None:
    options = pytest.importorskip("torch.nn.modules.linear_cross_entropy_options").LinearCrossEntropyOptions()
    F.linear_cross_entropy(torch.ones(4, 3), torch.ones(5, 3), torch.zeros(4, dtype=torch.long), options=options)


@pytest.mark.parametrize(("call", "way_out"), [(_ctc_loss, "F.cross_entropy"), (_chunked_loss, "options=None")])
def test_losses_without_a_definition_say_what_to_use(call, way_out: str) -> None:
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation, match=way_out) as refused:
        call()
    assert_says_what_to_do(refused.value)


def test_a_refused_operator_computes_nothing() -> None:
    x = torch.ones(3)
    out = torch.full((3,), 7.0)
    with ss.use(LNS12, audit=True) as run:
        with pytest.raises(ss.UnsupportedOperation):
            x.lgamma_()
        with pytest.raises(ss.UnsupportedOperation):
            torch.lgamma(x, out=out)
    assert x.tolist() == [1, 1, 1]
    assert out.tolist() == [7, 7, 7]
    assert not any("lgamma" in name for name in run.audit.counts)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.complex128])
def test_half_and_complex_numbers_are_refused(dtype: torch.dtype) -> None:
    x = torch.ones(3, 3, dtype=dtype)
    calls = [
        lambda: x + x,
        lambda: x * 2,
        lambda: x @ x,
        lambda: x.matmul(x),
        lambda: torch.ones(3).to(dtype),
        lambda: x.abs() if dtype.is_complex else x.to(torch.float32),
        lambda: x.add_(1),
    ]
    for call in calls:
        with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation):
            call()


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_sums_of_complex_numbers_do_not_lose_their_imaginary_part(name: str) -> None:
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation):
        getattr(torch.full((3,), 1 + 2j), name)()


def test_copying_into_half_precision_is_refused() -> None:
    target = torch.zeros(3, dtype=torch.float16)
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation):
        target.copy_(torch.ones(3))


def test_autocast_is_refused() -> None:
    with ss.use(LNS12), torch.autocast("cpu", torch.bfloat16), pytest.raises(ss.UnsupportedOperation):
        nn.Linear(3, 2)(torch.ones(1, 3))


NAN = torch.tensor([[1.0, math.nan], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add", lambda: NAN + 1),
        ("mul", lambda: NAN * 2),
        ("mm", lambda: NAN @ NAN),
        ("sum", lambda: NAN.sum()),
        ("mean", lambda: NAN.mean()),
        ("relu", lambda: NAN.relu()),
        ("exp", lambda: NAN.exp()),
        ("gt", lambda: NAN > 0),
        ("amax", lambda: NAN.amax()),
        ("max", lambda: NAN.max()),
        ("sort", lambda: NAN.sort()),
        ("argmax", lambda: NAN.argmax()),
        ("convolution", lambda: F.conv2d(NAN[None, None], torch.ones(1, 1, 1, 1))),
        ("max_pool2d", lambda: F.max_pool2d(NAN[None, None], 2)),
        ("avg_pool2d", lambda: F.avg_pool2d(NAN[None, None], 2)),
        ("softmax", lambda: F.softmax(NAN, 1)),
        ("batch_norm", lambda: F.batch_norm(NAN, None, None, training=True)),
        ("mse_loss", lambda: F.mse_loss(NAN, torch.ones(2, 2))),
        ("add", lambda: torch.ones(2) + math.nan),
        ("mul", lambda: torch.ones(2) * torch.tensor(math.nan)),
        ("to_copy", lambda: NAN.double()),
        ("norm", lambda: NAN.norm()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nan_is_named_where_it_arrives(name: str, call) -> None:
    with ss.use(LNS12), pytest.raises(ss.NonFiniteError, match=name):
        call()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("div", lambda: torch.zeros(2) / 0),
        ("div", lambda: torch.zeros(2) / torch.tensor([1.0, 0.0])),
        ("addcdiv", lambda: torch.addcdiv(torch.ones(2), torch.zeros(2), torch.zeros(2))),
        ("sqrt", lambda: torch.tensor([1.0, -1.0]).sqrt()),
        ("rsqrt", lambda: torch.tensor([-0.5]).rsqrt()),
        ("pow", lambda: torch.tensor([-0.5]) ** 0.5),
        ("pow", lambda: torch.tensor([-0.5]) ** 0.3),
        ("log", lambda: torch.tensor([-0.5]).log()),
        ("log1p", lambda: torch.tensor([-2.0]).log1p()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_number_raises(name: str, call) -> None:
    with ss.use(LNS12), pytest.raises(ss.NonFiniteError, match=name):
        call()


def test_division_by_zero_and_infinities_saturate() -> None:
    largest, smallest = LNS12.format.decode(LNS12.format.encode(torch.tensor([math.inf, 1e-30])))
    x = torch.tensor([2.0, -3.0])
    with ss.use(LNS12):
        assert torch.equal(x / 0, torch.stack([largest, -largest]))
        assert torch.equal(1 / torch.zeros(1), largest[None])
        assert torch.equal(torch.zeros(1).rsqrt(), largest[None])
        assert torch.equal(torch.zeros(1).log(), -largest[None])
        assert torch.equal(torch.tensor([-math.inf, math.inf]) * 1, torch.stack([-largest, largest]))
        masked = torch.zeros(1, 4).masked_fill(torch.tensor([False, True, False, True]), -math.inf)
        probabilities = F.softmax(masked, 1)[0]
        logarithms = F.log_softmax(masked, 1)[0]
    assert torch.equal(probabilities[[1, 3]], smallest.expand(2))
    assert probabilities[0] == probabilities[2] == 0.5
    assert torch.equal(logarithms[[1, 3]], -largest.expand(2))


def test_in_flush_a_masked_probability_is_zero() -> None:
    with ss.use(ss.LogArithmetic(ss.LNS(5, 5, "flush"), "hamad2025")):
        masked = torch.zeros(1, 2).masked_fill(torch.tensor([False, True]), -math.inf)
        assert F.softmax(masked, 1).tolist() == [[1.0, 0.0]]


def test_integers_stay_integers() -> None:
    a, b = torch.tensor([7, 9]), torch.tensor([2, 3])
    with ss.use(LNS12, audit=True) as run:
        assert (a + b).tolist() == [9, 12]
        assert (a * b).dtype == torch.int64
        assert (a // b).tolist() == [3, 3]
        assert (a % b).tolist() == [1, 0]
        assert a.sum().item() == 16
        assert (a > b).all()
        assert a.cumsum(0).tolist() == [7, 16]
        assert (a << 2).tolist() == [28, 36]
        assert a.bincount().sum() == 2
        assert (a == b).sum().item() == 0
    assert run.audit.totals()["defined"] == 0


def test_random_integers_stay_integers_and_random_floats_are_on_the_grid() -> None:
    with ss.use(LNS12):
        for integers in (torch.randint(5, (3,)), torch.randperm(3), torch.randint_like(torch.arange(3), 5)):
            assert integers.dtype == torch.int64
        for floats in (
            torch.rand(9),
            torch.randn(9),
            torch.randint(99, (9,), dtype=torch.float32),
            torch.empty(9).cauchy_(),
        ):
            assert is_on(floats, LNS12)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: a / b,
        lambda a, b: a / 3,
        lambda a, b: 3 / a,
        lambda a, b: a.float() / b.float(),
        lambda a, b: a * 0.3,
        lambda a, b: a**0.5,
        lambda a, b: a.sqrt(),
        lambda a, b: a.sigmoid(),
        lambda a, b: a.tanh(),
        lambda a, b: a.sum(dtype=torch.float32),
        lambda a, b: a.float().mean(),
        lambda a, b: a.mean(dtype=torch.float32),
        lambda a, b: a.reciprocal(),
        lambda a, b: torch.true_divide(a, b),
        lambda a, b: a.log(),
        lambda a, b: torch.add(a, b, alpha=1) / 7,
        lambda a, b: (a > b).float().mean(),
        lambda a, b: a.to(torch.float32) * 1,
        lambda a, b: torch.softmax(a, 0, dtype=torch.float32),
        lambda a, b: torch.where(a > 8, a, 0.3) * 1,
    ],
)
def test_a_float_made_from_integers_is_a_number_of_the_arithmetic(call) -> None:
    a, b = torch.tensor([7, 9, 11, 1001]), torch.tensor([2, 3, 7, 13])
    with ss.use(LNS12):
        try:
            result = call(a, b)
        except ss.UnsupportedOperation:
            return
    assert is_on(result, LNS12)
    assert torch.allclose(result.double(), call(a, b).double(), rtol=0.1)


def test_integer_division_divides_the_codes() -> None:
    with ss.use(LNS12):
        floats = torch.tensor([7.0, 9.0]) / torch.tensor([2.0, 3.0])
        assert torch.equal(torch.tensor([7, 9]) / torch.tensor([2, 3]), floats)


def test_floor_division_and_remainders_of_floats_are_those_of_the_numbers_on_the_grid() -> None:
    x, y = torch.tensor([7.3, -7.3, 4.0, -4.0, 0.0]), torch.tensor([2.0, 2.0, 2.0, 0.5, 3.0])
    on_grid = LNS12.format.decode(LNS12.format.encode(x)).double()
    with ss.use(LNS12):
        assert torch.equal(x // y, ss.snap_(torch.floor(on_grid / y).float(), LNS12))
        assert torch.equal(torch.div(x, y, rounding_mode="trunc"), ss.snap_(torch.trunc(on_grid / y).float(), LNS12))
        assert (x % y)[2:].tolist() == [0, 0, 0]
        assert ((x % y) >= 0).all()
        assert torch.equal(torch.fmod(x, y), torch.fmod(x.abs(), y) * x.sign())


def test_a_number_that_is_the_code_of_a_whole_number_is_cast_to_it() -> None:
    whole = torch.arange(-40, 41)
    with ss.use(LNS12):
        assert torch.equal((whole.float() * 1).long(), whole)
        assert (torch.tensor([0.9, 2.6, -2.6]) * 1).long().tolist() == [0, 2, -2]


def test_a_collective_that_is_not_defined_is_refused() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        x = torch.tensor([1.2345])
        with ss.use(LNS12):
            with pytest.raises(ss.UnsupportedOperation, match="reduce_"):
                dist.reduce(x, 0)
            assert x.item() == pytest.approx(1.2345)
            assert grid_in_force() == "compute"
    finally:
        dist.destroy_process_group()


FUSED = {
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 0.5, x * 2),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x * 0.5, x * 2, is_causal=True),
    "multi-head": lambda x: _built(nn.MultiheadAttention(4, 2, batch_first=True), x, x, x),
    "LSTM": lambda x: _built(nn.LSTM(4, 3), x),
    "GRU": lambda x: _built(nn.GRU(4, 3), x),
    "RNN": lambda x: _built(nn.RNN(4, 3), x),
    "transformer": lambda x: _built(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), x),
}


def _built(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    for i, p in enumerate(module.parameters()):
        p.data.copy_(randn(*p.shape, seed=i) * 0.5)
    result = ss.snap_(module.to(inputs[0].dtype), WIDE)(*inputs)
    return result if isinstance(result, torch.Tensor) else result[0]


@pytest.mark.parametrize("evaluating", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_fused_operators_are_right_or_refused(name: str, evaluating: bool) -> None:
    try:
        if evaluating:
            with torch.inference_mode():
                check(FUSED[name], randn(2, 3, 4), roundings=200)
        else:
            check(FUSED[name], randn(2, 3, 4), roundings=200, gradient_roundings=600)
    except ss.UnsupportedOperation as refusal:
        assert_says_what_to_do(refusal)
