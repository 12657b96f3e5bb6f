"""A unit of hardware: an Amaranth component, the words that describe it and its ports, and its RTLIL.

Every core, vector unit and converter is handed on as a Unit: simulation, synthesis, Verilog and proofs need no more.
"""

from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.lib import wiring


@dataclass(frozen=True)
class Port:
    """A port: its name, its width in bits, and its meaning in one line."""

    name: str
    width: int
    meaning: str


@dataclass(frozen=True, eq=False)
class Unit:
    """Hardware with plain unsigned ports.

    name: of the Verilog module, ``[a-z][a-z0-9_]*``; unique by what the unit computes.
    title: the arithmetic in words, one or more lines.
    component: its signature has exactly the ports.
    latency: clock cycles from inputs to outputs; 0 is combinational, without clock. Otherwise the clock is ``clk``, the
        synchronous reset ``rst``.
    """

    name: str
    title: str
    component: wiring.Component
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    latency: int = 0

    def rtlil(self) -> str:
        """The unit in Yosys's RTLIL; the same text in every process and place."""
        text: str = rtlil.convert(self.component, name=self.name, emit_src=False)
        return text
