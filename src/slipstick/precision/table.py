"""Assignments and costs as text."""

from collections.abc import Sequence

from slipstick.precision.assignment import Assignment, LogPrecision, Precision, power
from slipstick.precision.cost import Cost
from slipstick.precision.explanation import KINDS, NAMELESS
from slipstick.precision.lns import LNSAssignment
from slipstick.precision.mismatch import Mismatch
from slipstick.text_table import aligned

_BITS = ("B_W", "B_A", "B_G(W)", "B_G(A)", "B_Acc")
_RANGES = ("r_W", "r_A", "r_G(W)", "r_G(A)", "r_Acc")
_FORMATS = ("W", "A", "G(W)", "G(A)", "update")
_INCOMPLETE = (
    ">: without sums of logarithms and products of a logarithm and an integer, which take what their tables take"
)
_COSTS = ("design", "C_R (10^6 bits)", "C_C (10^9 full adders)", "C_M (10^6 bits)")


def assignment_table(assignment: Assignment) -> str:
    """Layers x bits and ranges; an A of [0, r) is marked with a plus sign, a logarithm with its (I,F)."""
    rows: list[Sequence[str]] = [("layer", *_BITS, *_RANGES)]
    for layer in assignment.layers:
        precisions = [layer.precision(kind) for kind in KINDS]
        rows.append((layer.name or NAMELESS, *map(_bits, precisions), *map(_range, precisions)))
    signs = "ranges are [-r, r), with + [0, r)"
    if assignment.is_mixed:
        signs += "; bits with (I,F) are of LNS(I,F), its magnitudes below r"
    return "\n".join([_heading(assignment, f"B_min {assignment.minimum_bits}"), *aligned(rows), signs])


def lns_table(assignment: LNSAssignment) -> str:
    """Layers x (integer bits, fraction bits), and the formats that hold all."""
    rows: list[Sequence[str]] = [("layer", *_FORMATS)]
    for layer in assignment.layers:
        formats = [layer.format(kind) for kind in KINDS]
        rows.append((layer.name or NAMELESS, *(f"{format.int_bits},{format.frac_bits}" for format in formats)))
    return "\n".join(
        [
            _heading(assignment, f"F_min {assignment.minimum_frac_bits}"),
            *aligned(rows),
            f"one format for all tensors: {assignment.compute}, updates in {assignment.update}",
        ]
    )


def cost_table(costs: Sequence[Cost]) -> str:
    """The three costs of each design, and how many times less that is than the cost of the first, if it is complete."""
    if not costs:
        return "no designs"
    first = costs[0]
    rows: list[Sequence[str]] = [_COSTS]
    for cost in costs:
        adders = _cell(cost.computational, first.computational, 1e9)
        cells = (
            _cell(cost.representational, first.representational, 1e6),
            adders if cost.complete else f"> {cost.computational / 1e9:.4g}",
            _cell(cost.communication, first.communication, 1e6),
        )
        rows.append((cost.design, *cells))
    samples = "1 sample" if first.batch == 1 else f"{first.batch} samples"
    lines = [f"a training step of {samples}; in brackets times less than {first.design}", *aligned(rows)]
    if not all(cost.complete for cost in costs):
        lines.append(_INCOMPLETE)
    return "\n".join(lines)


def mismatch_table(rows: Sequence[Mismatch], target: float) -> str:
    """Predicted and measured mismatch, level by level, and the fewest bits whose measured one meets the target."""
    cells = [
        (str(row.minimum_bits), f"{row.predicted:.3g}", f"{row.measured:.3g}", f"{row.accuracy:.4f}") for row in rows
    ]
    fewest = min((row.minimum_bits for row in rows if row.measured <= target), default=None)
    found = "no B_min measured has" if fewest is None else f"--minimum-bits {fewest} is the least with"
    last = f"{found} a measured mismatch of at most {target:g}"
    return "\n".join([*aligned([("B_min", "predicted at most", "measured", "accuracy"), *cells]), last])


def _heading(assignment: Assignment | LNSAssignment, minimum: str) -> str:
    return (
        f"{assignment.model}: {minimum}, predicted mismatch {assignment.predicted_mismatch:.2g} "
        f"(target {assignment.target:g})"
    )


def _bits(precision: Precision | LogPrecision) -> str:
    logs = f" ({precision.int_bits},{precision.frac_bits})" if isinstance(precision, LogPrecision) else ""
    return f"{precision.bits}{logs}"


def _range(precision: Precision | LogPrecision) -> str:
    return power(precision.range) + ("" if precision.signed else "+")


def _cell(value: int, first: int, unit: float) -> str:
    return f"{value / unit:.4g} ({first / value:.2f})" if value else "0"
