"""Attention that arrives as one fused operator: the mathematical form, forward and backward.

softmax((q sqrt(s)) (k sqrt(s))^T + mask) v, as PyTorch's own ``_scaled_dot_product_attention_math`` composes it; the
gradient is autograd's of that composition.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.differentiated import gradients_of
from slipstick.aten.registry import defined

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@defined(aten._scaled_dot_product_flash_attention_for_cpu_backward.default)
def flash_attention_backward(
    run: "use",
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor | None, ...]:
    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attended: Tensor = aten._scaled_dot_product_attention_math(q, k, v, attn_mask, 0.0, is_causal, scale=scale)[0]
        return attended

    return tuple(gradients_of(run, forward, (query, key, value), gradient))
