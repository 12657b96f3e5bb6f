"""Adders by name: the published tables of Hamad et al. 2025 and Sanyal et al. 2019, and the project's own designs."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from slipstick.arithmetic.adders import Adder, BitShift, Exact, PiecewiseLinear, Segments, Table
from slipstick.arithmetic.indexed_table import IndexedTable
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

DESIGNED = ("designed", "designed-plateau", "designed-8", "designed-4", "designed-simd")
"""The project's designs: 16 segments, 16 with a chosen swamping threshold, fewer, and tables for vector kernels."""

NAMES = ("exact", *DESIGNED, "hamad2025", "hamad2025-agnostic", "sanyal2019-lut", "sanyal2019-bitshift")


def named_adder(name: str, format: LNS) -> Adder:
    """The adder that ``name`` means for ``format``. Raises SpecificationError where it has none."""
    if name == "exact":
        return Exact()
    if name == "sanyal2019-lut":
        return Table(step=0.5, d_max=10.0)
    if name == "sanyal2019-bitshift":
        return BitShift()
    if name in NAMES:
        return _shipped(name, format)
    raise SpecificationError(
        f"add={name!r}: no such adder; choose one of {', '.join(NAMES)}, or a design file, NAME.json"
    )


def _shipped(name: str, format: LNS) -> Adder:
    tables = _load("designed.json" if name in DESIGNED else "hamad2025.json")
    key = f"{name}-F{format.frac_bits}"
    if key not in tables:
        known = sorted(int(k.rsplit("-F", 1)[1]) for k in tables if k.rsplit("-F", 1)[0] == name)
        raise SpecificationError(
            f"add={name!r}: no table for frac_bits={format.frac_bits}; it exists for {known}, or use add='exact'"
        )
    data = tables[key]
    return IndexedTable.from_dict(data["adder"]) if "adder" in data else piecewise_linear(data)


def piecewise_linear(data: dict[str, Any]) -> PiecewiseLinear:
    """A PiecewiseLinear adder from the JSON form of a design."""
    return PiecewiseLinear(int(data["frac_bits"]), Segments.from_dict(data["plus"]), Segments.from_dict(data["minus"]))


@lru_cache(maxsize=2)
def _load(file: str) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(files("slipstick.arithmetic").joinpath(file).read_text())
    return tables
