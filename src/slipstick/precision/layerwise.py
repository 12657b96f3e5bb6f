"""What every assignment is: a number format for each of the five tensors of every layer, and why; plain data too."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

from slipstick.errors import SpecificationError
from slipstick.precision.criteria import Constants
from slipstick.precision.explanation import KINDS, ExplainedAssignment, Kind, Reason, explain, find_layer

W = TypeVar("W")
"""Numbers of weights, of their gradients and accumulators."""

A = TypeVar("A")
"""Numbers of activations and of their gradients."""

N = TypeVar("N")
Choice = tuple[N, Reason]
"""The numbers of one tensor, and why."""


@dataclass(frozen=True)
class AssignedLayer(Generic[W, A]):
    """One layer with weights. activation: its input. activation_gradient: of its output.

    weight_mismatch, activation_mismatch: the tensor's part of the predicted mismatch. reasons: by kind.
    """

    name: str
    weight: W
    activation: A
    weight_gradient: W
    activation_gradient: A
    accumulator: W
    weight_mismatch: float = 0.0
    activation_mismatch: float = 0.0
    reasons: dict[str, Reason] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, chosen: Mapping[Kind, Choice[Any]], weight_mismatch: float, activation_mismatch: float
    ) -> Self:
        """``chosen`` has all five kinds."""
        fields: dict[str, Any] = {kind: chosen[kind][0] for kind in KINDS}
        fields |= {"weight_mismatch": weight_mismatch, "activation_mismatch": activation_mismatch}
        return cls(name, reasons={kind: chosen[kind][1] for kind in KINDS}, **fields)

    def number(self, kind: Kind) -> W | A:
        """What one of the five tensors is made of."""
        value: W | A = getattr(self, kind)
        return value

    @abstractmethod
    def describe(self, kind: Kind) -> str:
        """The numbers of one of the five tensors in a few words."""

    @staticmethod
    @abstractmethod
    def number_from(data: Mapping[str, Any]) -> Any:
        """One of the numbers from its plain data. May raise KeyError, TypeError or SpecificationError."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """As ``number_from``."""
        numbers: dict[str, Any] = {kind: cls.number_from(data[kind]) for kind in KINDS}
        reasons = {kind: Reason(**reason) for kind, reason in data["reasons"].items()}
        return cls(**{**data, **numbers, "reasons": reasons})


L = TypeVar("L", bound=AssignedLayer[Any, Any])


@dataclass(frozen=True)
class LayerwiseAssignment(Generic[L]):
    """The numbers of a model's training, layer by layer; a subclass adds at which level, and what that predicts.

    layer_type: of ``layers``. title: in messages.
    """

    layer_type: ClassVar[type[AssignedLayer[Any, Any]]]
    title: ClassVar[str]

    model: str
    layers: tuple[L, ...]

    def layer(self, name: str) -> L:
        """Raises SpecificationError for a name that no layer has."""
        return find_layer(self.model, self.layers, name)

    def explain(self: ExplainedAssignment, name: str) -> str:
        """What set the numbers of a tensor, as "layer3.weight", or of the five of a layer, as "layer3".

        Raises SpecificationError for a name that does not exist.
        """
        return explain(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises SpecificationError for what is no such data."""
        try:
            layers = tuple(cls.layer_type.from_dict(layer) for layer in data["layers"])
            return cls(**{**data, "layers": layers, "constants": Constants(**data["constants"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecificationError(f"{cls.title}: {error}; assign again") from None


def total_mismatch(layers: Iterable[AssignedLayer[Any, Any]]) -> float:
    """The predicted mismatch: the sum over all weights and activations."""
    return math.fsum(layer.weight_mismatch + layer.activation_mismatch for layer in layers)
