"""Adders in files: JSON with the adder, the tables that it gave when it was designed, and how it came about.

{"frac_bits": 5, "adder": {"kind": "piecewise-linear", ...}, "tables": {"plus": [...], "minus": [...]}, ...}; a file is
refused where its adder does not give its tables. Further keys (request, evaluation, command) are for people.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adder_data import adder_from_dict
from slipstick.arithmetic.adders import Adder
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

DESIGN_SUFFIX = ".json"


def load_adder(path: Path | str) -> Adder:
    """The adder of a design file. Raises SpecificationError naming the file, and the first distance that disagrees."""
    data = _read(Path(path))
    try:
        adder = adder_from_dict(data["adder"])
    except SpecificationError as error:
        raise SpecificationError(f"{path}: {error}") from None
    _check(Path(path), data, adder)
    return adder


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise SpecificationError(f"{path}: no such design file; make one with: slipstick design --out {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SpecificationError(f"{path}: is no design file ({error})") from None
    for key in ("frac_bits", "adder", "tables"):
        if not isinstance(data, dict) or key not in data:
            raise SpecificationError(f"{path}: is no design file: the key {key!r} is missing")
    return dict(data)


def _check(path: Path, data: dict[str, Any], adder: Adder) -> None:
    try:
        format = LNS(5, data["frac_bits"])
        tables = dict(zip(("plus", "minus"), adder.tables(format), strict=True))
    except SpecificationError as error:
        raise SpecificationError(f"{path}: {error}") from None
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise SpecificationError(f"{path}: 'adder' gives no tables ({error})") from None
    stored = {name: _stored(path, data["tables"], name) for name in tables}
    for name, table in tables.items():
        count = max(len(table), len(stored[name]))
        given, made = _padded(stored[name], count), _padded(table, count)
        first = 1 if name == "minus" else 0  # D-(0) is not used
        different = np.flatnonzero(given[first:] != made[first:]) + first
        if len(different):
            d = int(different[0])
            raise SpecificationError(
                f"{path}: D{'+' if name == 'plus' else '-'}({d}) is {given[d]} in 'tables', and {made[d]} by 'adder'; "
                "design it again instead of editing it"
            )


def _stored(path: Path, tables: Any, name: str) -> NDArray[np.int64]:
    values = tables.get(name) if isinstance(tables, dict) else None
    if not isinstance(values, list) or not all(type(v) is int and abs(v) < 1 << 62 for v in values):
        raise SpecificationError(f"{path}: 'tables' must hold the lists of integers 'plus' and 'minus'")
    return np.array(values, dtype=np.int64)


def _padded(table: NDArray[Any], count: int) -> NDArray[np.int64]:
    values = np.zeros(count, dtype=np.int64)
    values[: len(table)] = table
    return values
