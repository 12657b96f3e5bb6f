"""A finished design as data: the adder, its tables, how it was asked for, what it is worth, and the command."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from slipstick.arithmetic.adders import Adder
from slipstick.arithmetic.indexed_table import IndexForm
from slipstick.design.evaluation import evaluate
from slipstick.design.request import DesignRequest
from slipstick.formats import LNS


def design_record(request: DesignRequest, adder: Adder) -> dict[str, Any]:
    """What a design file holds; ``slipstick.arithmetic.load_adder`` reads it back."""
    tables = adder.tables(LNS(int_bits=5, frac_bits=request.frac_bits))
    return {
        "frac_bits": request.frac_bits,
        "adder": adder.to_dict(),
        "tables": {name: table.tolist() for name, table in zip(("plus", "minus"), tables, strict=True)},
        "request": request.to_dict(),
        "seed": {"anneal": request.schedule.seed, "logic": request.logic.seed}.get(request.search),
        "evaluation": evaluate(adder, request.frac_bits, request.objective_weights()).to_dict(),
        "command": command(request),
    }


def command(request: DesignRequest) -> str:
    """The ``slipstick design`` that asks for this."""
    given, default = request.to_dict(), DesignRequest(request.frac_bits).to_dict()
    words = ["slipstick design"]
    for key, value in given.items():
        if key == "frac_bits" or value != default.get(key, _UNUSED.get(key)):
            words += _words(key, value)
    return " ".join(words)


_UNUSED = {"index_bits": 7, "entries": 20, "schedule": {}, "prices": {}}


def _words(key: str, value: Any) -> list[str]:
    option = f"--{key.replace('_', '-')}"
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    if key in ("schedule", "prices", "logic"):
        prefix = "--price-" if key == "prices" else "--"
        return [f"{prefix}{k.replace('_', '-')} {shlex.quote(str(v))}" for k, v in value.items() if v]
    if key == "index":
        form = IndexForm(**value)
        return [f"{option} {form.shift},{form.base},{form.top}"]
    if isinstance(value, (list, tuple)):
        return [f"{option}={','.join(map(str, value))}"]
    return [f"{option} {shlex.quote(str(value))}"]


def as_json(entries: Mapping[str, Any]) -> str:
    """One entry a line, in a stable order."""
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items()]
    return "{\n " + ",\n ".join(lines) + "\n}\n"
