"""What is rounded where: every role against the formula written down, for every kind of layer."""

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import ALL_ROLES, BACKWARD, FORWARD, STOCHASTIC, images, network, numbers, recipe
from torch import nn
from torch.utils.checkpoint import checkpoint

import slipstick as ss
from slipstick.errors import SpecificationError, UnsupportedOperation
from slipstick.formats import FixedPoint
from slipstick.quantize import LayerRule, Quantization, QuantizerSpec, Range, Recipe

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable[..., torch.Tensor]]] = {
    "linear": (lambda: nn.Linear(6, 3), (4, 6), F.linear),
    "linear of a sequence": (lambda: nn.Linear(6, 3), (2, 4, 6), F.linear),
    "linear without bias": (lambda: nn.Linear(6, 3, bias=False), (4, 6), F.linear),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, groups=2), (2, 4, 7), lambda *t: F.conv1d(*t, 1, 1, 1, 2)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, stride=2), (2, 2, 7, 7), lambda x, w, b: F.conv2d(x, w, b, 2)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 3, 3, 3), F.conv3d),
    "transposed conv": (lambda: nn.ConvTranspose2d(3, 2, 3), (2, 3, 4, 4), F.conv_transpose2d),
}  # fmt: skip


def rounded_layer(name: str, given: Recipe) -> tuple[nn.Module, torch.Tensor, Callable[..., torch.Tensor]]:
    torch.manual_seed(0)
    make, shape, function = LAYERS[name]
    layer = make()
    ss.quantize(layer, given)
    return layer, torch.randn(shape, requires_grad=True), function


def weight_of(layer: nn.Module) -> nn.Parameter:
    return next(parameter for name, parameter in layer.named_parameters() if "bias" not in name)


@pytest.mark.parametrize("name", LAYERS)
def test_every_role_is_rounded_where_it_belongs(name: str) -> None:
    layer, x, function = rounded_layer(name, recipe(**ALL_ROLES))
    y = layer(x)
    weight, bias = weight_of(layer), layer.bias
    w_used = numbers(FORWARD, weight.detach()).requires_grad_()
    x_used = numbers(FORWARD, x.detach()).requires_grad_()
    expected = function(x_used, w_used, bias)
    assert torch.equal(y, expected)
    error = torch.randn(y.shape)
    y.backward(error)
    to_x, to_w = torch.autograd.grad(expected, (x_used, w_used), numbers(BACKWARD, error))
    assert torch.equal(x.grad, to_x)
    assert torch.equal(weight.grad, numbers(BACKWARD, to_w))


@pytest.mark.parametrize("role", ALL_ROLES)
def test_a_role_alone_touches_nothing_else(role: str) -> None:
    layer, x, _ = rounded_layer("linear", recipe(**{role: ALL_ROLES[role]}))
    plain = nn.Linear(6, 3)
    plain.load_state_dict({"weight": weight_of(layer).detach(), "bias": layer.bias.detach()})
    x_plain = x.detach().clone().requires_grad_()
    results = []
    for module, given in ((layer, x), (plain, x_plain)):
        y = module(given)
        y.square().sum().backward()
        results.append([y.detach(), given.grad, weight_of(module).grad, module.bias.grad])
    same = [torch.equal(a, b) for a, b in zip(*results, strict=True)]
    changes = {
        "weight": [False, False, False, False],
        "activation": [False, False, False, False],
        "activation_gradient": [True, False, False, False],
        "weight_gradient": [True, True, False, True],
    }
    assert same == changes[role]


def test_embeddings_have_weights_and_output_gradients() -> None:
    table = nn.Embedding(5, 4)
    ss.quantize(nn.Sequential(table, nn.Linear(4, 2)), recipe(**ALL_ROLES))
    y = table(torch.tensor([[1, 3], [1, 0]]))
    weight = weight_of(table)
    assert torch.equal(y.detach(), F.embedding(torch.tensor([[1, 3], [1, 0]]), numbers(FORWARD, weight.detach())))
    error = torch.randn(2, 2, 4)
    y.backward(error)
    used = torch.zeros(5, 4).index_add_(0, torch.tensor([1, 3, 1, 0]), numbers(BACKWARD, error).view(4, 4))
    assert torch.equal(weight.grad, numbers(BACKWARD, used))


def test_bilinear_layers_have_two_inputs() -> None:
    layer, (a, b) = nn.Bilinear(3, 4, 2), (torch.randn(5, 3), torch.randn(5, 4))
    ss.quantize(layer, recipe(activation=FORWARD, weight=FORWARD))
    weight = numbers(FORWARD, weight_of(layer).detach())
    assert torch.equal(layer(a, input2=b), F.bilinear(numbers(FORWARD, a), numbers(FORWARD, b), weight, layer.bias))


@pytest.mark.parametrize("same_widths", [True, False])
def test_attention_has_its_projections_inputs_and_output(same_widths: bool) -> None:
    torch.manual_seed(0)
    widths = {} if same_widths else {"kdim": 6, "vdim": 10}
    attention = nn.MultiheadAttention(8, 2, batch_first=True, **widths)
    plain = copy.deepcopy(attention)
    ss.quantize(attention, recipe(**ALL_ROLES))
    q = torch.randn(2, 5, 8)
    k, v = (q, q) if same_widths else (torch.randn(2, 5, 6), torch.randn(2, 5, 10))
    y, _ = attention(q, key=k, value=v)
    with torch.no_grad():
        for path in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"):
            owner = plain.get_submodule(path.rpartition(".")[0])
            if (weight := getattr(owner, path.rpartition(".")[2])) is not None:
                weight.copy_(numbers(FORWARD, weight))
    rounded = {t: numbers(FORWARD, t) for t in (q, k, v)}
    expected, _ = plain(*(rounded[t] for t in (q, k, v)))
    assert torch.equal(y, expected)
    error = torch.randn_like(y)
    y.backward(error)
    expected.backward(numbers(BACKWARD, error))
    given = attention.out_proj.parametrizations.weight.original.grad
    assert torch.equal(given, numbers(BACKWARD, plain.out_proj.weight.grad))


def test_an_encoder_layer_evaluates_as_it_trains() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x = torch.randn(2, 5, 8)
    for roles in (ALL_ROLES, {"weight": FORWARD}):
        ss.quantize(encoder, recipe(**roles))
        training = encoder.train()(x)
        with torch.no_grad():
            torch.testing.assert_close(encoder.eval()(x), training, rtol=1e-5, atol=1e-6)
        ss.dequantize(encoder)


@pytest.mark.parametrize(
    "tail",
    [
        lambda: nn.ReLU(inplace=True),
        lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.0, inplace=True), nn.ReLU(inplace=True)),
        lambda: nn.Hardtanh(-0.1, 0.1, inplace=True),
    ],
)
def test_in_place_operators_may_follow(tail: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), tail())
    ss.quantize(model, recipe(activation_gradient=BACKWARD))
    x = torch.randn(4, 6)
    model(x).sum().backward()
    y = F.linear(x, model[0].weight, model[0].bias).detach().requires_grad_()
    for module in model[1].modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    (error,) = torch.autograd.grad(model[1](y).sum(), y)
    torch.testing.assert_close(model[0].weight.grad, numbers(BACKWARD, error).T @ x)


def test_a_saved_tensor_that_is_overwritten_is_still_an_error() -> None:
    class Saving(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).sigmoid()

    model = nn.Sequential(Saving(3, 3), nn.ReLU(inplace=True))
    ss.quantize(model, recipe(activation_gradient=BACKWARD))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model(torch.randn(2, 3)).sum().backward()


def test_it_works_without_autograd_and_in_inference_mode() -> None:
    model = network().eval()
    ss.quantize(model, recipe(**ALL_ROLES))
    expected = model(images()).detach()
    with torch.no_grad():
        assert torch.equal(model(images()), expected)
    with torch.inference_mode():
        assert torch.equal(model(images()), expected)
        model.train()(images())


def test_a_running_range_learns_in_inference_mode_too() -> None:
    layer = nn.Linear(3, 2)
    ss.quantize(layer, recipe(activation=QuantizerSpec(FixedPoint(0, 3), range=Range("running"))))
    with torch.inference_mode():
        layer(torch.ones(1, 3) * 3)
    assert float(layer.quantizers.activation.maximum) == 3
    layer(torch.ones(1, 3)).sum().backward()


def test_activation_checkpointing_recomputes_the_same() -> None:
    gradients = []
    for use in (True, False):
        model = network(3)
        ss.quantize(model, recipe(**ALL_ROLES))
        x = images().requires_grad_()
        y = checkpoint(model, x, use_reentrant=False) if use else model(x)
        y.square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_weight_gradient_is_rounded_as_a_whole_before_it_is_accumulated() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    ss.quantize(layer, recipe(weight_gradient=BACKWARD))
    a, b = torch.randn(2, 4), torch.randn(2, 4)
    (layer(a) + layer(b).square()).sum().backward()  # used twice in one graph: rounded once
    plain = nn.Linear(4, 3)
    plain.load_state_dict(layer.state_dict())
    (plain(a) + plain(b).square()).sum().backward()
    once = numbers(BACKWARD, plain.weight.grad)
    assert torch.equal(layer.weight.grad, once)
    layer(b).sum().backward()  # a second backward pass adds its own rounded gradient
    plain.weight.grad = None
    plain(b).sum().backward()
    assert torch.equal(layer.weight.grad, once + numbers(BACKWARD, plain.weight.grad))


def test_tied_weights_stay_tied() -> None:
    table, head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    head.weight = table.weight
    model = nn.Sequential(table, head)
    shared = table.weight
    quantization = ss.quantize(model, recipe(weight=FORWARD, weight_gradient=STOCHASTIC))
    assert len(list(model.parameters())) == 1
    model(torch.tensor([1, 2])).sum().backward()
    again = ss.quantize(copy.deepcopy(nn.Linear(4, 7)), recipe(weight_gradient=STOCHASTIC))
    assert quantization.state_dict()["generator"].keys() == {"cpu"}
    assert not again.state_dict()["generator"]
    ss.dequantize(model)
    assert table.weight is shared
    assert head.weight is shared
    assert not shared._backward_hooks


def test_rules_change_layers() -> None:
    model = network()
    other = QuantizerSpec(FixedPoint(0, 1))
    layers = (
        LayerRule("@first", full_precision=True),
        LayerRule("3", weight=other),
        LayerRule("@last", activation=other),
    )
    ss.quantize(model, recipe(weight=FORWARD, layers=layers))
    assert not hasattr(model[0], "quantizers")
    assert torch.equal(model[3].weight, numbers(other, weight_of(model[3]).detach()))
    assert torch.equal(model[6].weight, numbers(FORWARD, weight_of(model[6]).detach()))
    assert model[6].quantizers.activation.spec == other


def test_biases_are_left_alone_unless_the_recipe_says_otherwise() -> None:
    for biases, expected in (("full_precision", False), ("as_weights", True)):
        layer = nn.Linear(6, 3)
        ss.quantize(layer, recipe(weight=FORWARD, weight_gradient=BACKWARD, biases=biases))
        raw = layer.parametrizations.bias.original if expected else layer.bias
        assert torch.equal(layer.bias, numbers(FORWARD, raw.detach())) == expected
        y = layer(torch.randn(5, 6))
        y.square().sum().backward()
        gradient = 2 * y.detach().sum(0)
        torch.testing.assert_close(raw.grad, numbers(BACKWARD, gradient) if expected else gradient)
        order = [id(p) for p in (weight_of(layer), raw)]
        ss.dequantize(layer)
        assert [id(p) for p in layer.parameters()] == order


def test_channels_of_weights_have_scales_of_their_own() -> None:
    per_channel = QuantizerSpec(FixedPoint(0, 3), range=Range(per="channel"))
    for layer, dim in ((nn.Conv2d(2, 3, 3), 0), (nn.ConvTranspose2d(3, 2, 3), 1)):
        ss.quantize(layer, recipe(weight=per_channel))
        raw = weight_of(layer).detach()
        for i in range(raw.shape[dim]):
            assert torch.equal(layer.weight.select(dim, i), numbers(FORWARD, raw.select(dim, i)))


def test_stochastic_rounding_has_a_generator_of_its_own() -> None:
    given = recipe(activation=STOCHASTIC, activation_gradient=STOCHASTIC, seed=5)
    torch.manual_seed(1)
    expected = torch.rand(3)
    results = []
    for seed, salt in ((5, 1), (5, 2), (6, 1)):
        model = network()
        ss.quantize(model, Recipe.from_dict({**given.to_dict(), "seed": seed}))
        torch.manual_seed(salt)
        model(images()).sum().backward()
        results.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(results[0], results[2], strict=True))
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), expected)


def test_the_generators_state_continues_a_stream() -> None:
    def draws(model: nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return model(images())

    model = network().eval()
    quantization = ss.quantize(model, recipe(activation=STOCHASTIC))
    draws(model)
    state = quantization.state_dict()
    after = draws(model)
    other = network().eval()
    ss.quantize(other, recipe(activation=STOCHASTIC)).load_state_dict(state)
    assert torch.equal(draws(other), after)
    assert not torch.equal(draws(other), after)
    with pytest.raises(SpecificationError, match="generator state: "):
        quantization.load_state_dict({"generator": {"cpu": torch.zeros(3, dtype=torch.uint8)}})


def test_a_deep_copy_is_quantised_by_quantisers_of_its_own() -> None:
    running = QuantizerSpec(FixedPoint(0, 3), range=Range("running"))
    model = network()
    ss.quantize(model, recipe(**{**ALL_ROLES, "activation": running, "activation_gradient": STOCHASTIC}))
    model(images()).sum().backward()
    twin = copy.deepcopy(model)
    twin.zero_grad()
    model.zero_grad()
    for _ in range(2):
        results = []
        for network_ in (model, twin):
            network_(images(2)).square().sum().backward()
            results.append([p.grad for p in network_.parameters()] + list(network_.state_dict().values()))
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    ss.dequantize(model)
    twin(images()).sum().backward()
    assert "activation_gradient" in ss.quantization_table(twin)
    assert weight_of(twin[0])._backward_hooks
    ss.dequantize(twin)


def test_running_ranges_travel_in_the_state_dict() -> None:
    given = recipe(activation=QuantizerSpec(FixedPoint(0, 3), range=Range("running")), weight=FORWARD)
    model, other = network(), network(9)
    for one in (model, other):
        ss.quantize(one, given)
    for i in range(3):
        model(images(i))
    state = model.state_dict()
    assert [n for n in state if n.endswith("maximum")] == [f"{i}.quantizers.activation.maximum" for i in (0, 3, 6)]
    other.load_state_dict(state)
    assert torch.equal(other.eval()(images()), model.eval()(images()))


def test_dequantize_restores_the_model() -> None:
    model, plain = network(), network()
    before = [(name, id(p), p.detach().clone()) for name, p in model.named_parameters()]
    classes = [type(m) for m in model.modules()]
    ss.quantize(model, recipe(**ALL_ROLES))
    model(images()).sum().backward()
    assert ss.dequantize(model) is model
    after = list(model.named_parameters())
    assert [(name, i) for name, i, _ in before] == [(name, id(p)) for name, p in after]
    assert all(torch.equal(a, b) for (_, _, a), (_, b) in zip(before, after, strict=True))
    assert [type(m) for m in model.modules()] == classes
    assert not any(p._backward_hooks for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(vars(a).keys() == vars(b).keys() for a, b in zip(model.modules(), plain.modules(), strict=True))
    assert torch.equal(model.eval()(images()), model.eval()(images()))
    ss.quantize(model, recipe(**ALL_ROLES))  # and again


def test_an_optimiser_that_exists_already_keeps_its_parameters() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ss.quantize(model, recipe(weight=FORWARD))
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}


def test_calibrated_activations_keep_the_largest_maximum() -> None:
    calibrated = QuantizerSpec(FixedPoint(0, 3), range=Range("calibrated"))
    model, batches = network().eval(), [images(i) for i in range(3)]
    peaks: list[float] = []
    hook = model[3].register_forward_pre_hook(lambda module, args: peaks.append(args[0].abs().max().item()))
    for batch in batches:
        model(batch)
    hook.remove()
    model.train()
    ss.quantize(model, recipe(activation=calibrated, weight=calibrated), calibration=batches)
    assert model.training
    weights = float(model[0].parametrizations.weight[0].maximum), weight_of(model[0]).abs().max().item()
    assert weights[0] == weights[1]
    found = float(model[3].quantizers.activation.maximum)
    assert found == pytest.approx(max(peaks), rel=0.2)  # behind a rounded weight
    model(images(7) * 100)
    assert float(model[3].quantizers.activation.maximum) == found


def test_calibration_runs_as_it_is_told() -> None:
    calibrated = QuantizerSpec(FixedPoint(0, 3), range=Range("calibrated"))
    layer = nn.Linear(2, 2)
    quantization = ss.quantize(layer, recipe(activation=calibrated))
    with pytest.raises(SpecificationError, match="activation of the model itself: its range was never calibrated"):
        layer(torch.ones(1, 2))
    quantization.calibrate([(torch.ones(1, 2), "label")], run=lambda batch: layer(batch[0]))
    layer(torch.ones(1, 2))


def test_inside_an_arithmetic_is_an_error_and_outside_of_it_is_not() -> None:
    arithmetic = ss.LogArithmetic(ss.LNS(5, 5), "exact")
    for role in ("weight", "activation"):
        model = network()
        ss.quantize(model, recipe(**{role: FORWARD}))
        with ss.use(arithmetic):
            with pytest.raises(UnsupportedOperation, match=r"quantisers round float32 .* ss\.use\(LNS\(5,5\) exact"):
                model(images())
            with ss.exact():
                model(images())
        model(images())
    with ss.use(arithmetic), pytest.raises(UnsupportedOperation, match=r"^quantize: quantisers round float32"):
        ss.quantize(network(), "fp8")


def test_a_backward_pass_inside_an_arithmetic_is_an_error() -> None:
    layer = nn.Linear(2, 2)
    ss.quantize(layer, recipe(activation_gradient=BACKWARD))
    with ss.use(ss.LogArithmetic(ss.LNS(5, 5), "exact")):
        loss = layer(torch.ones(1, 2)).sum()
        with pytest.raises(UnsupportedOperation, match=r"^activation_gradient of the model itself: quantisers round"):
            loss.backward()


def test_the_table_says_what_is_where() -> None:
    model = network()
    quantization = ss.quantize(model, recipe(**ALL_ROLES, layers=(LayerRule("3", full_precision=True),)))
    table = ss.quantization_table(model)
    assert table == str(quantization) == str(Quantization(model))
    lines = [line.split() for line in table.splitlines()]
    assert table.startswith("recipe trial: full-precision master copy, biases in full precision")
    assert lines[1] == ["layer", "role", "tensor", "format", "rounding", "range"]
    assert ["0", "activation", "input", "FixedPoint(0,3)", "nearest", "tensor", "max"] in lines
    assert ["6", "weight_gradient", "weight", "FixedPoint(0,4)", "nearest", "tensor", "max,", "2^k", "up"] in lines
    assert lines[-1] == ["in", "float32:", "3", "(Conv2d),", "1", "(BatchNorm2d)"]
    assert len(lines) == 2 + 2 * 4 + 1


def test_unsigned_formats_refuse_negative_numbers() -> None:
    layer = nn.Linear(2, 2)
    ss.quantize(layer, recipe(activation=QuantizerSpec(FixedPoint(0, 4, signed=False))))
    layer(torch.ones(1, 2))
    with pytest.raises(
        SpecificationError, match=r"activation of .*: has negative numbers, FixedPoint\(0,4,unsigned\) none"
    ):
        layer(-torch.ones(1, 2))


def test_half_precision_is_refused() -> None:
    layer = nn.Linear(2, 2).half()
    ss.quantize(layer, recipe(activation=FORWARD))
    with pytest.raises(UnsupportedOperation, match=r"activation of the model itself: torch\.float16 tensors"):
        layer(torch.ones(1, 2).half())


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (nn.Sequential(), recipe(weight=FORWARD), "'trial': weight finds no place in Sequential; its layers: none"),
        (nn.Embedding(3, 2), recipe(activation=FORWARD), "activation finds no place in Embedding"),
        (network(), recipe(weight=FORWARD, layers=(LayerRule("fc*", full_precision=True),)),
         "layers: match = 'fc*' matches no layer; there are: 0, 3, 6"),
        (network(), recipe(weight=FORWARD, layers=(LayerRule("*", weight="full_precision"),)), "weight finds no place"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), recipe(weight=FORWARD), "is parametrised already"),
        (nn.LazyLinear(3), recipe(weight=FORWARD), "has no shape yet; run the model once"),
        (nn.Embedding(3, 2, sparse=True), recipe(weight_gradient=FORWARD), "sparse gradients are not rounded"),
    ],
)  # fmt: skip
def test_what_cannot_be_attached_is_one_line_and_changes_nothing(model: nn.Module, given: Recipe, message: str) -> None:
    before = [vars(module).keys() for module in model.modules()]
    with pytest.raises(SpecificationError) as error:
        ss.quantize(model, given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert [vars(module).keys() for module in model.modules()] == before


def test_a_model_is_quantised_once() -> None:
    model = network()
    for call in (ss.dequantize, ss.quantization_table, Quantization):
        with pytest.raises(SpecificationError, match=r"Sequential: is not quantised; call ss\.quantize"):
            call(model)
    ss.quantize(model, recipe(weight=FORWARD))
    with pytest.raises(SpecificationError, match=r"0: is quantised already; call ss\.dequantize"):
        ss.quantize(model, recipe(weight=FORWARD))
    with pytest.raises(SpecificationError, match="must be a Recipe or the name of one"):
        ss.quantize(model, 8)


def test_an_attribute_of_the_same_name_is_not_overwritten() -> None:
    layer = nn.Linear(2, 2)
    layer.quantizers = "mine"
    with pytest.raises(SpecificationError, match="has an attribute 'quantizers' of its own"):
        ss.quantize(layer, recipe(weight=FORWARD))


def test_a_frozen_layer_is_quantised_forward() -> None:
    model = network().requires_grad_(False)
    ss.quantize(model, recipe(**ALL_ROLES))
    assert not model(images()).requires_grad
    model.requires_grad_(True)
    model(images()).sum().backward()
    grad = weight_of(model[0]).grad
    assert grad.unique().numel() <= 32


def test_a_quantised_model_can_be_collected() -> None:
    model = network()
    ss.quantize(model, recipe(**ALL_ROLES))
    model(images()).sum().backward()
    layer = weakref.ref(model[0])
    del model
    gc.collect()
    assert layer() is None
