"""Arithmetics from plain data (TOML, JSON) and from one line of text."""

import re
from typing import Any

from slipstick.arithmetic.adder_data import adder_from_dict, build, kind_of
from slipstick.arithmetic.exponential import ExpSegments
from slipstick.arithmetic.log_arithmetic import LogArithmetic
from slipstick.arithmetic.orders import Blocked, Order, Sequential, Tree
from slipstick.arithmetic.rounded import RoundedArithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import LNS, FixedPoint

Arithmetic = LogArithmetic | RoundedArithmetic

_FORMAT = re.compile(r"LNS\(\s*(-?\d+)\s*,\s*(-?\d+)\s*(?:,\s*([a-z]+)\s*)?\)")
_FIXED_POINT = re.compile(r"FixedPoint\((-?\d+),(-?\d+)\)")
_ORDER = re.compile(r"(Sequential|Tree|Blocked)(?:\((\d*)\))?", re.IGNORECASE)


def parse_format(text: str) -> LNS:
    """``"LNS(5,5)"`` or ``"LNS(5,5,flush)"``."""
    match = _FORMAT.fullmatch(text.strip())
    if not match:
        raise SpecificationError(f"format {text!r}: write LNS(int_bits,frac_bits), e.g. LNS(5,5)")
    int_bits, frac_bits, underflow = match.groups()
    return LNS(int(int_bits), int(frac_bits), underflow or "saturate")  # type: ignore[arg-type]


def parse_order(text: str) -> Order:
    """``"Sequential"``, ``"Tree(16)"`` or ``"Blocked(64)"``."""
    match = _ORDER.fullmatch(text.strip())
    if not match:
        raise SpecificationError(f"order {text!r}: write Sequential, Tree(16) or Blocked(64)")
    name, size = match.group(1).lower(), match.group(2)
    if name == "sequential":
        return Sequential()
    if name == "tree":
        return Tree(int(size)) if size else Tree()
    return Blocked(int(size)) if size else Blocked()


def parse_arithmetic(text: str) -> Arithmetic:
    """``"LNS(5,5) hamad2025"``, ``"LNS(5,5) exact Blocked(64) operand"``, ``"LNS(5,5) rounded"`` or, for linear
    numbers of that many bits left and right of the point, ``"FixedPoint(4,11) rounded"``.

    The word ``exp=designed`` chooses the exponential.
    """
    words = re.sub(r"\s*([(,])\s*|\s+(?=\))", r"\1", text.strip()).split()
    if not words:
        raise SpecificationError("arithmetic '': write a format and an adder, e.g. 'LNS(5,5) hamad2025'")
    linear = _FIXED_POINT.fullmatch(words[0])
    if linear:
        if words[1:] != ["rounded"]:
            raise SpecificationError(f"arithmetic {text!r}: linear numbers are rounded; write '{words[0]} rounded'")
        return RoundedArithmetic(FixedPoint(int(linear[1]), int(linear[2])))
    format = parse_format(words[0])
    if words[1:] == ["rounded"]:
        return RoundedArithmetic(format)
    fields: dict[str, Any] = {}
    for word in words[1:]:
        if word in ("guard", "operand"):
            fields["accumulator"] = word
        elif _ORDER.fullmatch(word):
            fields["order"] = parse_order(word)
        elif word.startswith("exp="):
            fields["exp"] = word.removeprefix("exp=")
        elif "add" not in fields:
            fields["add"] = word
        else:
            raise SpecificationError(f"arithmetic {text!r}: {word!r} is neither an adder, an order nor an accumulator")
    return LogArithmetic(format, **fields)


def arithmetic_from_dict(data: dict[str, Any]) -> Arithmetic:
    """The inverse of ``to_dict``; format, order and the whole may also be given as text."""
    data = dict(data)
    kind = data.pop("kind", "log")
    if kind not in ("log", "rounded"):
        raise SpecificationError(f"arithmetic kind={kind!r}: choose 'log' or 'rounded'")
    known = ("accumulator", "add", "format", "order", "exp") if kind == "log" else ("format",)
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise SpecificationError(f"arithmetic: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    if "format" not in data:
        raise SpecificationError("arithmetic: the key 'format' is missing, e.g. format = \"LNS(5,5)\"")
    if kind == "rounded" and isinstance(data["format"], dict) and "format" in data["format"]:
        return RoundedArithmetic(FixedPoint.from_dict(data["format"]))
    data["format"] = _format(data["format"])
    if kind == "rounded":
        return RoundedArithmetic(data["format"])
    if isinstance(data.get("add"), dict):
        data["add"] = adder_from_dict(data["add"])
    if "order" in data:
        data["order"] = _order(data["order"])
    accumulator = data.get("accumulator")
    if isinstance(accumulator, dict):
        data["accumulator"] = arithmetic_from_dict(accumulator)
    elif isinstance(accumulator, str) and accumulator not in ("guard", "operand"):
        data["accumulator"] = parse_arithmetic(accumulator)
    if isinstance(data.get("exp"), dict):
        data["exp"] = ExpSegments.from_dict(data["exp"])
    return LogArithmetic(**data)


def _format(data: Any) -> LNS:
    if isinstance(data, str):
        return parse_format(data)
    return build("format", LNS, data)


def _order(data: Any) -> Order:
    if isinstance(data, str):
        return parse_order(data)
    kinds: dict[str, type[Order]] = {"sequential": Sequential, "tree": Tree, "blocked": Blocked}
    return build("order", kind_of("order", kinds, data), {k: v for k, v in data.items() if k != "kind"})
