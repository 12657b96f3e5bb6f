"""Adders, and other small values, from plain data."""

from collections.abc import Callable
from typing import Any, TypeVar

from slipstick.arithmetic.adders import Adder, BitShift, Exact, Table
from slipstick.arithmetic.indexed_table import IndexedTable
from slipstick.arithmetic.published import piecewise_linear
from slipstick.errors import SpecificationError

Built = TypeVar("Built")


def adder_from_dict(data: dict[str, Any]) -> Adder:
    """The inverse of an adder's ``to_dict``. Raises SpecificationError for unknown kinds and wrong fields."""
    makers: dict[str, Callable[..., Adder]] = {
        "exact": Exact,
        "table": Table,
        "bitshift": BitShift,
        "piecewise-linear": lambda **given: piecewise_linear(given),
        "indexed-table": lambda **given: IndexedTable.from_dict(given),
    }
    kind = kind_of("add", makers, data)
    return build("add", kind, {key: value for key, value in data.items() if key != "kind"})


def kind_of(what: str, kinds: dict[str, Built], data: Any) -> Built:
    """What ``data["kind"]`` chooses among ``kinds``."""
    kind = data.get("kind") if isinstance(data, dict) else data
    if not isinstance(kind, str) or kind not in kinds:
        raise SpecificationError(f"{what} kind={kind!r}: choose one of {', '.join(kinds)}")
    return kinds[kind]


def build(what: str, make: Callable[..., Built], fields: Any) -> Built:
    """``make`` with ``fields`` as keywords; fields that it does not take are the user's mistake."""
    try:
        return make(**fields)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(f"{what} = {fields!r}: {error}") from None
