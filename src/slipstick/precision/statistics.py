"""What the criteria of Sakr & Shanbhag 2019 (arXiv 1812.11732) need to know of a training: numbers only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slipstick.errors import SpecificationError


@dataclass(frozen=True)
class Spread:
    """The least and the largest standard deviation of a tensor over training; for each snapshot the square root of an
    exponential moving average of the variance."""

    smallest: float
    largest: float


@dataclass(frozen=True)
class LayerStatistics:
    """One layer with weights, in the order of the forward pass.

    weight_shape; input_shape, output_shape: of one sample. macs: multiply-accumulates of one sample's forward pass.
    fan_in: length of the forward dot products.
    weight_gain, activation_gain: E of the weight and of the layer's input, the mean over samples of
        sum over i != y of ||d(z_i - z_y)/dT||^2 / (24 (z_i - z_y)^2), z the logits and y the largest.
    weight_maximum, activation_maximum: the largest magnitude seen. activation_has_signs: whether inputs were negative.
    weight_gradient, activation_gradient: spreads over training; the latter of the gradient of the layer's output, of
        the loss that training minimises.
    jacobian: the largest singular value of the square-Jacobian, which takes the noise variance of the layer's output
        gradient to that of its weight gradient, for one sample; those of a step's samples add up.
    weight_mean_square, activation_mean_square: over the tensor's elements (and samples), which logarithmic formats
        ask for; None where they were not measured, and the squared maximum then stands in as a bound.
    """

    name: str
    weight_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    fan_in: int
    weight_gain: float
    activation_gain: float
    weight_maximum: float
    activation_maximum: float
    activation_has_signs: bool
    weight_gradient: Spread
    activation_gradient: Spread
    jacobian: float
    weight_mean_square: float | None = None
    activation_mean_square: float | None = None


@dataclass(frozen=True)
class Statistics:
    """Of one training. samples: how many the noise gains were averaged over. smallest_lr: of the schedule. batch: the
    samples of a training step."""

    model: str
    layers: tuple[LayerStatistics, ...]
    samples: int
    steps: int
    smallest_lr: float
    batch: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Statistics":
        """Raises SpecificationError for what is no such data."""
        try:
            layers = tuple(_layer(layer) for layer in data["layers"])
            return cls(**{**data, "layers": layers})
        except (KeyError, TypeError) as error:
            raise SpecificationError(f"statistics: {error}; run the probe again") from None


def _layer(data: Mapping[str, Any]) -> LayerStatistics:
    shapes = {key: tuple(data[key]) for key in ("weight_shape", "input_shape", "output_shape")}
    spreads = {key: Spread(**data[key]) for key in ("weight_gradient", "activation_gradient")}
    return LayerStatistics(**{**data, **shapes, **spreads})
