"""One flat module of RTLIL text as objects: wires, cells, processes and connections, bit by bit."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from slipstick.errors import SpecificationError

Bit = tuple[str, int]
"""A bit of a wire; of the constants the wire is "" and the index the value."""

LOW: Bit = ("", 0)
HIGH: Bit = ("", 1)
Bits = tuple[Bit, ...]
"""The lowest first."""


@dataclass
class Wire:
    name: str
    width: int
    direction: str = ""
    init: int | None = None


@dataclass
class Cell:
    """ports: bits of every connected port. parameters: numbers only."""

    kind: str
    parameters: dict[str, int] = field(default_factory=dict)
    ports: dict[str, Bits] = field(default_factory=dict)


@dataclass
class Case:
    """What holds where the switch around it meets one of the patterns ("-" is any bit, the highest first); no pattern
    is all else. Assignments come before switches."""

    patterns: list[str] = field(default_factory=list)
    assigns: list[tuple[Bits, Bits]] = field(default_factory=list)
    switches: list["Switch"] = field(default_factory=list)

    def everything(self) -> Iterator["Case"]:
        """This case and all within it."""
        yield self
        for switch in self.switches:
            for case in switch.cases:
                yield from case.everything()


@dataclass
class Switch:
    on: Bits
    cases: list[Case] = field(default_factory=list)


@dataclass
class FlatModule:
    """processes: bodies of combinational processes. connections: driven bits and what drives them."""

    name: str
    wires: dict[str, Wire] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    processes: list[Case] = field(default_factory=list)
    connections: list[tuple[Bits, Bits]] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> "FlatModule":
        """Of the only module in the text of Yosys's ``write_rtlil``."""
        return _Reader(text).module()


_WIRE = re.compile(r"wire (?:width (\d+) )?(?:(input|output) \d+ +)?(?:signed )?(\S+)")
_TOKEN = re.compile(r"\{|\}|\d+'[01xz-]+|-?\d+|[\\$]\S+|\[\d+(?::\d+)?\]")


class _Reader:
    """Line by line; ``_lines`` are stripped."""

    def __init__(self, text: str) -> None:
        self._lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self._at = 0

    def module(self) -> FlatModule:
        while not self._lines[self._at].startswith("module "):
            self._at += 1
        made = self._made = FlatModule(self._next().split()[1][1:])
        init: int | None = None
        while (line := self._next()) != "end":
            word = line.split(" ", 1)[0]
            if word == "attribute":
                init = _number(line.rpartition(" ")[2]) if line.startswith("attribute \\init ") else init
            elif word == "wire" and (found := _WIRE.fullmatch(line)):
                if found[1] != "0":
                    made.wires[found[3]] = Wire(found[3], int(found[1] or 1), found[2] or "", init)
                init = None
            elif word == "cell":
                made.cells.append(self._cell(line))
            elif word == "process":
                made.processes.append(self._case([]))
            elif word == "connect":
                made.connections.append(self._pair(line))
            else:
                raise SpecificationError(f"{made.name}: RTLIL that is not known: {line}")
        return made

    def _next(self) -> str:
        self._at += 1
        return self._lines[self._at - 1]

    def _cell(self, line: str) -> Cell:
        cell = Cell(line.split()[1])
        while (line := self._next()) != "end":
            if line.startswith("parameter "):
                *_, name, value = line.split()
                cell.parameters[name[1:]] = _number(value)
            elif line.startswith("connect "):
                _, port, rest = line.split(" ", 2)
                cell.ports[port[1:]] = self._bits(_TOKEN.findall(rest))
        return cell

    def _case(self, patterns: list[str]) -> Case:
        """The body of a process or of a case; leaves what ends it to be read, but an own ``end``."""
        case = Case(patterns)
        while True:
            line = self._next()
            if line.startswith("assign "):
                case.assigns.append(self._pair(line))
            elif line.startswith("switch "):
                case.switches.append(self._switch(line))
            elif line.startswith("case"):
                self._at -= 1
                return case
            elif line == "end":
                return case
            elif not line.startswith("attribute "):
                raise SpecificationError(
                    f"{self._made.name}: a process with {line!r}; only combinational ones are known"
                )

    def _switch(self, line: str) -> Switch:
        """Reads to the switch's own ``end``, which its last case has consumed."""
        switch = Switch(self._bits(_TOKEN.findall(line.partition(" ")[2])))
        while self._lines[self._at].startswith(("case", "attribute ")):
            line = self._next()
            if line.startswith("case"):
                patterns = re.findall(r"\d+'([01xz-]+)", line)
                switch.cases.append(self._case(patterns))
        if not switch.cases:
            self._next()
        return switch

    def _pair(self, line: str) -> tuple[Bits, Bits]:
        """Two signals one after the other."""
        tokens = _TOKEN.findall(line.partition(" ")[2])
        return self._bits(tokens), self._bits(tokens)

    def _bits(self, tokens: list[str]) -> Bits:
        """One signal from the front of the tokens, which it takes away."""
        token = tokens.pop(0)
        if token == "{":
            parts = []
            while tokens[0] != "}":
                parts.append(self._bits(tokens))
            tokens.pop(0)
            bits: Bits = tuple(bit for part in reversed(parts) for bit in part)
        elif token[0] in "\\$":
            width = self._made.wires[token].width if token in self._made.wires else 0
            bits = tuple((token, i) for i in range(width))
        elif "'" in token:
            bits = tuple(HIGH if digit == "1" else LOW for digit in reversed(token.partition("'")[2]))
        else:
            bits = tuple(HIGH if int(token) >> i & 1 else LOW for i in range(32))
        while tokens and tokens[0][0] == "[":
            high, _, low = tokens.pop(0)[1:-1].partition(":")
            bits = bits[int(low or high) : int(high) + 1]
        return bits


def _number(constant: str) -> int:
    """Value of ``12'0110`` or of a number as such, which a constant of 32 bits is."""
    return int(constant.partition("'")[2].replace("x", "0"), 2) if "'" in constant else int(constant)
