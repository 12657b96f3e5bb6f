"""Every optimiser of torch.optim steps in an arithmetic; fused and foreach forms have the single-tensor form's bits."""

import inspect
import warnings

import pytest
import torch
from small import LNS12
from torch import nn, optim
from wide import WIDE, U, assert_on_grid, randn

import slipstick as ss

STEPS = 3
REFUSED = {"Muon": "bfloat16", "SparseAdam": "sparse"}
OPTIMISERS = {
    name: kind
    for name, kind in vars(optim).items()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
}
FORMS = [(name, form) for name in OPTIMISERS for form in ("foreach", "fused")]


def stepped(kind: type[optim.Optimizer], arithmetic: ss.LogArithmetic | None, **options) -> list[torch.Tensor]:
    """Parameters after some steps down a bowl."""
    parameters = [nn.Parameter(randn(4, 3)), nn.Parameter(randn(3, 2, seed=1))]
    if arithmetic is not None:
        ss.snap_(parameters[0], arithmetic), ss.snap_(parameters[1], arithmetic)
    optimizer = kind(parameters, **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = sum(((p - 0.5) ** 2).sum() for p in parameters)
        loss.backward()
        return loss

    for _ in range(STEPS):
        if arithmetic is None:
            optimizer.step(closure)
        else:
            with ss.use(arithmetic):
                optimizer.step(closure)
    return [p.detach() for p in parameters]


@pytest.mark.parametrize("name", sorted(set(OPTIMISERS) - set(REFUSED)))
def test_an_optimiser_steps_as_in_floating_point(name: str) -> None:
    """A step is some twenty operations on numbers of magnitude 2 or less; its error passes through later gradients."""
    for got, want in zip(stepped(OPTIMISERS[name], WIDE), stepped(OPTIMISERS[name], None), strict=True):
        assert_on_grid(got)
        assert (got - want).abs().max() <= STEPS * 20 * U * 2


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_optimiser_of_numbers_without_codes_is_refused(name: str) -> None:
    parameter = nn.Parameter(randn(4, 3))
    optimizer = OPTIMISERS[name]([parameter])
    parameter.grad = torch.ones(4, 3).to_sparse() if name == "SparseAdam" else torch.ones(4, 3)
    with ss.use(WIDE), pytest.raises(ss.UnsupportedOperation, match=REFUSED[name]):
        optimizer.step()


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_the_fused_and_foreach_forms_have_the_bits_of_the_single_tensor_form(name: str, form: str) -> None:
    if form not in inspect.signature(OPTIMISERS[name]).parameters:
        pytest.skip(f"{name} has no {form}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forms = [stepped(OPTIMISERS[name], LNS12, **{form: wanted}) for wanted in (True, False)]
    for got, want in zip(*forms, strict=True):
        assert torch.equal(got, want)


def test_that_a_fused_optimiser_is_not_fused_is_said_once_and_it_is_fused_again_outside() -> None:
    parameter = nn.Parameter(randn(4))
    optimizer = optim.Adam([parameter], fused=True)
    parameter.grad = torch.ones(4)
    with warnings.catch_warnings(record=True) as said, ss.use(LNS12):
        warnings.simplefilter("always")
        optimizer.step()
        optimizer.step()
    assert [str(w.message) for w in said] == ["Adam(fused=True): updates one tensor after another inside ss.use"]
    assert optimizer.param_groups[0]["fused"] is True
    parameter.grad = torch.full((4,), float("nan"))
    with pytest.warns(UserWarning, match="fused"), ss.use(LNS12), pytest.raises(ss.NonFiniteError):
        optimizer.step()
    assert optimizer.param_groups[0]["fused"] is True


SGD = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "damped": {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    "nesterov": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    "maximised": {"momentum": 0.9, "maximize": True, "weight_decay": 0.01},
}


def descended(fused: bool | None, dtype: torch.dtype, **options) -> tuple[list[torch.Tensor], set[str]]:
    """Weights and momenta after some steps of SGD, and the operators that the last step called."""
    parameters = [nn.Parameter(randn(40, 30).to(dtype)), nn.Parameter(randn(3, 2, seed=1).T.to(dtype))]
    for p in parameters:
        ss.snap_(p, LNS12)
    optimizer = optim.SGD(parameters, 0.05, fused=fused, **options)
    for step in range(STEPS):
        for i, p in enumerate(parameters):
            p.grad = ss.snap_(randn(*p.shape, seed=10 * step + i).to(dtype), LNS12)
        with ss.use(LNS12, update=ss.LogArithmetic(ss.LNS(5, 9)), audit=True) as run:
            optimizer.step()
    assert optimizer.param_groups[0]["fused"] is fused
    momenta = [s["momentum_buffer"] for s in optimizer.state.values() if s.get("momentum_buffer") is not None]
    return [*(p.detach() for p in parameters), *momenta], {name for name, _ in run.audit.seconds.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", SGD.values(), ids=SGD)
def test_sgd_in_one_pass_has_the_bits_of_its_operators(options: dict[str, float], dtype: torch.dtype) -> None:
    one_by_one, separate = descended(False, dtype, **options)
    assert "aten._fused_sgd_.default" not in separate
    for fused in (None, True):
        at_once, together = descended(fused, dtype, **options)
        assert "aten._fused_sgd_.default" in together
        assert len(at_once) == len(one_by_one)
        for got, want in zip(at_once, one_by_one, strict=True):
            assert torch.equal(got, want)


def test_sgd_goes_tensor_by_tensor_where_only_some_momenta_have_begun() -> None:
    found = []
    for fused in (None, False):
        parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))]
        optimizer = optim.SGD(parameters, 0.5, momentum=0.5, fused=fused)
        with ss.use(LNS12):
            for updated in (parameters[:1], parameters, parameters):
                for p in updated:
                    p.grad = torch.ones_like(p)
                optimizer.step()
        found.append([p.tolist() for p in parameters])
    assert found[0] == found[1]
    assert found[0][0][0] < found[0][1][0] < 0.5


def test_sgd_in_one_pass_refuses_a_gradient_scaler() -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    optimizer = optim.SGD([parameter])
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)
    with ss.use(LNS12), pytest.raises(ss.UnsupportedOperation, match="gradient scaler"):
        optimizer.step()


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, float("inf")])
def test_gradients_are_clipped(norm: float, foreach: bool | None) -> None:
    parameters = [nn.Parameter(randn(4, 3)), nn.Parameter(randn(3, seed=1))]
    gradients = [randn(4, 3, seed=2), randn(3, seed=3)]
    totals = []
    for arithmetic in (WIDE, None):
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        if arithmetic is None:
            totals.append(nn.utils.clip_grad_norm_(parameters, 0.5, norm, foreach=foreach))
            nn.utils.clip_grad_value_(parameters, 0.1, foreach=foreach)
            wanted = [p.grad for p in parameters]
        else:
            with ss.use(arithmetic):
                totals.append(nn.utils.clip_grad_norm_(parameters, 0.5, norm, foreach=foreach))
                nn.utils.clip_grad_value_(parameters, 0.1, foreach=foreach)
            found = [p.grad for p in parameters]
    assert abs(totals[0] - totals[1]) <= 20 * U * totals[1]
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).abs().max() <= 20 * U * 0.5
