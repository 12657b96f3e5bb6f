"""The adders that ``add="designed"`` means: one piece-wise linear design for each width, and how it was chosen.

Each is the least-squares optimum of ``optimal_segments`` under conditions, because squared error alone does not make an
adder that trains:

* exact where subtraction cancels: D+(0), so that x + x = 2x, and D-(1..4) are correctly rounded;
* no drift: a bias of a fraction of an LSB per addition compounds along a sum, so the mean error is brought to zero;
* symmetric swamping: D+ and D- end at one distance, so an update too small to raise a weight is too small to lower it;
* constant on the index classes of a fast kernel, where there is one for the width;
* bounds of at most 7 significant bits from F = 7 on.

What that costs in RMS, in LSBs of D+ / D-, one condition added after the other, 16 segments:
                     F = 5            F = 6
    unconstrained    .2534 / .2940    .3006 / .4335
    exact            .2534 / .3000    .3006 / .4571
    classes          .2563 / .3002    .3011 / .4572
    no drift         .2583 / .3003    .3034 / .4657
The published tables of Hamad et al. 2025 have .407 / .426 and .408 / .567, but keep +-1 far beyond the distance where
correct rounding gives 0 (255 for 211 at F = 5); no condition here asks for that.

``"designed-plateau"`` asks for one thing more, for F = 3 to 6: updates down to 0.4 % of a weight move it, both ways, as
in the published tables. Up to F = 5 that keeps +-1 LSB where correct rounding gives 0, and costs RMS (.359 / .400 at
F = 5); without a finer format for weights it trains better than any other 12-bit adder tried (docs/results/adders.md).

``"designed-simd"``, for F = 5, is what a vector processor looks up fastest: 64 entries for each function, indexed by
min(d, 32 + (d >> 3)) = min(d, 32 | d >> 3), which one permutation of AVX-512 holds for both signs and AVX2 cuts into
five slices. It has RMS errors of .304 / .426 for .258 / .300 of ``"designed"``, and the same conditions.

With 8 segments only D+(0) and D-(1) are pinned, with 4 nothing is: segments spent there are missing elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from slipstick.arithmetic.adders import PiecewiseLinear
from slipstick.arithmetic.indexed_table import IndexForm
from slipstick.design.constraints import Constraints
from slipstick.design.evaluation import evaluate
from slipstick.design.optimal_segments import optimal_segments
from slipstick.design.records import command
from slipstick.design.request import DesignRequest
from slipstick.design.search import SIGNS, Designer
from slipstick.design.target import DOMAIN_OCTAVES, adder_errors, gaussian_target

WIDTHS = range(3, 11)
SEGMENTS = {16: "designed", 8: "designed-8", 4: "designed-4"}
PLATEAU = "designed-plateau"
SIMD_NAME = "designed-simd"
SWAMPING = {3: 0.004, 4: 0.0043, 5: 0.004, 6: 0.004}
"""Thresholds of the plateau by width; at F = 4 the table then ends where an index of 7 bits does."""

SIMD = {5: IndexForm(3, 32, 63)}
"""Indices of the tables for vector kernels."""

OUTPUT = "src/slipstick/arithmetic/designed.json"

_EXACT_THROUGH = {16: 4, 8: 1, 4: -1}

# F <= 4: tables this short are indexed by d itself. From F = 7 no index of 8 bits has room for the tables.
INDEX = {5: IndexForm(2, 63, 127), 6: IndexForm(2, 127, 255)}


def shipped_request(frac_bits: int, segments: int = 16) -> DesignRequest:
    """What is asked of a shipped design."""
    return DesignRequest(
        frac_bits, segments=segments, exact_through=_EXACT_THROUGH[segments], index=INDEX.get(frac_bits)
    )


def plateau_request(frac_bits: int) -> DesignRequest:
    """What is asked of a design with a plateau."""
    return replace(shipped_request(frac_bits), swamping=SWAMPING[frac_bits])


def simd_request(frac_bits: int) -> DesignRequest:
    """What is asked of a table for vector kernels."""
    return DesignRequest(frac_bits, form="indexed-table", index=SIMD[frac_bits])


def unconstrained_adder(frac_bits: int, segments: int = 16, bound_bits: int | None = None) -> PiecewiseLinear:
    """The least-squares optimum with no further condition: what the conditions of a design are paid from."""
    constraints = Constraints(segments, bound_bits=bound_bits)
    plus, minus = (optimal_segments(gaussian_target(sign, frac_bits), constraints) for sign in SIGNS)
    return PiecewiseLinear(frac_bits, plus, minus)


def design_records(
    widths: Iterable[int] = WIDTHS, progress: Callable[[str, float], None] = lambda what, share: None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and JSON form of each shipped design, in the shape of the published tables with its request and errors.

    Indexed tables are in the shape of design files.
    """
    for frac_bits in widths:
        for segments, name in SEGMENTS.items():
            yield f"{name}-F{frac_bits}", _record(shipped_request(frac_bits, segments), progress)
        if frac_bits in SWAMPING:
            yield f"{PLATEAU}-F{frac_bits}", _record(plateau_request(frac_bits), progress)
        if frac_bits in SIMD:
            yield f"{SIMD_NAME}-F{frac_bits}", table_record(simd_request(frac_bits), progress)


def _record(request: DesignRequest, progress: Callable[[str, float], None]) -> dict[str, Any]:
    adder = Designer(request, progress).run()
    assert isinstance(adder, PiecewiseLinear)
    free_plus, free_minus = adder_errors(
        unconstrained_adder(request.frac_bits, request.segments, request.comparator_bits()), request.frac_bits
    )
    return {
        "frac_bits": request.frac_bits,
        "upper": DOMAIN_OCTAVES,
        "plus": adder.plus.to_dict(),
        "minus": adder.minus.to_dict(),
        "request": request.to_dict(),
        "evaluation": evaluate(adder, request.frac_bits).to_dict(),
        "unconstrained_errors": {"plus": free_plus.to_dict(), "minus": free_minus.to_dict()},
        "command": command(request),
    }


def table_record(
    request: DesignRequest, progress: Callable[[str, float], None] = lambda what, share: None
) -> dict[str, Any]:
    """An indexed table in the shape of a design file, without its tables."""
    adder = Designer(request, progress).run()
    return {
        "frac_bits": request.frac_bits,
        "adder": adder.to_dict(),
        "request": request.to_dict(),
        "evaluation": evaluate(adder, request.frac_bits).to_dict(),
        "command": command(request),
    }
