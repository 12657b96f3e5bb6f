"""Train PyTorch programs in the arithmetic of hardware that does not exist yet, bit for bit."""

from slipstick.arithmetic import (
    Adder,
    BitShift,
    Blocked,
    Exact,
    LogArithmetic,
    PiecewiseLinear,
    RoundedArithmetic,
    Segments,
    Sequential,
    Table,
    Tree,
)
from slipstick.aten import Audit, codes, exact, snap_, update_phase, use
from slipstick.errors import NonFiniteError, SlipstickError, SpecificationError, UnsupportedOperation
from slipstick.formats import LNS

__version__ = "0.1.0"

__all__ = [
    "LNS",
    "Adder",
    "Audit",
    "BitShift",
    "Blocked",
    "Exact",
    "LogArithmetic",
    "NonFiniteError",
    "PiecewiseLinear",
    "RoundedArithmetic",
    "Segments",
    "Sequential",
    "SlipstickError",
    "SpecificationError",
    "Table",
    "Tree",
    "UnsupportedOperation",
    "__version__",
    "codes",
    "exact",
    "snap_",
    "update_phase",
    "use",
]
