"""How much the error at each distance counts: w(d), with mean 1 over the domain.

Squared error over all distances alike is the objective that the published tables are nearest to. What a training run
adds is not uniform in d: operands of one magnitude meet at small d, a long sum's last terms at large d. Hamad et al.
2025 anneal under three "sample magnitudes" (small, mixed, large) that their code names and does not define; here they
are the distribution of d between two normal operands whose standard deviations differ by 0, 0 to 6, and 6 octaves.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.distances import load_distances
from slipstick.design.target import Target
from slipstick.errors import SpecificationError

Floats = NDArray[np.float64]

REGIMES: dict[str, tuple[int, ...]] = {"small": (0,), "mixed": (0, 1, 2, 3, 4, 5, 6), "large": (6,)}
"""By how many octaves the standard deviations of the two operands differ, each case equally often."""

UNSEEN_SHARE = 0.01
"""Share of a measured weighting that is uniform, so that distances which never occurred still have sane entries."""


@dataclass(frozen=True)
class Weights:
    """A weighting of distances by name: "uniform", a regime, or the path of a measured histogram."""

    name: str = "uniform"

    def of(self, target: Target) -> Floats:
        """w at each distance of the target's domain; mean 1."""
        if self.name == "uniform":
            return np.ones(len(target.distance))
        if self.name in REGIMES:
            return _normalised(_regime(REGIMES[self.name], target))
        return _normalised(_measured(Path(self.name), target))


def _normalised(weight: Floats) -> Floats:
    mean_one: Floats = weight / weight.mean()
    return mean_one


def _regime(octaves: tuple[int, ...], target: Target) -> Floats:
    """Probability of each d: the ratio of two normal numbers is Cauchy, |log2| of it has a closed distribution."""
    step = 2.0**-target.frac_bits
    low, high = (target.distance - 0.5) * step, (target.distance + 0.5) * step
    cases = [_within(high, 2.0**o) - _within(np.maximum(low, 0), 2.0**o) for o in octaves]
    average: Floats = np.mean(cases, axis=0)
    return average


def _within(octaves: NDArray[Any], scale: float) -> Floats:
    """P(|log2 |y/x|| <= octaves) for independent normal x, y whose standard deviations have the ratio ``scale``."""
    ratio = np.exp2(octaves)
    probability: Floats = (np.arctan(ratio / scale) - np.arctan(1 / (ratio * scale))) * 2 / np.pi
    return probability


def _measured(path: Path, target: Target) -> Floats:
    histogram = load_distances(path)
    if histogram.frac_bits != target.frac_bits:
        raise SpecificationError(
            f"{path}: distances were recorded with frac_bits={histogram.frac_bits}, the design has {target.frac_bits}; "
            f"record a run in a format with frac_bits={target.frac_bits}"
        )
    counts = histogram.plus if target.sign > 0 else histogram.minus
    seen = np.zeros(int(target.distance[-1]) + 1)
    seen[: len(counts)] = counts[: len(seen)]
    seen = seen[target.distance]
    if not seen.sum() > 0:
        raise SpecificationError(f"{path}: holds no distance of {'equal' if target.sign > 0 else 'opposite'} signs")
    weight: Floats = (1 - UNSEEN_SHARE) * seen / seen.sum() + UNSEEN_SHARE / len(seen)
    return weight
