"""Kernel speed as ratios: products to PyTorch's float32 products, elementwise work to a memory copy."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from slipstick.arithmetic import LogArithmetic, parse_arithmetic
from slipstick.bench.timing import Comparison, compare, threads
from slipstick.kernels import elementary, native, products
from slipstick.kernels.convolutions import Geometry, convolution
from slipstick.kernels.elementwise import identity
from slipstick.kernels.spec import KernelSpec, instruction_set, kernel_spec

ARITHMETICS = (
    "LNS(5,5) hamad2025",
    "LNS(5,5) hamad2025 Blocked(64)",
    "LNS(5,5) designed-simd",
    "LNS(5,5) designed-simd Blocked(64)",
    "LNS(5,5) designed",
    "LNS(5,5) exact",
    "LNS(5,3) exact",
    "LNS(5,8) hamad2025",
    "LNS(4,10) sanyal2019-lut",
)
MATMULS = ((512, 512, 512), (2048, 256, 2304), (8192, 128, 576))
ELEMENTS = 1 << 24
"""Of the elementwise measurements: out of cache."""

VGG11_CIFAR = ((3, 64, 32), (64, 128, 16), (128, 256, 8), (256, 256, 8), (256, 512, 4), (512, 512, 4), (512, 512, 2))
"""Input channels, output channels and image side of the 3x3 convolutions of VGG-11 on CIFAR."""


@dataclass(frozen=True)
class Row:
    """One measurement. rate: GMAC/s or GB/s of the candidate; reference: what the ratio refers to."""

    what: str
    arithmetic: str
    path: str
    threads: int
    rate: float
    unit: str
    ratio: float
    reference: str


def kernel_rows(arithmetics: tuple[str, ...] = ARITHMETICS, batch: int = 32) -> Iterator[Row]:
    """Every kernel measurement, one after the other."""
    for count in sorted({1, torch.get_num_threads()}):
        with threads(count):
            for text in arithmetics:
                spec = _spec(text)
                yield from _matmuls(spec, text, count)
                yield from _convolutions(spec, text, count, batch)
            yield from _elementwise(_spec(arithmetics[0]), arithmetics[0], count)


def _spec(text: str) -> KernelSpec:
    arithmetic = parse_arithmetic(text)
    assert isinstance(arithmetic, LogArithmetic)
    return kernel_spec(arithmetic)


def _matmuls(spec: KernelSpec, text: str, count: int) -> Iterator[Row]:
    for m, n, k in MATMULS:
        a, b = torch.randn(m, k), torch.randn(k, n)
        timed = compare(lambda a=a, b=b: products.matmul(a, b, spec), lambda a=a, b=b: a @ b)  # type: ignore[misc]
        yield _row(f"matmul {m}x{n}x{k}", text, spec, count, m * n * k, timed, "torch.matmul fp32")


def _convolutions(spec: KernelSpec, text: str, count: int, batch: int) -> Iterator[Row]:
    for c_in, c_out, side in VGG11_CIFAR:
        x, w = torch.randn(batch, c_in, side, side), torch.randn(c_out, c_in, 3, 3)
        macs = batch * c_in * c_out * side * side * 9
        timed = compare(
            lambda x=x, w=w: convolution(x, w, spec, Geometry([1], [1], [1])),  # type: ignore[misc]
            lambda x=x, w=w: F.conv2d(x, w, None, 1, 1),  # type: ignore[misc]
        )
        yield _row(f"conv {c_in}-{c_out} {side}x{side}", text, spec, count, macs, timed, "torch conv2d fp32")


def _row(what: str, text: str, spec: KernelSpec, count: int, macs: int, timed: Comparison, reference: str) -> Row:
    path = native.plan_name(spec.native)
    return Row(what, text, path, count, macs / timed.candidate / 1e9, "GMAC/s", timed.ratio, reference)


def _elementwise(spec: KernelSpec, text: str, count: int) -> Iterator[Row]:
    """Bandwidth: bytes that must move over seconds, against the same of ``Tensor.copy_``."""
    n = ELEMENTS
    a, b, out = torch.randn(n), torch.randn(n), torch.empty(n)
    cases = {
        "encode and decode": (lambda: identity(spec, "bench", a, out=out), 8),
        "add": (lambda: elementary.add(spec, "bench", a, b, out=out), 12),
    }
    for what, (work, size) in cases.items():
        timed = compare(work, lambda: out.copy_(a), repeats=5)
        rate = n * size / timed.candidate / 1e9
        copied = n * 8 / timed.reference / 1e9
        yield Row(what, text, instruction_set(), count, rate, "GB/s", rate / copied, "copy")
