"""Speed of LinearAccumulate as a ratio to PyTorch's float32 products. Operands are codes already, as in hardware."""

from collections.abc import Iterator

import torch

from slipstick.arithmetic import LinearAccumulate
from slipstick.bench.kernels import MATMULS, Row
from slipstick.bench.timing import compare, threads
from slipstick.formats import MultiBaseLNS
from slipstick.kernels.linear_spec import LinearSpec, ScaledSums, linear_spec
from slipstick.kernels.products import matmul

_FORMAT = MultiBaseLNS(8, 8)
DATAPATHS = tuple(LinearAccumulate(_FORMAT, entries) for entries in (None, 4, 1))


def datapath_rows(datapaths: tuple[LinearAccumulate, ...] = DATAPATHS) -> Iterator[Row]:
    """Every datapath on every shape, in one thread and in all."""
    for count in sorted({1, torch.get_num_threads()}):
        with threads(count):
            for arithmetic in datapaths:
                spec = linear_spec(arithmetic)
                for m, n, k in MATMULS:
                    yield _matmul(spec, m, n, k, count)


def _matmul(spec: LinearSpec, m: int, n: int, k: int, count: int) -> Row:
    top = spec.arithmetic.largest_log + 1
    a, b = (torch.randint(-top, top + 1, shape, dtype=torch.int16) for shape in ((m, k), (k, n)))
    x, y = a.float(), b.float()
    sums = ScaledSums(spec, torch.ones((), dtype=torch.float64))
    timed = compare(lambda: matmul(a, b, sums), lambda: x @ y)
    path = {0: "look-up", 1: "multiply-add"}.get(spec.versions, f"multiply-add, {spec.versions} versions")
    rate = m * n * k / timed.candidate / 1e9
    what = f"matmul {m}x{n}x{k}"
    return Row(what, str(spec.arithmetic), path, count, rate, "GMAC/s", timed.ratio, "torch.matmul fp32")
