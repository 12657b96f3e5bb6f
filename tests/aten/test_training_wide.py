"""Losses, dropout, gradient clipping and whole training steps in a wide format agree with float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wide import FORMAT, WIDE, assert_on_grid, assert_within, check, positive, randn

import slipstick as ss

CLASSES = torch.tensor([2, 0, 4, 1, 1, 3])
PLANES = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(0))
IGNORING = torch.tensor([2, -100, 4, 1, -100, 3])
WEIGHT = positive(5, seed=4)

REDUCTIONS = ["mean", "sum", "none"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["classes", "ignored", "probabilities"])
def test_cross_entropy(target: str, weighted: bool, smoothing: float, reduction: str) -> None:
    chosen = {
        "classes": CLASSES,
        "ignored": IGNORING,
        "probabilities": ss.snap_(torch.softmax(randn(6, 5, seed=8), 1), FORMAT),
    }[target]

    def program(x: torch.Tensor) -> torch.Tensor:
        weight = WEIGHT.to(x.dtype) if weighted else None
        goal = chosen.to(x.dtype) if chosen.dtype.is_floating_point else chosen
        return F.cross_entropy(x, goal, weight, reduction=reduction, label_smoothing=smoothing)

    check(program, randn(6, 5) * 2, roundings=30, gradient_roundings=60)


LOSSES = {
    "nll": lambda x, y, r: F.nll_loss(F.log_softmax(x, 1), CLASSES, reduction=r),
    "nll weighted": lambda x, y, r: F.nll_loss(F.log_softmax(x, 1), IGNORING, WEIGHT.to(x.dtype), reduction=r),
    "mse": lambda x, y, r: F.mse_loss(x, y, reduction=r),
    "l1": lambda x, y, r: F.l1_loss(x, y, reduction=r),
    "smooth l1": lambda x, y, r: F.smooth_l1_loss(x, y, reduction=r, beta=0.5),
    "huber": lambda x, y, r: F.huber_loss(x, y, reduction=r, delta=0.5),
    "bce logits": lambda x, y, r: F.binary_cross_entropy_with_logits(x, (y > 0).to(x.dtype), reduction=r),
    "bce": lambda x, y, r: F.binary_cross_entropy(torch.sigmoid(x), (y > 0).to(x.dtype), reduction=r),
    "kl": lambda x, y, r: F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction="batchmean" if r == "mean" else r),
    "hinge": lambda x, y, r: F.multi_margin_loss(x, CLASSES, reduction=r),
    "soft margin": lambda x, y, r: F.soft_margin_loss(x, y.detach().sign(), reduction=r),
    "poisson": lambda x, y, r: F.poisson_nll_loss(x, y.detach().abs(), reduction=r),
}
ESSENTIAL = {"nll", "nll weighted", "mse", "l1", "smooth l1", "huber", "bce logits", "kl"}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, reduction: str) -> None:
    try:
        check(lambda x, y: LOSSES[name](x, y, reduction), randn(6, 5), randn(6, 5, seed=1), roundings=40)
    except ss.UnsupportedOperation:
        if name in ESSENTIAL:
            raise


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_over_planes(weighted: bool, reduction: str) -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        weight = WEIGHT[:4].to(x.dtype) if weighted else None
        return F.cross_entropy(x, PLANES, weight, ignore_index=1, reduction=reduction)

    check(program, randn(2, 4, 3, 5), roundings=30, gradient_roundings=60)


@pytest.mark.parametrize("name", ["nll unbatched", "cross entropy unbatched", "cross entropy mean of one"])
def test_losses_of_one_sample(name: str) -> None:
    one = torch.tensor(2)
    programs = {
        "nll unbatched": lambda x: F.nll_loss(F.log_softmax(x[0], 0), one),
        "cross entropy unbatched": lambda x: F.cross_entropy(x[0], one),
        "cross entropy mean of one": lambda x: F.cross_entropy(x[:1], one[None]),
    }
    check(programs[name], randn(3, 5), roundings=30, gradient_roundings=60)


def test_the_mean_over_no_counted_sample_is_refused() -> None:
    with ss.use(WIDE), pytest.raises((ss.UnsupportedOperation, ss.NonFiniteError)):
        F.cross_entropy(randn(6, 5), torch.full((6,), -100))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax(name: str, dim: int) -> None:
    check(lambda x: getattr(F, name)(x, dim), randn(6, 5) * 3, roundings=20, gradient_roundings=60)
    check(lambda x: getattr(F, name)(x, dim), randn(3, 4, 5).transpose(0, 2), roundings=20, gradient_roundings=60)


def test_softmax_of_large_and_masked_logits() -> None:
    x = randn(4, 6) * 50
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(5)) < 0.4
    mask[:, 0] = False
    for program in (torch.softmax, torch.log_softmax):
        with ss.use(WIDE):
            got = program(x.masked_fill(mask, -float("inf")), 1)
        want = program(x.double().masked_fill(mask, -float("inf")), 1)
        live = ~mask if program is torch.softmax else ~mask & (want > -300)
        # exp(x - max) moves by x - max times the rounding of that difference.
        assert_within(got[live], want[live], 12 * 150, 1.0)
        if program is torch.softmax:
            assert (got[mask] <= FORMAT.smallest * 2).all()


@pytest.mark.parametrize("kind", ["dropout", "dropout2d", "alpha_dropout"])
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_dropout_draws_the_same_mask_as_pytorch(kind: str, probability: float) -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)
        return getattr(F, kind)(x, probability)

    # float64 draws another stream from the same seed, so the comparison is with float32.
    x = randn(4, 6, 3, 3)
    leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    try:
        with ss.use(WIDE):
            got = program(leaves[0])
            got.sum().backward()
    except ss.UnsupportedOperation:
        assert kind == "alpha_dropout"
        return
    want = program(leaves[1])
    want.sum().backward()
    assert_within(got, want, 4, float(want.detach().abs().max()))
    assert_within(leaves[0].grad, leaves[1].grad, 4, float(leaves[1].grad.abs().max()))
    assert_on_grid(got)
    assert torch.equal(got == 0, want == 0) or kind == "alpha_dropout"


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("norm", [2.0, 1.0, float("inf")])
@pytest.mark.parametrize("limit", [0.5, 1000.0])
def test_clip_grad_norm(limit: float, norm: float, foreach) -> None:
    shapes = [(4, 3), (3,), (2, 2, 2)]
    parameters, doubles = [], []
    for i, shape in enumerate(shapes):
        for dtype, group in ((torch.float32, parameters), (torch.float64, doubles)):
            p = nn.Parameter(torch.zeros(shape, dtype=dtype))
            p.grad = randn(*shape, seed=i).to(dtype)
            group.append(p)
    with ss.use(WIDE):
        got = nn.utils.clip_grad_norm_(parameters, limit, norm_type=norm, foreach=foreach)
    want = nn.utils.clip_grad_norm_(doubles, limit, norm_type=norm)
    assert_within(got, want, 20, float(want))
    for p, q in zip(parameters, doubles, strict=True):
        assert_within(p.grad, q.grad, 25, float(q.grad.abs().max()))
        assert_on_grid(p.grad)


@pytest.mark.parametrize("foreach", [None, True, False])
def test_clip_grad_value(foreach) -> None:
    p = nn.Parameter(torch.zeros(30))
    p.grad = randn(30)
    want = p.grad.clamp(-0.5, 0.5)
    with ss.use(WIDE):
        nn.utils.clip_grad_value_([p], 0.5, foreach=foreach)
    assert torch.equal(p.grad, want)


def _small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.LeakyReLU(0.1, inplace=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


# RMSprop, Adam and their kin divide by the root of a squared gradient, which magnifies the errors of small gradients.
OPTIMIZERS = {
    "sgd": (lambda p, **k: torch.optim.SGD(p, 0.1, **k), 1),
    "momentum": (lambda p, **k: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.1, weight_decay=1e-2, **k), 1),
    "nesterov": (lambda p, **k: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, **k), 1),
    "adam": (lambda p, **k: torch.optim.Adam(p, 0.01, eps=1e-3, weight_decay=1e-2, **k), 40),
    "amsgrad": (lambda p, **k: torch.optim.Adam(p, 0.01, eps=1e-3, amsgrad=True, **k), 40),
    "adamw": (lambda p, **k: torch.optim.AdamW(p, 0.01, eps=1e-3, **k), 40),
    "rmsprop": (lambda p, **k: torch.optim.RMSprop(p, 0.01, eps=1e-2, momentum=0.9, centered=False, **k), 40),
    "adagrad": (lambda p, **k: torch.optim.Adagrad(p, 0.01, eps=1e-2, **k), 40),
}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_network_trains_as_in_float64(name: str, foreach: bool) -> None:
    torch.manual_seed(0)
    x, y = randn(6, 2, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    model = ss.snap_(_small_network(), WIDE)
    start = copy.deepcopy(model)
    double = copy.deepcopy(model).double()
    make, magnified = OPTIMIZERS[name]

    def train(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        optimizer = make(model.parameters(), foreach=foreach)
        for _ in range(4):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return loss.detach()

    with ss.use(WIDE, audit=True) as run:
        got = train(model, x)
    want = train(double, x.double())
    # Four steps of a network eight layers deep: a few hundred roundings, most of them of single gradients.
    assert_within(got, want, 300, float(want))
    for (label, p), q, r in zip(model.named_parameters(), double.parameters(), start.parameters(), strict=True):
        step = float((q - r.double()).abs().max())
        assert step > 1e-3, label
        assert_within(p, q, 150 * magnified, step + float(q.abs().max()) / 20)
        assert_on_grid(p)
    assert run.audit is not None
    # The only numbers that leave are the optimiser's step counts.
    outside = {name for name, how in run.audit.counts.items() if how["outside"]}
    assert outside <= {"aten._local_scalar_dense.default"}
