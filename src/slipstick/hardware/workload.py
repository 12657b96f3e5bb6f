"""What a training step asks of hardware: the products of every matrix multiplication and convolution, by role.

Counted while PyTorch runs one step, so of any model; on the device "meta" it takes no memory and no time. Products of
two numbers are counted as they are written: a convolution has one for every output and tap, the border included.

Roles, of a layer that makes Y of inputs X and weights W: Y of X and W ("forward"); the gradient of X, of that of Y and
of W ("input_gradient"); the gradient of W, of X and that of Y ("weight_gradient"). A product of two activations, as in
attention, has only input gradients.

Traffic is a lower bound, the least that has to move: every operand of a product is read once and every result written
once, whatever a cache would save or a tiling would repeat.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from slipstick.errors import SpecificationError

Role = Literal["forward", "input_gradient", "weight_gradient"]
ROLES: tuple[Role, ...] = get_args(Role)

Kind = Literal["weight", "activation", "gradient", "weight_gradient"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Of tensors. gradient: of an activation."""

_aten = torch.ops.aten
MATRICES = {_aten.mm.default: 0, _aten.bmm.default: 0, _aten.addmm.default: 1, _aten.baddbmm.default: 1}
"""Operators, and the argument that is their first factor."""

_FUSED_ATTENTION = "_scaled_dot_product"


@dataclass(frozen=True)
class Product:
    """One matrix multiplication or convolution. products: of two numbers; numbers: how many of each kind of tensor it
    reads and writes."""

    operator: str
    role: Role
    products: int
    numbers: tuple[tuple[Kind, int], ...]


@dataclass(frozen=True)
class Workload:
    """Of one training step of ``batch`` samples."""

    batch: int
    all: tuple[Product, ...]

    def products(self, role: Role | None = None) -> int:
        """Of one role, or of all."""
        return sum(each.products for each in self.all if role in (None, each.role))

    def numbers(self, kind: Kind) -> int:
        """Read and written, of one kind of tensor."""
        return sum(count for each in self.all for found, count in each.numbers if found == kind)


def training_step(model: nn.Module, inputs: torch.Tensor, loss: Callable[[Any], torch.Tensor]) -> Workload:
    """The products of ``loss(model(inputs)).backward()``; the gradients of the model are cleared.

    inputs: (N, ...). Attention runs by its mathematical form, as two products.
    Raises SpecificationError for a step without any product.
    """
    counter = _Counter(model.parameters())
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(counter)
        loss(model(inputs)).backward()
    model.zero_grad(set_to_none=True)
    if not counter.found:
        raise SpecificationError(f"{type(model).__name__}: a step without matrix products; there is nothing to count")
    return Workload(len(inputs), tuple(counter.found))


class Storages:
    """Which tensors are weights, and which were inputs of a forward product."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self._weights = {_storage(parameter) for parameter in parameters}
        self._inputs: dict[int, torch.UntypedStorage] = {}  # held, so that no other tensor takes their place

    def is_weight(self, tensor: torch.Tensor) -> bool:
        return _storage(tensor) in self._weights

    def is_input(self, tensor: torch.Tensor) -> bool:
        return _storage(tensor) in self._inputs

    def saw_input(self, tensor: torch.Tensor) -> None:
        self._inputs[_storage(tensor)] = tensor.untyped_storage()


def role_of_matrices(storages: Storages, a: torch.Tensor, b: torch.Tensor) -> tuple[Role, bool]:
    """The role of a product of matrices, or of batches of them, that autograd makes now; and whether ``b`` is the
    activation (of "input_gradient" the gradient), ``a`` the other factor."""
    if not _in_backward():
        return "forward", storages.is_weight(a)
    if storages.is_weight(a) or storages.is_weight(b) or a.dim() > 2:
        return "input_gradient", storages.is_weight(a)
    return "weight_gradient", storages.is_input(b)


class _Counter(TorchDispatchMode):
    """Sees every operator below autograd."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages = Storages(parameters)
        self.found: list[Product] = []

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        if operator in MATRICES:
            first = MATRICES[operator]
            self._multiplication(operator, args[first], args[first + 1], result)
        elif operator is _aten.convolution.default:
            self._add(operator, "forward", args[0], args[1], result, taps(args[0], args[1], result, args[6]))
        elif operator is _aten.convolution_backward.default:
            self._convolution_backward(operator, args, result)
        elif _FUSED_ATTENTION in str(operator):
            raise SpecificationError(f"{operator}: a fused attention is not counted; use the mathematical form")
        return result

    def _multiplication(self, operator: Any, a: torch.Tensor, b: torch.Tensor, result: torch.Tensor) -> None:
        role, swapped = role_of_matrices(self._storages, a, b)
        self._add(operator, role, *((b, a) if swapped else (a, b)), result, result.numel() * a.shape[-1])

    def _convolution_backward(self, operator: Any, args: tuple[Any, ...], result: Any) -> None:
        gradient, x, weight, transposed = args[0], args[1], args[2], args[7]
        products = taps(x, weight, gradient, transposed)
        if result[0] is not None:
            self._add(operator, "input_gradient", gradient, weight, result[0], products)
        if result[1] is not None:
            self._add(operator, "weight_gradient", x, gradient, result[1], products)

    def _add(
        self, operator: Any, role: Role, a: torch.Tensor, b: torch.Tensor, result: torch.Tensor, products: int
    ) -> None:
        if role == "forward":
            self._storages.saw_input(a)
        kinds = self._kinds(role, b)
        numbers = tuple((kind, tensor.numel()) for kind, tensor in zip(kinds, (a, b, result), strict=True))
        self.found.append(Product(str(operator), role, products, numbers))

    def _kinds(self, role: Role, second: torch.Tensor) -> tuple[Kind, Kind, Kind]:
        """Of both factors and the result."""
        if role == "weight_gradient":
            return "activation", "gradient", "weight_gradient"
        other: Kind = "weight" if self._storages.is_weight(second) else "activation"
        return ("activation", other, "activation") if role == "forward" else ("gradient", other, "gradient")


def taps(x: torch.Tensor, weight: torch.Tensor, result: torch.Tensor, transposed: bool) -> int:
    """Products of two numbers in a convolution."""
    return (x if transposed else result).numel() * weight[0].numel()


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def _storage(tensor: torch.Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number
