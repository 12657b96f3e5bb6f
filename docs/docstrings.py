"""How the site shows docstrings: what they say of each parameter or field becomes a list.

An extension of Griffe, which reads the sources for mkdocstrings. A docstring has a paragraph of lines ``name: what it
is``, more of which may follow on the same line; only names that the object has count.
"""

import re
from typing import Any

import griffe

_NAMED = re.compile(r"(?:(?<=[.;] )|(?<=\n)|^)([a-z_]\w*(?:, [a-z_]\w*)*): ")


class Fields(griffe.Extension):
    """Rewrites docstrings once an object's parameters are known."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        _rewrite(func, {parameter.name for parameter in func.parameters})

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        names = set(cls.attributes)
        if isinstance(made := cls.members.get("__init__"), griffe.Function):
            names |= {parameter.name for parameter in made.parameters}
        _rewrite(cls, names)


def _rewrite(described: griffe.Object, names: set[str]) -> None:
    if described.docstring is not None:
        paragraphs = described.docstring.value.split("\n\n")
        described.docstring.value = "\n\n".join(_paragraph(text, names) for text in paragraphs)


def _paragraph(text: str, names: set[str]) -> str:
    """Its own sentences, a list of the names, and what is raised; as it was where it has no names."""
    found = [name for name in _NAMED.finditer(text) if names.intersection(name[1].split(", "))]
    if not found or text.startswith((" ", "|")):
        return text
    before, items, raised = text[: found[0].start()].rstrip(), [], ""
    for name, following in zip(found, [*found[1:], None], strict=True):
        said = text[name.end() : following.start() if following else len(text)]
        said, _, rest = said.partition("\nRaises ")
        raised = f"Raises {rest}" if rest else raised
        items.append(f"- `{name[1]}`: {' '.join(said.split())}")
    return "\n\n".join(part for part in (before, "\n".join(items), raised) if part)
