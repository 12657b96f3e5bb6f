"""Train PyTorch programs in the arithmetic of hardware that does not exist yet, bit for bit."""

from typing import TYPE_CHECKING, Any

from slipstick import optim
from slipstick.arithmetic import (
    Adder,
    BitShift,
    Blocked,
    Exact,
    ExpSegments,
    IndexedTable,
    IndexForm,
    LinearAccumulate,
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
from slipstick.quantize import (
    LayerRule,
    Product,
    QuantizerSpec,
    Range,
    Recipe,
    dequantize,
    quantization_table,
    quantize,
    recipe,
)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from slipstick.watch import Watch

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
    "LayerRule",
    "LinearAccumulate",
    "LogArithmetic",
    "LogQuant",
    "MiniFloat",
    "MultiBaseLNS",
    "NonFiniteError",
    "PiecewiseLinear",
    "Product",
    "QuantizerSpec",
    "Range",
    "Recipe",
    "RoundedArithmetic",
    "Segments",
    "Sequential",
    "SlipstickError",
    "SpecificationError",
    "Table",
    "Tree",
    "UnsupportedOperation",
    "Watch",
    "__version__",
    "codes",
    "dequantize",
    "exact",
    "load_adder",
    "optim",
    "quantization_table",
    "quantize",
    "recipe",
    "snap_",
    "update_phase",
    "use",
]


def __getattr__(name: str) -> Any:
    """What few programs need is imported when it is first asked for."""
    if name == "Watch":
        from slipstick.watch import Watch

        return Watch
    raise AttributeError(f"module 'slipstick' has no attribute {name!r}")
