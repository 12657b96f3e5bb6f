"""Weights and state live on the finer grid of the update; elsewhere operands are narrowed to the compute grid."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import Oracle
from small import COARSE, FINE, LNS12, batch, grid_in_force, is_on, network, state, train
from torch import nn

import slipstick as ss

COMPUTE = Oracle(LNS12, via=FINE.format)
UPDATE = Oracle(FINE)


def fine_numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    """Numbers of the update grid, ties of the compute grid among them."""
    log = torch.randint(-2048, 2048, shape, generator=torch.Generator().manual_seed(seed)).numpy()
    log = np.where(np.arange(log.size).reshape(shape) % 3 == 0, (log >> 4 << 4) + 8, log)  # halfway between neighbours
    sign = np.arange(log.size).reshape(shape) % 2
    return torch.from_numpy(FINE.format.numbers(sign.astype(np.int64), log.astype(np.int64)))


def test_every_operand_is_narrowed_to_nearest_with_ties_to_even() -> None:
    logs = np.arange(-FINE.format.max_log, FINE.format.max_log + 1)
    x = torch.from_numpy(FINE.format.numbers(np.zeros_like(logs), logs))
    with ss.use(LNS12, update=FINE):
        COMPUTE.same(x * 1, COMPUTE.numbers(x))
        assert torch.equal(x.relu(), x * 1)
    ties = FINE.format.numbers(np.zeros(3, np.int64), np.array([8, 24, 40]))
    with ss.use(LNS12, update=FINE):
        assert (ss.codes(torch.from_numpy(ties) * 1, LNS12.format)).tolist() == [0, 2, 2]


def test_operands_off_every_grid_are_encoded_in_the_update_format_first() -> None:
    x = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    for y in (x, x.double() * 1.0000001):
        with ss.use(LNS12, update=FINE):
            COMPUTE.same(y * 1, COMPUTE.numbers(y))


def test_products_sums_and_compositions_narrow_their_operands() -> None:
    a, b = fine_numbers(6, 20), fine_numbers(20, 5, seed=1)
    x, y = COMPUTE.numbers(a), COMPUTE.numbers(b)
    with ss.use(LNS12, update=FINE):
        COMPUTE.same(a @ b, COMPUTE.matmul(x, y))
        COMPUTE.same(a.sum(1), x.sum([1]))
        difference = x[:5] - y.reshape(5, 20)
        COMPUTE.same(F.mse_loss(a[:5], b.reshape(5, 20)), (difference * difference).mean([0, 1]))
        assert torch.equal(a.max(1).values, (a * 1).max(1).values)
        assert torch.equal(F.max_pool2d(a[None, None], 2), F.max_pool2d((a * 1)[None, None], 2))
        image, kernel = a.reshape(1, 2, 6, 10), b.reshape(2, 2, 5, 5)
        assert torch.equal(F.conv2d(image, kernel), F.conv2d(image * 1, kernel * 1))
        assert torch.equal(a > 0.5, (a * 1) > 0.5)


def test_moves_pass_the_finer_numbers() -> None:
    a = fine_numbers(6, 20)
    with ss.use(LNS12, update=FINE):
        moved = torch.cat([a.t().clone(), a.view(20, 6)])
        target = torch.empty_like(moved).copy_(moved)
        a.detach()[0].clone()
    assert torch.equal(target[:20], a.t())
    assert torch.equal(moved[20:], a.view(20, 6))


@pytest.mark.parametrize("foreach", [False, True])
def test_a_step_runs_in_the_update_arithmetic(foreach: bool) -> None:
    p = nn.Parameter(fine_numbers(5, 4))
    optimizer = torch.optim.SGD([p], 0.05, 0.9, weight_decay=0.01, foreach=foreach)
    w, buffer = UPDATE.numbers(p), None
    target = fine_numbers(5, 4, seed=1)
    for _ in range(3):
        with ss.use(LNS12, update=FINE):
            optimizer.zero_grad()
            (p * target).sum().backward()
            before = p.detach().clone()
            COMPUTE.same(p.grad, COMPUTE.numbers(target))
            optimizer.step()
            assert grid_in_force() == "compute"
        assert torch.equal(before, torch.from_numpy(w.a.numbers()))
        g = UPDATE.numbers(p.grad) + 0.01 * w
        buffer = g if buffer is None else buffer * 0.9 + g
        w = w + -0.05 * buffer
        UPDATE.same(p, w)
        UPDATE.same(optimizer.state[p]["momentum_buffer"], buffer)


def test_weights_and_state_end_on_the_update_grid_and_gradients_on_the_compute_grid() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with ss.use(LNS12, update=FINE):
        train(model, optimizer)
    for p in model.parameters():
        assert is_on(p, FINE)
        # Batch norm takes away what the first bias adds: its gradients are rounding errors, but on the grid too.
        assert not is_on(p, LNS12)
        assert is_on(optimizer.state[p]["exp_avg"], FINE)
    assert not is_on(torch.cat([optimizer.state[p]["exp_avg"].flatten() for p in model.parameters()]), LNS12)
    for buffer in (model[1].running_mean, model[1].running_var):
        assert is_on(buffer, FINE)
        assert not is_on(buffer, LNS12)
    with ss.use(LNS12, update=FINE):
        model.zero_grad()
        x, y = batch()
        F.cross_entropy(model(x), y).backward()
    for p in model.parameters():
        assert is_on(p.grad, LNS12)


def test_running_statistics_move_in_the_update_arithmetic() -> None:
    layer = nn.BatchNorm1d(3, momentum=0.1)
    layer.running_mean, layer.running_var = fine_numbers(3), fine_numbers(3, seed=2).abs()
    m, v = UPDATE.numbers(layer.running_mean), UPDATE.numbers(layer.running_var)
    a = torch.randn(8, 3)
    with ss.use(LNS12, update=FINE):
        y = layer(a)
    x = COMPUTE.numbers(a)
    mean = x.mean([0], keepdim=True)
    variance = (1 / 8) * ((x - mean) * (x - mean)).sum([0])
    statistics = [UPDATE.numbers(torch.from_numpy(s.a.numbers())) for s in (mean.reshape(3), variance)]
    UPDATE.same(layer.running_mean, 0.9 * m + 0.1 * statistics[0])
    UPDATE.same(layer.running_var, 0.9 * v + 0.1 * ((8 / 7) * statistics[1]))
    assert is_on(y, LNS12)
    frozen = copy.deepcopy(layer).eval()
    with ss.use(LNS12, update=FINE):
        z = frozen(a)
    mean, variance = COMPUTE.numbers(layer.running_mean), COMPUTE.numbers(layer.running_var)
    COMPUTE.same(z, (x - mean) * (variance + layer.eps).call("rsqrt") * COMPUTE.numbers(layer.weight) + 0.0)


class Recording(torch.optim.SGD):
    """Notes the arithmetic in force around and inside its closure."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[str] = []

    def step(self, closure=None):
        self.seen.append(grid_in_force())
        if closure is not None:
            closure()
        self.seen.append(grid_in_force())
        return super().step()


@pytest.mark.parametrize("style", ["positional", "keyword"])
def test_a_closure_computes_and_the_rest_of_the_step_updates(style: str) -> None:
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = Recording([p], 0.1)
    with ss.use(LNS12, update=FINE):
        closure = lambda: optimizer.seen.append(grid_in_force())  # noqa: E731
        optimizer.step(closure) if style == "positional" else optimizer.step(closure=closure)
        assert grid_in_force() == "compute"
    assert optimizer.seen == ["update", "compute", "update"]


def test_the_closures_of_sgd_and_lbfgs_compute() -> None:
    for make in (lambda p: torch.optim.SGD(p, 0.1), lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3, tolerance_grad=0)):
        p = nn.Parameter(fine_numbers(6))
        optimizer = make([p])
        seen = []

        def closure(p=p, optimizer=optimizer, seen=seen):
            optimizer.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            seen.append((grid_in_force(), is_on(loss, LNS12)))
            return loss

        with ss.use(LNS12, update=FINE):
            try:
                optimizer.step(closure)
            except ss.UnsupportedOperation:
                assert isinstance(optimizer, torch.optim.LBFGS)
            assert grid_in_force() == "compute"
        assert seen
        assert set(seen) == {("compute", True)}


def test_an_exception_inside_a_step_ends_the_update() -> None:
    class Failing(torch.optim.SGD):
        def step(self, closure=None):
            assert grid_in_force() == "update"
            if closure is not None:
                closure()
            raise ZeroDivisionError

    def failing_closure():
        raise KeyError

    p = nn.Parameter(torch.ones(3))
    with ss.use(LNS12, update=FINE):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                Failing([p], 0.1).step()
            assert grid_in_force() == "compute"
            with pytest.raises(KeyError):
                Failing([p], 0.1).step(failing_closure)
            assert grid_in_force() == "compute"
        good = Recording([p], 0.1)
        good.step()
        assert good.seen == ["update", "update"]
        assert grid_in_force() == "compute"


def test_a_step_inside_a_step_still_updates_after_it() -> None:
    inner = Recording([nn.Parameter(torch.ones(2))], 0.1)
    seen = []

    class Outer(torch.optim.SGD):
        def step(self, closure=None):
            inner.step(lambda: seen.append(grid_in_force()))
            seen.append(grid_in_force())

    with ss.use(LNS12, update=FINE):
        Outer([nn.Parameter(torch.ones(2))], 0.1).step()
        assert grid_in_force() == "compute"
    assert seen == ["compute", "update"]


def test_update_phase_marks_updates_by_hand() -> None:
    with ss.use(LNS12, update=FINE):
        with ss.update_phase():
            assert grid_in_force() == "update"
            with ss.update_phase():
                assert grid_in_force() == "update"
            assert grid_in_force() == "update"
            with ss.use(COARSE):
                assert grid_in_force() == "coarse"
        assert grid_in_force() == "compute"
        with pytest.raises(ZeroDivisionError), ss.update_phase():
            raise ZeroDivisionError
        assert grid_in_force() == "compute"
    with ss.update_phase():
        assert grid_in_force() == "float"


def test_moving_averages_of_weights_move_in_the_update_arithmetic() -> None:
    model = nn.Linear(3, 2)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    with ss.use(LNS12, update=FINE):
        for _ in range(3):
            with torch.no_grad(), ss.update_phase():
                for p in model.parameters():
                    p.add_(0.3)
                average.update_parameters(model)
    assert is_on(average.module.weight, FINE)
    assert not is_on(average.module.weight, LNS12)


@pytest.mark.parametrize(
    "update",
    [
        ss.LogArithmetic(ss.LNS(5, 4)),
        ss.LogArithmetic(ss.LNS(4, 9)),
        ss.LogArithmetic(ss.LNS(5, 9, "flush")),
        ss.RoundedArithmetic(ss.LNS(5, 9)),
        "LNS(5,9)",
    ],
    ids=str,
)
def test_an_update_that_does_not_narrow_is_refused(update) -> None:
    with pytest.raises(ss.SpecificationError):
        ss.use(LNS12, update=update)


STEPPERS = {
    "Adam": lambda p: torch.optim.Adam(p, 1e-3),
    "Adam foreach": lambda p: torch.optim.Adam(p, 1e-3, foreach=True),
    "Adam single": lambda p: torch.optim.Adam(p, 1e-3, foreach=False),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-3),
    "AdamW foreach": lambda p: torch.optim.AdamW(p, 1e-3, foreach=True),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-3),
    "RAdam": lambda p: torch.optim.RAdam(p, 1e-3),
    "Adamax": lambda p: torch.optim.Adamax(p, 1e-3),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-3),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3),
    "RMSprop foreach": lambda p: torch.optim.RMSprop(p, 1e-3, foreach=True),
    "Adadelta": lambda p: torch.optim.Adadelta(p, 1e-3),
}


@pytest.mark.parametrize("arithmetic", [LNS12, ss.RoundedArithmetic(LNS12.format)], ids=["log", "rounded"])
@pytest.mark.parametrize("name", STEPPERS)
def test_step_counters_count_exactly_also_after_a_checkpoint(name: str, arithmetic) -> None:
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    optimizer = STEPPERS[name](parameters)

    def steps(optimizer, count):
        for _ in range(count):
            for p in parameters:
                p.grad = torch.full_like(p, 0.5)
            optimizer.step()

    with ss.use(arithmetic):
        try:
            steps(optimizer, 1)
        except ss.UnsupportedOperation:
            assert name in ("NAdam", "RAdam", "Adamax", "Adadelta")
            return
        steps(optimizer, 99)
        assert {float(s["step"]) for s in optimizer.state.values()} == {100.0}
        resumed = STEPPERS[name](parameters)
        resumed.load_state_dict(optimizer.state_dict())
        steps(resumed, 50)
    steps_now = {float(s["step"]) for s in resumed.state.values()}
    assert steps_now == {150.0}
    with ss.use(arithmetic):
        steps(resumed, 1)
    assert {float(s["step"]) for s in resumed.state.values()} == {151.0}


def test_a_tensor_that_only_looks_like_a_step_counter_is_arithmetic() -> None:
    p = nn.Parameter(torch.tensor(100.0))
    p.grad = torch.tensor(-1.0)
    optimizer = torch.optim.Adam([p], 1.0)
    with ss.use(LNS12):
        optimizer.step()
        step = torch.tensor(100.0)
        step.add_(1)
    assert is_on(step, LNS12)
    assert step.item() != 101
    assert is_on(p, LNS12)


def test_without_an_update_everything_stays_on_the_compute_grid() -> None:
    model = ss.snap_(network(), LNS12)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with ss.use(LNS12):
        train(model, optimizer)
    for tensor in state(model):
        assert not tensor.dtype.is_floating_point or is_on(tensor, LNS12)
