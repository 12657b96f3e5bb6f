"""What adder to design: width, form, objective and conditions, as one value that a design file stores."""

from dataclasses import asdict, dataclass, field, fields
from math import ceil, log2
from typing import Any, Literal

from slipstick.arithmetic.indexed_table import IndexForm
from slipstick.design.annealing import Prices, Schedule
from slipstick.design.constraints import Constraints
from slipstick.design.logic_tables import LogicSearch
from slipstick.design.target import DOMAIN_OCTAVES, FRAC_BITS, Target
from slipstick.design.weights import Weights
from slipstick.errors import SpecificationError

Form = Literal["piecewise-linear", "indexed-table", "table"]
Search = Literal["optimal", "anneal", "logic"]

FREE_BOUNDS_UNTIL = 6
"""Widest frac_bits for which bounds are free by default: the exact search then takes seconds."""

COARSE_BOUND_BITS = 7
"""Significant bits of bounds at larger widths. At frac_bits = 8 that costs less than 1 % of RMS."""


@dataclass(frozen=True)
class DesignRequest:
    """frac_bits: F of the format, 1 to 12. form: "piecewise-linear", "indexed-table" (fine near zero, coarse beyond)
    or "table" (uniform). search, of the piece-wise linear form: "optimal" (exact) or "anneal"; "logic" instead finds
    tables of any values whose logic is small.

    segments: of each function, piece-wise linear. index_bits: of an indexed table, 6 to 8. entries: of a uniform table.
    weights: of distances, see ``Weights``. zero_bias: bring the weighted mean error to zero. exact_through: D- is
    correctly rounded for d = 1 to this, and D+(0) is exact; -1 for neither. symmetric: D+ and D- end at one distance,
    so that an update too small to raise a weight is too small to lower it. swamping: the smallest |u|/|w| that still
    moves a weight, both ways. bound_bits: significant bits of bounds; None: free up to F = 6, then 7; 0: free.
    exponents: slopes 2^e allowed. index: piece-wise linear tables constant on these classes; of an indexed table the
    index itself, instead of the best of index_bits. schedule and prices: of
    the annealing. logic: of the search for small logic.
    """

    frac_bits: int
    form: Form = "piecewise-linear"
    search: Search = "optimal"
    segments: int = 16
    index_bits: int = 7
    entries: int = 20
    weights: str = "uniform"
    zero_bias: bool = True
    exact_through: int = 4
    symmetric: bool = True
    swamping: float | None = None
    bound_bits: int | None = None
    exponents: tuple[int, ...] | None = None
    index: IndexForm | None = None
    schedule: Schedule = field(default_factory=Schedule)
    prices: Prices = field(default_factory=Prices)
    logic: LogicSearch = field(default_factory=LogicSearch)

    def __post_init__(self) -> None:
        if self.frac_bits not in FRAC_BITS:
            raise SpecificationError(
                f"frac_bits={self.frac_bits!r}: designs exist for {FRAC_BITS[0]} to {FRAC_BITS[-1]}"
            )
        if self.form not in ("piecewise-linear", "indexed-table", "table"):
            raise SpecificationError(f"form={self.form!r}: choose piecewise-linear, indexed-table or table")
        if self.search not in ("optimal", "anneal", "logic"):
            raise SpecificationError(f"search={self.search!r}: choose optimal, anneal or logic")
        if self.search == "logic" and self.form != "piecewise-linear":
            raise SpecificationError(f"form={self.form!r}: search='logic' chooses the form itself; leave it out")
        if self.index_bits not in (6, 7, 8):
            raise SpecificationError(f"index_bits={self.index_bits!r}: kernels index with 6, 7 or 8 bits")
        if not 1 <= self.entries <= 4096:
            raise SpecificationError(f"entries={self.entries!r}: must lie in 1 to 4096")
        if self.bound_bits is not None and self.bound_bits < 0:
            raise SpecificationError(f"bound_bits={self.bound_bits!r}: must be 1 or more, or 0 for free bounds")
        self._check_swamping()

    def _check_swamping(self) -> None:
        if self.swamping is None:
            return
        lowest = 2.0**-DOMAIN_OCTAVES
        if not lowest <= self.swamping < 1:
            raise SpecificationError(
                f"swamping={self.swamping:g}: no design meets it; tables reach over {DOMAIN_OCTAVES} octaves, "
                f"so the threshold lies in {lowest:.2g} to 1"
            )
        if self.form == "table":
            raise SpecificationError("swamping: a uniform table ends where its d_max says; use another form")

    @property
    def end(self) -> int | None:
        """The last distance at which a table must not be 0, so that the threshold is met; None if it is free."""
        return None if self.swamping is None else max(1, ceil(-log2(self.swamping) * (1 << self.frac_bits) - 1e-9))

    def objective_weights(self) -> Weights:
        return Weights(self.weights)

    def comparator_bits(self) -> int | None:
        """Significant bits of bounds; None where bounds are free."""
        if self.bound_bits is None:
            return COARSE_BOUND_BITS if self.frac_bits > FREE_BOUNDS_UNTIL else None
        return self.bound_bits or None

    def constraints(self, target: Target, end: int | None = None) -> Constraints:
        """The conditions on one of the two tables. end: its last distance, if it is known."""
        exact = self.exact_through if target.sign < 0 else min(self.exact_through, 0)
        return Constraints(
            segments=self.segments,
            exact_through=exact,
            end=end,
            bound_bits=self.comparator_bits(),
            exponents=self.exponents,
            index=self.index,
            gapless=self.symmetric or self.swamping is not None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what the form and the search do not use is left out."""
        annealing = {"schedule", "prices"}
        everything = {f.name for f in fields(self)}
        unused = {
            "piecewise-linear": {"index_bits", "entries", "logic"} | (set() if self.search == "anneal" else annealing),
            "indexed-table": {"segments", "entries", "search", "bound_bits", "exponents", "logic"} | annealing,
            "table": everything - {"frac_bits", "form", "entries", "weights"},
        }[self.form]
        if self.search == "logic":
            used = {"frac_bits", "search", "weights", "zero_bias", "exact_through", "swamping", "logic"}
            unused = everything - used
        return {key: value for key, value in asdict(self, dict_factory=_given).items() if key not in unused}


def _given(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}
