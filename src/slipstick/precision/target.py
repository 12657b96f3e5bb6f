"""The target of an assignment: an upper limit of the predicted probability that the decision changes."""

import math
from collections.abc import Mapping

from slipstick.errors import SpecificationError
from slipstick.precision.statistics import Statistics


def check_target(target: float) -> None:
    """Raises SpecificationError for what is no probability."""
    if not 0 < target < 1:
        raise SpecificationError(f"target={target!r}: a probability of mismatch must lie between 0 and 1")


def check_request(statistics: Statistics, target: float) -> None:
    """Raises SpecificationError for a target that is no probability, and for statistics of no layer."""
    check_target(target)
    if not statistics.layers:
        raise SpecificationError(
            f"{statistics.model}: statistics of no layer; probe a model that has layers with weights"
        )


def unreachable(target: float, parts: Mapping[str, float], limit: str) -> SpecificationError:
    """The error for a target that is missed at the limit. parts: what each tensor adds to the prediction there."""
    worst = max(parts, key=lambda name: parts[name])
    return SpecificationError(
        f"target {target:g}: predicted mismatch is {math.fsum(parts.values()):.3g} even with {limit} everywhere; "
        f"{worst} alone gives {parts[worst]:.3g}, {parts[worst] / target:.3g} times the target; raise the target, or "
        "probe a network that decides less narrowly"
    )
