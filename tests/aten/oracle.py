"""Formulas over the NumPy reference: tensors in, reference numbers with operator signs, codes out.

o = Oracle(arithmetic)
x, y = o.numbers(tensor_x), o.numbers(tensor_y)
o.same(torch_result, (x + y) * 0.5)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import slipstick as ss
from slipstick.kernels import reference
from slipstick.kernels.reference import LogArray


@dataclass(frozen=True, eq=False)
class Number:
    """An array of reference numbers in an arithmetic; Python numbers beside it are encoded from float64."""

    o: "Oracle"
    a: LogArray

    def _both(self, other: "Number | float") -> tuple[LogArray, LogArray]:
        b = other.a if isinstance(other, Number) else reference.encode(np.array(other, np.float64), self.a.format)
        shape = np.broadcast_shapes(self.a.shape, b.shape)
        spread = lambda x: LogArray(x.format, np.broadcast_to(x.sign, shape), np.broadcast_to(x.log, shape))  # noqa: E731
        return spread(self.a), spread(b)

    def _new(self, a: LogArray) -> "Number":
        return Number(self.o, a)

    def __add__(self, other: Any) -> "Number":
        return self._new(reference.add(*self._both(other), self.o.arithmetic))

    def __sub__(self, other: Any) -> "Number":
        return self._new(reference.subtract(*self._both(other), self.o.arithmetic))

    def __mul__(self, other: Any) -> "Number":
        return self._new(reference.multiply(*self._both(other)))

    def __truediv__(self, other: Any) -> "Number":
        return self._new(reference.divide(*self._both(other)))

    def __rsub__(self, other: float) -> "Number":
        b, a = self._both(other)
        return self._new(reference.subtract(a, b, self.o.arithmetic))

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> "Number":
        return self._new(reference.negate(self.a))

    def __getitem__(self, index: Any) -> "Number":
        return self._new(self.a[index])

    def maximum(self, other: Any) -> "Number":
        return self._new(reference.maximum(*self._both(other)))

    def minimum(self, other: Any) -> "Number":
        return self._new(reference.minimum(*self._both(other)))

    def call(self, name: str, *arguments: Any) -> "Number":
        """A function of one number from the reference."""
        return self._new(getattr(reference, name)(self.a, *arguments))

    def sum(self, axes: Any, keepdim: bool = False) -> "Number":
        return self._new(reference.sum_over(self.a, axes, keepdim, self.o.arithmetic))

    def mean(self, axes: Any, keepdim: bool = False) -> "Number":
        count = int(np.prod([self.a.shape[d] for d in axes]))
        return (1.0 / count) * self.sum(axes, keepdim)

    def largest(self, axis: int) -> "Number":
        result = self[(slice(None),) * axis + (slice(0, 1),)]
        for i in range(1, self.a.shape[axis]):
            result = result.maximum(self[(slice(None),) * axis + (slice(i, i + 1),)])
        return result

    def reshape(self, *shape: int) -> "Number":
        return self._new(self.a.reshape(*shape))

    def where(self, mask: np.ndarray, other: "Number") -> "Number":
        """This where ``mask`` holds, else ``other``."""
        a, b = self._both(other)
        return self._new(LogArray(a.format, np.where(mask, a.sign, b.sign), np.where(mask, a.log, b.log)))


@dataclass(frozen=True)
class Oracle:
    """An arithmetic, and the finer format that operands are encoded in first."""

    arithmetic: ss.LogArithmetic
    via: ss.LNS | None = None

    def numbers(self, x: torch.Tensor) -> Number:
        return Number(self, reference.encode(x.detach().numpy(), self.arithmetic.format, self.via))

    def narrowed(self, x: Number) -> Number:
        """Numbers of a finer arithmetic, narrowed to this one."""
        return Number(self, reference.convert(x.a, self.arithmetic.format))

    def matmul(self, a: Number, b: Number) -> Number:
        return Number(self, reference.matmul(a.a, b.a, self.arithmetic))

    def same(self, got: torch.Tensor, want: Number) -> None:
        """Code for code, and the carriers are exactly the numbers of the codes."""
        codes = self.arithmetic.format.encode(got.detach().numpy())
        expected = np.asarray(want.a.codes())
        assert codes.shape == expected.shape
        wrong = np.flatnonzero(codes != expected)
        assert not wrong.size, f"{wrong.size} of {codes.size} codes differ, first at {wrong[0]}"
        assert np.array_equal(got.detach().numpy(), want.a.numbers().astype(got.detach().numpy().dtype))
