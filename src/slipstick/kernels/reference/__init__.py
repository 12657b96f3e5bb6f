"""The bit-true semantics in NumPy: slow, obviously correct, and the oracle of every kernel's tests.

Each function quotes the rule that it follows. Operations vectorise over outputs and loop over terms; everything is
int64, so nothing wraps. Nothing here is fast, and nothing here knows of a kernel.

    from slipstick.kernels import reference
    a, b = reference.encode(x, lns), reference.encode(y, lns)
    reference.matmul(a, b, LogArithmetic(lns)).numbers()
"""

from slipstick.kernels.reference.addition import add, subtract
from slipstick.kernels.reference.functions import apply, exp, log, power, sigmoid, tanh
from slipstick.kernels.reference.linear import linear_matmul, linear_products, linear_result, linear_sum
from slipstick.kernels.reference.logs import LogArray, convert, encode, from_codes, rounded, zeros
from slipstick.kernels.reference.products import (
    addmm,
    convolution,
    convolution_input_gradient,
    convolution_weight_gradient,
    matmul,
)
from slipstick.kernels.reference.scalars import (
    absolute,
    divide,
    equal,
    less,
    maximum,
    minimum,
    multiply,
    negate,
    reciprocal,
    rsqrt,
    sqrt,
)
from slipstick.kernels.reference.sums import mean_over, ordered_sum, scatter_sum, sum_over

__all__ = [
    "LogArray",
    "absolute",
    "add",
    "addmm",
    "apply",
    "convert",
    "convolution",
    "convolution_input_gradient",
    "convolution_weight_gradient",
    "divide",
    "encode",
    "equal",
    "exp",
    "from_codes",
    "less",
    "linear_matmul",
    "linear_products",
    "linear_result",
    "linear_sum",
    "log",
    "matmul",
    "maximum",
    "mean_over",
    "minimum",
    "multiply",
    "negate",
    "ordered_sum",
    "power",
    "reciprocal",
    "rounded",
    "rsqrt",
    "scatter_sum",
    "sigmoid",
    "sqrt",
    "subtract",
    "sum_over",
    "tanh",
    "zeros",
]
