"""What is asked of an assignment: checked before anything is trained, and what its folder is called by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment
from slipstick.precision.criteria import PAPER, RELEASED, Constants
from slipstick.precision.lns import LNSAssignment, assign_lns, check_minimum_frac_bits
from slipstick.precision.mixed import assign_mixed
from slipstick.precision.search import assign, check_minimum_bits
from slipstick.precision.statistics import Statistics
from slipstick.precision.target import check_target

FIXED, LNS, MIXED = "fixed", "lns", "mixed"
FORMATS = (FIXED, LNS, MIXED)
CONSTANTS: dict[str, Constants] = {"paper": PAPER, "released": RELEASED}


@dataclass(frozen=True)
class AssignmentRequest:
    """format: "fixed", bits and range of every tensor; "lns", its (I, F); or "mixed", for activations and their
        gradients either.
    target: the largest predicted probability that the decision is another than float's.
    constants: "paper" or "released", see ``precision.criteria.Constants``.
    minimum_bits: B_min (of lns F_min) to take instead, whatever the mismatch.
    smallest_lr: the least at which training must still go on; None for that of the last step of the probed training.
    """

    format: str = FIXED
    target: float = 0.01
    constants: str = "released"
    minimum_bits: int | None = None
    smallest_lr: float | None = None

    def __post_init__(self) -> None:
        for what, value, known in (("format", self.format, FORMATS), ("constants", self.constants, tuple(CONSTANTS))):
            if value not in known:
                raise SpecificationError(f"{what} {value!r}: choose one of {', '.join(known)}")
        check_target(self.target)
        if self.minimum_bits is not None:
            (check_minimum_frac_bits if self.format == LNS else check_minimum_bits)(self.minimum_bits)
        if self.smallest_lr is not None and not 0 < self.smallest_lr < float("inf"):
            raise SpecificationError(f"smallest_lr={self.smallest_lr!r}: must be a positive number")

    @property
    def criteria_constants(self) -> Constants:
        """Those that ``constants`` names."""
        return CONSTANTS[self.constants]

    @property
    def can_be_trained(self) -> bool:
        """Whether weights are in fixed point, as the training by assignment keeps them."""
        return self.format != LNS

    @property
    def name(self) -> str:
        """Tells requests apart; a folder name."""
        level = f"target-{self.target!r}" if self.minimum_bits is None else f"min-{self.minimum_bits}"
        lr = "" if self.smallest_lr is None else f"-lr-{self.smallest_lr!r}"
        return f"{self.format}-{level}-{self.constants}{lr}"

    def describe(self) -> str:
        """In words."""
        bits = "F_min" if self.format == LNS else "B_min"
        what = "the fewest bits" if self.format == MIXED else f"the smallest {bits}"
        level = f"{what} that predict{'' if self.format == MIXED else 's'} a mismatch of at most {self.target:g}"
        if self.minimum_bits is not None:
            level = f"{bits} {self.minimum_bits}"
        lr = "" if self.smallest_lr is None else f", smallest lr {self.smallest_lr:g}"
        return f"{level}, constants of the {'paper' if self.constants == 'paper' else 'released code'}{lr}"

    def assign(self, statistics: Statistics) -> Assignment | LNSAssignment:
        """The answer. Raises SpecificationError as ``assign``, ``assign_lns`` and ``assign_mixed`` do."""
        constants, lr = self.criteria_constants, self.smallest_lr
        if self.format == LNS:
            return assign_lns(
                statistics, self.target, constants=constants, minimum_frac_bits=self.minimum_bits, smallest_lr=lr
            )
        find = assign_mixed if self.format == MIXED else assign
        return find(statistics, self.target, constants=constants, minimum_bits=self.minimum_bits, smallest_lr=lr)

    def read(self, data: Mapping[str, Any]) -> Assignment | LNSAssignment:
        """An answer from its plain data. Raises SpecificationError for what is none."""
        return LNSAssignment.from_dict(data) if self.format == LNS else Assignment.from_dict(data)
