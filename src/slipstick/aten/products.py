"""Matrix products and convolutions. Bias and beta*C are added in the operand arithmetic after the sum is rounded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.registry import defined
from slipstick.aten.signatures import Gradients
from slipstick.kernels import convolutions, elementary, products
from slipstick.kernels.convolutions import Geometry
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@chain
def _blend(c: Value, product: Value, beta: Value, alpha: Value) -> Value:
    return beta * c + alpha * product


@defined(aten.mm.default, aten.bmm.default)
def mm(run: "use", a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    return products.matmul(a, b, run.spec, run.operator, bias)


@defined(aten.mv.default)
def mv(run: "use", a: Tensor, x: Tensor) -> Tensor:
    return mm(run, a, x.unsqueeze(1)).squeeze(1)


@defined(aten.dot.default, aten.vdot.default)
def dot(run: "use", a: Tensor, b: Tensor) -> Tensor:
    return mm(run, a.unsqueeze(0), b.unsqueeze(1)).reshape(())


@defined(aten.addmm.default, aten.addmm_.default, aten.baddbmm.default, aten.baddbmm_.default)
def addmm(
    run: "use",
    c: Tensor,
    a: Tensor,
    b: Tensor,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta C + alpha (A B)."""
    if beta == 1 and alpha == 1 and out is None and c.shape == b.shape[-1:]:
        return mm(run, a, b, c)
    return _plus_product(run, c, mm(run, a, b), beta, alpha, out)


@defined(aten.addbmm.default, aten.addbmm_.default)
def addbmm(
    run: "use",
    c: Tensor,
    a: Tensor,
    b: Tensor,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta C + alpha sum_b (A_b B_b), as one product: terms (batch, k)."""
    rows, columns = a.permute(1, 0, 2).flatten(1), b.flatten(0, 1)
    return _plus_product(run, c, mm(run, rows, columns), beta, alpha, out)


@defined(aten._trilinear.default)
def trilinear(
    run: "use",
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand1: list[int],
    expand2: list[int],
    expand3: list[int],
    sumdim: list[int],
    unroll_dim: int = 1,
) -> Tensor:
    """sum(a b c) over ``sumdim``, each with new axes at its expand list; what nn.Bilinear is made of."""
    factors = []
    for x, axes in ((a, expand1), (b, expand2), (c, expand3)):
        for axis in sorted(axes):
            x = x.unsqueeze(axis)
        factors.append(x)
    product = run.chain(elementary.mul, run.chain(elementary.mul, factors[0], factors[1]), factors[2])
    return products.sum_over(product, sumdim, False, run.spec, run.operator) if sumdim else product


@defined(aten.addmv.default, aten.addmv_.default)
def addmv(
    run: "use",
    c: Tensor,
    a: Tensor,
    x: Tensor,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    return _plus_product(run, c, mv(run, a, x), beta, alpha, out)


def _plus_product(run: "use", c: Tensor, product: Tensor, beta: float, alpha: float, out: Tensor | None) -> Tensor:
    if beta == 1 and alpha == 1:
        return run.chain(elementary.add, c, product, out=product if out is None else out)
    return run.chain(_blend, c, product, beta, alpha, out=out)


@defined(aten.convolution.default, aten.convolution_overrideable.default, aten._convolution.default)
def convolution(
    run: "use",
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *flags: bool,
) -> Tensor:
    """Terms: input channel, kernel row, kernel column; a transposed convolution is an input gradient."""
    batched = x if x.dim() == w.dim() else x.unsqueeze(0)
    geometry = Geometry(stride, padding, dilation, groups)
    if transposed:
        shape = _transposed_shape(batched, w, geometry, output_padding)
        y = convolutions.convolution_input_gradient(batched, w, shape, run.spec, geometry, run.operator, bias)
    else:
        y = convolutions.convolution(batched, w, run.spec, geometry, run.operator, bias)
    return y if x.dim() == w.dim() else y.squeeze(0)


@defined(aten.convolution_backward.default)
def convolution_backward(
    run: "use",
    gy: Tensor,
    x: Tensor,
    w: Tensor,
    bias_sizes: list[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: list[bool],
) -> Gradients:
    """Input gradient: (output channel, kernel row, kernel column); weight gradient: (sample, row, column)."""
    geometry = Geometry(stride, padding, dilation, groups)
    gx: Tensor | None = None
    gw: Tensor | None = None
    gb: Tensor | None = None
    if output_mask[0] and transposed:
        gx = convolutions.convolution(gy, w, run.spec, geometry, operator=run.operator)
        gx = gx[tuple(map(slice, x.shape))]  # output padding can hold one more window
    elif output_mask[0]:
        gx = convolutions.convolution_input_gradient(gy, w, x.shape, run.spec, geometry, operator=run.operator)
    if output_mask[1]:
        small, large = (x, gy) if transposed else (gy, x)
        gw = convolutions.convolution_weight_gradient(small, large, w.shape, run.spec, geometry, operator=run.operator)
    if output_mask[2]:
        gb = products.sum_over(gy, [0, *range(2, gy.dim())], False, run.spec, run.operator)
    return gx, gw, gb


def _transposed_shape(x: Tensor, w: Tensor, geometry: Geometry, output_padding: Sequence[int]) -> list[int]:
    rank = w.dim() - 2
    extra = list(output_padding) * rank if len(output_padding) == 1 else output_padding
    spatial = [
        (size - 1) * s - 2 * p + d * (k - 1) + 1 + e
        for size, s, p, d, k, e in zip(x.shape[2:], *geometry.per_axis(rank), w.shape[2:], extra, strict=True)
    ]
    return [x.shape[0], w.shape[1] * geometry.groups, *spatial]


@defined(aten.linear.default)
def linear(run: "use", x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b. Reaches the mode only where PyTorch does not decompose it, as in inference mode."""
    return mm(run, x.reshape(-1, x.shape[-1]), w.t(), bias).reshape(*x.shape[:-1], w.shape[0])
