"""A design as RTLIL text, Yosys's own language, with the name and the ports of its top module."""

import re
from dataclasses import dataclass
from functools import cached_property

from slipstick.errors import SpecificationError
from slipstick.hardware.unit import Unit

_TOP = re.compile(r"^attribute \\top 1\n(?:attribute .*\n)*module \\(\S+)\n(.*?)^end$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  wire (?:width (\d+) )?(input|output) \d+ +(?:signed )?\\(\S+)$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

CLOCK, RESET = "clk", "rst"


@dataclass(frozen=True)
class Design:
    """RTLIL whose top module is marked, as Amaranth marks it."""

    text: str

    @classmethod
    def of(cls, source: "Unit | Design | str") -> "Design":
        """Of a unit, or of RTLIL text."""
        if isinstance(source, Design):
            return source
        design = cls(source if isinstance(source, str) else source.rtlil())
        for name in (design.name, *design.inputs, *design.outputs):
            if not _NAME.fullmatch(name):
                raise SpecificationError(f"{name!r} as a name in hardware: letters, digits and _ only")
        return design

    @cached_property
    def _top(self) -> re.Match[str]:
        top = _TOP.search(self.text)
        if top is None:
            raise SpecificationError("RTLIL without a module that has the attribute \\top; convert it with Amaranth")
        return top

    @property
    def name(self) -> str:
        """Of the top module."""
        return self._top[1]

    @cached_property
    def _ports(self) -> dict[str, dict[str, int]]:
        ports: dict[str, dict[str, int]] = {"input": {}, "output": {}}
        for width, direction, name in _PORT.findall(self._top[2]):
            ports[direction][name] = int(width or 1)
        return ports

    @property
    def inputs(self) -> dict[str, int]:
        """Width in bits of every input but clock and reset."""
        return {name: width for name, width in self._ports["input"].items() if name not in (CLOCK, RESET)}

    @property
    def outputs(self) -> dict[str, int]:
        """Width in bits of every output."""
        return dict(self._ports["output"])

    @property
    def clocked(self) -> bool:
        return CLOCK in self._ports["input"]

    @property
    def has_reset(self) -> bool:
        return RESET in self._ports["input"]
