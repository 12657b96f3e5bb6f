"""What ``slipstick doctor`` shows."""

from rich.table import Table

from slipstick.arithmetic import LogArithmetic
from slipstick.arithmetic.published import NAMES
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.train.environment import environment

_FORMATS = (LNS(5, 3), LNS(5, 4), LNS(5, 5), LNS(5, 6), LNS(5, 7), LNS(5, 8), LNS(4, 10))


def environment_table() -> Table:
    """Versions, machine, threads, instruction sets."""
    table = Table(title="installation", show_header=False, title_style="bold")
    for key, value in environment().items():
        if key == "isa":
            table.add_row("instruction set in use", str(value or "none: the kernels are not built"))
            table.add_row("instruction sets available", _available_isas())
        elif key != "time":
            table.add_row(key, str(value))
    return table


def kernels_table() -> Table:
    """The fast path of every shipped adder on common formats; a dot where an adder has no such format."""
    table = Table(title="matrix multiplication kernels", title_style="bold", header_style="bold")
    table.add_column("adder")
    for format in _FORMATS:
        table.add_column(str(format))
    for name in NAMES:
        table.add_row(name, *(_plan(name, format) for format in _FORMATS))
    return table


def _available_isas() -> str:
    try:
        from slipstick.kernels import native
    except ImportError:
        return "none"
    return ", ".join(native.available_isas())


def _plan(adder: str, format: LNS) -> str:
    try:
        arithmetic = LogArithmetic(format, add=adder)
    except (SpecificationError, FileNotFoundError):
        return "·"
    try:
        from slipstick.kernels import native
        from slipstick.kernels.spec import kernel_spec
    except ImportError:
        return "not built"
    plan_name = getattr(native, "plan_name", None)
    return str(plan_name(kernel_spec(arithmetic).native)) if plan_name else "built"
