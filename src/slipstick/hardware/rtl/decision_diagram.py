"""A table of few address bits as logic: a reduced ordered decision diagram, one multiplexer for each node.

Every bit of the result is a function of the address. It is split by the address bits from the highest to the lowest;
equal functions, and complementary ones, are one node. Tables that are piecewise constant, linear or monotone, as those
of logarithmic addition are, share most of their nodes (Bryant 1986, "Graph-Based Algorithms for Boolean Function
Manipulation").
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from numpy.typing import NDArray

from slipstick.errors import SpecificationError

MAX_ADDRESS_BITS = 16
"""Beyond, a table is no longer logic that anybody would build."""

_COMPLEMENT = bytes([1, 0])


class _Edge(NamedTuple):
    """To a node, or with node None to the constant 0; ``inverted`` complements."""

    node: int | None
    inverted: bool


class _Node(NamedTuple):
    """Multiplexer: ``high`` where address bit ``level`` is set, else ``low``."""

    level: int
    low: _Edge
    high: _Edge


class DecisionDiagram:
    """table[address] for every address, bit by bit.

    table: 2^n integers; of a negative one the two's complement counts. width: bits of an entry.

    Raises:
        SpecificationError: more than 2^16 entries.
    """

    def __init__(self, table: Sequence[int] | NDArray[np.integer], width: int) -> None:
        entries = np.asarray(table, np.int64)
        self.address_bits = len(entries).bit_length() - 1
        if self.address_bits > MAX_ADDRESS_BITS:
            raise SpecificationError(
                f"a table of 2^{self.address_bits} entries as logic: 2^{MAX_ADDRESS_BITS} is the most; "
                "use a format with fewer fraction bits or a piece-wise linear adder"
            )
        self.nodes: list[_Node] = []
        self._known: dict[bytes, int] = {}
        bits = [((entries >> k) & 1).astype(np.uint8).tobytes() for k in range(width)]
        self._roots = [self._edge(function, self.address_bits - 1) for function in bits]

    def _edge(self, function: bytes, level: int) -> _Edge:
        """The edge to the function of the address bits up to ``level``."""
        first = function[0]
        if function.count(first) == len(function):
            return _Edge(None, bool(first))
        key = function.translate(_COMPLEMENT.ljust(256)) if first else function
        if key not in self._known:
            half = len(key) // 2
            low, high = self._edge(key[:half], level - 1), self._edge(key[half:], level - 1)
            if low == high:
                return _Edge(low.node, low.inverted != bool(first))
            self.nodes.append(_Node(level, low, high))
            self._known[key] = len(self.nodes) - 1
        return _Edge(self._known[key], bool(first))

    def logic(self, m: Module, address: Value, name: str) -> Value:
        """The entry at ``address``, as an expression of wires added to ``m``."""
        wires: list[Value] = []

        def wire(edge: _Edge) -> Value:
            if edge.node is None:
                return Const(int(edge.inverted), 1)
            return ~wires[edge.node] if edge.inverted else wires[edge.node]

        for number, node in enumerate(self.nodes):
            selected = Signal(name=f"{name}_{number}")
            m.d.comb += selected.eq(Mux(address[node.level], wire(node.high), wire(node.low)))
            wires.append(selected)
        return Cat(*(wire(root) for root in self._roots))
