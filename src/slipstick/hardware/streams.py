"""The numbers that the multipliers of a training step would see: a sample of its dot products, term by term.

What a unit consumes depends on what flows through it. The products of a step in float32 are sampled as they are
computed; every unit is then fed the same numbers in its own format, so that units and not trainings are compared.
Terms stand in the order in which the arithmetic sums them: matrix products by ascending index, convolutions by
(channel, kernel row, kernel column), gradients of kernels by (sample, row, column); padding and stride gaps are zeros.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from slipstick.errors import SpecificationError
from slipstick.hardware.workload import MATRICES, Role, Storages, role_of_matrices, taps

_aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Stream:
    """Sampled dot products of one product of tensors.

    a, b: float32 [dots, terms], a the activation (in "input_gradient" the gradient), b the weight (in
    "weight_gradient" the gradient). a_maximum, b_maximum: the largest magnitude of the whole tensors. products: how
    many products of two numbers the whole takes.
    """

    operator: str
    role: Role
    a: NDArray[np.float32]
    b: NDArray[np.float32]
    a_maximum: float
    b_maximum: float
    products: int


def record(
    model: nn.Module, inputs: torch.Tensor, loss: Callable[[Any], torch.Tensor], *, dots: int = 16, seed: int = 0
) -> list[Stream]:
    """Of ``loss(model(inputs)).backward()``; ``dots`` dot products of every product. Gradients are cleared after it.

    Convolutions are of two dimensions, without groups and dilation; others are left out. The choice is that of a
    generator with ``seed``. Raises SpecificationError where there is nothing to record.
    """
    recorder = _Recorder(model.parameters(), dots, seed)
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(recorder)
        loss(model(inputs)).backward()
    model.zero_grad(set_to_none=True)
    if not recorder.streams:
        raise SpecificationError(f"{type(model).__name__}: no product whose operands could be recorded")
    return recorder.streams


class _Recorder(TorchDispatchMode):
    def __init__(self, parameters: Iterable[torch.Tensor], dots: int, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages = Storages(parameters)
        self._dots = dots
        self._generator = np.random.default_rng(seed)
        self.streams: list[Stream] = []

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        if operator in MATRICES:
            first = MATRICES[operator]
            self._matrices(operator, args[first], args[first + 1], result)
        elif operator is _aten.convolution.default and _is_plain(args[4:], args[1]):
            products = taps(args[0], args[1], result, transposed=False)
            self._convolution(operator, args[0], args[1], _Window.of(args[1], args[3], args[4]), products)
        elif operator is _aten.convolution_backward.default and _is_plain(args[5:], args[2]):
            window = _Window.of(args[2], args[4], args[5])
            self._convolution_backward(operator, args[0], args[1], args[2], window, args[10])
        return result

    def _matrices(self, operator: Any, a: torch.Tensor, b: torch.Tensor, result: torch.Tensor) -> None:
        role, swapped = role_of_matrices(self._storages, a, b)
        batch, row, column = (
            self._choice(size) for size in (a.shape[0] if a.dim() == 3 else 1, a.shape[-2], b.shape[-1])
        )
        rows = a[batch, row] if a.dim() == 3 else a[row]
        columns = b[batch, :, column] if b.dim() == 3 else b[:, column].T
        pair = ((columns, rows), (b, a)) if swapped else ((rows, columns), (a, b))
        self._add(operator, role, *pair, result.numel() * a.shape[-1])

    def _convolution(
        self, operator: Any, x: torch.Tensor, weight: torch.Tensor, window: "_Window", products: int
    ) -> None:
        patches = window.patches(x)
        sample, position, output = (self._choice(n) for n in (patches.shape[0], patches.shape[2], weight.shape[0]))
        pair = (patches[sample, :, position], weight.flatten(1)[output])
        self._add(operator, "forward", pair, (x, weight), products)

    def _convolution_backward(
        self,
        operator: Any,
        gradient: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        window: "_Window",
        wanted: list[bool],
    ) -> None:
        products = taps(x, weight, gradient, transposed=False)
        if wanted[0]:  # a convolution of the gradient, with gaps of zeros, and the turned kernels
            patches = F.unfold(window.spread(gradient, x.shape), window.kernel)
            turned = weight.flip(2, 3).transpose(0, 1).flatten(1)
            sample, position, channel = (self._choice(n) for n in (patches.shape[0], patches.shape[2], x.shape[1]))
            pair = (patches[sample, :, position], turned[channel])
            self._add(operator, "input_gradient", pair, (gradient, weight), products)
        if wanted[1]:
            patches = window.patches(x).transpose(0, 1)
            tap, output = (self._choice(n) for n in (patches.shape[0], weight.shape[0]))
            pair = (patches[tap].flatten(1), gradient.transpose(0, 1)[output].flatten(1))
            self._add(operator, "weight_gradient", pair, (x, gradient), products)

    def _choice(self, size: int) -> torch.Tensor:
        return torch.from_numpy(self._generator.integers(size, size=self._dots))

    def _add(
        self,
        operator: Any,
        role: Role,
        pair: tuple[torch.Tensor, torch.Tensor],
        tensors: tuple[torch.Tensor, torch.Tensor],
        products: int,
    ) -> None:
        if role == "forward":
            self._storages.saw_input(tensors[0])
        a, b = (part.detach().float().contiguous().numpy() for part in pair)
        a_maximum, b_maximum = (float(tensor.detach().abs().max()) for tensor in tensors)
        self.streams.append(Stream(str(operator), role, a, b, a_maximum, b_maximum, products))


def _is_plain(rest: tuple[Any, ...], weight: torch.Tensor) -> bool:
    """Whether ``F.unfold`` has what is summed. rest: padding, dilation, transposed, output padding, groups."""
    padding, dilation, transposed, _, groups = rest[:5]
    inside = all(pad < size for pad, size in zip(padding, weight.shape[2:], strict=False))
    return weight.dim() == 4 and not transposed and groups == 1 and all(d == 1 for d in dilation) and inside


@dataclass(frozen=True)
class _Window:
    """How a convolution of two dimensions moves over its input."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def of(cls, weight: torch.Tensor, stride: list[int], padding: list[int]) -> "_Window":
        return cls((weight.shape[2], weight.shape[3]), (stride[0], stride[-1]), (padding[0], padding[-1]))

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """Samples, terms, positions."""
        return F.unfold(x, self.kernel, padding=self.padding, stride=self.stride)

    def spread(self, gradient: torch.Tensor, of: torch.Size) -> torch.Tensor:
        """With gaps of zeros and a border, so that every position of the input (shape ``of``) has a window."""
        size = [length + taps - 1 for length, taps in zip(of[2:], self.kernel, strict=True)]
        spread = gradient.new_zeros(*gradient.shape[:2], *size)
        rows, columns = (
            slice(taps - 1 - pad, taps - pad + (count - 1) * step, step)
            for taps, pad, count, step in zip(self.kernel, self.padding, gradient.shape[2:], self.stride, strict=True)
        )
        spread[:, :, rows, columns] = gradient
        return spread
