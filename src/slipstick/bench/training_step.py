"""One training step of a network: time, peak memory and where the time goes, against the same step in float32."""

import multiprocessing
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

import slipstick as ss
from slipstick.arithmetic import parse_arithmetic
from slipstick.bench.timing import seconds
from slipstick.errors import SpecificationError
from slipstick.train.config import VGG, ResNet, Transformer
from slipstick.train.models import build_model

Network = Literal["vgg11", "resnet18", "transformer"]

_CONTRACTIONS = ("aten.convolution", "aten.mm.", "aten.bmm.", "aten.addmm.", "aten.baddbmm.")
_CHARACTERS, _CONTEXT = 96, 128


@dataclass(frozen=True)
class StepCost:
    """Median seconds of a step; the growth of the process's peak memory over that of the idle model, in bytes; and the
    share of the step outside matrix products and convolutions (nothing for fp32)."""

    seconds: float
    peak_memory: int
    share_outside: float | None


def step_cost(
    arithmetic: str,
    batch: int = 128,
    width: float = 1.0,
    repeats: int = 3,
    threads: int = 0,
    network: Network = "vgg11",
) -> StepCost:
    """Measure in a fresh process, so that its peak memory is the step's own. arithmetic: text, or "fp32".

    network: vgg11 with 100 classes and resnet18 with 10, on images of 32 x 32; or a transformer of 2 layers of 128 over
        128 characters. width: of the VGG.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    count = threads or torch.get_num_threads()
    process = context.Process(target=_measure, args=(sender, arithmetic, network, batch, width, repeats, count))
    process.start()
    sender.close()
    cost: StepCost = receiver.recv()
    process.join()
    return cost


def _measure(
    sender: Connection, arithmetic: str, network: Network, batch: int, width: float, repeats: int, threads: int
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, loss = _network(network, batch, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    idle = _peak()

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    share = None
    with nullcontext() if arithmetic == "fp32" else ss.use(parse_arithmetic(arithmetic)):
        step()
        times = [seconds(step) for _ in range(repeats)]
        peak = _peak() - idle
    if arithmetic != "fp32":
        share = _share_outside(arithmetic, step)
    sender.send(StepCost(statistics.median(times), peak, share))


def _network(network: Network, batch: int, width: float) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    """The model, and its loss on one batch."""
    if network == "transformer":
        shape = Transformer(name="transformer", width=128, layers=2, heads=4, context=_CONTEXT)
        model = build_model(shape, (_CONTEXT,), _CHARACTERS)
        text = torch.randint(0, _CHARACTERS, (batch, _CONTEXT + 1))
        return model, lambda: F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
    chosen = VGG(name="vgg11", width=width) if network == "vgg11" else ResNet(name="resnet18")
    classes = 100 if network == "vgg11" else 10
    model = build_model(chosen, (3, 32, 32), classes)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, classes, (batch,))
    return model, lambda: F.cross_entropy(model(x), y)


def _share_outside(arithmetic: str, step: Callable[[], None]) -> float:
    """Of one more step, the share of its time that no product or convolution takes."""
    with ss.use(parse_arithmetic(arithmetic), audit=True) as run:
        took = seconds(step)
    assert run.audit is not None
    inside = sum(t for operator, t in run.audit.seconds.items() if operator.startswith(_CONTRACTIONS))
    return 1 - inside / took


def _peak() -> int:
    """Peak resident memory in bytes. getrusage would also count the parent's, which a new process inherits."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SpecificationError("bench: /proc/self/status has no VmHWM; peak memory is measured on Linux only")
