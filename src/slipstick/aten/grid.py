"""Tensors rounded to the numbers of a format, as an operator's exit is."""

from torch import Tensor

from slipstick.arithmetic import LogArithmetic
from slipstick.errors import NonFiniteError
from slipstick.formats import LNS, FixedPoint
from slipstick.kernels.elementwise import identity
from slipstick.kernels.spec import kernel_spec


def rounded(format: LNS | FixedPoint, operator: str, x: Tensor, out: Tensor | None = None) -> Tensor:
    """``x`` on the grid of ``format``; ``out`` may be ``x``. Raises NonFiniteError for NaN, naming ``operator``."""
    if isinstance(format, LNS):
        result: Tensor = identity(kernel_spec(LogArithmetic(format)), operator, x, out=out)
        return result
    try:
        numbers = format.quantize(x)
    except NonFiniteError as error:
        raise NonFiniteError(f"{operator}: {error}") from None
    return numbers if out is None else out.copy_(numbers)
