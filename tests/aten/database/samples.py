"""Sample inputs of PyTorch's own operator and module databases, as programs that can be differentiated.

What carries no meaning in the arithmetic is left out by a rule; ``Unfit`` carries the rule's name.
"""

import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.func import functional_call
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map
from wide import on_grid, randn

OPERATORS = {f"{op.name}.{op.variant_test_name}".rstrip("."): op for op in op_db}
MODULES = {f"nn.{info.name.removeprefix('nn.')}": info for info in module_db}
NAMES = (*OPERATORS, *(f"{name} {mode}" for name in MODULES for mode in ("training", "evaluation")))

aten = torch.ops.aten

UNINITIALISED = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
"""Only their shapes can be compared."""

Change = Callable[[Tensor], Tensor]
WITHOUT_CODES = (torch.float16, torch.bfloat16, torch.complex32, torch.complex64, torch.complex128)


class Unfit(Exception):
    """A sample that the comparison leaves out; the message is the rule's name."""


@dataclass(frozen=True)
class Program:
    """``call(*args, **kwargs)`` of a sample; floating tensors among the arguments are on the grid."""

    call: Callable[..., Any]
    args: Any
    kwargs: Any
    differentiable: bool = True

    def results(self, change: Change = lambda x: x) -> list[Tensor]:
        """Outputs, then gradients of the inputs for fixed cotangents; every floating input is passed by ``change``.

        Random numbers are the same at every call.
        """
        torch.manual_seed(0)
        leaves: list[Tensor] = []

        def leaf(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            copy = change(x.detach().clone()) if x.dtype.is_floating_point else x.detach().clone()
            if x.requires_grad:
                leaves.append(copy.requires_grad_())
            return copy

        args, kwargs = tree_map(leaf, (self.args, self.kwargs))
        outputs = [y for y in tree_leaves(self.call(*args, **kwargs)) if isinstance(y, Tensor)]
        live = [y for y in outputs if y.requires_grad and y.dtype.is_floating_point] if self.differentiable else []
        gradients: tuple[Tensor | None, ...] = ()
        if live and leaves:
            cotangents = [change(randn(*y.shape, seed=100 + i).to(y.dtype)) for i, y in enumerate(live)]
            gradients = torch.autograd.grad(live, leaves, cotangents, allow_unused=True)
        return [y.detach() for y in (*outputs, *gradients) if y is not None]


def programs(name: str) -> Iterator[Program | Unfit]:
    """The samples of one entry of ``NAMES``; the same ones at every call."""
    torch.manual_seed(zlib.crc32(name.encode()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _of_operator(name) if name in OPERATORS else _of_module(*name.rsplit(" ", 1))
        for program in found:
            try:
                yield _on_grid(program)
            except Unfit as rule:
                yield rule


def _of_operator(name: str) -> Iterator[Program]:
    op = OPERATORS[name]
    if torch.float32 not in op.dtypes:
        return
    differentiable = op.supports_autograd and torch.float32 in op.supported_backward_dtypes("cpu")
    for i, sample in enumerate(op.sample_inputs("cpu", torch.float32, requires_grad=differentiable)):
        args = (sample.input, *sample.args)
        process = torch.Tensor.zero_ if op.name in UNINITIALISED else sample.output_process_fn_grad
        yield Program(lambda *a, process=process, **k: process(op(*a, **k)), args, sample.kwargs, differentiable)
        in_place = op.get_inplace()
        if i < 2 and in_place is not None and not sample.broadcasts_input:
            args, kwargs = tree_map(_detached, (args, sample.kwargs))
            yield Program(in_place, args, kwargs, differentiable=False)


def _of_our_own() -> dict[OpOverload, list[tuple[Any, ...]]]:
    """Arguments for core operators that the database has no samples of; the last is a dictionary if there are named."""
    x, y = randn(3, 4, 2, 2), randn(3, 4, 2, 2, seed=1)
    statistics = randn(4, seed=2), randn(4, seed=3), randn(4, seed=4), randn(4, seed=5).abs() + 0.5
    return {
        aten._native_batch_norm_legit_no_training.default: [
            (x, *statistics, 0.1, 1e-5),
            (x, None, None, *statistics[2:], 0.1, 1e-3),
        ],
        aten.atan2.out: [(x, y, {"out": torch.zeros(3, 4, 2, 2)})],
        aten.copy.default: [(x, y), (x, torch.arange(2))],
        aten.empty.memory_format: [([3, 2],)],
        aten.empty_strided.default: [([3, 2], [2, 1])],
        aten.native_dropout.default: [(x, 0.3, True), (x, 0.3, False)],
        aten.randperm.default: [(7, {"dtype": torch.float32})],
        aten.scalar_tensor.default: [(0.3,), (2,)],
        aten.upsample_bilinear2d.vec: [(x, [5, 3], True, None), (x, None, False, [2.0, 1.5])],
        aten.upsample_nearest2d.vec: [(x, [5, 3], None), (x, None, [2.0, 1.5])],
    }


def direct_programs(overload: OpOverload) -> Iterator[Program | Unfit]:
    """The samples of operators named like ``overload``, with which its own schema can be called."""
    name = overload.overloadpacket.__name__.strip("_")
    torch.manual_seed(zlib.crc32(str(overload).encode()))
    for given in _of_our_own().get(overload, ()):
        named = given[-1] if isinstance(given[-1], dict) else {}
        yield Program(_without_garbage(overload), given[: len(given) - bool(named)], named, differentiable=False)
    for op in OPERATORS.values():
        names = {op.name, op.aten_name, *(alias.name for alias in op.aliases)}
        if name not in {n.split(".")[-1].strip("_") for n in names if n} or torch.float32 not in op.dtypes:
            continue
        for sample in op.sample_inputs("cpu", torch.float32, requires_grad=False):
            arguments = _arguments(overload, (sample.input, *sample.args), sample.kwargs)
            if arguments is None:
                continue
            try:
                yield _on_grid(Program(overload, *arguments, differentiable=False))
            except Unfit as rule:
                yield rule


def _without_garbage(overload: OpOverload) -> Callable[..., Any]:
    if overload.overloadpacket.__name__ not in UNINITIALISED:
        return overload
    return lambda *args, **kwargs: overload(*args, **kwargs).zero_()


def _arguments(overload: OpOverload, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Arguments for the schema: a number where it wants one instead of a tensor; None if it cannot take them."""
    schema = overload._schema.arguments
    positional = [a for a in schema if not a.kwarg_only]
    if len(given) > len(positional) or not set(named) <= {a.name for a in schema}:
        return None
    args: list[Any] = []
    for value, argument in zip(given, positional, strict=False):
        wants_tensor = "Tensor" in str(argument.type)
        if isinstance(value, Tensor) and not wants_tensor:
            if not value.numel():
                return None
            value = value.reshape(-1)[0].item()
        elif wants_tensor and isinstance(value, int | float):
            return None
        args.append(value)
    try:
        overload(*args, **named)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None
    return tuple(args), named


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _of_module(name: str, mode: str) -> Iterator[Program]:
    info = MODULES[name]
    inputs = info.module_inputs_func(info, "cpu", torch.float32, requires_grad=True, training=mode == "training")
    for sample in inputs:
        if sample.forward_input is None:
            continue
        arguments = sample.constructor_input
        module = info.module_cls(*arguments.args, **arguments.kwargs).train(mode == "training")

        def call(state: dict[str, Tensor], *args: Any, module: Any = module, **kwargs: Any) -> Any:
            return functional_call(module, state, args, kwargs)

        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        yield Program(call, (state, *sample.forward_input.args), sample.forward_input.kwargs)


def _on_grid(program: Program) -> Program:
    def rounded(x: Any) -> Any:
        if isinstance(x, torch.dtype) and x in WITHOUT_CODES:
            raise Unfit("half or complex")
        if isinstance(x, complex):
            raise Unfit("half or complex")
        if not isinstance(x, Tensor):
            return x
        if torch.nn.parameter.is_lazy(x):
            raise Unfit("lazy parameter")
        if x.layout is not torch.strided or x.is_nested or x.is_quantized:
            raise Unfit("sparse, nested or quantised")
        if x.dtype in WITHOUT_CODES:
            raise Unfit("half or complex")
        if not x.dtype.is_floating_point:
            return x
        if not x.isfinite().all():
            raise Unfit("not finite")
        return on_grid(x).requires_grad_(x.requires_grad)

    args, kwargs = tree_map(rounded, (program.args, program.kwargs))
    return Program(program.call, args, kwargs, program.differentiable)
