"""Weights without a finer copy: after every optimiser step they are rounded to the operands' format at random.

A weight that was updated to L / 2^f of the finer format gets floor((L + r) / 2^(f - F)), with r uniform from 0 to
2^(f - F) - 1: the sum that hardware makes of a logarithm and the low bits of a random number, before it drops them. It
is unbiased in the logarithm. Zero stays zero; what leaves the range is saturated or flushed as the format says.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.arithmetic import LogArithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import LNS


class StochasticWeights:
    """Rounds what an optimiser has updated."""

    def __init__(self, compute: LogArithmetic, update: LogArithmetic, generator: torch.Generator) -> None:
        """Raises SpecificationError where the generator is none of the CPU's, or nothing is left to be rounded."""
        if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
            raise SpecificationError(f"use(stochastic={generator!r}): must be a torch.Generator of the CPU")
        if update.format.frac_bits == compute.format.frac_bits:
            raise SpecificationError(
                f"use(stochastic=...): update={update} has no more fraction bits than {compute}; nothing is rounded"
            )
        self._fine, self._coarse, self._generator = update.format, compute.format, generator

    def round_(self, optimizer: Optimizer) -> None:
        """Every parameter that has a gradient, in the optimiser's order."""
        with torch.no_grad(), _disable_current_modes():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.copy_(self.rounded(parameter))

    def rounded(self, x: torch.Tensor) -> torch.Tensor:
        """``x``, on the fine grid, on the coarse one; draws one number for each element."""
        dropped = self._fine.frac_bits - self._coarse.frac_bits
        draws = torch.randint(1 << dropped, x.shape, generator=self._generator).numpy()
        sign, log = self._fine.logs(x.detach().numpy())
        return torch.from_numpy(_dropped(sign, log, draws, self._fine, self._coarse))


def _dropped(
    sign: NDArray[np.int64], log: NDArray[np.int64], draws: NDArray[np.int64], fine: LNS, coarse: LNS
) -> NDArray[np.float32]:
    is_zero = log == fine.zero_log
    kept = coarse.round_log((log + draws) >> (fine.frac_bits - coarse.frac_bits))
    kept = np.where(is_zero, coarse.zero_log, kept)
    return coarse.numbers(np.where(kept == coarse.zero_log, 0, sign), kept)
