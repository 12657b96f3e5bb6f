"""Interpolation: up- and down-sampling of images, and sampling at given places.

Where the samples lie, and with which weights, is geometry of the host, computed in float64 as PyTorch does; weights are
encoded at use. An axis at a time, the last first: the sum of samples times weights, in the arithmetic's order. The
gradient of an input number is the sum of gradients times weights in ascending output index, sequentially. PyTorch's
decompositions compute the places in the arithmetic instead, where pixel 100 of few fraction bits is not pixel 100.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from slipstick.aten.reductions import sum_of
from slipstick.aten.registry import defined
from slipstick.aten.scatter import scatter_sum
from slipstick.kernels import elementary

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten


@dataclass(frozen=True)
class _Taps:
    """Indices into one axis of the input, and their weights, both [output, taps]; None for weights of one."""

    index: Tensor
    weight: Tensor | None


def _scale(size: int, output: int, align_corners: bool, scale: float | None) -> float:
    if align_corners:
        return (size - 1) / (output - 1) if output > 1 else 0.0
    return 1.0 / scale if scale is not None and scale > 0 else size / output


def _nearest(size: int, output: int, scale: float | None, exact: bool) -> _Taps:
    step = np.float32(1.0 / scale if scale is not None and scale > 0 else size / output)
    places = (np.arange(output, dtype=np.float32) + np.float32(0.5 if exact else 0.0)) * step  # in float32, as PyTorch
    return _Taps(torch.from_numpy(np.floor(places).astype(np.int64)).clamp(max=size - 1)[:, None], None)


def _centres(output: int, step: float, align_corners: bool) -> Tensor:
    at = torch.arange(output, dtype=torch.float64)
    return at * step if align_corners else (at + 0.5) * step - 0.5


def _linear(size: int, output: int, align_corners: bool, scale: float | None) -> _Taps:
    at = _centres(output, _scale(size, output, align_corners, scale), align_corners).clamp(min=0)
    low = at.floor().long().clamp(max=size - 1)
    weight = at - low
    return _Taps(torch.stack([low, (low + 1).clamp(max=size - 1)], 1), torch.stack([1 - weight, weight], 1))


_CUBIC = -0.75


def _cubic_weights(t: Tensor, a: float = _CUBIC) -> Tensor:
    """Keys' cubic convolution at the distances 1 + t, t, 1 - t, 2 - t."""

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return torch.stack([far(t + 1), near(t), near(1 - t), far(2 - t)], 1)


def _cubic(size: int, output: int, align_corners: bool, scale: float | None) -> _Taps:
    at = _centres(output, _scale(size, output, align_corners, scale), align_corners)
    low = at.floor()
    index = (low.long()[:, None] + torch.arange(-1, 3)).clamp(0, size - 1)
    return _Taps(index, _cubic_weights(at - low))


def _smoothed(
    size: int, output: int, align_corners: bool, scale: float | None, radius: float, kernel: Callable[[Tensor], Tensor]
) -> _Taps:
    """Antialiased: the kernel is widened by the factor of reduction and its weights normalised."""
    step = _scale(size, output, align_corners, scale)
    widened = max(step, 1.0)
    support = radius * widened
    centre = step * (torch.arange(output, dtype=torch.float64) + 0.5)
    first = (centre - support + 0.5).long().clamp(min=0)
    last = (centre + support + 0.5).long().clamp(max=size)
    index = first[:, None] + torch.arange(int((last - first).max()))
    weight = kernel(((index - centre[:, None] + 0.5) / widened).abs())
    weight = torch.where(index < last[:, None], weight, 0.0)
    return _Taps(index.clamp(max=size - 1), weight / weight.sum(1, keepdim=True))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic_kernel(x: Tensor, a: float = -0.5) -> Tensor:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _resample(run: "use", x: Tensor, taps: Sequence[_Taps]) -> Tensor:
    rank = len(taps)
    y = run.snap(x)
    for axis in reversed(range(rank)):
        at, tap = x.dim() - rank + axis, taps[axis]
        gathered = y.index_select(at, tap.index.reshape(-1)).unflatten(at, tap.index.shape)
        if tap.weight is None:
            y = gathered.squeeze(at + 1)
            continue
        weight = tap.weight.reshape(*tap.weight.shape, *[1] * (rank - 1 - axis))
        terms = run.chain(elementary.mul, gathered, weight).to(x.dtype)
        y = sum_of(run, terms, [at + 1])
    return y


def _resample_backward(run: "use", gradient: Tensor, shape: Sequence[int], taps: Sequence[_Taps]) -> Tensor:
    rank = len(taps)
    g = gradient
    for axis, tap in enumerate(taps):
        at = len(shape) - rank + axis
        moved = g.movedim(at, -1)
        if tap.weight is None:
            terms = moved
        else:
            terms = run.chain(elementary.mul, moved[..., None], tap.weight).to(gradient.dtype).flatten(-2)
        g = scatter_sum(run, terms.contiguous(), tap.index.reshape(-1), shape[at]).movedim(-1, at)
    return g.contiguous()


_SCALES: dict[int, tuple[str, ...]] = {
    1: ("scales",),
    2: ("scales_h", "scales_w"),
    3: ("scales_d", "scales_h", "scales_w"),
}


def _define(name: str, rank: int, taps: Callable[..., _Taps], aligns: bool) -> None:
    """Both directions of one operator; ``aligns``: whether it takes align_corners."""
    if not hasattr(aten, name):
        return
    names = (("align_corners",) if aligns else ()) + _SCALES[rank]

    def geometry(
        input_size: Sequence[int], output_size: Sequence[int], options: tuple[Any, ...], named: dict[str, Any]
    ) -> list[_Taps]:
        values = [*options, *(named.get(n) for n in names[len(options) :])]
        corners, scales = (values[:1], values[1:]) if aligns else ([], values)
        sizes = zip(input_size[-rank:], output_size, scales, strict=True)
        return [taps(size, output, *corners, scale) for size, output, scale in sizes]

    @defined(getattr(aten, name).default)
    def upsample(run: "use", x: Tensor, output_size: Sequence[int], *options: Any, **named: Any) -> Tensor:
        return _resample(run, x, geometry(x.shape, output_size, options, named))

    @defined(getattr(aten, f"{name}_backward").default)
    def upsample_backward(
        run: "use",
        gradient: Tensor,
        output_size: Sequence[int],
        input_size: Sequence[int],
        *options: Any,
        **named: Any,
    ) -> Tensor:
        return _resample_backward(run, gradient, input_size, geometry(input_size, output_size, options, named))


for _rank in (1, 2, 3):
    _define(f"upsample_nearest{_rank}d", _rank, lambda s, o, scale: _nearest(s, o, scale, False), False)
    _define(f"_upsample_nearest_exact{_rank}d", _rank, lambda s, o, scale: _nearest(s, o, scale, True), False)
for _name, _rank in (("upsample_linear1d", 1), ("upsample_bilinear2d", 2), ("upsample_trilinear3d", 3)):
    _define(_name, _rank, _linear, True)
_define("upsample_bicubic2d", 2, _cubic, True)
_define("_upsample_bilinear2d_aa", 2, partial(_smoothed, radius=1.0, kernel=_triangle), True)
_define("_upsample_bicubic2d_aa", 2, partial(_smoothed, radius=2.0, kernel=_cubic_kernel), True)
