"""What + and x mean on a format."""

from slipstick.arithmetic.adders import Adder, BitShift, Exact, PiecewiseLinear, Segments, Table
from slipstick.arithmetic.design_file import load_adder
from slipstick.arithmetic.distances import DistanceHistogram, load_distances
from slipstick.arithmetic.exponential import ExpSegments
from slipstick.arithmetic.indexed_table import IndexedTable, IndexForm
from slipstick.arithmetic.linear_accumulate import LinearAccumulate
from slipstick.arithmetic.log_arithmetic import LogArithmetic
from slipstick.arithmetic.orders import Blocked, Order, Sequential, Tree
from slipstick.arithmetic.parsing import Arithmetic, arithmetic_from_dict, parse_arithmetic
from slipstick.arithmetic.rounded import RoundedArithmetic

__all__ = [
    "Adder",
    "Arithmetic",
    "BitShift",
    "Blocked",
    "DistanceHistogram",
    "Exact",
    "ExpSegments",
    "IndexForm",
    "IndexedTable",
    "LinearAccumulate",
    "LogArithmetic",
    "Order",
    "PiecewiseLinear",
    "RoundedArithmetic",
    "Segments",
    "Sequential",
    "Table",
    "Tree",
    "arithmetic_from_dict",
    "load_adder",
    "load_distances",
    "parse_arithmetic",
]
