"""Under which conditions a tensor is asked for its precision: the same for every layer and every kind of number."""

from dataclasses import dataclass

from slipstick.precision.criteria import Constants
from slipstick.precision.statistics import Statistics
from slipstick.precision.target import check_request


@dataclass(frozen=True)
class Conditions:
    """constants: of the criteria. smallest_lr: the least at which training must still go on. batch: samples of a
    training step."""

    constants: Constants
    smallest_lr: float
    batch: int


def conditions_of(statistics: Statistics, target: float, constants: Constants, smallest_lr: float | None) -> Conditions:
    """smallest_lr: None for that of the statistics. Raises SpecificationError as ``check_request`` does."""
    check_request(statistics, target)
    return Conditions(constants, statistics.smallest_lr if smallest_lr is None else smallest_lr, statistics.batch)
