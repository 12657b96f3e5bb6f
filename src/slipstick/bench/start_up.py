"""What starting costs: the import, and the first product of a process. Each in fresh processes."""

import statistics
import subprocess
import sys
import time

_FIRST_CALL = """
import time, torch, slipstick as ss
start = time.perf_counter()
with ss.use(ss.LogArithmetic(ss.LNS(5, 5), add="hamad2025")):
    torch.ones(8, 8) @ torch.ones(8, 8)
print(1000 * (time.perf_counter() - start))
"""


def import_ratio(repeats: int = 3) -> float:
    """Time of ``import slipstick``, which imports torch, over that of ``import torch``; medians, in turns."""
    times: dict[str, list[float]] = {"torch": [], "slipstick": []}
    for _ in range(repeats):
        for module, found in times.items():
            start = time.perf_counter()
            _python(f"import {module}")
            found.append(time.perf_counter() - start)
    return statistics.median(times["slipstick"]) / statistics.median(times["torch"])


def first_call_ms(repeats: int = 3) -> float:
    """Milliseconds from choosing an arithmetic to its first product, all tables built; the median."""
    return statistics.median(float(_python(_FIRST_CALL)) for _ in range(repeats))


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
