"""How every ATen operator is executed: filled by decorators in this package's files, read by the mode.

An operator overload is one of
    defined    an implementation in the arithmetic, registered with @defined
    move       raw values pass: views, copies, gathers
    selection  operands are rounded to the grid, then PyTorch selects among them or compares them
    refused    raises, with a reason
Anything else is decomposed into these, or refused.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

if TYPE_CHECKING:
    from slipstick.aten.mode import use

Implementation = Callable[..., Any]
Implemented = TypeVar("Implemented", bound=Implementation)

DEFINED: dict[OpOverload, Implementation] = {}
MOVES: set[OpOverload] = set()
SELECTIONS: set[OpOverload] = set()
REFUSED: dict[OpOverload, str] = {}


def defined(*operators: OpOverload | OpOverloadPacket) -> Callable[[Implemented], Implemented]:
    """Register ``implementation(run, *args, **kwargs)`` for these overloads.

    A packet stands for all of its overloads but those with ``out=``, which need no definition: they write what the
    overload without gives. In-place overloads call it with ``out`` set to their first argument.
    """

    def register(implementation: Implemented) -> Implemented:
        for overload in _overloads(operators):
            if overload not in operators and any(argument.is_out for argument in overload._schema.arguments):
                continue
            _forget(overload)
            DEFINED[overload] = _inplace(implementation) if _writes_first_argument(overload) else implementation
        return implementation

    return register


def moves(*operators: OpOverload | OpOverloadPacket) -> None:
    """Register overloads that only move raw values."""
    MOVES.update(_overloads(operators))


def selections(*operators: OpOverload | OpOverloadPacket) -> None:
    """Register overloads that compare their operands or select among them; those that write into one are not it."""
    SELECTIONS.update(o for o in _overloads(operators) if not o._schema.is_mutable)


def refused(reason: str, *operators: OpOverload | OpOverloadPacket) -> None:
    """Register overloads that have no definition, with the reason and the way out, which ends the error message."""
    REFUSED.update(dict.fromkeys(_overloads(operators), reason))


def existing(namespace: Any, names: str) -> list[OpOverloadPacket]:
    """The packets of a space-separated list of names that this PyTorch has."""
    return [getattr(namespace, name) for name in names.split() if hasattr(namespace, name)]


def _overloads(operators: Iterable[OpOverload | OpOverloadPacket]) -> list[OpOverload]:
    found: list[OpOverload] = []
    for operator in operators:
        if isinstance(operator, OpOverload):
            found.append(operator)
        else:
            found += [getattr(operator, name) for name in operator.overloads()]
    return found


def _forget(overload: OpOverload) -> None:
    """A definition replaces whatever else was said of an operator."""
    MOVES.discard(overload)
    SELECTIONS.discard(overload)
    REFUSED.pop(overload, None)


def _writes_first_argument(overload: OpOverload) -> bool:
    arguments = overload._schema.arguments
    return bool(arguments and arguments[0].alias_info and arguments[0].alias_info.is_write)


def _inplace(implementation: Implementation) -> Implementation:
    def call(run: "use", first: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        implementation(run, first, *args, out=first, **kwargs)
        return first

    return call
