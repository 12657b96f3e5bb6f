"""A unit as Verilog that people read: a header that says what it computes, and one flat module of expressions.

The RTLIL is flattened by Yosys and written from here, because what its own writer writes has a line for every operator
and widths that a linter objects to. Here operands have the width of their operator, what is used once stands where it
is used, and statements follow the flow of data. Verilator's ``--lint-only -Wall`` has nothing to say about it.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.rtl.data_flow import (
    COMPARE,
    REDUCE,
    SAME_WIDTH,
    SHIFT,
    SIGN,
    DataFlow,
    Node,
    bits_of,
    is_signed,
)
from slipstick.hardware.rtl.flat_module import HIGH, LOW, Bit, Bits, Case, Cell, FlatModule, Switch, Wire
from slipstick.hardware.tools import run_yosys, yosys_version
from slipstick.hardware.unit import Unit

_LINE = 110
_INLINE = 60
"""Longest expression that is put into another one."""

_SCRIPT = """\
read_rtlil design.il
hierarchy -check
flatten -noscopeinfo
opt_expr
opt_merge
opt_clean -purge
write_rtlil flat.il
"""

_KEYWORDS = frozenset(
    "and assign begin buf case default else end endcase endmodule for if initial input integer module nand negedge nor "  # noqa: SIM905
    "not or output posedge reg signed table time unsigned while wire xnor xor".split()
)


def verilog(unit: Unit, *, cache: Cache | None = None) -> str:
    """The text of ``{unit.name}.v``.

    Raises:
        MissingTool, ToolFailure: Yosys is missing, or failed.
        SpecificationError: the unit has an operator that is not known here.
    """
    text = unit.rtlil()

    def make(folder: Path) -> None:
        (folder / "design.il").write_text(text, encoding="utf-8")
        run_yosys(_SCRIPT, what=f"Verilog of {unit.name}", folder=folder, timeout_s=120.0)

    folder = (cache or Cache()).entry("flat", content_key(text, _SCRIPT, yosys_version()), make)
    flat = DataFlow(FlatModule.parse((folder / "flat.il").read_text(encoding="utf-8")))
    return _header(unit) + _Writer(flat).text([port.name for port in (*unit.inputs, *unit.outputs)])


def _header(unit: Unit) -> str:
    ports = [*(("input", port) for port in unit.inputs), *(("output", port) for port in unit.outputs)]
    name, width = max(len(port.name) for _, port in ports), max(len(str(port.width)) for _, port in ports)
    lines = [unit.name, "", *unit.title.splitlines(), ""]
    lines += [f"{way:6}  {port.name:{name}}  {port.width:{width}} bits  {port.meaning}" for way, port in ports]
    clocked = f"{unit.latency} cycles of clk from inputs to outputs; rst is a synchronous reset, active high."
    lines += ["", "Latency: " + (clocked if unit.latency else "none, combinational."), "", "Made by Slipstick."]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"


@dataclass(frozen=True)
class _Text:
    """An expression. binds: 2 as a name does, 1 as a unary operator, 0 less."""

    text: str
    binds: int

    def within(self, binds: int) -> str:
        return self.text if self.binds >= binds else f"({self.text})"


class _Writer:
    def __init__(self, flow: DataFlow) -> None:
        self._flow = flow
        self._uses: Counter[Bit] = Counter(bit for bits in flow.reads() for bit in bits)
        self._readers: dict[str, list[Bits]] = {}
        for bits in flow.reads():
            for wire in {bit[0] for bit in bits}:
                self._readers.setdefault(wire, []).append(bits)
        self._names = self._given_names()
        self._taken = {*self._names.values(), *_KEYWORDS}
        self._inlined: dict[str, _Text] = {}
        self._declared: set[str] = set()
        self._lines: list[str] = []

    def text(self, order: list[str]) -> str:
        """The module; ports other than those of ``order`` come first."""
        flow, clocked = self._flow, self._with_clock()
        for node in flow.nodes:
            if node.is_register:
                self._declare_register(node)
            elif node.process:
                if node not in clocked.values():
                    self._write_process(node.process, node.drives)
            elif node.cell:
                self._write_cell(node, node.cell)
        for node in flow.nodes:
            if node.is_register:
                self._write_register(node, clocked.get(node))
        for name, bits in flow.outputs.items():
            for low, high in _runs([bit != (name, i) for i, bit in enumerate(bits)]):
                self._add(f"  assign {self._signal(name, low, high)} = {self._value(bits[low : high + 1]).text};")
        self._write_unused()
        ports = sorted(
            (wire for wire in flow.wires.values() if wire.direction),
            key=lambda wire: order.index(wire.name[1:]) if wire.name[1:] in order else -1,
        )
        declared = ",\n".join(f"  {self._port(wire)}" for wire in ports)
        return f"module {flow.name} (\n{declared}\n);\n" + "\n".join(self._lines) + "\nendmodule\n"

    # Names and signals

    def _given_names(self) -> dict[str, str]:
        """Names of ports, and of wires that people named: the shortest of those of one and the same wire."""
        wires = self._flow.wires
        names = {name: name[1:] for name, wire in wires.items() if wire.direction}
        given: dict[str, list[str]] = {}
        for name, wire in wires.items():
            source = self._flow.roots(bits_of(wire))[0][0]
            whole = self._flow.roots(bits_of(wire)) == tuple(
                (source, i) for i in range(self._flow.width.get(source, 0))
            )
            if name[0] == "\\" and whole and not wires[source].direction:
                given.setdefault(source, []).append(name)
        taken = {*names.values(), *_KEYWORDS}
        for source, known in given.items():
            shortest = min(known, key=lambda name: ("$" in name, name.count("."), len(name), name))
            if "$" not in shortest or "." not in shortest:
                names[source] = _unique(_plain(shortest), taken)
                taken.add(names[source])
        return names

    def _name(self, wire: str) -> str:
        if wire not in self._names:
            self._names[wire] = _unique("t", self._taken)
            self._taken.add(self._names[wire])
        return self._names[wire]

    def _signal(self, wire: str, low: int, high: int) -> str:
        name, width = self._name(wire), self._flow.width[wire]
        if low == 0 and high == width - 1:
            return name
        return f"{name}[{high}]" if low == high else f"{name}[{high}:{low}]"

    def _value(self, bits: Bits) -> _Text:
        """Bits as an expression of their width."""
        parts: list[_Text] = []
        rest = list(bits)
        while rest:
            bit = rest[-1]
            length = 1
            if bit[0] == "":
                while length < len(rest) and rest[-1 - length][0] == "":
                    length += 1
                value = sum(one[1] << i for i, one in enumerate(rest[-length:]))
                parts.append(_Text(_constant(value, length), 2))
            elif len(rest) > 1 and rest[-2] == bit and bit[0]:
                while length < len(rest) and rest[-1 - length] == bit:
                    length += 1
                if length < len(rest) and rest[-1 - length] == (bit[0], bit[1] - 1):
                    length -= 1  # the last one begins a run
                single = self._run(bit, 1).text
                parts.append(_Text(f"{{{length}{{{single}}}}}" if length > 1 else single, 2))
            else:
                while length < len(rest) and rest[-1 - length] == (bit[0], bit[1] - length):
                    length += 1
                parts.append(self._run(bit, length))
            del rest[-length:]
        return parts[0] if len(parts) == 1 else _Text("{" + ", ".join(part.text for part in parts) + "}", 2)

    def _run(self, high: Bit, length: int) -> _Text:
        wire = high[0]
        if wire in self._inlined:
            return self._inlined[wire]
        return _Text(self._signal(wire, high[1] - length + 1, high[1]), 2)

    # Statements

    def _add(self, line: str) -> None:
        self._lines += textwrap.wrap(
            line, _LINE, subsequent_indent=" " * (len(line) - len(line.lstrip()) + 4), break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip

    def _port(self, wire: Wire) -> str:
        node = self._flow.driver.get((wire.name, 0))
        if node is None or not (node.is_register or node.process):
            return f"{wire.direction} wire {_range(wire.width)}{self._names[wire.name]}"
        return f"{wire.direction} reg {_range(wire.width)}{self._names[wire.name]}"

    def _declare(self, bits: Bits, kind: str) -> None:
        for wire in dict.fromkeys(bit[0] for bit in bits):
            if wire not in self._declared and not self._flow.wires[wire].direction:
                self._declared.add(wire)
                self._add(f"  {kind} {_range(self._flow.width[wire])}{self._name(wire)};")

    def _write_cell(self, node: Node, cell: Cell) -> None:
        value = self._expression(cell)
        wire = node.drives[0][0]
        whole = node.drives == tuple((wire, i) for i in range(self._flow.width[wire]))
        if whole and self._stands_inside(wire, node.drives, value, cell):
            self._inlined[wire] = value
        elif whole and not self._flow.wires[wire].direction:
            self._declared.add(wire)
            self._add(f"  wire {_range(len(node.drives))}{self._name(wire)} = {value.text};")
        else:
            self._declare(node.drives, "wire")
            self._add(f"  assign {self._value(node.drives).text} = {value.text};")

    def _stands_inside(self, wire: str, bits: Bits, value: _Text, cell: Cell) -> bool:
        """Whether the value of a wire that nobody named is written where it is used: where that is once, or where it is
        no longer than a name."""
        if wire in self._names or len(value.text) > _INLINE or cell.kind in ("$sshr", "$mul"):
            return False
        whole = sum(_occurrences(bits, reader) for reader in self._readers.get(wire, []))
        if any(self._uses[bit] != whole for bit in bits):
            return False
        return whole == 1 or (value.binds == 1 and len(value.text) <= 16)

    def _expression(self, cell: Cell) -> _Text:
        a, b, width = cell.ports["A"], cell.ports.get("B", ()), len(cell.ports["Y"])
        if cell.kind == "$mux":
            choice = self._value(cell.ports["S"])
            if (a, b) in (((LOW,), (HIGH,)), ((HIGH,), (LOW,))):
                return choice if b == (HIGH,) else _Text("~" + choice.within(2), 1)
            return _Text(f"{choice.within(1)} ? {self._value(b).within(1)} : {self._value(a).within(1)}", 0)
        if cell.kind in REDUCE:
            value = self._value(a)
            if len(a) == 1 and cell.kind != "$logic_not":
                return value
            return _Text(("~" if len(a) == 1 else REDUCE[cell.kind]) + value.within(2), 1)
        if cell.kind in SIGN:
            return _Text(SIGN[cell.kind] + self._value(a).within(2), 1)
        if cell.kind in ("$shr", "$sshr") and len(a) > width:
            raise SpecificationError(f"{self._flow.name}: a shift that loses high bits, which has no Verilog here")
        left, right = self._value(a), self._value(b)
        sign = (COMPARE | SAME_WIDTH | SHIFT | {"$sshr": ">>"})[cell.kind]
        if cell.kind == "$sshr" and is_signed(cell):
            return _Text(f"$signed({left.text}) >>> {right.within(1)}", 0)
        if is_signed(cell) and cell.kind in ("$mul", "$lt", "$le", "$gt", "$ge"):
            return _Text(f"$signed({left.text}) {sign} $signed({right.text})", 0)
        return _Text(f"{left.within(1)} {sign} {right.within(1)}", 0)

    # Processes and registers

    def _with_clock(self) -> dict[Node, Node]:
        """Processes that only give a register its next value, by the register: they go into its clocked block."""
        found = {}
        for register in self._flow.nodes:
            if register.is_register and register.cell:
                data = register.cell.ports["D"]
                process = self._flow.driver.get(data[0])
                alone = process and process.process and process.drives == data
                if process and alone and all(self._uses[bit] == 1 for bit in data):
                    found[register] = process
        return found

    def _declare_register(self, node: Node) -> None:
        wire = node.drives[0][0]
        if node.drives != tuple((wire, i) for i in range(self._flow.width[wire])):
            raise SpecificationError(f"{self._flow.name}: a register of parts of a wire, which has no Verilog here")
        if not self._flow.wires[wire].direction:
            self._declared.add(wire)
            self._add(f"  reg {_range(len(node.drives))}{self._name(wire)};")
        init = self._flow.wires[wire].init
        if init is not None:
            self._add(f"  initial {self._name(wire)} = {_constant(init, len(node.drives))};")

    def _write_register(self, node: Node, process: Node | None) -> None:
        assert node.cell
        clock, name = self._value(node.cell.ports["CLK"]).text, self._value(node.drives).text
        if process and process.process:
            self._add(f"  always @(posedge {clock}) begin")
            targets = dict(zip(process.drives, node.drives, strict=True))
            self._write_case(process.process, "    ", "<=", targets)
            self._add("  end")
        else:
            self._add(f"  always @(posedge {clock}) {name} <= {self._value(node.cell.ports['D']).text};")

    def _write_process(self, process: Case, drives: Bits) -> None:
        self._declare(drives, "reg")
        self._add("  always @* begin")
        self._write_case(process, "    ", "=", {})
        self._add("  end")

    def _write_case(self, case: Case, indent: str, sign: str, targets: dict[Bit, Bit]) -> None:
        for left, right in case.assigns:
            to = tuple(targets.get(bit, bit) for bit in left)
            self._add(f"{indent}{self._value(to).text} {sign} {self._value(right).text};")
        for switch in case.switches:
            self._write_switch(switch, indent, sign, targets)

    def _write_switch(self, switch: Switch, indent: str, sign: str, targets: dict[Bit, Bit]) -> None:
        """A chain of if and else: patterns may overlap, and the first that holds decides."""
        word = "if"
        for case in switch.cases:
            if case.patterns:
                condition = " || ".join(self._matches(switch.on, pattern) for pattern in case.patterns)
                self._add(f"{indent}{word} ({condition}) begin")
            else:
                self._add(f"{indent}{'else ' if word != 'if' else ''}begin")
            self._write_case(case, indent + "  ", sign, targets)
            self._add(f"{indent}end")
            word = "else if"
            if not case.patterns:
                break

    def _matches(self, on: Bits, pattern: str) -> str:
        """Whether bits meet a pattern; only those that count are compared."""
        counting = [(bit, digit) for bit, digit in zip(on, reversed(pattern), strict=True) if digit in "01"]
        if not counting:
            return "1'b1"
        value = self._value(tuple(bit for bit, _ in counting))
        if len(counting) == 1:
            return value.text if counting[0][1] == "1" else "~" + value.within(2)
        wanted = sum(int(digit) << i for i, (_, digit) in enumerate(counting))
        return f"{value.within(1)} == {_constant(wanted, len(counting))}"

    def _write_unused(self) -> None:
        """Bits that nothing reads, in a wire that linters know by its name."""
        flow = self._flow
        bits = [bit for wire in flow.wires.values() if wire.direction == "input" for bit in bits_of(wire)]
        bits += [bit for node in flow.nodes for bit in node.drives if flow.wires[bit[0]].direction != "output"]
        idle = tuple(bit for bit in bits if not self._uses[bit] and bit[0] not in self._inlined)
        if idle:
            self._add(f"  wire unused = &{{1'b0, {self._value(idle).text.strip('{}')}}};")


def _occurrences(bits: Bits, within: Bits) -> int:
    """How often bits stand together and in order in others."""
    return sum(within[i : i + len(bits)] == bits for i, bit in enumerate(within) if bit == bits[0])


def _runs(flags: list[bool]) -> Iterable[tuple[int, int]]:
    """First and last index of every run of flags that are set."""
    start = None
    for i, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            yield start, i - 1
            start = None


def _constant(value: int, width: int) -> str:
    if value in (0, 1) and width > 1:
        return f"{width}'d{value}"
    return f"{width}'b{value:0{width}b}" if width <= 4 else f"{width}'h{value:0{-(-width // 4)}x}"


def _range(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _plain(name: str) -> str:
    """A Verilog name of an RTLIL one."""
    made = "".join(letter if letter.isalnum() else "_" for letter in name[1:].split("$")[0].strip("."))
    return made.strip("_") or "signal"


def _unique(name: str, taken: Iterable[str]) -> str:
    if name != "t" and name not in taken:
        return name
    number = 1
    joint = "" if name == "t" else "_"
    while f"{name}{joint}{number}" in taken:
        number += 1
    return f"{name}{joint}{number}"
