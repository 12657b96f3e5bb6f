"""Kernels run on PyTorch's threads, or on their own where those are not to be had; the bits are the same."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from slipstick import LNS, LogArithmetic
from slipstick.kernels import products
from slipstick.kernels.spec import kernel_spec

FORKED = """
import os, sys
import torch
from slipstick import LNS, LogArithmetic
from slipstick.kernels import products
from slipstick.kernels.spec import kernel_spec

torch.set_num_threads(3)
spec = kernel_spec(LogArithmetic(LNS(5, 5), "hamad2025"))
x = torch.randn(200, 150)

def bits():  # without a loop of PyTorch's own, whose threads a forked process waits for forever
    return products.matmul(x, x.T, spec).numpy().tobytes()

expected = bits()
if (child := os.fork()) == 0:
    threads_before = len(os.listdir("/proc/self/task"))
    same = bits() == expected
    os._exit(0 if same and threads_before == 1 and len(os.listdir("/proc/self/task")) > 1 else 1)
_, status = os.waitpid(child, 0)
again = bits() == expected
sys.exit(os.waitstatus_to_exitcode(status) + (0 if again else 2))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="counts threads in /proc")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert subprocess.run([sys.executable, "-c", FORKED], timeout=120, check=False).returncode == 0


def test_calls_from_several_threads_at_once_give_the_same_bits(threads: int) -> None:
    spec = kernel_spec(LogArithmetic(LNS(5, 5), "hamad2025"))
    operands = [torch.randn(120, 90, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    expected = [products.matmul(x, x.T, spec) for x in operands]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(lambda x: products.matmul(x, x.T, spec), operands), expected, strict=True):
            assert torch.equal(got, want)
