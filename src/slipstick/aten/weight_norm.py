"""Weight normalisation (Salimans & Kingma 2016, arXiv 1602.07868): w = v (g / |v|). The forward part is decomposed."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.reductions import sum_of
from slipstick.aten.registry import defined
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def _gradient_of_direction(gradient: Value, v: Value, g: Value, norm: Value, along: Value) -> Value:
    return (gradient - v * (along / (norm * norm))) * (g / norm)


@defined(aten._weight_norm_interface_backward.default)
def weight_norm_backward(
    run: "use", gradient: Tensor, v: Tensor, g: Tensor, norms: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    """With s = sum(gradient v) for each g: dv = (gradient - v (s / |v|^2)) (g / |v|), dg = s / |v|."""
    reduced = [d for d in range(v.dim()) if norms.shape[d] == 1 and d != dim]
    along = sum_of(run, run.coded(elementary.mul, gradient, v), reduced, keepdim=True)
    dv = run.chain(_gradient_of_direction, gradient, v, g, norms, along)
    return dv, run.chain(elementary.div, along, norms)
