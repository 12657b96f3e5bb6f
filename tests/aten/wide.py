"""Comparing PyTorch programs in a wide format with the same programs in float64.

In LNS(6, 14) one rounding moves a number by at most half a log unit, the factor 2^(2^-15): U = 2.1e-5 relative. The
operands of every comparison lie on the grid, so an operator with one rounding is within U of the real result, and a
program of k roundings within k U (1 + small) of the magnitudes that meet in it. Carriers are float32: they add 2^-24 of
every operand, which matters only where operands cancel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

import slipstick as ss

FORMAT = ss.LNS(6, 14)
WIDE = ss.LogArithmetic(FORMAT)
U = 2.0 ** (2.0**-15) - 1
CARRIER = 2.0**-22

Program = Callable[..., Any]


def on_grid(x: torch.Tensor) -> torch.Tensor:
    """``x`` rounded to the wide grid, detached."""
    return ss.snap_(x.detach().clone(), FORMAT)


def randn(*shape: int, seed: int = 0, low: float = 0.0) -> torch.Tensor:
    """Normal numbers on the grid, magnitudes of at least ``low``."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 17))
    return on_grid(x.sign() * x.abs().clamp(min=low)) if low else on_grid(x)


def positive(*shape: int, seed: int = 0, low: float = 0.05) -> torch.Tensor:
    """Positive numbers on the grid, from ``low`` to about 3."""
    return on_grid(torch.rand(shape, generator=torch.Generator().manual_seed(seed + 71)) * 3 + low)


def assert_on_grid(x: torch.Tensor, format: ss.LNS = FORMAT) -> None:
    """Every number of ``x`` is exactly a number of ``format``."""
    assert torch.equal(format.decode(format.encode(x.detach())).to(x.dtype), x.detach())


def assert_within(
    got: torch.Tensor, want: torch.Tensor, roundings: float, magnitude: torch.Tensor | float, operands: float = 0.0
) -> None:
    """|got - want| <= roundings U magnitude, and the carriers' own error of ``operands``."""
    want = want.detach().double()
    assert got.shape == want.shape
    bound = roundings * U * torch.as_tensor(magnitude).double() + CARRIER * (want.abs() + operands)
    excess = ((got.detach().double() - want).abs() - bound).clamp(min=0)
    if excess.numel():
        at = int(excess.argmax())
        assert not excess.any(), (
            f"got {got.detach().flatten()[at].item()}, want {want.flatten()[at].item()}, "
            f"bound {bound.expand(want.shape).flatten()[at].item()}"
        )


def largest(tensors: Sequence[Any]) -> float:
    floats = [t for t in tensors if isinstance(t, torch.Tensor) and t.dtype.is_floating_point and t.numel()]
    return max((float(t.detach().abs().max()) for t in floats), default=0.0)


def differentiated(program: Program, inputs: Sequence[Any], dtype: torch.dtype | None) -> tuple[list, list]:
    """Floating outputs of ``program``, and the gradients of its floating inputs for fixed random cotangents."""
    leaves = [_leaf(x, dtype) for x in inputs]
    result = program(*leaves)
    outputs = [result] if isinstance(result, torch.Tensor) else list(result)
    sources = [x for x in leaves if isinstance(x, torch.Tensor) and x.requires_grad]
    live = [y for y in outputs if y.requires_grad]
    if not live or not sources:
        return outputs, []
    cotangents = [randn(*y.shape, seed=100 + i).to(y.dtype) for i, y in enumerate(live)]
    return outputs, list(torch.autograd.grad(live, sources, cotangents, allow_unused=True))


def check(
    program: Program,
    *inputs: Any,
    roundings: float = 1,
    gradient_roundings: float | None = None,
    elementwise: bool = False,
    grid: bool = True,
) -> None:
    """``program`` in the wide format equals float64 within ``roundings``, forward and backward.

    Magnitudes are each result itself where ``elementwise``, else the largest of the tensor. gradient_roundings None
    means twice the forward's and one more. grid: the outputs must lie on the grid.
    """
    with ss.use(WIDE):
        outputs, gradients = differentiated(program, inputs, None)
    wanted, wanted_gradients = differentiated(program, inputs, torch.float64)
    assert len(outputs) == len(wanted)
    assert len(gradients) == len(wanted_gradients)
    backward = 2 * roundings + 1 if gradient_roundings is None else gradient_roundings
    for got, want, count, tight in [
        *((g, w, roundings, elementwise) for g, w in zip(outputs, wanted, strict=True)),
        *((g, w, backward, False) for g, w in zip(gradients, wanted_gradients, strict=True)),
    ]:
        if want is None or got is None:
            assert got is want
        elif not want.dtype.is_floating_point:
            assert torch.equal(got, want)
        else:
            magnitude = want.detach().abs() if tight else largest([want])
            assert_within(got, want, count, magnitude, largest(inputs) if tight else magnitude)
            if grid:
                assert_on_grid(got)


def assert_says_what_to_do(refusal: ss.UnsupportedOperation) -> None:
    """One line that names what has no definition, or what to use instead."""
    text = str(refusal)
    assert "\n" not in text
    assert "not defined" in text or "use " in text


def _leaf(x: Any, dtype: torch.dtype | None) -> Any:
    if not isinstance(x, torch.Tensor) or not x.dtype.is_floating_point:
        return x
    return x.detach().clone().to(dtype or x.dtype).requires_grad_()
