"""What an operator costs beside its work: microseconds on 16 numbers, in PyTorch alone and in an arithmetic.

Beside it stands what PyTorch itself takes to call any Python instead of an operator: an empty dispatch mode inside an
empty function mode, which hand every call on. An arithmetic cannot cost less. What is recorded for the backward pass is
also guarded against running outside of the arithmetic.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import slipstick as ss
from slipstick.arithmetic import parse_arithmetic
from slipstick.bench.timing import Work, least, threads

_LEARNT = torch.ones(4, 4, requires_grad=True)

OPERATORS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "view": lambda a, b: a.view(16),
    "clone": lambda a, b: a.clone(),
    "a > b": lambda a, b: a > b,
    "a + b": lambda a, b: a + b,
    "a + b, recorded": lambda a, b: _LEARNT + b,
    "a * b, in place": lambda a, b: a.mul_(b),
    "relu": lambda a, b: torch.relu(a),
    "exp": lambda a, b: torch.exp(b),
    "sum": lambda a, b: a.sum(),
    "a @ b": lambda a, b: a @ b,
}


_CALLS = 200
"""In a row, so that entering the arithmetic costs next to nothing of each."""

_TURNS = 150


@dataclass(frozen=True)
class Overhead:
    """Microseconds of a call."""

    operator: str
    alone_us: float
    empty_modes_us: float
    in_arithmetic_us: float

    @property
    def added_us(self) -> float:
        """To PyTorch alone."""
        return self.in_arithmetic_us - self.alone_us

    @property
    def added_to_modes_us(self) -> float:
        return self.in_arithmetic_us - self.empty_modes_us


class _EmptyMode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as ss.use, see there

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def overheads(
    arithmetic: str, turns: int = _TURNS, done: Callable[[float], object] = lambda share: None
) -> list[Overhead]:
    """Of every operator, the fastest of some turns, with one thread. done: is told the share of turns that are."""
    run, a, b = ss.use(parse_arithmetic(arithmetic)), torch.ones(4, 4), torch.ones(4, 4)

    def calls(operator: Callable[[Tensor, Tensor], object], context: AbstractContextManager[object]) -> None:
        with context:
            for _ in range(_CALLS):
                operator(a, b)

    def in_empty_modes(operator: Callable[[Tensor, Tensor], object]) -> None:
        with BaseTorchFunctionMode():
            calls(operator, _EmptyMode())  # type: ignore[no-untyped-call]

    works: list[Work] = []
    for operator in OPERATORS.values():
        works += [partial(calls, operator, nullcontext()), partial(in_empty_modes, operator)]
        works.append(partial(calls, operator, run))
    with threads(1):
        times = [1e6 * seconds / _CALLS for seconds in least(works, turns, done)]
    return [Overhead(name, *times[3 * i : 3 * i + 3]) for i, name in enumerate(OPERATORS)]
