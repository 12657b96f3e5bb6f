"""Types that many operator signatures share."""

from collections.abc import Sequence

from torch import Tensor

Operand = Tensor | float
"""A tensor, or a host constant that is encoded from float64 at use."""

Ints = int | Sequence[int]
"""One size for every spatial axis, or one per axis."""

Dims = int | Sequence[int] | None
"""Axes of a reduction; None or nothing stands for all."""

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of input, weight and bias; None where the output mask asks for none."""
