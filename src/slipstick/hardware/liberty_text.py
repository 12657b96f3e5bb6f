"""The syntax of Liberty files: groups of attributes and groups. What they mean is in ``liberty``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from slipstick.errors import SpecificationError


@dataclass
class Group:
    """A group of the file: ``kind (arguments) { attributes, groups }``."""

    kind: str
    arguments: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def all(self, kind: str) -> Iterable["Group"]:
        return (group for group in self.groups if group.kind == kind)

    def number(self, name: str, default: float = 0.0) -> float:
        return float(self.attributes.get(name, default))


_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CELL = re.compile(r"\bcell\s*\(\s*\"?(\w+)\"?\s*\)\s*\{")
_STATEMENT = re.compile(
    r"\s*(?:(?P<close>\})|(?P<name>[\w.]+)\s*(?::\s*(?P<value>\"[^\"]*\"|[^;\n}]*)\s*;?"
    r"|\((?P<arguments>[^()]*)\)\s*(?:(?P<open>\{)|;)?)|;)"
)


def without_comments(text: str) -> str:
    """The text with continued lines joined, too."""
    return _COMMENT.sub(" ", text).replace("\\\n", " ")


def cut_cells(text: str) -> tuple[dict[str, str], str]:
    """Text of every cell by name, and the rest of the file."""
    cells, rest, at = {}, [], 0
    while start := _CELL.search(text, at):
        rest.append(text[at : start.start()])
        depth, at = 1, start.end()
        while depth:
            opening, closing = text.find("{", at), text.find("}", at)
            if closing < 0:
                raise SpecificationError(f"cell {start[1]}: no closing brace; is the Liberty file whole?")
            depth, at = (depth + 1, opening + 1) if 0 <= opening < closing else (depth - 1, closing + 1)
        cells[start[1]] = text[start.start() : at]
    rest.append(text[at:])
    return cells, "".join(rest)


def parse_groups(text: str) -> list[Group]:
    root = Group("", ())
    path, at, end = [root], 0, len(text.rstrip())
    while at < end:
        found = _STATEMENT.match(text, at)
        if found is None:
            raise SpecificationError(f"Liberty: cannot read {text[at : at + 60].strip()!r}")
        at = found.end()
        if found["close"]:
            path.pop()
            if not path:
                raise SpecificationError("Liberty: a closing brace too many")
        elif found["value"] is not None:
            path[-1].attributes[found["name"]] = found["value"].strip().strip('"')
        elif found["name"]:
            arguments = _arguments(found["arguments"])
            if found["open"]:
                path[-1].groups.append(Group(found["name"], arguments))
                path.append(path[-1].groups[-1])
            else:
                path[-1].lists.setdefault(found["name"], []).append(arguments)
    return root.groups


def _arguments(text: str) -> tuple[str, ...]:
    quoted: list[str] = re.findall(r'"([^"]*)"', text)
    return tuple(quoted) if quoted else tuple(part.strip() for part in text.split(",") if part.strip())
