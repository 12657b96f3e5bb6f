"""One point of a sweep: a rule takes a step, and the rounding of its result is measured beside the bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from rules import MULTIPLICATIVE, step
from sources import Source

import slipstick as ss
from slipstick.optim import update_error as theory


def update_format(bits: int) -> ss.MultiBaseLNS:
    """The update format of so many bits whose range is the 16 octaves of the paper's MultiBaseLNS(8, 8)."""
    return ss.MultiBaseLNS(bits, 8 << (bits - 8))


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a rule, for all weights of all sources: on the grid, before rounding, rounded both ways."""

    rule: str
    lr: float
    bits: int
    weight: torch.Tensor
    updated: torch.Tensor
    nearest: theory.UpdateError
    stochastic: theory.UpdateError

    def point(self, chosen: torch.Tensor | None = None) -> dict[str, Any]:
        """Errors and bounds over all weights, or over the ``chosen``.

        Bounds as root mean squares, as the errors are: the square root of one weight's share.
        """
        chosen = torch.ones_like(self.stochastic.valid) if chosen is None else chosen
        valid = self.stochastic.valid & chosen
        gamma = update_format(self.bits).base_factor
        bounds = self._bounds(self.updated[valid], self.stochastic.move[valid], gamma)
        return {
            "rule": self.rule,
            "lr": self.lr,
            "bits": self.bits,
            "base_factor": gamma,
            "expected_rms": math.sqrt(float(theory.expected_square(self.updated[valid], gamma).mean())),
            "bounds": {name: math.sqrt(bound / int(valid.sum())) for name, bound in bounds.items()},
            "stochastic": self.stochastic.summary(chosen),
            "nearest": self.nearest.summary(chosen),
        }

    def _bounds(self, updated: torch.Tensor, moves: torch.Tensor, gamma: int) -> dict[str, float]:
        count = moves.numel()
        bounds = {"moves": theory.bound_of_moves(moves, gamma), "rounding": theory.bound_of_rounding(count, gamma)}
        if self.rule == "SGD":
            bounds["paper"] = theory.bound_of_gd(updated, gamma)
        elif self.rule == "signMUL":
            bounds["paper"] = theory.bound_of_sign_mul(count, self.lr, gamma)
        elif self.rule in MULTIPLICATIVE:  # |m| is eta |g|
            bounds["paper"] = theory.bound_of_mul(moves / self.lr, self.lr, gamma)
        return bounds


def measured(sources: Sequence[Source], rule: str, lr: float, bits: int, draws: int, seed: int) -> Step:
    """A step of a rule. draws: stochastic roundings of every weight."""
    format = update_format(bits)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for source in sources:
        weight = theory.on_grid(source.weight, format, source.scale)
        updated = step(rule, weight, source.gradients, lr)
        nearest = theory.measure_update(weight, updated, format, scale=source.scale)
        stochastic = theory.measure_update(
            weight,
            updated,
            format,
            scale=source.scale,
            rounding="stochastic-log",
            generator=generator,
            draws=draws,
        )
        parts.append((weight, updated, nearest, stochastic))
    weights, results, nearest_errors, stochastic_errors = zip(*parts, strict=True)
    return Step(rule, lr, bits, _flat(weights), _flat(results), _joined(nearest_errors), _joined(stochastic_errors))


def _joined(errors: Sequence[theory.UpdateError]) -> theory.UpdateError:
    names = (field.name for field in fields(theory.UpdateError))
    return theory.UpdateError(**{name: _flat([getattr(error, name) for error in errors]) for name in names})


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
