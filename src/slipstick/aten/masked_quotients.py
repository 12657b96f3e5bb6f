"""Gradients in which PyTorch divides 0 by 0 and then overwrites the quotient, as of a norm at zero.

Autograd's formulas of these operators divide everything and afterwards fill or select by a mask; in floating point the
NaN between is lost. 0/0 has no code and raises, so in these formulas, and nowhere else, it counts as zero.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.signatures import Operand

if TYPE_CHECKING:
    from slipstick.aten.mode import use

_MASKING = frozenset(
    {
        "LinalgVectorNormBackward0",
        *(f"NormBackward{i}" for i in range(5)),
        "ForeachNormBackward0",
        "RenormBackward0",
        "StdBackward0",
        "StdMeanBackward0",
        "CumprodBackward0",
        "SincBackward0",
    }
)


def overwrites_quotients() -> bool:
    """Whether the operator is called by a gradient formula that overwrites what it got by 0/0."""
    node = torch._C._current_autograd_node()
    return node is not None and node.name() in _MASKING


def safe_divisor(run: "use", a: Tensor, b: Operand) -> Operand:
    """``b``, and 1 where both operands are zero."""
    if not isinstance(b, Tensor):
        return b
    return torch.where((run.snap(a) == 0) & (run.snap(b) == 0), 1.0, b)
