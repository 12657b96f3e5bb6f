"""What a bias adds to a product: by a pass of its own after it, and within it.

python benchmarks/bias.py
"""

from collections.abc import Callable
from statistics import median

import torch

from slipstick import LNS, LogArithmetic
from slipstick.bench.timing import seconds, threads
from slipstick.kernels import elementary, products
from slipstick.kernels.spec import kernel_spec

ROWS, COLUMNS = 4096, 512
TERMS = (16, 128, 512)
TURNS = 25


def forms(terms: int) -> list[Callable[[], torch.Tensor]]:
    """A product of so many terms without a bias, with a pass for it, and with it."""
    spec = kernel_spec(LogArithmetic(LNS(5, 5), "hamad2025"))
    a, b, bias = torch.randn(ROWS, terms), torch.randn(COLUMNS, terms).t(), torch.randn(COLUMNS)

    def after() -> torch.Tensor:
        product = products.matmul(a, b, spec)
        elementary.add(spec, "add", bias, product, out=product)
        return product

    return [lambda: products.matmul(a, b, spec), after, lambda: products.matmul(a, b, spec, bias=bias)]


def main() -> None:
    print(f"{ROWS} x terms x {COLUMNS}; nanoseconds a number of the result")
    print("threads  terms  product  its bias after it  within it")
    for count in (1, 2):
        with threads(count):
            for terms in TERMS:
                works = forms(terms)
                times = zip(*([seconds(work) for work in works] for _ in range(TURNS)), strict=True)
                alone, after, within = (median(taken) * 1e9 / (ROWS * COLUMNS) for taken in times)
                print(f"{count:7} {terms:6} {alone:8.2f} {after - alone:18.2f} {within - alone:10.2f}")


if __name__ == "__main__":
    main()
