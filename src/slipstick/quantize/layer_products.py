"""The products of a linear or convolution layer by LinearAccumulate, as autograd sees them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from slipstick.arithmetic import LinearAccumulate
from slipstick.errors import SpecificationError, UnsupportedOperation
from slipstick.formats import MultiBaseLNS
from slipstick.kernels import convolutions, products
from slipstick.kernels.convolutions import Geometry
from slipstick.kernels.linear_spec import ScaledSums, linear_spec
from slipstick.quantize.quantizer import TensorQuantizer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class LayerProduct:
    """What the products of one layer need. geometry: of a convolution; None for a linear layer.

    gradient: rounds what comes back; None where it is left as it is. backward: whether the backward products are
    LinearAccumulate too.
    """

    arithmetic: LinearAccumulate
    geometry: Geometry | None
    activation: TensorQuantizer
    weight: TensorQuantizer
    gradient: TensorQuantizer | None
    backward: bool

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The layer's output of a rounded ``x`` and a rounded ``weight``."""
        y = cast(torch.Tensor, _Product.apply(x, weight, self))  # type: ignore[no-untyped-call]
        if bias is None:
            return y
        return y + (bias if self.geometry is None else bias.view(-1, *(1,) * (weight.dim() - 2)))

    def sums(self, *scales: torch.Tensor) -> ScaledSums:
        """The kernel's view, with what one unit of a sum is worth at these scales of the operands."""
        unit = torch.ones((), dtype=torch.float64)
        for scale in scales:
            unit = unit * scale.double()
        return ScaledSums(linear_spec(self.arithmetic), unit.reshape(-1) * 2.0**self.arithmetic.lsb)


def geometry_of(module: nn.Module) -> Geometry | None:
    """Of a convolution; None for a linear layer. Raises SpecificationError for what has no such products."""
    if isinstance(module, nn.Linear):
        return None
    if not isinstance(module, CONVOLUTIONS):
        raise SpecificationError(f"product: {type(module).__name__} has none; give its layers full_precision = true")
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise SpecificationError(
            f"product: padding = {module.padding!r} of mode {module.padding_mode!r}: give numbers and mode 'zeros'"
        )
    return Geometry(module.stride, module.padding, module.dilation, module.groups)


def signed_logs(x: torch.Tensor, format: MultiBaseLNS, scale: torch.Tensor) -> torch.Tensor:
    """The kernels' operands (int16) of numbers on the grid: 0 for zero, else +-(x + 1) of the logarithm's code x."""
    codes = format.encode(x, scale=scale)
    return _signed_logs_of_codes(format).index_select(0, codes.reshape(-1)).view(codes.shape)


@lru_cache(maxsize=64)
def _signed_logs_of_codes(format: MultiBaseLNS) -> torch.Tensor:
    log = torch.arange(1 << (format.bits - 1), dtype=torch.int16)
    magnitude = log + (log > 0).to(torch.int16) if format.zero else log + 1
    return torch.cat([magnitude, -magnitude])


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, product: LayerProduct) -> torch.Tensor:
        a, a_scale = _operand(x, product.activation)
        w, w_scale = _operand(weight, product.weight)
        ctx.product, ctx.scales, ctx.shapes = product, (a_scale, w_scale), (x.shape, weight.shape)
        if product.backward:
            ctx.save_for_backward(a, w)
        else:
            ctx.save_for_backward(x, weight)
        return _forward(a, w, product, product.sums(w_scale, a_scale))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        product: LayerProduct = ctx.product
        x, w = ctx.saved_tensors
        needs_x, needs_w, _ = ctx.needs_input_grad
        if product.gradient is not None:
            dy = product.gradient.rounded(dy)
        if not product.backward:
            return *_float_gradients(x, w, dy, product.geometry, needs_x, needs_w), None
        assert product.gradient is not None
        e, e_scale = _operand(dy, product.gradient)
        a_scale, w_scale = ctx.scales
        x_shape, w_shape = ctx.shapes
        dx = _input_gradient(e, w, x_shape, product, product.sums(w_scale, e_scale)) if needs_x else None
        dw = _weight_gradient(e, x, w_shape, product, product.sums(a_scale, e_scale)) if needs_w else None
        return dx, dw, None


def _operand(x: torch.Tensor, quantizer: TensorQuantizer) -> tuple[torch.Tensor, torch.Tensor]:
    """Signed logs of a tensor that ``quantizer`` has just rounded, and the scale that it used."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        raise UnsupportedOperation(
            f"{quantizer.where}: products of {x.dtype} on {x.device.type} have no kernel; use float32 on the CPU"
        )
    format = quantizer.spec.format
    assert isinstance(format, MultiBaseLNS)
    scale = torch.ones(()) if quantizer.used_scale is None else quantizer.used_scale
    return signed_logs(x, format, scale), scale


def _forward(a: torch.Tensor, w: torch.Tensor, product: LayerProduct, sums: ScaledSums) -> torch.Tensor:
    if product.geometry is not None:
        batched = a if a.dim() == w.dim() else a[None]
        y = convolutions.convolution(batched, w, sums, product.geometry)
        return y if a.dim() == w.dim() else y[0]
    y = products.matmul(w, a.reshape(-1, a.shape[-1]).t(), sums).t()  # rows are outputs: each may have its scale
    return y.reshape(*a.shape[:-1], w.shape[0])


def _input_gradient(
    e: torch.Tensor, w: torch.Tensor, shape: torch.Size, product: LayerProduct, sums: ScaledSums
) -> torch.Tensor:
    if product.geometry is None:
        return products.matmul(e.reshape(-1, e.shape[-1]), w, sums).reshape(shape)
    batched = e if e.dim() == w.dim() else e[None]
    full = shape if len(shape) == w.dim() else (1, *shape)
    return convolutions.convolution_input_gradient(batched, w, full, sums, product.geometry).reshape(shape)


def _weight_gradient(
    e: torch.Tensor, a: torch.Tensor, shape: torch.Size, product: LayerProduct, sums: ScaledSums
) -> torch.Tensor:
    if product.geometry is None:
        return products.matmul(e.reshape(-1, e.shape[-1]).t(), a.reshape(-1, a.shape[-1]), sums)
    if a.dim() < len(shape):
        e, a = e[None], a[None]
    return convolutions.convolution_weight_gradient(e, a, shape, sums, product.geometry)


def _float_gradients(
    x: torch.Tensor, w: torch.Tensor, dy: torch.Tensor, geometry: Geometry | None, needs_x: bool, needs_w: bool
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """PyTorch's own float32 products."""
    if geometry is None:
        dx = dy @ w if needs_x else None
        dw = dy.reshape(-1, dy.shape[-1]).t() @ x.reshape(-1, x.shape[-1]) if needs_w else None
        return dx, dw
    rank = w.dim() - 2
    batched = x.dim() == w.dim()
    dx, dw, _ = torch.ops.aten.convolution_backward(
        dy if batched else dy[None],
        x if batched else x[None],
        w,
        None,
        *(list(each) for each in geometry.per_axis(rank)),
        False,
        [0] * rank,
        geometry.groups,
        [needs_x, needs_w, False],
    )
    return dx if batched or dx is None else dx[0], dw
