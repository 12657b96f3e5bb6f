"""The promise at its edges: nothing is computed in floating point behind the user's back, whatever happens around."""

import copy
import os
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import COARSE, FINE, LNS12, assert_same_state, batch, grid_in_force, is_on, network, train
from torch import nn
from torch.utils.checkpoint import checkpoint

import slipstick as ss


class Tripled(torch.autograd.Function):
    """A user's own function, which saves nothing."""

    @staticmethod
    def forward(ctx, x):
        return x * 3

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


RECORDED = {
    "custom function": lambda w: Tripled.apply(w),
    "linear layer": lambda w: F.linear(torch.ones(2, 3), w),
    "scalar multiple": lambda w: w * 2,
    "sum": lambda w: w.sum(),
    "negation": lambda w: -w,
    "view": lambda w: w.view(-1),
    "power": lambda w: w**2,
    "in place": lambda w: (w * 1).mul_(3),
    "in place on a view of it": lambda w: _after(w * 1, lambda y: y[0].mul_(3)),
    "in place on a view of a constant": lambda w: _after(torch.ones(2, 3), lambda y: y[0].mul_(w[0])),
    "assigned into": lambda w: _after(torch.ones(2, 3), lambda y: y.__setitem__(0, w[0])),
    "split": lambda w: w.split(1)[1],
    "unbind": lambda w: w.unbind()[0],
    "max": lambda w: w.max(1).values,
    "stack": lambda w: torch.stack([w, w]),
    "norm": lambda w: w.norm(),
    "cross entropy": lambda w: F.cross_entropy(w, torch.tensor([0, 2])),
    "double": lambda w: w.double(),
    "module": lambda w: nn.Sequential(nn.Linear(3, 3), nn.ReLU())(w),
    "checkpoint": lambda w: checkpoint(lambda v: v.tanh() * 2, w, use_reentrant=False),
    "reentrant checkpoint": lambda w: checkpoint(lambda v: v.tanh() * 2, w, use_reentrant=True),
    "multiplied from the right": lambda w: 2 * w,
    "dictionary": lambda w: {"y": w * 2}["y"],
    "inside no_grad's enable_grad": lambda w: _with_grad(lambda: w * 2),
}


def _after(y, change):
    change(y)
    return y


def _with_grad(make):
    with torch.no_grad(), torch.enable_grad():
        return make()


@pytest.mark.parametrize("how", ["backward", "autograd.grad", "larger graph"])
@pytest.mark.parametrize("graph", RECORDED)
def test_backward_after_the_block_raises(graph: str, how: str) -> None:
    w = torch.randn(2, 3, requires_grad=True)
    with ss.use(LNS12):
        y = RECORDED[graph](w)
    with pytest.raises(ss.UnsupportedOperation, match=r"backward.*with ss.use"):  # noqa: PT012
        if how == "backward" or graph == "reentrant checkpoint":
            y.backward(torch.ones_like(y))
        elif how == "autograd.grad":
            torch.autograd.grad(y, w, torch.ones_like(y))
        else:
            (y.double() * 2 + w.double().sum()).sum().backward()
    assert w.grad is None


@pytest.mark.parametrize("graph", RECORDED)
def test_backward_inside_the_block_runs(graph: str) -> None:
    w = torch.randn(2, 3, requires_grad=True)
    with ss.use(LNS12):
        y = RECORDED[graph](w)
        y.backward(torch.ones_like(y))
    assert w.grad is not None
    assert is_on(w.grad, LNS12)


def test_backward_in_another_arithmetic_or_in_exact_raises() -> None:
    w = torch.randn(2, 3, requires_grad=True)
    with ss.use(LNS12):
        y = (w * 2).sum()
        with ss.exact(), pytest.raises(ss.UnsupportedOperation, match="outside"):
            y.backward(retain_graph=True)
        with ss.use(COARSE), pytest.raises(ss.UnsupportedOperation, match=r"LNS\(5,2\)"):
            y.backward(retain_graph=True)
        y.backward()
    assert w.grad is not None


def test_a_float_graph_continues_into_the_arithmetic() -> None:
    w = torch.randn(2, 3, requires_grad=True)
    y = w * 2
    with ss.use(LNS12):
        (y * 3).sum().backward()
    assert is_on(w.grad, LNS12)


def test_a_second_block_of_the_same_arithmetic_may_run_backward() -> None:
    w = torch.randn(2, 3, requires_grad=True)
    with ss.use(LNS12):
        y = (w * 2).sum()
    with ss.use(LNS12):
        y.backward()
    assert is_on(w.grad, LNS12)


class _Worker(torch.utils.data.Dataset):
    """Computes in its worker process, where the mode is inert."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.full((3,), 1.2345) * torch.tensor([1.0, 2.0, 4.0]), i


def test_data_loader_workers_leave_the_mode_and_training_goes_on() -> None:
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    with ss.use(LNS12):
        for x, _ in torch.utils.data.DataLoader(_Worker(), batch_size=2, num_workers=1, multiprocessing_context="fork"):
            assert torch.equal(x[0], _exactly(1.2345))
            optimizer.zero_grad()
            layer(x).sum().backward()
            optimizer.step()
            assert grid_in_force() == "compute"
    assert is_on(layer.weight.grad, LNS12)


def _exactly(number: float) -> torch.Tensor:
    with ss.exact():
        return torch.tensor([number, 2 * number, 4 * number])


def _in_child(work) -> bool:
    """Whether ``work`` returns true in a forked child within 60 seconds."""
    pid = os.fork()
    if pid == 0:
        verdict = 1
        try:
            verdict = 0 if work() else 1
        finally:
            os._exit(verdict)
    done = threading.Event()
    status = []
    waiter = threading.Thread(target=lambda: (status.append(os.waitpid(pid, 0)[1]), done.set()), daemon=True)
    waiter.start()
    if not done.wait(60):
        os.kill(pid, 9)
        waiter.join()
        return False
    return status == [0]


def _entered_again(run: ss.use) -> bool:
    with run:
        return grid_in_force() == "compute"


def test_a_forked_child_computes_with_its_own_threads() -> None:
    a, b = torch.randn(200, 300), torch.randn(300, 200)
    torch.set_num_threads(2)

    def again() -> bool:
        with ss.use(LNS12):
            # NumPy compares: PyTorch's own OpenMP threads do not survive a fork.
            return np.array_equal(a @ b, product) and np.array_equal(a * a, square)

    with ss.use(LNS12) as run:
        product, square = a @ b, a * a
        assert _in_child(lambda: grid_in_force() == "float")
        assert _in_child(again)
        assert _in_child(lambda: _entered_again(run) and grid_in_force() == "float")
        assert torch.equal(a @ b, product)
    assert _in_child(again)
    torch.set_num_threads(1)


def test_other_threads_are_not_in_the_mode() -> None:
    seen = []
    with ss.use(LNS12, audit=True) as run:
        thread = threading.Thread(target=lambda: seen.append(grid_in_force()))
        thread.start()
        thread.join()
        assert grid_in_force() == "compute"
    assert seen == ["float"]
    assert run.audit.counts["aten.mul.Tensor"]["defined"] == 1


def test_an_optimizer_that_steps_in_another_thread_does_not_switch_this_one_to_update() -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Waiting(torch.optim.SGD):
        def step(self, closure=None):
            inside.set()
            go_on.wait(10)

    p = nn.Parameter(torch.ones(2))
    thread = threading.Thread(target=Waiting([p], 0.1).step)
    with ss.use(LNS12, update=FINE):
        thread.start()
        assert inside.wait(10)
        try:
            assert grid_in_force() == "compute"
        finally:
            go_on.set()
            thread.join()
        assert grid_in_force() == "compute"


def test_two_threads_train_in_two_arithmetics_at_once() -> None:
    alone, together = {}, {}
    for results in (alone, together):

        def work(grid, results=results):
            layer = nn.Linear(8, 4)
            with torch.no_grad():
                layer.weight.copy_(torch.arange(32).reshape(4, 8) / 20 - 1)
                layer.bias.fill_(0.1)
            optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
            with ss.use(grid, update=FINE):
                for _ in range(10):
                    optimizer.zero_grad()
                    layer(torch.ones(2, 8)).square().mean().backward()
                    optimizer.step()
            results[grid] = layer.weight.detach()

        threads = [threading.Thread(target=work, args=(grid,)) for grid in (LNS12, COARSE)]
        for thread in threads:
            thread.start()
            if results is alone:
                thread.join()
        for thread in threads:
            thread.join()
    for grid in (LNS12, COARSE):
        assert torch.equal(alone[grid], together[grid])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_evaluation_without_gradients_gives_the_same_numbers(context) -> None:
    x, y = batch()
    model = network().eval()
    with ss.use(LNS12):
        want = model(x)
        loss = F.cross_entropy(want, y)
        with context():
            got = model(x)
            assert torch.equal(F.cross_entropy(got, y), loss)
    assert torch.equal(got, want)
    with context(), ss.use(LNS12):
        assert torch.equal(model(x), want)


INFERENCE = {
    "linear": lambda: F.linear(torch.ones(2, 3), torch.randn(4, 3), torch.randn(4)),
    "linear 3d": lambda: F.linear(torch.ones(5, 2, 3), torch.randn(4, 3)),
    "matmul": lambda: torch.randn(2, 3, 4) @ torch.randn(4, 5),
    "einsum": lambda: torch.einsum("ij,kj->ik", torch.randn(2, 3), torch.randn(4, 3)),
    "conv1d": lambda: F.conv1d(torch.randn(1, 2, 5), torch.randn(3, 2, 3)),
    "conv2d same": lambda: F.conv2d(torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3), padding="same"),
    "conv transpose": lambda: F.conv_transpose2d(torch.randn(1, 2, 3, 3), torch.randn(2, 3, 2, 2), stride=2),
    "max pool": lambda: F.max_pool2d(torch.randn(1, 2, 4, 4), 2),
    "adaptive pool": lambda: F.adaptive_avg_pool2d(torch.randn(1, 2, 4, 4), 1),
    "avg pool 1d": lambda: F.avg_pool1d(torch.randn(1, 2, 4), 2),
    "batch norm": lambda: F.batch_norm(torch.randn(4, 3), torch.zeros(3), torch.ones(3)),
    "layer norm": lambda: F.layer_norm(torch.randn(4, 3), (3,)),
    "softmax": lambda: F.softmax(torch.randn(4, 3), 1),
    "cross entropy": lambda: F.cross_entropy(torch.randn(4, 3), torch.tensor([0, 1, 2, 0])),
    "mse": lambda: F.mse_loss(torch.randn(4, 3), torch.randn(4, 3)),
    "std": lambda: torch.randn(4, 3).std(0),
    "norm": lambda: torch.randn(4, 3).norm(),
    "clamp": lambda: torch.randn(4, 3).clamp(-0.5, 0.5),
    "true divide": lambda: torch.true_divide(torch.randn(4), 3),
    "where": lambda: torch.where(torch.randn(4) > 0, 1.0, torch.randn(4)),
    "pad": lambda: F.pad(torch.randn(4, 3), (1, 1)),
    "silu": lambda: F.silu(torch.randn(4)),
    "selu": lambda: F.selu(torch.randn(4)),
    "relu6": lambda: F.relu6(torch.randn(4) * 5),
    "outer": lambda: torch.outer(torch.randn(3), torch.randn(4)),
    "square": lambda: torch.randn(4).square(),
    "type as": lambda: torch.arange(4).type_as(torch.ones(1)) * 1,
}


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_mode_knows_the_operators_that_it_does_not_decompose(name: str) -> None:
    results = []
    for context in (torch.no_grad, torch.inference_mode):
        torch.manual_seed(0)
        with ss.use(LNS12), context():
            results.append(INFERENCE[name]().clone())
    assert torch.equal(*results)
    assert is_on(results[0], LNS12)


def test_an_exception_leaves_the_mode_as_it_was() -> None:
    with ss.use(LNS12) as run:
        with pytest.raises(ZeroDivisionError), ss.use(COARSE):  # noqa: PT012
            assert grid_in_force() == "coarse"
            raise ZeroDivisionError
        assert grid_in_force() == "compute"
        with pytest.raises(ZeroDivisionError), ss.exact():
            raise ZeroDivisionError
        assert grid_in_force() == "compute"
        with pytest.raises(RuntimeError):
            torch.ones(2) + torch.ones(3)
        with pytest.raises(ss.UnsupportedOperation):
            torch.linalg.inv(torch.eye(2))
        assert grid_in_force() == "compute"
        assert run.operator == ""
    with pytest.raises(ZeroDivisionError), ss.use(LNS12):
        raise ZeroDivisionError
    assert grid_in_force() == "float"


def test_the_inner_block_wins_and_audits_count_separately() -> None:
    one = torch.ones(3)
    with ss.use(LNS12, audit=True) as outer:
        one + one
        with ss.use(COARSE, audit=True) as inner:
            assert grid_in_force() == "coarse"
            one * one
            with ss.use(FINE):
                assert grid_in_force() == "update"
            with ss.exact():
                assert grid_in_force() == "float"
            assert grid_in_force() == "coarse"
        assert grid_in_force() == "compute"
    assert outer.audit.counts["aten.add.Tensor"]["defined"] == 1
    assert outer.audit.counts["aten.mul.Tensor"]["defined"] == 1
    assert inner.audit.counts["aten.mul.Tensor"]["defined"] == 3
    assert "aten.add.Tensor" not in inner.audit.counts
    assert inner.audit.counts["aten.mul.Tensor"]["outside"] == 1


def test_the_same_block_object_may_be_entered_again() -> None:
    run = ss.use(LNS12, update=FINE)
    for _ in range(2):
        with run:
            assert grid_in_force() == "compute"
            with run, ss.update_phase():
                assert grid_in_force() == "update"
            assert grid_in_force() == "compute"
        assert grid_in_force() == "float"


def test_host_reads_are_counted_as_outside() -> None:
    x = torch.tensor([0.5, 1.0])
    with ss.use(LNS12, audit=True) as run:
        x[0].item()
        float(x[1])
        x.tolist()
        x.numpy()
        int(x[1])
        torch.ones(3, dtype=torch.int64).tolist()
        str(x)
    assert run.audit.counts["aten._local_scalar_dense.default"]["outside"] >= 3
    assert run.audit.counts["Tensor.tolist"]["outside"] >= 1
    assert run.audit.counts["Tensor.numpy"]["outside"] == 1
    assert run.audit.totals()["outside"] >= 5


def test_exact_computes_in_floating_point_and_is_counted() -> None:
    x = torch.tensor([1.2345, 2.3456])
    with ss.use(LNS12, audit=True) as run:
        with ss.exact():
            assert torch.equal(torch.sin(x), torch.sin(x))
            assert not is_on(x * x, FINE)
            with ss.exact():
                pass
            assert grid_in_force() == "float"
        assert grid_in_force() == "compute"
    assert run.audit.counts["aten.sin.default"]["outside"] == 2


def test_printing_a_tensor_is_no_arithmetic() -> None:
    x = torch.tensor([[1.2345, -2e-5], [3e7, 0.0]])
    with ss.use(LNS12):
        assert str(x) == repr(x)
        assert f"{x[0, 0]:.3f}" == "1.234" or f"{x[0, 0]:.3f}" == "1.235"


def test_gradients_accumulate_in_the_arithmetic() -> None:
    w = torch.randn(50, requires_grad=True)
    a, b = torch.randn(50), torch.randn(50)
    with ss.use(LNS12):
        (w * a).sum().backward()
        first = w.grad.clone()
        (w * b).sum().backward()
        assert torch.equal(w.grad, first + b * 1)
        retained = (w * a).sum()
        w.grad = None
        retained.backward(retain_graph=True)
        retained.backward()
        assert torch.equal(w.grad, a + a)
        w.grad = None
        (w * a + w * b).sum().backward()
        in_either_order = [a * 1 + b * 1, b * 1 + a * 1]
    assert any(torch.equal(w.grad, x) for x in in_either_order)
    assert is_on(w.grad, LNS12)


def test_hooks_see_and_change_gradients_on_the_grid() -> None:
    seen = []
    w = torch.randn(20, requires_grad=True)
    w.register_hook(lambda g: seen.append(g) or g * 0.3)
    with ss.use(LNS12):
        (w * torch.randn(20)).sum().backward()
        assert torch.equal(w.grad, seen[0] * 0.3)
    assert is_on(seen[0], LNS12)


def test_shared_parameters_add_their_gradients_in_the_arithmetic() -> None:
    layer = nn.Linear(4, 4)
    with ss.use(LNS12):
        layer(layer(torch.randn(3, 4))).sum().backward()
    assert is_on(layer.weight.grad, LNS12)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_recomputes_the_same_numbers(reentrant: bool) -> None:
    models = network(), network()
    x, y = batch()
    x.requires_grad_()
    with ss.use(LNS12):
        for model, saved in zip(models, (False, True), strict=True):
            torch.manual_seed(5)
            head, tail = model[:3], model[3:]
            middle = head(x)
            out = checkpoint(tail, middle, use_reentrant=reentrant) if saved else tail(middle)
            F.cross_entropy(out, y).backward()
    assert_same_state(*models)


def test_modules_copy_save_and_load_raw_numbers() -> None:
    model = ss.snap_(network(), LNS12)
    with ss.use(LNS12):
        twin = copy.deepcopy(model)
        other = network()
        with torch.no_grad():
            for p in other.parameters():
                p.add_(1.0)
        other.load_state_dict(model.state_dict())
        for a, b, c in zip(*(m.state_dict().values() for m in (model, twin, other)), strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)
        train(twin, torch.optim.SGD(twin.parameters(), 0.1))
        train(other, torch.optim.SGD(other.parameters(), 0.1))
    assert_same_state(twin, other)


def test_a_module_built_in_the_block_starts_on_the_grid() -> None:
    with ss.use(LNS12):
        model = network()
    for p in model.parameters():
        assert is_on(p, LNS12)
        assert p.requires_grad


def test_integers_drawn_at_random_stay_integers() -> None:
    torch.manual_seed(0)
    expected = torch.randperm(1000), torch.randint(0, 10**6, (50,)), torch.empty((), dtype=torch.int64).random_()
    torch.manual_seed(0)
    with ss.use(ss.LogArithmetic(ss.LNS(5, 5))):
        found = torch.randperm(1000), torch.randint(0, 10**6, (50,)), torch.empty((), dtype=torch.int64).random_()
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.int64
        assert torch.equal(one, other)
