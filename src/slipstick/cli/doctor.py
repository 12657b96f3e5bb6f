"""What ``slipstick doctor`` shows."""

from rich import box
from rich.table import Table

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.published import NAMES
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.kernels import native
from slipstick.kernels.spec import kernel_spec
from slipstick.train.environment import environment

_FORMATS = (LNS(5, 3), LNS(5, 4), LNS(5, 5), LNS(5, 6), LNS(5, 7), LNS(5, 8), LNS(4, 10))


def environment_table() -> Table:
    """Versions, machine, threads, instruction sets."""
    table = Table(title="installation", show_header=False, title_style="bold", box=box.SIMPLE)
    for key, value in environment().items():
        if key == "isa":
            table.add_row("instruction set in use", str(value))
            table.add_row("instruction sets available", ", ".join(native.available_isas()))
        elif key != "time":
            table.add_row(key, str(value))
    return table


def kernels_table() -> Table:
    """The path that matrix multiplication takes for every shipped adder, and on which formats."""
    table = Table(title="matrix multiplication", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    for column in ("adder", "path", "formats"):
        table.add_column(column, overflow="fold")
    for name in NAMES:
        formats: dict[str, list[str]] = {}
        for format in _FORMATS:
            if path := _path(name, format):
                formats.setdefault(path, []).append(str(format))
        for path, listed in formats.items():
            table.add_row(name, path, " ".join(listed))
    return table


def _path(adder: str, format: LNS) -> str | None:
    """None where the adder has no table for the format."""
    try:
        arithmetic = LogArithmetic(format, add=adder)
    except SpecificationError:
        return None
    return native.plan_name(kernel_spec(arithmetic).native)
