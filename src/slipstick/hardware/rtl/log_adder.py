# amaranth: UnusedElaboratable=no
"""The functions D+(d) and D-(d) of logarithmic addition as logic.

An adder is its two integer tables. Up to seven or eight fraction bits their smallest and fastest circuit is neither a
memory nor comparators with shifters, but logic of the bits of d: a decision diagram. For finer formats a piece-wise
linear adder keeps its slopes: the diagram then gives an intercept and a select line for each slope, an AND-OR picks
the shifted d, and one addition joins them:

    correction = intercept[d] - (d shifted), same signs;   intercept[d] + (d shifted), opposite signs

What such logic consumes is little of it at work and much of it turning over in vain. Most distances of a long sum are
large, where the tables are short numbers that change slowly. So the distances below two octaves, which need most of the
logic, have a diagram of their own, whose inputs rest at 0 while the distance is beyond.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from slipstick.arithmetic import Adder, PiecewiseLinear, Segments
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.hardware.models.log import bits_of
from slipstick.hardware.rtl.decision_diagram import MAX_ADDRESS_BITS, DecisionDiagram
from slipstick.hardware.rtl.log_names import adder_name, format_name
from slipstick.hardware.unit import Port, Unit

Ints = NDArray[np.int64]

_SLOPE_NODES = 10
"""Selecting, complementing and adding one bit of the shifted d, in nodes of a diagram: 6 by area, 4 for its delay."""

_NO_SLOPE = 99


@dataclass(frozen=True, eq=False)
class AdderTables:
    """The tables of an adder, padded for hardware. Rows: same signs (D+), opposite signs (D-).

    corrections: [2, 2^near_bits], D(d); beyond, D is 0.
    cancels: [2^near_bits], where operands of opposite signs give zero; D- is any number there.
    """

    corrections: Ints
    cancels: NDArray[np.bool_]

    @property
    def near_bits(self) -> int:
        """Bits of the distances inside the tables."""
        return len(self.cancels).bit_length() - 1

    @property
    def lowest(self) -> int:
        return int(self.corrections.min())

    @property
    def highest(self) -> int:
        return int(self.corrections.max())

    @property
    def correction_bits(self) -> int:
        """Of a correction in two's complement."""
        return bits_of(self.lowest, self.highest)


@lru_cache(maxsize=64)
def adder_tables(adder: Adder, format: LNS) -> AdderTables:
    """The tables of ``adder`` in ``format``.

    Raises:
        SpecificationError: they are too long for logic.
    """
    plus, minus = (table.astype(np.int64) for table in adder.tables(format))
    near_bits = max(1, (len(plus) - 2).bit_length())  # the last entry is 0, as all beyond
    if near_bits > MAX_ADDRESS_BITS - 1:
        raise SpecificationError(
            f"{adder} in {format}: tables up to d = {len(plus) - 1} are too long for logic; "
            "use fewer fraction bits, or an adder that ends earlier"
        )
    corrections = np.zeros((2, 1 << near_bits), np.int64)
    entries = min(len(plus), 1 << near_bits)
    corrections[0, :entries], corrections[1, :entries] = plus[:entries], minus[:entries]
    cancels = corrections[1] == CANCEL
    cancels[0] = True
    corrections[1, cancels] = 0 if cancels.all() else corrections[1, np.argmin(cancels)]
    return AdderTables(corrections, cancels)


@dataclass(frozen=True, eq=False)
class AdderForm:
    """How the corrections are made: intercept + (d shifted, complemented for same signs).

    exponents: of the slopes that are made by shifting d; none: the diagram gives the corrections themselves.
    intercepts, selects: [2, 2^near_bits], what the diagram gives; bit k of ``selects`` chooses exponent k.
    intercept_bits, shifted_bits: how many of their bits count, at most those of a correction.
    """

    exponents: tuple[int, ...]
    intercepts: Ints
    selects: Ints
    intercept_bits: int
    shifted_bits: int

    @cached_property
    def diagram(self) -> DecisionDiagram:
        """Intercept below the select lines; addressed by d, and above it whether the signs are opposite."""
        mask = (1 << self.intercept_bits) - 1
        table = (self.selects << self.intercept_bits) | (self.intercepts & mask)
        return DecisionDiagram(table.ravel(), self.intercept_bits + len(self.exponents))

    @property
    def nodes(self) -> int:
        """An estimate of the size."""
        return len(self.diagram.nodes) + _SLOPE_NODES * self.shifted_bits


@lru_cache(maxsize=64)
def adder_form(adder: Adder, format: LNS) -> AdderForm:
    """The form of ``adder`` with the fewest nodes."""
    tables = adder_tables(adder, format)
    forms = [AdderForm((), tables.corrections, np.zeros_like(tables.corrections), tables.correction_bits, 0)]
    if isinstance(adder, PiecewiseLinear):
        exponents = sorted(set(adder.plus.exponent + adder.minus.exponent))
        forms += [_sloped(adder, tables, tuple(exponents[k:])) for k in range(len(exponents))]
    return min(forms, key=lambda form: form.nodes)


@dataclass(frozen=True, eq=False)
class AdderRanges:
    """The tables as two diagrams, of d < 2^split and of the others up to 2^near_bits.

    near: addressed by ``split`` bits of d and, above them, by whether signs are opposite. far: by ``near_bits`` bits
    and the same; below 2^split it gives any number.
    """

    split: int
    near: DecisionDiagram
    far: DecisionDiagram


@lru_cache(maxsize=64)
def adder_ranges(adder: Adder, format: LNS) -> AdderRanges | None:
    """The ranges of ``adder``, split at two octaves; None where there is but one, or where sums cancel beyond."""
    tables, split = adder_tables(adder, format), format.frac_bits + 1
    if tables.near_bits <= split or tables.cancels[1 << split :].any():
        return None
    d = np.arange(1 << tables.near_bits)
    far = tables.corrections[:, np.where(d < 1 << split, d | 1 << split, d)]
    far_bits = bits_of(int(far.min()), int(far.max()))
    near = DecisionDiagram(tables.corrections[:, : 1 << split].ravel(), tables.correction_bits)
    return AdderRanges(split, near, DecisionDiagram(far.ravel(), far_bits))


def _sloped(adder: PiecewiseLinear, tables: AdderTables, exponents: tuple[int, ...]) -> AdderForm:
    """The form that makes the slopes 2^e, e in ``exponents``, by shifting d."""
    d = np.arange(1 << tables.near_bits, dtype=np.int64)
    used = np.stack([_exponents(adder.plus, d), _exponents(adder.minus, d)])
    used[1, tables.cancels] = used[1, np.argmin(tables.cancels)]
    selects, shifted = np.zeros_like(used), np.zeros_like(used)
    for k, exponent in enumerate(exponents):
        chosen = used == exponent
        selects[chosen] = 1 << k
        shifted += np.where(chosen, d << exponent if exponent >= 0 else d >> -exponent, 0)
    intercepts = tables.corrections - np.stack([~shifted[0], shifted[1]])
    intercepts[1, tables.cancels], shifted[1, tables.cancels] = intercepts[1, np.argmin(tables.cancels)], 0
    intercept_bits = bits_of(int(intercepts.min()), int(intercepts.max()))
    return AdderForm(
        exponents,
        intercepts,
        selects,
        min(intercept_bits, tables.correction_bits),
        min(int(shifted.max()).bit_length(), tables.correction_bits),
    )


def _exponents(segments: Segments, d: Ints) -> Ints:
    """The exponent of the segment of every distance."""
    k = np.searchsorted(np.asarray(segments.bound), d, side="left")
    return np.append(np.asarray(segments.exponent, np.int64), _NO_SLOPE)[k]


class LogAdder(wiring.Component):
    """correction = D+(d) or, where ``opposite``, D-(d); 0 unless ``live``. ``cancel``: the sum is zero instead.

    distance_bits: of d.
    """

    def __init__(self, adder: Adder, format: LNS, distance_bits: int) -> None:
        self._tables, self._form = adder_tables(adder, format), adder_form(adder, format)
        self._ranges = None if self._form.exponents else adder_ranges(adder, format)
        super().__init__(
            {
                "d": In(distance_bits),
                "opposite": In(1),
                "live": In(1),
                "correction": Out(signed(self._tables.correction_bits)),
                "cancel": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._tables.near_bits
        near, active = Signal(bits), Signal()
        m.d.comb += near.eq(self.d)
        m.d.comb += active.eq(self.live & ~self.d[bits:].any())
        if self._ranges:
            self._by_ranges(m, self._ranges, near, active)
        else:
            self._by_form(m, near, active)
        return m

    def _by_form(self, m: Module, near: Value, active: Value) -> None:
        """One diagram for all distances, and a shifter where the form has slopes."""
        form = self._form
        entry = form.diagram.logic(m, Cat(near, self.opposite), "node")
        gated = Signal(len(entry), name="entry")
        m.d.comb += gated.eq(entry & active.replicate(len(entry)))
        intercept = gated[: form.intercept_bits].as_signed()
        if not form.exponents:
            m.d.comb += self.correction.eq(intercept)
        else:
            shifted = Signal(form.shifted_bits)
            m.d.comb += shifted.eq(self._shifted(near, gated[form.intercept_bits :]))
            complement = active & ~self.opposite
            slope = Cat(shifted ^ complement.replicate(len(shifted)), complement).as_signed()
            m.d.comb += self.correction.eq(intercept + slope)
        cancels = DecisionDiagram(self._tables.cancels.astype(np.int64), 1).logic(m, near, "zero")
        m.d.comb += self.cancel.eq(active & self.opposite & cancels)

    def _by_ranges(self, m: Module, ranges: AdderRanges, d: Value, active: Value) -> None:
        """Two diagrams; the one of small distances is at rest while the distance is large."""
        split, bits = ranges.split, self._tables.correction_bits
        beyond, inside, outside = Signal(), Signal(), Signal()
        m.d.comb += beyond.eq(self.d[split:].any())
        m.d.comb += [inside.eq(self.live & ~beyond), outside.eq(active & beyond)]
        near, opposite = Signal(split, name="near_d"), Signal(name="near_opposite")
        m.d.comb += [near.eq(d[:split] & inside.replicate(split)), opposite.eq(self.opposite & inside)]
        close = ranges.near.logic(m, Cat(near, opposite), "near")
        far = Signal(signed(bits))
        m.d.comb += far.eq(ranges.far.logic(m, Cat(d, self.opposite), "far").as_signed())
        m.d.comb += self.correction.eq((close & inside.replicate(bits)) | (far & outside.replicate(bits)))
        cancels = DecisionDiagram(self._tables.cancels[: 1 << split].astype(np.int64), 1).logic(m, near, "zero")
        m.d.comb += self.cancel.eq(inside & self.opposite & cancels)

    def _shifted(self, d: Value, selects: Value) -> Value:
        """d shifted by the exponent selected; of no selection, 0."""
        bits = self._form.shifted_bits
        total: Value = Const(0, bits)
        for k, exponent in enumerate(self._form.exponents):
            moved = Cat(Const(0, exponent), d) if exponent >= 0 else d[-exponent:]
            total = total | (moved[:bits] & selects[k].replicate(min(bits, len(moved))))
        return total


def log_adder_unit(adder: Adder, format: LNS) -> Unit:
    """D+ and D- of ``adder`` in ``format`` as a unit: inputs d, opposite, live; outputs correction, cancel."""
    tables = adder_tables(adder, format)
    distance_bits = max(format.width - 1, tables.near_bits)
    return Unit(
        name=f"log_adder_{format_name(format)}_{adder_name(adder, format)}",
        title=f"Corrections of logarithmic addition in {format}: {adder}.",
        component=LogAdder(adder, format, distance_bits),
        inputs=(
            Port("d", distance_bits, "|La - Lb|"),
            Port("opposite", 1, "the operands have opposite signs"),
            Port("live", 1, "neither operand is zero"),
        ),
        outputs=(
            Port("correction", tables.correction_bits, "D+(d) or D-(d), two's complement; 0 unless live"),
            Port("cancel", 1, "the sum is zero"),
        ),
    )
