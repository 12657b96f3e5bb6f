"""Products as integers: what a layer computes is the reference's sum of the codes of its rounded operands."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slipstick as ss
from slipstick.arithmetic import LinearAccumulate
from slipstick.errors import SpecificationError, UnsupportedOperation
from slipstick.formats import FixedPoint, MultiBaseLNS
from slipstick.quantize import LayerRule, Product, QuantizerSpec, Range, Recipe, recipe_from

LOG = QuantizerSpec(MultiBaseLNS(8, 8))
ZERO = QuantizerSpec(MultiBaseLNS(8, 8, zero=True))
ROLES = {"weight": LOG, "activation": ZERO, "activation_gradient": ZERO}


def with_product(**fields: object) -> Recipe:
    product = {key: fields.pop(key) for key in list(fields) if key in Product.__dataclass_fields__}
    return Recipe("trial", **{**ROLES, **fields}, product=Product(**product))


def logs_and_scale(x: torch.Tensor, spec: QuantizerSpec) -> tuple[np.ndarray, float]:
    """Signed logs of ``x``, 0 for zero, written down from the format's codes."""
    format = spec.format
    scale = float(spec.range.scale_for(spec.range.measure(x), format))
    codes = format.encode(x, scale=scale).numpy().astype(np.int64)
    log = codes & 127
    sign = np.where(codes >> 7, -1, 1)
    return np.where(format.zero & (log == 0), 0, sign * (log + 1)), scale


def sums(a: np.ndarray, b: np.ndarray, arithmetic: LinearAccumulate) -> np.ndarray:
    """a [M, K] times b [K, N] in an accumulator that is wide enough."""
    p = np.abs(a)[:, :, None] + np.abs(b)[None] - 2
    terms = arithmetic.terms.astype(np.int64)[np.clip(p, 0, None)] * np.sign(a)[:, :, None] * np.sign(b)[None]
    total = terms.sum(1)
    assert (np.abs(total) < 2 ** (arithmetic.bits - 1)).all()
    return total


def product_of(
    a: torch.Tensor, b: torch.Tensor, a_spec: QuantizerSpec, b_spec: QuantizerSpec, given: Product
) -> torch.Tensor:
    (left, s), (right, t) = logs_and_scale(a, a_spec), logs_and_scale(b, b_spec)
    arithmetic = given.arithmetic(MultiBaseLNS(8, 8))
    unit = np.float64(s) * np.float64(t) * 2.0**arithmetic.lsb
    return torch.from_numpy((sums(left, right, arithmetic) * unit).astype(np.float32))


@pytest.mark.parametrize("product", [Product(), Product(entries=1), Product(entries=2, bits=20, headroom=6)])
def test_a_linear_layer_is_the_datapath_forward_and_backward(product: Product) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 7), torch.randn(5, 40, requires_grad=True)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    ss.quantize(layer, Recipe("trial", **ROLES, product=product))
    y = layer(x)
    assert torch.equal(y, product_of(x.detach(), weight.t(), ZERO, LOG, product) + bias)
    error = torch.randn(5, 7)
    y.backward(error)
    assert torch.equal(x.grad, product_of(error, weight, ZERO, LOG, product))
    assert torch.equal(
        layer.parametrizations.weight.original.grad, product_of(error.t(), x.detach(), ZERO, ZERO, product)
    )
    assert torch.equal(layer.bias.grad, error.sum(0))


CONVOLUTIONS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=2), (2, 2, 9, 9)),
    "conv3d without bias": (lambda: nn.Conv3d(2, 3, 2, bias=False), (2, 2, 3, 3, 3)),
    "unbatched": (lambda: nn.Conv2d(2, 3, 3), (2, 6, 6)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_agree_with_float_products_where_nothing_is_lost(name: str) -> None:
    """With operands of few octaves and a wide window, a sum differs from the float one by the constants' rounding."""
    make, shape = CONVOLUTIONS[name]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    x = x + x.sign()
    narrow = QuantizerSpec(MultiBaseLNS(5, 4, zero=True))
    roles = dict.fromkeys(ROLES, narrow)
    gradients = []
    outputs = []
    for product in (None, Product(bits=31, headroom=6), Product(bits=31, headroom=6, backward=False)):
        copied, leaf = copy.deepcopy(layer), x.clone().requires_grad_()
        ss.quantize(copied, Recipe("trial", **roles, product=product))
        y = copied(leaf)
        y.backward(torch.linspace(0.5, 1.5, y.numel()).view(y.shape))
        outputs.append(y.detach())
        gradients.append((leaf.grad, copied.parametrizations.weight.original.grad))
    for y, (to_x, to_w) in zip(outputs[1:], gradients[1:], strict=True):
        torch.testing.assert_close(y, outputs[0], rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(to_x, gradients[0][0], rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(to_w, gradients[0][1], rtol=2e-5, atol=2e-4)
    assert torch.equal(outputs[1], outputs[2])


def test_an_approximate_table_changes_the_forward_pass_only_where_backward_is_float() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(30, 4), torch.randn(6, 30)
    outputs, gradients = [], []
    for entries in (8, 1):
        copied, leaf = copy.deepcopy(layer), x.clone().requires_grad_()
        ss.quantize(copied, with_product(entries=entries, backward=False))
        y = copied(leaf)
        y.backward(torch.ones(6, 4))
        outputs.append(y)
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)
    ratio = ((outputs[1] - outputs[0]).norm() / outputs[0].norm()).item()
    assert 0.01 < ratio < 0.3


def test_stored_weights_and_scales_per_channel() -> None:
    torch.manual_seed(0)
    channel = QuantizerSpec(MultiBaseLNS(8, 8, scale="per_channel"), range=Range(per="channel"))
    layer, x = nn.Linear(12, 3), torch.randn(4, 12)
    with torch.no_grad():
        layer.weight[1] *= 2.0**-9
    plain = copy.deepcopy(layer)
    ss.quantize(layer, with_product(weight=channel, backward=False, bits=31, headroom=8))
    ss.quantize(plain, Recipe("trial", **{**ROLES, "weight": channel}))
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    stored = QuantizerSpec(MultiBaseLNS(8, 8), range=Range("calibrated", times=2))
    layer = nn.Linear(12, 3)
    ss.quantize(layer, with_product(weight=stored, keeps_master=False, bits=31, headroom=8))
    x_used = ZERO.format.quantize(x, scale=ZERO.format.scale_of(x))
    torch.testing.assert_close(layer(x), F.linear(x_used, layer.weight, layer.bias), rtol=1e-4, atol=1e-5)


def test_copies_and_dequantize() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(3, 8)
    ss.quantize(model, with_product(entries=1))
    copied = copy.deepcopy(model)
    y = model(x)
    assert torch.equal(copied(x), y)
    with torch.no_grad():
        copied[0].bias.add_(1.0)
    assert torch.equal(model(x), y)
    assert not torch.equal(copied(x), y)
    ss.dequantize(model)
    assert torch.equal(
        model(x), F.linear(F.linear(x, model[0].weight, model[0].bias).relu(), model[2].weight, model[2].bias)
    )
    assert "integers: 1 entries, 24-bit accumulator" in ss.quantization_table(copied)


def test_nothing_is_multiplied_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            assert func not in (F.linear, F.conv2d, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)
            return func(*args, **(kwargs or {}))

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    ss.quantize(model, with_product())
    with Watch():
        model(torch.randn(2, 1, 6, 6))


def test_a_product_survives_plain_data() -> None:
    given = with_product(entries=2, bits=20, overflow="wrap")
    assert Recipe.from_dict(given.to_dict()) == given
    assert recipe_from({"recipe": "lns-madam2021", "product": {"entries": 1}}).product == Product(entries=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ss.quantize(nn.Linear(2, 2), recipe_from({"recipe": "fp8", "product": {}})), "needs a MultiBaseLNS"),
        (lambda: ss.quantize(nn.Linear(2, 2), with_product(activation=None)), "activation is not rounded"),
        (
            lambda: ss.quantize(nn.Linear(2, 2), with_product(weight=QuantizerSpec(MultiBaseLNS(6, 8)))),
            "weight has (bits, base_factor) (6, 8) and activation (8, 8)",
        ),
        (lambda: ss.quantize(nn.Linear(2, 2), with_product(entries=16)), "entries=16"),
        (lambda: ss.quantize(nn.ConvTranspose2d(2, 2, 2), with_product()), "ConvTranspose2d has none"),
        (lambda: ss.quantize(nn.Conv2d(2, 2, 3, padding="same"), with_product()), "padding = 'same'"),
        (lambda: recipe_from({"recipe": "lns-madam2021", "product": {"entry": 1}}), "did you mean 'entries'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpecificationError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_double_precision_has_no_kernel() -> None:
    layer = nn.Linear(2, 2).double()
    ss.quantize(layer, with_product())
    with pytest.raises(UnsupportedOperation, match="use float32 on the CPU"):
        layer(torch.ones(1, 2).double())


def test_layers_in_full_precision_and_embeddings_stay_out() -> None:
    model = nn.Sequential(nn.Embedding(5, 6), nn.Linear(6, 6), nn.Linear(6, 2))
    ss.quantize(model, with_product(layers=(LayerRule("@last", full_precision=True),)))
    x = torch.tensor([[0, 1]])
    hidden = model[1](model[0](x))
    assert torch.equal(model(x), F.linear(hidden, model[2].weight, model[2].bias))
    assert "forward" in vars(model[1])
    assert "forward" not in vars(model[2])


def test_other_formats_beside_a_product_in_unrelated_roles_are_fine() -> None:
    fixed = QuantizerSpec(FixedPoint(0, 7), range=Range(scale="power_of_two"))
    layer = nn.Linear(4, 2)
    ss.quantize(layer, with_product(weight_gradient=fixed))
    layer(torch.randn(3, 4)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
