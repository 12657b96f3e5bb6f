"""A function of the user's own, by its name."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError


def user_function(target: str) -> Callable[[], Any]:
    """The function "package.module:function", importable from the working directory too.

    Raises SpecificationError where there is none.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise SpecificationError(f"{target!r}: must be package.module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function: Callable[[], Any] = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise SpecificationError(
            f"{target}: cannot be imported ({error}); it must be package.module:function"
        ) from None
    return function


def types_of(made: Any) -> str:
    """What a function returned, for a message."""
    return ", ".join(type(each).__name__ for each in (made if isinstance(made, tuple) else (made,)))
