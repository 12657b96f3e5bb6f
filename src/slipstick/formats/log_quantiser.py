"""What LogQuant and MultiBaseLNS share: a sign and an integer field on a logarithmic grid."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch

from slipstick.formats.log_grid import LogGrid, log_grid, look_up
from slipstick.formats.quantiser import Quantiser, Rounding


class LogQuantiser(Quantiser):
    """Numbers +-s * 2^((low + field) / 2^F) for field = 0 .. top; field 0 may stand for zero instead.

    A code is the field, with the sign above it in a signed format.
    """

    @property
    @abstractmethod
    def _frac_bits(self) -> int:
        """F."""

    @property
    @abstractmethod
    def _field_bits(self) -> int:
        """Bits of the field."""

    @property
    @abstractmethod
    def _low(self) -> int:
        """The logarithm of field 0 in steps of 2^-F."""

    @property
    @abstractmethod
    def _has_zero(self) -> bool:
        """Whether field 0 stands for zero."""

    @property
    @abstractmethod
    def _has_sign(self) -> bool: ...

    @property
    def _top(self) -> int:
        return (1 << self._field_bits) - 1

    @property
    def width(self) -> int:
        """Bits of a code, the sign included."""
        return self._field_bits + int(self._has_sign)

    @property
    def largest(self) -> float:
        return _limits(self)[1]

    @property
    def smallest(self) -> float:
        return _limits(self)[0]

    @property
    def smallest_scale(self) -> float:
        return float(2.0 ** (-126 - min(0, self._low >> self._frac_bits)))

    @property
    def values(self) -> torch.Tensor:
        positive = self._positive(range(int(self._has_zero), self._top + 1))
        negative = -positive.flip(0) if self._has_sign else positive[:0]
        return torch.cat([negative, torch.zeros(int(self._has_zero)), positive])

    def _positive(self, fields: Sequence[int]) -> torch.Tensor:
        """The positive numbers of fields at scale 1."""
        grid = log_grid(self._frac_bits, None, torch.float32, torch.device("cpu"))
        return grid.number(torch.tensor(fields, dtype=torch.int32) + self._low)

    def _place(self, scale: torch.Tensor | None, like: torch.Tensor) -> "Ladder":
        bare = Ladder(log_grid(self._frac_bits, scale, like.dtype, like.device), self._low, self._top, self._has_zero)
        if bare.table_length >= like.numel():
            return bare
        return _tabulated_once(bare) if bare.grid.rows is None else bare.tabulated()

    def _encode(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor:
        rung = self._rungs(x, rounding, draws, place)
        field = (rung - 1).clamp_(min=0)
        if not self._has_sign:
            return field
        negative = (x < 0).to(torch.int32)
        if self._has_zero:
            negative.mul_(field.clamp(max=1))
        elif draws is not None:
            negative.bitwise_xor_((rung == 0).to(torch.int32))
        return field.bitwise_or_(negative.bitwise_left_shift_(self._field_bits))

    def _decode(self, codes: torch.Tensor, place: Any) -> torch.Tensor:
        numbers: torch.Tensor = place.number((codes & self._top).add_(1))
        return numbers.mul_(1 - 2 * (codes >> self._field_bits)) if self._has_sign else numbers

    def _quantize(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor:
        numbers: torch.Tensor = place.number(self._rungs(x, rounding, draws, place))
        if not self._has_sign:
            return numbers.to(x.dtype)
        positive_zero = (x + 0.0).to(torch.float32)
        if not self._has_zero and draws is not None:  # the number may be negative, on the lowest rung
            sign = positive_zero.view(torch.int32).bitwise_and_(-(1 << 31))
            return sign.bitwise_xor_(numbers.view(torch.int32)).view(torch.float32).to(x.dtype)
        numbers.copysign_(positive_zero)
        return (numbers.add_(0.0) if self._has_zero else numbers).to(x.dtype)

    def _no_codes(self, codes: torch.Tensor) -> torch.Tensor:
        bad = (codes < 0) | (codes >= 1 << self.width)
        return bad | (codes == 1 << self._field_bits) if self._has_zero and self._has_sign else bad

    def _rungs(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, ladder: "Ladder") -> torch.Tensor:
        """The rung of each magnitude."""
        magnitude = x.abs() if self._has_sign else x.clamp(min=0)
        rung = ladder.nearest(magnitude)
        if draws is None:
            return rung
        magnitude = torch.minimum(magnitude, ladder.highest.to(x.dtype))
        rung.sub_((magnitude < ladder.number(rung)).to(torch.int32))
        if rounding == "stochastic":
            low = ladder.number(rung)
            up = draws * (ladder.number(rung + 1) - low) < magnitude - low
        else:
            rung.clamp_(min=1)
            up = draws < ladder.fraction(magnitude, rung)
        return rung.add_(up.to(torch.int32))


@dataclass(frozen=True)
class Ladder:
    """The magnitudes of a format at a scale, ascending from rung 1, that of field 0, to rung top + 1.

    Below them, on rung 0, is the negative of rung 1: the lower neighbour of what lies between where there is no zero.
    Rung top + 2 repeats the highest, which has no upper neighbour.
    table: the numbers of all rungs, for each scale. None where computing the few that are needed is less work.
    """

    grid: LogGrid
    low: int
    top: int
    has_zero: bool
    table: torch.Tensor | None = field(default=None, compare=False)

    @property
    def table_length(self) -> int:
        """Entries of the table for all scales."""
        return (self.top + 3) * self.grid.origin.numel()

    @property
    def highest(self) -> torch.Tensor:
        """The largest magnitude of each scale."""
        return self.grid.number(torch.full_like(self.grid.origin, self.low + self.top))

    def tabulated(self) -> "Ladder":
        scales = self.grid.origin.numel()
        rungs = torch.arange(self.top + 3, dtype=torch.int32, device=self.grid.origin.device).expand(scales, -1)
        rows = None if self.grid.rows is None else self.grid.rows.view(-1, 1)
        table = self._computed(rungs, replace(self.grid, rows=rows)).reshape(-1)
        return replace(self, table=table)

    def nearest(self, magnitude: torch.Tensor) -> torch.Tensor:
        """The rung nearest in the logarithm."""
        return self.grid.nearest(magnitude).sub_(self.low - 1).clamp_(1, self.top + 1)

    def number(self, rung: torch.Tensor) -> torch.Tensor:
        """float32 numbers of rungs."""
        if self.table is None:
            return self._computed(rung, self.grid)
        return look_up(self.table, rung, self.grid.rows, self.top + 3)

    def fraction(self, magnitude: torch.Tensor, rung: torch.Tensor) -> torch.Tensor:
        """How far above its rung a magnitude is in the logarithm, in steps; rung 1 counts though it be zero."""
        return self.grid.fraction(magnitude.to(torch.float64) / self.grid.number(rung + (self.low - 1)))

    def _computed(self, rung: torch.Tensor, grid: LogGrid) -> torch.Tensor:
        field = (rung - 1).clamp_(0, self.top)
        numbers = grid.number(field + self.low)
        if self.has_zero:
            return numbers.mul_(field.clamp_(max=1))
        return numbers.mul_(rung.clamp(max=1).mul_(2).sub_(1))


@lru_cache(maxsize=64)
def _tabulated_once(ladder: Ladder) -> Ladder:
    """The table of one scale, which is often the same again; grids of equal scales are one object."""
    return ladder.tabulated()


@lru_cache(maxsize=256)
def _limits(format: LogQuantiser) -> tuple[float, float]:
    """The smallest and the largest positive number at scale 1."""
    smallest, largest = format._positive((int(format._has_zero), format._top)).tolist()
    return smallest, largest
