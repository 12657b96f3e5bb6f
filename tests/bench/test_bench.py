"""The benchmarks run and report what they measured; how fast is not a test's business."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from slipstick.bench import datapath, dispatch, kernels, timing, watching
from slipstick.bench.training_step import step_cost
from slipstick.train.config import SmallCNN
from slipstick.train.metrics import MetricsLog
from slipstick.watch import WATCH_EVERY, WATCH_RECIPE_EVERY


class Clock:
    """Stands still but for what work takes of it."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_a_slower_candidate_has_a_ratio_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    timed = timing.compare(partial(clock.work, 0.25), partial(clock.work, 0.125), repeats=3, least=1.0)
    assert timed == timing.Comparison(candidate=0.25, reference=0.125)
    assert timed.ratio == 0.5


def test_the_fastest_turn_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slow, quick = Clock(), iter([3.0, 1.0, 2.0]), iter([0.5, 0.75, 0.25])
    monkeypatch.setattr(timing, "time", clock)
    assert timing.least([lambda: clock.work(next(slow)), lambda: clock.work(next(quick))], turns=3) == [1.0, 0.25]


def test_threads_are_restored() -> None:
    before = torch.get_num_threads()
    with timing.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_every_kernel_is_measured_against_its_named_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MATMULS", ((8, 8, 8),))
    monkeypatch.setattr(kernels, "VGG11_CIFAR", ((2, 3, 4),))
    monkeypatch.setattr(kernels, "ELEMENTS", 1 << 12)
    with timing.threads(1):
        rows = list(kernels.kernel_rows(("LNS(5,5) hamad2025",), batch=1))
    assert [row.reference for row in rows] == ["torch.matmul fp32", "torch conv2d fp32", "copy", "copy"]
    assert all(row.rate > 0 and row.ratio > 0 and row.threads == 1 for row in rows)


def test_a_training_step_costs_time_and_memory() -> None:
    cost = step_cost("LNS(5,5) hamad2025", batch=8, width=0.1, repeats=1, threads=1)
    assert cost.seconds > 0
    assert cost.peak_memory > 0


def test_every_datapath_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datapath, "MATMULS", ((8, 16, 8),))
    with timing.threads(1):
        rows = list(datapath.datapath_rows())
    assert len({row.arithmetic for row in rows}) == 3
    assert all(row.reference == "torch.matmul fp32" and row.rate > 0 and row.ratio > 0 for row in rows)


def test_calling_an_operator_is_measured_alone_in_empty_modes_and_in_an_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "OPERATORS", {"view": dispatch.OPERATORS["view"], "sum": dispatch.OPERATORS["sum"]})
    rows = dispatch.overheads("LNS(5,5) hamad2025", turns=1)
    assert [row.operator for row in rows] == ["view", "sum"]
    for row in rows:
        assert min(row.alone_us, row.empty_modes_us, row.in_arithmetic_us) > 0
        assert row.added_us == row.in_arithmetic_us - row.alone_us


def test_every_third_step_timed_is_one_that_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(MetricsLog, "watched", lambda log, step, scalars: looks.append(step))

    def looks_within(step: Callable[[], None]) -> float:
        before = len(looks)
        step()
        return 1.0 + len(looks) - before

    monkeypatch.setattr(watching, "seconds", looks_within)
    subject = watching.Subject("small", SmallCNN(width=0.1), (1, 8, 8), 4, 3)
    costs = list(watching.watching_costs("LNS(5,5) hamad2025", (subject,)))
    assert [(cost.plain, cost.between, cost.looked_at) for cost in costs] == [(1.0, 1.0, 2.0)] * len(costs)
    assert costs[0].share == 1 / WATCH_EVERY
    assert {cost.share for cost in costs[1:]} == {1 / WATCH_RECIPE_EVERY}
