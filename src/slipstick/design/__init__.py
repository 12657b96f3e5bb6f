"""The design of adders: which integer tables a log-domain adder should have."""

from slipstick.design.optimal_segments import Constraints, OptimalSegments
from slipstick.design.target import TableErrors, Target, adder_errors, gaussian_target, table_errors

__all__ = [
    "Constraints",
    "OptimalSegments",
    "TableErrors",
    "Target",
    "adder_errors",
    "gaussian_target",
    "table_errors",
]
