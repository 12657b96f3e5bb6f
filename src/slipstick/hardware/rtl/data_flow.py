"""What computes what in a module of RTLIL: its operators, registers and processes in the order of the flow of data.

Connections are followed to what drives them, operands get the width of their operator, and what no output needs is
left out, unused high bits of sums among it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from slipstick.errors import SpecificationError
from slipstick.hardware.rtl.flat_module import LOW, Bit, Bits, Case, Cell, FlatModule, Wire

SAME_WIDTH = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*"}
COMPARE = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
SHIFT = {"$shl": "<<", "$shr": ">>", "$sshr": ">>>"}
REDUCE = {"$reduce_and": "&", "$reduce_or": "|", "$reduce_xor": "^", "$reduce_bool": "|", "$logic_not": "~|"}
SIGN = {"$not": "~", "$neg": "-"}
_KNOWN = {*SAME_WIDTH, *COMPARE, *SHIFT, *REDUCE, *SIGN, "$mux", "$dff"}

# Low bits of the result depend on no higher bits of these operands, so unused high bits need not be computed.
_LOW_BITS = dict.fromkeys((*SAME_WIDTH, *SIGN, "$mux"), ("A", "B")) | {"$shl": ("A",)}


@dataclass(eq=False)
class Node:
    """What drives bits: a cell, a register among them, or a process."""

    drives: Bits
    reads: list[Bits]
    cell: Cell | None = None
    process: Case | None = None

    @property
    def is_register(self) -> bool:
        return self.cell is not None and self.cell.kind == "$dff"


class DataFlow:
    """The module's nodes in the order of the flow of data, connections followed to what drives them, and no more bits
    than are needed."""

    def __init__(self, module: FlatModule) -> None:
        self.name, self.wires = module.name, module.wires
        connections = module.connections + [made for cell in module.cells if (made := _as_wires(cell))]
        self._sources = {to: by for left, right in connections for to, by in zip(left, right, strict=True)}
        self.nodes = [self._of_cell(cell) for cell in module.cells if not _as_wires(cell)]
        self.nodes += [self._of_process(process) for process in module.processes]
        self.outputs = {
            name: self.roots(bits_of(wire)) for name, wire in self.wires.items() if wire.direction == "output"
        }
        self._narrow()
        self.driver = {bit: node for node in self.nodes for bit in node.drives}
        self.nodes = self._ordered()
        self._close_up()
        self.driver = {bit: node for node in self.nodes for bit in node.drives}
        self.width: dict[str, int] = Counter()
        for name, i in self.driver:
            self.width[name] = max(self.width[name], i + 1)
        for wire in self.wires.values():
            if wire.direction:
                self.width[wire.name] = wire.width

    def roots(self, bits: Bits) -> Bits:
        """What drives bits, connections followed."""
        return tuple(self._root(bit) for bit in bits)

    def reads(self) -> Iterable[Bits]:
        """All that nodes and outputs read."""
        for node in self.nodes:
            yield from node.reads
        yield from self.outputs.values()

    def _root(self, bit: Bit) -> Bit:
        while bit in self._sources:
            bit = self._sources[bit]
        return bit

    def _of_cell(self, cell: Cell) -> Node:
        if cell.kind not in _KNOWN:
            raise SpecificationError(f"{self.name}: an operator {cell.kind}, which has no Verilog here")
        output = "Q" if cell.kind == "$dff" else "Y"
        cell.ports = {name: bits if name == output else self.roots(bits) for name, bits in cell.ports.items()}
        cell.ports |= {name: extended(cell.ports[name], *how) for name, how in _operand_widths(cell).items()}
        if cell.kind == "$dff" and cell.parameters.get("CLK_POLARITY") != 1:
            raise SpecificationError(f"{self.name}: a register of the falling edge, which has no Verilog here")
        return Node(cell.ports[output], [bits for name, bits in cell.ports.items() if name != output], cell)

    def _of_process(self, process: Case) -> Node:
        drives: dict[Bit, None] = {}
        reads = []
        for case in process.everything():
            case.assigns = [(left, self.roots(right)) for left, right in case.assigns]
            for left, right in case.assigns:
                drives |= dict.fromkeys(left)
                reads.append(right)
            for switch in case.switches:
                switch.on = self.roots(switch.on)
                reads.append(switch.on)
        return Node(tuple(sorted(drives)), reads, process=process)

    def _narrow(self) -> None:
        """Leave out high bits that nothing reads, until nothing more falls away."""
        changed = True
        while changed:
            used, changed = {bit for bits in self.reads() for bit in bits}, False
            for node in self.nodes:
                cell = node.cell
                keep = max((i + 1 for i, bit in enumerate(node.drives) if bit in used), default=1)
                if cell is None or cell.kind not in _LOW_BITS or keep == len(node.drives):
                    continue
                cut = {name: bits[:keep] for name, bits in cell.ports.items() if name in _LOW_BITS[cell.kind]}
                node.drives = node.drives[:keep]
                cell.ports = cell.ports | cut | {"Y": node.drives}
                node.reads = [bits for name, bits in cell.ports.items() if name != "Y"]
                changed = True

    def _close_up(self) -> None:
        """Number the driven bits of every wire within the module from 0."""
        driven: dict[str, list[int]] = {}
        for node in self.nodes:
            for wire, i in node.drives:
                driven.setdefault(wire, []).append(i)
        moved = {
            (wire, i): (wire, place)
            for wire, used in driven.items()
            if not self.wires[wire].direction
            for place, i in enumerate(sorted(used))
        }

        def new(bits: Bits) -> Bits:
            return tuple(moved.get(bit, bit) for bit in bits)

        self._sources = {to: moved.get(by, by) for to, by in self._sources.items()}
        self.outputs = {name: new(bits) for name, bits in self.outputs.items()}
        for node in self.nodes:
            node.drives, node.reads = new(node.drives), [new(bits) for bits in node.reads]
            if node.cell:
                node.cell.ports = {name: new(bits) for name, bits in node.cell.ports.items()}
            for case in node.process.everything() if node.process else ():
                case.assigns = [(new(left), new(right)) for left, right in case.assigns]
                for switch in case.switches:
                    switch.on = new(switch.on)

    def _ordered(self) -> list[Node]:
        """Nodes that an output depends on, each after those that it reads; registers first."""
        ordered: dict[Node, None] = {}
        registers: list[Node] = []
        seen: set[Node] = set()

        def visit(start: Bits) -> None:
            path = [(None, iter(start))]  # explicit, because a chain of operators may be longer than Python's stack
            while path:
                node, bits = path[-1]
                below = next((n for bit in bits if (n := self.driver.get(bit)) and n not in seen), None)
                if below is None:
                    path.pop()
                    if node:
                        ordered[node] = None
                    continue
                seen.add(below)
                if below.is_register:
                    registers.append(below)
                else:
                    path.append((below, iter([bit for read in below.reads for bit in read])))  # type: ignore[arg-type]

        for bits in self.outputs.values():
            visit(bits)
        for register in registers:  # grows while it is read
            for read in register.reads:
                visit(read)
        return [*registers, *ordered]


def bits_of(wire: Wire) -> Bits:
    return tuple((wire.name, i) for i in range(wire.width))


def is_signed(cell: Cell) -> bool:
    """Whether operands are signed; of a shift the one that is shifted."""
    both = cell.parameters.get("A_SIGNED"), cell.kind in SHIFT or cell.parameters.get("B_SIGNED", 1)
    return all(both)


def _operand_widths(cell: Cell) -> dict[str, tuple[int, bool]]:
    """Width of every operand that must have a certain one, and whether it is extended by its sign."""
    ports, signed = cell.ports, is_signed(cell)
    if cell.kind in ("$shl", "$shr", "$sshr"):
        return {"A": (len(ports["Y"]) if cell.kind == "$shl" else max(len(ports["A"]), len(ports["Y"])), signed)}
    if cell.kind in COMPARE:
        return dict.fromkeys(("A", "B"), (max(len(ports["A"]), len(ports["B"])), signed))
    if cell.kind in SIGN or (cell.kind in SAME_WIDTH and cell.kind != "$mul"):
        return {name: (len(ports["Y"]), signed) for name in ("A", "B") if name in ports}
    return {}


def _as_wires(cell: Cell) -> tuple[Bits, Bits] | None:
    """The connection that a shift by a constant is."""
    if cell.kind not in SHIFT or any(bit[0] for bit in cell.ports["B"]):
        return None
    by, a, y = sum(bit[1] << i for i, bit in enumerate(cell.ports["B"])), cell.ports["A"], cell.ports["Y"]
    wide = extended(a, max(len(a), len(y)), is_signed(cell))
    if cell.kind == "$shl":
        return y, ((LOW,) * by + wide)[: len(y)]
    return y, extended(wide[by:] or (LOW,), len(y), cell.kind == "$sshr" and is_signed(cell))


def extended(bits: Bits, width: int, signed: bool) -> Bits:
    return bits[:width] + (bits[-1] if signed and bits else LOW,) * (width - len(bits))
