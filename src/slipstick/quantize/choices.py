"""Checks of plain data, each failing in one line that names the thing, the value and the way out."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from slipstick.errors import SpecificationError


def require_choice(what: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise SpecificationError unless ``value`` is one of ``choices``."""
    known = tuple(choices)
    if value not in known:
        raise SpecificationError(f"{what} = {value!r}: choose one of {', '.join(map(repr, known))}")


def require_keys(what: str, data: Any, known: Iterable[str]) -> dict[str, Any]:
    """``data`` as a dictionary. Raise SpecificationError unless it is a table with ``known`` keys only."""
    if not isinstance(data, Mapping):
        raise SpecificationError(f"{what} = {data!r}: must be a table")
    names = tuple(known)
    for key in data:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise SpecificationError(f"{what}: unknown key {key!r}; {hint}")
    return dict(data)
