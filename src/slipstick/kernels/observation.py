"""Looking on while kernels run. Nobody does, unless a run asks for it.

A kernel shows its observer what it hands to the native code: addresses and strides, no tensors. An observer reads; it
changes nothing, so it changes no bits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    from slipstick.kernels.spec import KernelSpec

Dims = Sequence[tuple[int, ...]]
"""Sizes with the strides of the arrays that the index moves through; the last dimension varies fastest."""


@dataclass(frozen=True)
class Contraction:
    """A sum of products that was computed; see ``kernels.contraction`` for what the numbers mean.

    a, b: where the operands lie and where their codes go. batch: (size, stride in a, stride in b, stride in the
    result); rows: the same without b; columns: without a; terms: without the result. start: added to addresses in b.
    """

    spec: "KernelSpec"
    a: Sequence[int]
    b: Sequence[int]
    batch: Dims
    rows: Dims
    columns: Dims
    terms: Dims
    start: int


@dataclass(frozen=True)
class ChainCall:
    """An elementwise chain about to be computed, possibly in place.

    steps: (operation, register, operand registers, table), operations as in ``kernels.elementwise``. inputs: the
    register of each argument and constant. shape: of the results. kinds, data, strides: of the inputs, strides one
    after another. tables: of functions.
    """

    spec: "KernelSpec"
    steps: Sequence[tuple[str, int, tuple[int, ...], int]]
    inputs: Sequence[int]
    shape: Sequence[int]
    kinds: Sequence[int]
    data: Sequence[int]
    strides: Sequence[int]
    tables: Sequence[NDArray[Any]]


class Observer(Protocol):
    """What kernels call."""

    def contraction(self, seen: Contraction) -> None: ...

    def chain(self, seen: ChainCall) -> None: ...


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


def current_observer() -> Observer | None:
    """Who looks on in this context."""
    return _observer.get()


@contextmanager
def observing(observer: Observer | None) -> Iterator[None]:
    """Show ``observer`` the kernels that run inside."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)
