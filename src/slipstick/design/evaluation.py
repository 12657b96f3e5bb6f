"""What an adder does, in numbers that a designer compares: errors, drift of sums, swamping, cost."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic.adders import Adder, Tables
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.design.cost import AdderCost, adder_cost
from slipstick.design.target import TableErrors, gaussian_target, table_errors
from slipstick.design.weights import Weights
from slipstick.formats import LNS

Ints = NDArray[np.int64]

NEAR = 4
"""Distances 1..4 of D-, where subtraction cancels most."""

_TERMS = 4096
_TRIALS = 64
_RADIX = 16
_SEED = 20251022
_DEAD = -(1 << 40)


@dataclass(frozen=True)
class Evaluation:
    """plus, minus: errors of the tables, every distance alike. weighted_plus, weighted_minus: under the objective's
    weights. near: error of D- at d = 1..4, in LSB. swamping_up, swamping_down: the smallest |u|/|w| for which w + u
    still moves w, up and down. drift: mean error of sums of 4,096 positive products, in LSB. noise: root mean square
    error of sums of 4,096 products of either sign, relative to the root mean square sum. cost: of the hardware.
    """

    plus: TableErrors
    minus: TableErrors
    weighted_plus: TableErrors
    weighted_minus: TableErrors
    near: tuple[float, ...]
    swamping_up: float
    swamping_down: float
    drift: float
    noise: float
    cost: AdderCost

    def to_dict(self) -> dict[str, Any]:
        errors = {name: getattr(self, name).to_dict() for name in ("plus", "minus", "weighted_plus", "weighted_minus")}
        rest = {
            "near": [round(value, 6) for value in self.near],
            **{key: round(getattr(self, key), 8) for key in ("swamping_up", "swamping_down", "drift", "noise")},
        }
        return {**errors, **rest, "cost": self.cost.to_dict()}


def evaluate(adder: Adder, frac_bits: int, weights: Weights | None = None) -> Evaluation:
    """Everything about ``adder`` in a format with ``frac_bits``. weights: of distances; default: all alike."""
    weights = weights or Weights()
    tables = adder.tables(LNS(int_bits=5, frac_bits=frac_bits))
    targets = gaussian_target(1, frac_bits), gaussian_target(-1, frac_bits)
    plain = [table_errors(table, target) for table, target in zip(tables, targets, strict=True)]
    weighted = [table_errors(table, target, weights.of(target)) for table, target in zip(tables, targets, strict=True)]
    near = targets[1].on_domain(tables[1])[:NEAR] - targets[1].real[:NEAR]
    up, down = (smallest_effective_ratio(table, frac_bits) for table in tables)
    drift, noise = sum_errors(tables, frac_bits)
    return Evaluation(
        plus=plain[0],
        minus=plain[1],
        weighted_plus=weighted[0],
        weighted_minus=weighted[1],
        near=tuple(near.tolist()),
        swamping_up=up,
        swamping_down=down,
        drift=drift,
        noise=noise,
        cost=adder_cost(adder, frac_bits),
    )


def smallest_effective_ratio(table: NDArray[np.int32], frac_bits: int) -> float:
    """The smallest |u|/|w| at which a table is not 0: a smaller update leaves a weight as it is."""
    live = np.flatnonzero(table[1:]) + 1
    return float(2.0 ** (-(live[-1] if len(live) else 0) / (1 << frac_bits)))


def sum_errors(tables: Tables, frac_bits: int) -> tuple[float, float]:
    """Drift and noise of sums of 4,096 products of normal numbers by a tree of radix 16 (see ``Evaluation``).

    The products are on the grid before they are summed, so that only the adder errs.
    """
    draw = np.random.default_rng(_SEED)
    products = draw.standard_normal((_TERMS, _TRIALS)) * draw.standard_normal((_TERMS, _TRIALS))
    scale = float(1 << frac_bits)
    logs = np.rint(np.log2(np.abs(products)) * scale).astype(np.int64)
    values = np.exp2(logs / scale)
    log, _ = _tree(logs, np.zeros_like(logs), tables)
    drift = float((log - np.log2(values.sum(axis=0)) * scale).mean())
    signs = (products < 0).astype(np.int64)
    log, sign = _tree(logs, signs, tables)
    total = np.where(log <= _DEAD // 2, 0.0, (1 - 2 * sign) * np.exp2(np.maximum(log, -4096) / scale))
    exact = np.where(signs == 1, -values, values).sum(axis=0)
    noise = float(np.sqrt(((total - exact) ** 2).mean() / (exact**2).mean()))
    return drift, noise


def _tree(log: Ints, sign: Ints, tables: Tables) -> tuple[Ints, Ints]:
    """Sums over axis 0 in the order Tree(16), without limits of range."""
    while log.shape[0] > 1:
        blocks = log.shape[0] // _RADIX
        log, sign = (a.reshape(blocks, _RADIX, -1).swapaxes(0, 1) for a in (log, sign))
        half = _RADIX // 2
        while half:
            log, sign = _add(log[:half], sign[:half], log[half : 2 * half], sign[half : 2 * half], tables)
            half //= 2
        log, sign = log[0], sign[0]
    return log[0], sign[0]


def _add(log_a: Ints, sign_a: Ints, log_b: Ints, sign_b: Ints, tables: Tables) -> tuple[Ints, Ints]:
    plus, minus = tables
    d = np.abs(log_a - log_b)
    entry = np.minimum(d, len(plus) - 1)
    same = sign_a == sign_b
    step = np.where(same, plus[entry], minus[entry]).astype(np.int64)
    log = np.maximum(log_a, log_b) + step
    cancelled = ~same & ((d == 0) | (step == CANCEL))
    return np.where(cancelled, _DEAD, log), np.where(log_a > log_b, sign_a, sign_b)
