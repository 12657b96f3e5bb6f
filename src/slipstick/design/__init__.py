"""The design of adders: which integer tables a log-domain adder should have."""

from slipstick.design.annealing import Annealing, Prices, Schedule
from slipstick.design.constraints import Constraints
from slipstick.design.evaluation import Evaluation, evaluate
from slipstick.design.optimal_segments import OptimalSegments, optimal_segments
from slipstick.design.records import design_record
from slipstick.design.request import DesignRequest
from slipstick.design.search import design_adder
from slipstick.design.target import TableErrors, Target, adder_errors, gaussian_target, pair_errors, table_errors
from slipstick.design.weights import Weights

__all__ = [
    "Annealing",
    "Constraints",
    "DesignRequest",
    "Evaluation",
    "OptimalSegments",
    "Prices",
    "Schedule",
    "TableErrors",
    "Target",
    "Weights",
    "adder_errors",
    "design_adder",
    "design_record",
    "evaluate",
    "gaussian_target",
    "optimal_segments",
    "pair_errors",
    "table_errors",
]
