"""How fast the kernels should be: a table of targets, each with the way to measure it.

Ratios of products are to PyTorch's float32 on the same shape and threads, in turns; of several shapes the least counts.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import torch

from slipstick.arithmetic import LogArithmetic, parse_arithmetic
from slipstick.bench.kernels import MATMULS
from slipstick.bench.start_up import first_call_ms, import_ratio
from slipstick.bench.timing import compare, seconds, threads
from slipstick.bench.training_step import Network, StepCost, step_cost
from slipstick.formats import LNS
from slipstick.kernels import native, products
from slipstick.kernels.spec import KernelSpec, instruction_set, kernel_spec

PUBLISHED, SHIPPED = "LNS(5,5) hamad2025", "LNS(5,5) designed-simd"
GROWTH = (256, 512, 1024, 2048, 4096)
"""Sides of square matrices."""


@dataclass(frozen=True)
class Measured:
    """value: in the target's unit. detail: what it was made of, in words."""

    value: float
    detail: str = ""


@dataclass(frozen=True)
class Target:
    """bar: at least or at most so much, by ``sense``. isa: the instruction set that the bar is meant for, or any."""

    name: str
    bar: float
    measure: Callable[[], Measured]
    sense: Literal["at least", "at most"] = "at least"
    unit: str = ""
    isa: Literal["avx512", "avx2", "any"] = "avx512"

    def met(self, value: float) -> bool:
        return value >= self.bar if self.sense == "at least" else value <= self.bar

    @property
    def applies(self) -> bool:
        """Whether the bar is meant for the instruction set in force."""
        return self.isa in ("any", instruction_set())


@dataclass(frozen=True)
class Sizes:
    """Of the work: smaller ones for tests."""

    matmuls: tuple[tuple[int, int, int], ...] = MATMULS
    growth: tuple[int, ...] = GROWTH
    batch: int = 128
    width: float = 1.0
    repeats: int = 3


def targets(sizes: Sizes | None = None) -> Iterator[Target]:
    """Every target, the quick ones first."""
    sizes = sizes or Sizes()
    for name, bar, arithmetic in _products():
        yield Target(name, bar, partial(_ratio, arithmetic, sizes))
    yield Target(f"{SHIPPED}, AVX2", 0.12, partial(_ratio, _log(SHIPPED), sizes), isa="avx2")
    yield Target("two threads over one, against the gain of float32", 0.95, partial(_scaling, sizes), isa="any")
    growth = partial(_growth, sizes)
    yield Target("GMAC/s as work grows: spread", 0.15, growth, "at most", isa="any")
    yield Target(
        "import slipstick, against import torch",
        1.5,
        partial(_import, sizes),
        "at most",
        "x",
        "any",
    )
    yield Target("first product of a process", 50.0, partial(_first_call, sizes), "at most", "ms", "any")
    vgg = _Steps("vgg11", sizes)
    yield Target("VGG-11 step against float32", 6.0, vgg.time, "at most", "x")
    yield Target("share of that step outside products", 0.20, vgg.share, "at most")
    yield Target("peak memory of that step against float32", 1.5, vgg.memory, "at most", "x", "any")
    yield Target("ResNet-18 step against float32", 7.0, _Steps("resnet18", sizes).time, "at most", "x")
    yield Target("small transformer step against float32", 7.0, _Steps("transformer", sizes).time, "at most", "x")


def _products() -> Iterator[tuple[str, float, LogArithmetic]]:
    finer = LogArithmetic(LNS(7, 8), add="designed")
    texts = (
        (PUBLISHED, 0.40, 0.46),
        (SHIPPED, 0.50, 0.60),
        ("LNS(5,3) exact", 0.55, 0.68),
        ("LNS(5,6) designed", 0.36, 0.42),
    )
    for text, tree, blocked in texts:
        yield f"{text}, Tree(16)", tree, _log(text)
        yield f"{text}, Blocked(64)", blocked, _log(f"{text} Blocked(64)")
    for text in ("LNS(5,7) designed", "LNS(5,8) designed"):
        yield text, 0.20, _log(text)
    yield "LNS(4,10) exact, no fast path", 0.06, _log("LNS(4,10) exact")
    for frac_bits in (4, 5):
        arithmetic = LogArithmetic(LNS(5, frac_bits), add="designed", accumulator=finer)
        yield f"LNS(5,{frac_bits}) designed, summed in LNS(7,8)", 0.20, arithmetic


def _log(text: str) -> LogArithmetic:
    arithmetic = parse_arithmetic(text)
    assert isinstance(arithmetic, LogArithmetic)
    return arithmetic


def _ratio(arithmetic: LogArithmetic, sizes: Sizes) -> Measured:
    """The least over the shapes, one thread."""
    spec = kernel_spec(arithmetic)
    with threads(1):
        ratios = [_against_float(spec, *shape, sizes.repeats) for shape in sizes.matmuls]
    detail = " / ".join(f"{ratio:.3f}" for ratio in ratios)
    return Measured(min(ratios), f"{detail}, {native.plan_name(spec.native)}")


def _against_float(spec: KernelSpec, m: int, n: int, k: int, repeats: int) -> float:
    a, b = torch.randn(m, k), torch.randn(k, n)
    return compare(lambda: products.matmul(a, b, spec), lambda: a @ b, repeats).ratio


def _scaling(sizes: Sizes) -> Measured:
    """(ours on two threads over one) over (float32's), of the middle shape; medians of turns."""
    spec, (m, n, k) = kernel_spec(_log(PUBLISHED)), sizes.matmuls[len(sizes.matmuls) // 2]
    a, b = torch.randn(m, k), torch.randn(k, n)
    gains = []
    for _ in range(sizes.repeats):
        timed = []
        for count in (1, 2):
            with threads(count):
                timed.append(compare(lambda: products.matmul(a, b, spec), lambda: a @ b, 3))
        one, two = timed
        gains.append((one.candidate / two.candidate, one.reference / two.reference))
    ours, floats = (statistics.median(gain) for gain in zip(*gains, strict=True))
    return Measured(ours / floats, f"{ours:.2f} against {floats:.2f}")


def _growth(sizes: Sizes) -> Measured:
    """Largest rate over the smallest, less 1; one thread, square matrices in turns."""
    spec = kernel_spec(_log(PUBLISHED))
    operands = {side: (torch.randn(side, side), torch.randn(side, side)) for side in sizes.growth}
    took: dict[int, list[float]] = {side: [] for side in sizes.growth}
    with threads(1):
        for _ in range(sizes.repeats):
            for side, (a, b) in operands.items():
                for _ in range(min(8, (sizes.growth[-1] // side) ** 2)):
                    took[side].append(seconds(lambda: products.matmul(a, b, spec)))  # noqa: B023
    rates = [side**3 / statistics.median(times) / 1e9 for side, times in took.items()]
    detail = ", ".join(f"{side}: {rate:.2f}" for side, rate in zip(sizes.growth, rates, strict=True))
    return Measured(max(rates) / min(rates) - 1, f"GMAC/s {detail}")


def _import(sizes: Sizes) -> Measured:
    return Measured(import_ratio(sizes.repeats))


def _first_call(sizes: Sizes) -> Measured:
    return Measured(first_call_ms(sizes.repeats))


class _Steps:
    """Of one network in the published arithmetic; measured once."""

    def __init__(self, network: Network, sizes: Sizes) -> None:
        self._network, self._sizes = network, sizes

    def time(self) -> Measured:
        ours, floats = self._costs
        detail = f"{ours.seconds:.2f} s against {floats.seconds:.2f} s, {self._threads} threads, batch {self._batch}"
        return Measured(ours.seconds / floats.seconds, detail)

    def share(self) -> Measured:
        share = self._costs[0].share_outside
        assert share is not None
        return Measured(share)

    def memory(self) -> Measured:
        ours, floats = self._costs
        return Measured(
            ours.peak_memory / floats.peak_memory, f"{ours.peak_memory >> 20} against {floats.peak_memory >> 20} MiB"
        )

    @property
    def _threads(self) -> int:
        return torch.get_num_threads()

    @property
    def _batch(self) -> int:
        """Fewer samples of the larger networks."""
        return self._sizes.batch if self._network == "vgg11" else max(1, self._sizes.batch // 4)

    @cached_property
    def _costs(self) -> tuple[StepCost, StepCost]:
        ours, floats = (
            step_cost(text, self._batch, self._sizes.width, self._sizes.repeats, self._threads, self._network)
            for text in (PUBLISHED, "fp32")
        )
        return ours, floats
