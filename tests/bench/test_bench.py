"""The benchmarks run and report what they measured; how fast is not a test's business."""

import time

import pytest
import torch

from slipstick.bench import datapath, dispatch, kernels, timing
from slipstick.bench.training_step import step_cost


def test_a_slower_candidate_has_a_ratio_below_one() -> None:
    timed = timing.compare(lambda: time.sleep(0.02), lambda: time.sleep(0.002), repeats=3, least=0.0)
    assert 0.02 < timed.ratio < 0.5
    assert timed.candidate > timed.reference


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


def test_calling_an_operator_costs_more_in_an_arithmetic() -> None:
    rows = list(dispatch.overheads("LNS(5,5) hamad2025", repeats=1))
    assert [row.operator for row in rows] == list(dispatch.OPERATORS)
    assert sum(row.added_us for row in rows) > 0
    assert all(row.alone_us > 0 for row in rows)
