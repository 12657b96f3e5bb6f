"""What was seen in one training step: a line of watch.jsonl."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from slipstick.watch.counting import Counts

Role = Literal["weight", "activation", "activation_gradient", "weight_gradient"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class TensorLook:
    """The elements of one layer in one role."""

    layer: str
    role: Role
    counts: Counts

    @property
    def rates(self) -> dict[str, float]:
        """Shares of the elements, 0 to 1."""
        n = max(self.counts.count, 1)
        found = {"zero": self.counts.zero, "saturated": self.counts.saturated, "underflow": self.counts.underflow}
        return {name: number / n for name, number in found.items()}


@dataclass(frozen=True)
class UpdateLook:
    """Of a layer's parameters: how many elements, and how many kept their code though their gradient was not zero."""

    layer: str
    count: int
    unchanged: int


@dataclass(frozen=True)
class GradientLook:
    """Of a layer's weight gradients: signal to quantisation noise in decibels (see ``Watch``), None where it could not
    be measured; and the share, among elements whose float32 gradient is not zero, of those that are zero."""

    layer: str
    sqnr_db: float | None
    vanished: float


@dataclass(frozen=True)
class Look:
    """One training step. step: counts from 1. lr: of the optimiser's first group. warnings: plain words."""

    step: int
    lr: float
    tensors: tuple[TensorLook, ...]
    updates: tuple[UpdateLook, ...]
    gradients: tuple[GradientLook, ...]
    warnings: tuple[str, ...] = ()

    def of(self, layer: str, role: Role) -> Counts | None:
        """The counts of one layer in one role."""
        return next((t.counts for t in self.tensors if (t.layer, t.role) == (layer, role)), None)

    def asked(self, layer: str) -> int:
        """How many elements of the layer's parameters an update was asked for: their gradient was not zero."""
        counts = self.of(layer, "weight_gradient")
        return 0 if counts is None else counts.count - counts.zero

    def lost(self, update: UpdateLook) -> float:
        """The share of the updates asked for that changed no bit, 0 to 1."""
        return update.unchanged / max(self.asked(update.layer), 1)

    def scalars(self) -> dict[str, float]:
        """Every rate by a name such as "weight/saturated/conv1"."""
        found = {f"{t.role}/{name}/{t.layer}": rate for t in self.tensors for name, rate in t.rates.items()}
        for update in self.updates:
            found[f"update/unchanged/{update.layer}"] = self.lost(update)
        for gradient in self.gradients:
            if gradient.sqnr_db is not None:
                found[f"weight_gradient/sqnr_db/{gradient.layer}"] = gradient.sqnr_db
        return found

    def to_dict(self, epoch: int = 1) -> dict[str, Any]:
        """Plain data, for JSON. epoch: counts from 1."""
        return {
            "step": self.step,
            "epoch": epoch,
            "lr": self.lr,
            "tensors": [{"layer": t.layer, "role": t.role, **t.counts.to_dict()} for t in self.tensors],
            "updates": [vars(update) for update in self.updates],
            "gradients": [vars(gradient) for gradient in self.gradients],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Look":
        return cls(
            data["step"],
            data["lr"],
            tuple(TensorLook(each["layer"], each["role"], Counts.from_dict(each)) for each in data["tensors"]),
            tuple(UpdateLook(**each) for each in data["updates"]),
            tuple(GradientLook(**each) for each in data["gradients"]),
            tuple(data["warnings"]),
        )
