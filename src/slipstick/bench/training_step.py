"""One training step of VGG-11 on CIFAR shapes: time and peak memory, against the same step in float32."""

import multiprocessing
import statistics
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F

import slipstick as ss
from slipstick.arithmetic import parse_arithmetic
from slipstick.bench.timing import seconds
from slipstick.errors import SpecificationError
from slipstick.train.config import VGG
from slipstick.train.models import build_vgg


@dataclass(frozen=True)
class StepCost:
    """Median seconds of a step, and the growth of the process's peak memory over that of the idle model, in bytes."""

    seconds: float
    peak_memory: int


def step_cost(arithmetic: str, batch: int = 128, width: float = 1.0, repeats: int = 3, threads: int = 0) -> StepCost:
    """Measure in a fresh process, so that its peak memory is the step's own. arithmetic: text, or "fp32"."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    count = threads or torch.get_num_threads()
    process = context.Process(target=_measure, args=(sender, arithmetic, batch, width, repeats, count))
    process.start()
    sender.close()
    cost: StepCost = receiver.recv()
    process.join()
    return cost


def _measure(sender: Connection, arithmetic: str, batch: int, width: float, repeats: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_vgg(VGG(name="vgg11", width=width), 3, (32, 32), 100)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, 100, (batch,))
    idle = _peak()

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    with nullcontext() if arithmetic == "fp32" else ss.use(parse_arithmetic(arithmetic)):
        step()
        times = [seconds(step) for _ in range(repeats)]
    sender.send(StepCost(statistics.median(times), _peak() - idle))


def _peak() -> int:
    """Peak resident memory in bytes. getrusage would also count the parent's, which a new process inherits."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SpecificationError("bench: /proc/self/status has no VmHWM; peak memory is measured on Linux only")
