"""PyTorch's compiler: what it compiled runs in the arithmetic, and it is not imported before somebody asks for it."""

import subprocess
import sys

import pytest
import torch

import slipstick as ss

ARITHMETIC = ss.LogArithmetic(ss.LNS(5, 5), add="hamad2025")

IMPORTED = """
import sys, torch, slipstick as ss
with ss.use(ss.LogArithmetic(ss.LNS(5, 5), add="hamad2025")):
    x = torch.ones(4, 4, requires_grad=True)
    (x @ x).relu().sum().backward()
print("torch._dynamo" in sys.modules)
"""


def test_what_is_compiled_runs_in_the_arithmetic() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        return (x @ x).relu() + x.exp()

    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    with ss.use(ARITHMETIC, audit=True) as run:
        found, expected = torch.compile(program)(x), program(x)
    assert torch.equal(found, expected)
    assert not torch.equal(found, program(x))
    assert run.audit is not None
    assert run.audit.counts["aten.mm.default"]["defined"] == 2


def test_the_compiler_is_not_imported_in_passing() -> None:
    told = subprocess.run([sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True).stdout
    assert told.strip() == "False"


def test_autocast_is_named() -> None:
    with (
        ss.use(ARITHMETIC),
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ss.UnsupportedOperation, match="autocast"),
    ):
        torch.nn.Linear(3, 3)(torch.randn(2, 3))
