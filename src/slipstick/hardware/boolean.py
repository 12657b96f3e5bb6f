"""Boolean functions as Liberty writes them: ``!``, ``'``, ``&``, ``*``, a space (and), ``|``, ``+``, ``^``, 0, 1.

An expression is turned into an expression over bit vectors that is valid in Python and in C++ alike: one bit of every
word for one case, many cases at a time. ``ones`` is the vector of which every bit is set.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from types import CodeType

from slipstick.errors import SpecificationError

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[01!'&*|+^()])")


@dataclass(frozen=True)
class Expression:
    """A function of pins. ``code`` has their names in braces: ``(ones ^ ({A} & {B}))``."""

    code: str
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Expression":
        """Of Liberty's text.

        Raises:
            SpecificationError: it is none of the language above.
        """
        return _Parser(text).expression()

    def on(self, vectors: Mapping[str, str]) -> str:
        """The code with a name of its vector for every pin."""
        return self.code.format_map(vectors)

    def evaluate(self, values: Mapping[str, int], ones: int = 1) -> int:
        """Value for the pins' values, bit vectors in integers."""
        return int(eval(self._compiled, {"ones": ones, **values}))

    @cached_property
    def _compiled(self) -> CodeType:
        return compile(self.on({name: name for name in self.names}), "<liberty>", "eval")

    def truth_table(self, names: Sequence[str]) -> tuple[int, ...]:
        """Values for all values of ``names``, the first name changing slowest."""
        return tuple(
            self.evaluate(dict(zip(names, values, strict=True))) for values in product((0, 1), repeat=len(names))
        )


class _Parser:
    """By recursive descent; or binds loosest, then exclusive or, and, not."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens, self._names = text, [], dict[str, None]()
        at = 0
        while text[at:].strip():
            token = _TOKEN.match(text, at)
            if token is None:
                raise self._wrong()
            self._tokens.append(token[1])
            at = token.end()

    def expression(self) -> Expression:
        code = self._or()
        if self._tokens:
            raise self._wrong()
        return Expression(code, tuple(self._names))

    def _or(self) -> str:
        return self._chain(self._xor, "|+", " | ")

    def _xor(self) -> str:
        return self._chain(self._and, "^", " ^ ")

    def _and(self) -> str:
        parts = [self._not()]
        while (token := self._next()) and token not in "|+^)":
            if token in "&*":
                self._tokens.pop(0)
            parts.append(self._not())
        return _joined(parts, " & ")

    def _chain(self, inner: Callable[[], str], operators: str, joint: str) -> str:
        parts = [inner()]
        while (token := self._next()) and token in operators:
            self._tokens.pop(0)
            parts.append(inner())
        return _joined(parts, joint)

    def _not(self) -> str:
        token = self._tokens.pop(0) if self._tokens else ""
        if token == "!":
            code = f"(ones ^ {self._not()})"
        elif token == "(":
            code = self._or()
            if not self._tokens or self._tokens.pop(0) != ")":
                raise self._wrong()
        elif token in ("0", "1"):
            code = "ones" if token == "1" else "(ones ^ ones)"
        elif token and (token[0].isalpha() or token[0] == "_"):
            self._names[token] = None
            code = f"{{{token}}}"
        else:
            raise self._wrong()
        while self._next() == "'":
            self._tokens.pop(0)
            code = f"(ones ^ {code})"
        return code

    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _wrong(self) -> SpecificationError:
        return SpecificationError(
            f"Boolean function {self._text!r}: names, 0, 1, !, ', &, *, |, +, ^ and parentheses only"
        )


def _joined(parts: list[str], joint: str) -> str:
    return parts[0] if len(parts) == 1 else f"({joint.join(parts)})"
