"""How far a right result in LNS(6, 14) may lie from PyTorch's float32 result: a bound from the format, no tolerance.

One rounding of the format moves a number by at most U = 2^(2^-15) - 1 = 2.1e-5 of itself. A program of k roundings is
therefore, to first order, the exact program of operands that were each moved by a few U, plus U of each result:

    |got - want| <= R (D + U |want|) + F

D, the condition, is measured as in Monte Carlo arithmetic (Parker 1997): the largest change of this element over
``DRAWS`` runs of PyTorch's own float32 program in which every operand and the result of every ATen operator that
computes (forward and backward, after PyTorch's own decompositions) is moved by a random factor, 1 +- U/2 to 1 +- U. For
a sum D is a fraction of U times
the sum of magnitudes; where numbers cancel it is larger than U |want|; at a step it is the height of the step.
R, the roundings: ``ROUNDINGS`` inside one operator, of which PyTorch shows only the result, by a factor for what six
draws may miss of the worst case; or sqrt(n / 2) where an operand or a result has n > 128 numbers, since every partial
sum of n terms rounds, and partial sums of n independent terms are that much larger than what D knows of them.
F, the floor: what underflows becomes the smallest magnitude, 2^-64, and may meet two numbers as large as the largest
operand or result, in R terms; and the carriers' 2^-22 of the largest result.

An element whose bound exceeds ``BLUNT`` of the largest magnitude of its tensor would accept anything: a sample of which
most elements are like that says nothing and is left out.
"""

import math
from collections.abc import Callable

import torch
from samples import Unfit
from torch import Tensor
from torch._decomp import decomposition_table
from torch._ops import OpOverload
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from wide import U

from slipstick.aten.registry import MOVES, SELECTIONS

aten = torch.ops.aten

DRAWS = 6
ROUNDINGS = 8.0
BLUNT = 0.05
SMALLEST = 2.0**-64
LARGEST = 2.0**60


def moved(seed: int) -> Callable[[Tensor], Tensor]:
    """A change of operands by one rounding each."""
    generator = torch.Generator().manual_seed(seed)

    def change(x: Tensor) -> Tensor:
        size = torch.rand(x.shape, generator=generator) / 2 + 0.5
        sign = torch.rand(x.shape, generator=generator).sub(0.5).sign()
        return (x * (1 + U * size * sign)).to(x.dtype)

    return change


class Roundings(TorchDispatchMode):
    """Moves the result of every operator that computes, as a rounding would; with no change it only looks for NaN."""

    def __init__(self, change: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self._change = change

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self._change is not None and func in decomposition_table and not _is_one_step(func):
            with self:
                result = decomposition_table[func](*args, **kwargs)
            if result is not NotImplemented:
                return result
        if self._change is not None and func is aten.grid_sampler_2d_backward.default:
            return self._gradients_of_grid_sampler(*args)
        result = func(*args, **kwargs)
        tensors = [y for y in tree_leaves(result) if isinstance(y, Tensor)]
        # A zero tensor has no memory; reading it kills the process.
        floats = [y for y in tensors if y.dtype.is_floating_point and not y._is_zerotensor()]
        if self._change is None:
            # Moves make no NaN, but fresh memory may hold some.
            if func not in MOVES and any(y.isnan().any() for y in floats):
                raise Unfit("NaN on the way")
            return result
        if func in MOVES or func in SELECTIONS or func.is_view:
            return result
        if func._schema.is_mutable:
            for y in floats:
                y.copy_(self._change(y))
            return result
        return tree_map(lambda y: self._change(y) if any(y is x for x in floats) else y, result)

    def _gradients_of_grid_sampler(self, gradient, x, grid, *options):
        """Of its decomposition, since PyTorch has none for the gradient itself."""
        *options, wanted = options
        with enable_reentrant_dispatch(), torch.enable_grad(), self:
            leaves = [x.detach().requires_grad_(), grid.detach().requires_grad_()]
            y = decomposition_table[aten.grid_sampler_2d.default](*leaves, *options)
            found = torch.autograd.grad(y, leaves, gradient)
        return tuple(g if w else None for g, w in zip(found, wanted, strict=True))


def _is_one_step(func: OpOverload) -> bool:
    """What has no steps that round, or draws random numbers, which a decomposition would draw differently."""
    if func.namespace == "prims" or func.is_view or func._schema.is_mutable or func in MOVES or func in SELECTIONS:
        return True
    return torch.Tag.nondeterministic_seeded in func.tags or torch.Tag.pointwise in func.tags


def condition(want: list[Tensor], draws: list[list[Tensor]]) -> list[Tensor]:
    """The largest change of every element; infinite where an integer or a flag changed."""
    changes = [torch.zeros(y.shape, dtype=torch.float64) for y in want]
    for draw in draws:
        for i, (y, z) in enumerate(zip(want, draw, strict=True)):
            if y.shape != z.shape:
                changes[i] = changes[i] + math.inf
            elif y.dtype.is_floating_point:
                change = (z.double() - y.double()).abs().nan_to_num(nan=0.0, posinf=math.inf)
                changes[i] = torch.maximum(changes[i], change)
            else:
                changes[i] = torch.where(z == y, changes[i], math.inf)
    return changes


def bounds(want: list[Tensor], changes: list[Tensor], operands: list[Tensor]) -> list[Tensor]:
    """The bound of every element."""
    roundings = max(ROUNDINGS, math.sqrt(max((x.numel() for x in (*operands, *want)), default=0) / 2))
    floor = roundings * SMALLEST * max(1.0, *(largest(x) for x in (*operands, *want) if x.dtype.is_floating_point)) ** 2
    return [
        roundings * (change + U * y.double().abs()) + floor + 2.0**-22 * largest(y)
        if y.dtype.is_floating_point
        else change
        for y, change in zip(want, changes, strict=True)
    ]


def says_something(want: list[Tensor], limits: list[Tensor]) -> bool:
    """Whether some tensor's bounds are sharp for at least half of its elements."""
    for y, limit in zip(want, limits, strict=True):
        sharp = limit <= BLUNT * largest(y) if y.dtype.is_floating_point else limit == 0
        if not y.numel() or float(sharp.double().mean()) >= 0.5 or (y.dtype.is_floating_point and not y.any()):
            return True
    return not want


def excess(got: list[Tensor], want: list[Tensor], limits: list[Tensor]) -> float:
    """The largest |got - want| as a multiple of its bound; infinite where shapes, types or integers differ."""
    worst = 0.0
    if len(got) != len(want):
        return math.inf
    for x, y, limit in zip(got, want, limits, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            return math.inf
        if not y.numel():
            continue
        if y.dtype.is_floating_point:
            worst = max(worst, float(((x.double() - y.double()).abs() / limit).nan_to_num(nan=math.inf).max()))
        elif bool(((x != y) & (limit == 0)).any()):
            return math.inf
    return worst


def largest(x: Tensor) -> float:
    return float(x.detach().double().abs().max()) if x.numel() else 0.0
