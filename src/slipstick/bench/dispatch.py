"""What an operator costs beside its work: microseconds on 16 numbers, in PyTorch alone and in an arithmetic."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import slipstick as ss
from slipstick.arithmetic import parse_arithmetic
from slipstick.bench.timing import compare, threads

OPERATORS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "view": lambda a, b: a.view(16),
    "clone": lambda a, b: a.clone(),
    "a > b": lambda a, b: a > b,
    "a + b": lambda a, b: a + b,
    "a * b, in place": lambda a, b: a.mul_(b),
    "relu": lambda a, b: torch.relu(a),
    "exp": lambda a, b: torch.exp(b),
    "sum": lambda a, b: a.sum(),
    "a @ b": lambda a, b: a @ b,
}


_CALLS = 500
"""In a row, so that entering the arithmetic costs next to nothing of each."""


@dataclass(frozen=True)
class Overhead:
    """Microseconds of a call."""

    operator: str
    alone_us: float
    in_arithmetic_us: float

    @property
    def added_us(self) -> float:
        return self.in_arithmetic_us - self.alone_us


def overheads(arithmetic: str, repeats: int = 7) -> Iterator[Overhead]:
    """Of every operator, measured in turns with PyTorch alone, one thread."""
    run, a, b = ss.use(parse_arithmetic(arithmetic)), torch.ones(4, 4), torch.ones(4, 4)

    def calls(operator: Callable[[Tensor, Tensor], object], context: AbstractContextManager[object]) -> None:
        with context:
            for _ in range(_CALLS):
                operator(a, b)

    with threads(1):
        for name, operator in OPERATORS.items():
            timed = compare(partial(calls, operator, run), partial(calls, operator, nullcontext()), repeats)
            yield Overhead(name, 1e6 * timed.reference / _CALLS, 1e6 * timed.candidate / _CALLS)
