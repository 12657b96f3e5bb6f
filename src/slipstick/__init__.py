"""Train PyTorch programs in the arithmetic of hardware that does not exist yet, bit for bit."""

from slipstick.arithmetic import (
    Adder,
    BitShift,
    Blocked,
    Exact,
    ExpSegments,
    IndexedTable,
    IndexForm,
    LogArithmetic,
    PiecewiseLinear,
    RoundedArithmetic,
    Segments,
    Sequential,
    Table,
    Tree,
    load_adder,
)
from slipstick.aten import Audit, DistanceRecorder, codes, exact, snap_, update_phase, use
from slipstick.errors import NonFiniteError, SlipstickError, SpecificationError, UnsupportedOperation
from slipstick.formats import E3M0, E4M3, E5M2, LNS, FixedPoint, LogQuant, MiniFloat, MultiBaseLNS

__version__ = "0.1.0"

__all__ = [
    "E3M0",
    "E4M3",
    "E5M2",
    "LNS",
    "Adder",
    "Audit",
    "BitShift",
    "Blocked",
    "DistanceRecorder",
    "Exact",
    "ExpSegments",
    "FixedPoint",
    "IndexForm",
    "IndexedTable",
    "LogArithmetic",
    "LogQuant",
    "MiniFloat",
    "MultiBaseLNS",
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
    "load_adder",
    "snap_",
    "update_phase",
    "use",
]
