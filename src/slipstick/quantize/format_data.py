"""Formats from plain data: ``{format = "MultiBaseLNS", bits = 8, base_factor = 8}``, or a name such as "E4M3"."""

from typing import Any

from slipstick.errors import SpecificationError
from slipstick.formats import E3M0, E4M3, E5M2
from slipstick.formats.quantiser import Quantiser
from slipstick.quantize.choices import require_choice

_NAMED: dict[str, Quantiser] = {"E4M3": E4M3, "E5M2": E5M2, "E3M0": E3M0}


def format_from(data: Any) -> Quantiser:
    """The format that a name or a table means. Raises SpecificationError, one line."""
    if isinstance(data, str):
        require_choice("format", data, _NAMED)
        return _NAMED[data]
    if not isinstance(data, dict) or "format" not in data:
        raise SpecificationError(
            f'format = {data!r}: write a table such as {{format = "FixedPoint", int_bits = 0, frac_bits = 7}}, '
            f"or one of {', '.join(_NAMED)}"
        )
    return Quantiser.from_dict(data)


def format_data(format: Quantiser) -> Any:
    """The inverse of ``format_from``."""
    return next((name for name, named in _NAMED.items() if named == format), format.to_dict())
