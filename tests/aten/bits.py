"""What the bit tests have in common: arithmetics of few bits, operands, and reference numbers put together."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from oracle import Number, Oracle

import slipstick as ss
from slipstick.kernels import reference
from slipstick.kernels.reference import LogArray

ARITHMETICS = {
    "hamad2025 saturate tree": ss.LogArithmetic(ss.LNS(5, 5), "hamad2025"),
    "hamad2025 flush sequential": ss.LogArithmetic(ss.LNS(5, 5, "flush"), "hamad2025", ss.Sequential()),
    "exact flush blocked": ss.LogArithmetic(ss.LNS(5, 5, "flush"), "exact", ss.Blocked(4)),
    "operand accumulator": ss.LogArithmetic(ss.LNS(5, 5), "hamad2025", accumulator="operand"),
    "wide accumulator": ss.LogArithmetic(ss.LNS(4, 3), "exact", accumulator=ss.LogArithmetic(ss.LNS(6, 8), "exact")),
}


def numbers(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    """Normal numbers off the grid, some of them zero or equal in magnitude."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * spread
    choice = torch.rand(shape, generator=generator)
    return torch.where(choice < 0.05, torch.zeros(()), torch.where(choice < 0.15, x.sign(), x))


def extremes(*shape: int, seed: int = 0) -> torch.Tensor:
    """Magnitudes over the whole range of the format and beyond it."""
    generator = torch.Generator().manual_seed(seed)
    log = torch.rand(shape, generator=generator) * 72 - 36
    sign = torch.rand(shape, generator=generator).sub(0.5).sign()
    return sign * torch.exp2(log)


def real(x: Number, name: str, f: Callable[[Any], Any]) -> Number:
    """f of every number by the reference, with 60 digits."""
    return Number(x.o, reference.apply(name, f, x.a))


def stacked(o: Oracle, parts: list[Number], axis: int) -> Number:
    """Parts side by side along ``axis``."""
    sign, log = (np.concatenate([getattr(p.a, field) for p in parts], axis) for field in ("sign", "log"))
    return Number(o, LogArray(parts[0].a.format, sign, log))


def constants(o: Oracle, values: Any) -> Number:
    """Host constants, encoded from float64."""
    return o.numbers(torch.as_tensor(values, dtype=torch.float64))


def placed(o: Oracle, values: Number, places: Any, size: int) -> Number:
    """Row i of ``values`` added into row places[i] of [size, ...], in ascending i, sequentially."""
    return Number(o, reference.scatter_sum(values.a, np.asarray(places).reshape(-1), size, o.arithmetic))


def joined(o: Oracle, parts: list[Number]) -> Number:
    """Numbers one after the other, flat."""
    return stacked(o, [p.reshape(-1) for p in parts], 0)
