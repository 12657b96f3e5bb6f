"""A recorder below the mode sees every operator that PyTorch really executes: none of them does arithmetic."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from small import FINE, LNS12, batch, network, train
from torch.utils._python_dispatch import TorchDispatchMode

import slipstick as ss
from slipstick.aten.registry import DEFINED, MOVES, REFUSED, SELECTIONS

ALLOWED = set(
    """
    _local_scalar_dense _reshape_alias _to_copy _unsafe_view alias amax amin aminmax argmax as_strided
    bernoulli bernoulli_ broadcast_tensors cat clone constant_pad_nd contiguous copy copy_ detach detach_
    diagonal embedding empty empty_like empty_strided equal expand eye fill fill_ flatten flip full full_like
    gather index index_put index_put_ index_select is_same_size isinf isnan item lift_fresh masked_fill
    masked_fill_ max max_pool2d_with_indices max_pool3d_with_indices min narrow new_empty new_empty_strided new_full
    new_ones new_zeros ones ones_like pad permute randn repeat reshape resize_ roll scalar_tensor scatter
    scatter_ select select_backward set_ slice slice_backward sort split split_with_sizes squeeze squeeze_
    stack t t_ to topk transpose transpose_ unbind unfold unsqueeze unsqueeze_ view where zero_ zeros
    zeros_like abs neg eq ne lt im2col movedim reflection_pad2d replication_pad2d unflatten uniform_ unsafe_split
    """.split()  # noqa: SIM905
)


class Recorder(TorchDispatchMode):
    """Names of executed operators that read or write 32-bit floats, apart from the step counters of optimisers."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        super().__init__()
        self.executed: dict[str, int] = {}
        self._optimizers = optimizers

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = torch.utils._pytree.tree_leaves((args, kwargs, result))
        floats = [t for t in tensors if isinstance(t, torch.Tensor) and t.dtype in (torch.float32, torch.float16)]
        if floats and func.namespace != "profiler" and not any(self._is_counter(t) for t in floats):
            name = str(func).split(".")[1]
            if name == "index_put_" and len(args) > 3 and args[3]:
                name = "index_put_ that accumulates"
            if "reduce" in func._overloadname:
                name += " that reduces"
            self.executed[name] = self.executed.get(name, 0) + 1
        return result

    def _is_counter(self, tensor: torch.Tensor) -> bool:
        return any(s.get("step") is tensor for o in self._optimizers for s in o.state.values())


def test_every_operator_is_executed_in_one_way() -> None:
    """A move that is also defined would move, and not compute."""
    for first, second in itertools.combinations((set(DEFINED), MOVES, SELECTIONS, set(REFUSED)), 2):
        assert not first & second


def test_a_defined_operator_that_cheats_is_caught() -> None:
    original = DEFINED[torch.ops.aten.tanh.default]
    DEFINED[torch.ops.aten.tanh.default] = lambda run, x: torch.ops.aten.tanh.default(x)
    try:
        with Recorder() as recorder, ss.use(LNS12):
            torch.tanh(torch.ones(3))
    finally:
        DEFINED[torch.ops.aten.tanh.default] = original
    assert "tanh" in set(recorder.executed) - ALLOWED


@pytest.mark.parametrize("update", [None, FINE], ids=["one grid", "update grid"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=1e-3),
        lambda p: torch.optim.AdamW(p, 0.01, foreach=True),
        lambda p: torch.optim.RMSprop(p, 0.01),
    ],
    ids=["sgd", "sgd foreach", "adam", "adamw foreach", "rmsprop"],
)
def test_training_executes_moves_and_selections_only(make, update) -> None:
    model = network()
    optimizer = make(model.parameters())
    with Recorder(optimizer) as recorder, ss.use(LNS12, update=update):
        train(model, optimizer)
    assert recorder.executed
    assert set(recorder.executed) <= ALLOWED


PROGRAMS = {
    "pools": lambda x: F.adaptive_avg_pool2d(F.avg_pool2d(F.max_pool2d(x, 3, 1), 3, 2, 1), (2, 1)),
    "adaptive overlap": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "softmax": lambda x: F.softmax(x, 1) * F.log_softmax(x, 1),
    "statistics": lambda x: x.std((0, 1)) + x.var((0, 1)) + x.mean((0, 1)) + x.norm(dim=(0, 1)),
    "activations": lambda x: F.silu(x) + torch.sigmoid(x) * F.leaky_relu(x) + F.relu6(x) + x.exp().clamp(max=3).sqrt(),
    "powers": lambda x: (x * x + 1) ** 0.3 / (x.abs() + 1) + x.reciprocal() ** 2,
    "indexing": lambda x: F.pad(x, (1, 1))[:, :, 1:].flip(0).masked_fill(torch.arange(10) > 7, 0).transpose(1, 2),
    "layer norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group norm": lambda x: F.group_norm(x, 2),
    "transposed convolution": lambda x: F.conv_transpose2d(x, torch.ones(2, 3, 2, 2), stride=2),
    "decomposed": lambda x: F.elu(x) + F.softplus(x) + F.gelu(x, approximate="tanh") + F.hardswish(x),
    "smooth loss": lambda x: F.smooth_l1_loss(x, x * 0.5) + F.huber_loss(x, x * 0.5) + F.l1_loss(x, x * 0.5),
    "label smoothing": lambda x: F.cross_entropy(x, torch.zeros(5, 8, 8, dtype=torch.int64), label_smoothing=0.1),
    "binary cross entropy": lambda x: F.binary_cross_entropy_with_logits(x, x.detach().sigmoid()),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "embedding": lambda x: F.embedding(torch.tensor([1, 1, 0]), x[0, 0]),
    "index": lambda x: x[torch.tensor([1, 1, 0])],
    "integers": lambda x: x * (torch.arange(8) / 3) + torch.tensor([7, 9]).sum() / 2,
    "normalised": lambda x: F.normalize(x),
    "rms norm": lambda x: F.rms_norm(x, x.shape[1:]),
    "functions": lambda x: x.sin() + x.erf() + F.gelu(x) + x.floor() + x.atan() + (x.abs() + 1).acosh() + x.asinh(),
    "remainders": lambda x: x % 0.7 + torch.fmod(x, 0.3) + torch.atan2(x, x + 1) + x.round(decimals=1),
    "powers of tensors": lambda x: (x.abs() + 0.5) ** x + 3**x,
    "prefixes": lambda x: x.cumsum(1) + x.cumprod(1) + x.logcumsumexp(1) + x.prod(1, keepdim=True),
    "scatters": lambda x: x.flatten().scatter_add(0, torch.zeros(9, dtype=torch.long), x.flatten()[:9]),
    "scattered means": lambda x: x.flatten().scatter_reduce(0, torch.arange(9) // 3, x.flatten()[:9] + 1, "mean"),
    "bags": lambda x: F.embedding_bag(torch.tensor([[1, 1, 0]]), x[0, 0], mode="mean"),
    "interpolation": lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic") + F.interpolate(x, size=(12, 12)),
    "grid sample": lambda x: F.grid_sample(x, x[:, 0, :, :2, None].expand(-1, -1, -1, 2) * 0.1, align_corners=False),
    "folds": lambda x: F.fold(F.unfold(x, 3), x.shape[2:], 3),
    "padding": lambda x: F.pad(x, (2, 1, 1, 2), "reflect") + F.pad(x, (2, 1, 1, 2), "replicate"),
    "volumes": lambda x: F.avg_pool3d(x, 2, 1).sum() + F.adaptive_avg_pool3d(x, 2).sum() + F.max_pool3d(x, 2, 1).sum(),
    "distances": lambda x: torch.cdist(x[:, 0], x[:, 1]) + torch.cdist(x[:, 0], x[:, 1], p=1),
    "margins": lambda x: F.multi_margin_loss(x.flatten(1), torch.zeros(5, dtype=torch.long)),
    "LSTM": lambda x: torch.nn.LSTM(8, 4)(x[:, 0])[0],
    "bilinear": lambda x: torch.nn.Bilinear(8, 8, 2)(x, x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_runs_executes_moves_and_selections_only(name: str) -> None:
    x = batch()[0].requires_grad_()
    with Recorder() as recorder, ss.use(LNS12):
        try:
            PROGRAMS[name](x).sum().backward()
        except ss.UnsupportedOperation:
            assert name in ("decomposed", "attention", "embedding", "index", "layer norm", "group norm")
    assert set(recorder.executed) <= ALLOWED
