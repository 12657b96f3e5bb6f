"""Codes of logarithmic numbers, floats to encode, and products of them by PyTorch and by hardware."""

from collections.abc import Sequence

import numpy as np
import torch
from mac_vectors import Together, run
from numpy.typing import NDArray

import slipstick as ss
from slipstick import LNS, LogArithmetic
from slipstick.hardware.models.log import LogRange, accumulator_range
from slipstick.hardware.rtl.log_converters import log_decode_unit, log_encode_unit, log_result_unit
from slipstick.hardware.unit import Unit

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

MODES = ["close", "cancelling", "far"]
"""Of floats: a few octaves, pairs of opposite signs that nearly cancel, and the whole range with what is beyond it."""


def codes(format: LNS, logs: LogRange | None = None) -> Codes:
    """Zero, and both numbers of every log of the range."""
    logs = logs or LogRange(-format.max_log, format.max_log)
    fields = np.arange(logs.lowest, logs.highest + 1) & ((1 << (format.width - 1)) - 1)
    return np.concatenate([[zero(format)], fields, fields | 1 << (format.width - 1)])


def zero(format: LNS) -> int:
    """The code of zero."""
    return 1 << (format.width - 2)


def sums(arithmetic: LogArithmetic) -> Codes:
    """All codes that the accumulator can have."""
    return codes(arithmetic.accumulator_format, accumulator_range(arithmetic))


def floats(format: LNS, shape: tuple[int, ...], mode: str, rng: np.random.Generator) -> Floats:
    """Off the grid, with zeros; the last axis of cancelling ones holds the pairs."""
    octaves = 1 << format.int_bits
    spread = rng.uniform(-1.2 * octaves, 1.2 * octaves, shape) if mode == "far" else rng.normal(0, octaves / 8, shape)
    x = (2.0**spread * rng.choice([-1, 1], shape)).astype(np.float32)
    if mode == "cancelling":
        paired = shape[-1] // 2 * 2
        x[..., 1:paired:2] = -x[..., 0:paired:2] * rng.choice(2.0 ** (np.arange(-2, 3) / 2.0**format.frac_bits))
    special = np.array([0, -0.0, np.inf, -np.inf, 1e-42, -3e38], np.float32)
    where = rng.random(shape)
    x[where < 0.06] = 0
    return np.where((where > 0.99) & (mode == "far"), rng.choice(special, shape), x)


def library_products(arithmetic: LogArithmetic, x: Floats, y: Floats) -> Codes:
    """Bits of x y [..., M, N] as PyTorch computes it in the arithmetic."""
    with ss.use(arithmetic):
        return (torch.from_numpy(x) @ torch.from_numpy(y)).numpy().view(np.uint32).astype(np.int64)


class Datapath:
    """What lies between floats and units of dot products: encoder, rounding of the sum to an operand, decoder."""

    def __init__(self, products: Sequence[tuple[LogArithmetic, Unit]]) -> None:
        made = {}
        for arithmetic, unit in products:
            around = log_encode_unit(arithmetic.format), log_result_unit(arithmetic), log_decode_unit(arithmetic.format)
            made |= {each.name: each for each in (*around, *([] if unit.latency else [unit]))}
        self._numbers = {name: i for i, name in enumerate(made)}
        self._together = Together(list(made.values()))

    def run(self, unit: Unit, **ports: Codes) -> Codes:
        """The unit's only or first output; a clocked one is compiled by itself."""
        if unit.latency:
            return run(unit, unit.outputs[0].name, **ports)
        return next(iter(self._together.run(self._numbers[unit.name], **ports).values()))

    def encoded(self, arithmetic: LogArithmetic, x: Floats) -> Codes:
        """Codes of the operands."""
        bits = x.ravel().view(np.uint32).astype(np.int64)
        return self.run(log_encode_unit(arithmetic.format), number=bits).reshape(x.shape)

    def decoded(self, arithmetic: LogArithmetic, sums: Codes) -> Codes:
        """Bits of the results of finished sums."""
        return self.run(log_decode_unit(arithmetic.format), code=self.run(log_result_unit(arithmetic), code=sums))
