"""The quantiser of one tensor at one place: finds the scale, rounds, and keeps its range where that is remembered."""

import torch
from torch import nn

from slipstick.errors import NonFiniteError, SpecificationError, UnsupportedOperation
from slipstick.quantize.arithmetic_guard import refuse_inside_arithmetic
from slipstick.quantize.rounding_generator import RoundingGenerator
from slipstick.quantize.specification import QuantizerSpec
from slipstick.quantize.straight_through import round_backward, round_forward


class TensorQuantizer(nn.Module):
    """Rounds a tensor as its ``spec`` says. As a module it is also a parametrisation of a weight.

    where: what it rounds, for error messages, e.g. "activation of conv1".
    shape: of the weight that it rounds; channel: the weight's output dimension. None for other tensors.
    """

    maximum: torch.Tensor
    """The remembered maximum (0: nothing seen yet); a buffer, so that it is saved with the model."""

    def __init__(
        self,
        spec: QuantizerSpec,
        where: str,
        generator: RoundingGenerator,
        device: torch.device,
        shape: torch.Size | None = None,
        channel: int = 0,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.where = where
        self.generator = generator
        self.channel = channel if spec.range.per == "channel" else None
        self.observes = False
        self.used_scale: torch.Tensor | None = None  # of the last tensor rounded
        if spec.range.is_remembered:
            sizes: list[int] = []
            if shape is not None and self.channel is not None:
                sizes = [size if d == self.channel % len(shape) else 1 for d, size in enumerate(shape)]
            self.register_buffer("maximum", torch.zeros(sizes, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` rounded, with the derivative 1."""
        if self.observes:
            self.observe(x)
            return x
        return round_forward(x, self.rounded)

    def on_gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` unchanged; its gradient will be rounded."""
        return round_backward(x, self.rounded) if x.requires_grad else x

    @torch.no_grad()
    def rounded(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` rounded, in new memory and without autograd. Updates a running range in training mode.

        Where the range does not rescale by its "own" scale, the result is still divided by it.
        """
        refuse_inside_arithmetic(self.where)
        if x.dtype not in (torch.float32, torch.float64) or x.layout != torch.strided:
            kind = x.dtype if x.layout == torch.strided else "sparse"
            raise UnsupportedOperation(f"{self.where}: {kind} tensors are not rounded; use dense float32 or float64")
        if x.numel() == 0:
            return x.clone()
        spec, scale = self.spec, self.scale(x)
        self.used_scale = scale
        if spec.format is None:
            assert scale is not None
            return x / scale
        if not getattr(spec.format, "signed", True) and bool((x < 0).any()):
            raise SpecificationError(f"{self.where}: has negative numbers, {spec.format} none; give it a signed format")
        generator = self.generator.on(x.device) if spec.rounding != "nearest" else None
        try:
            result = spec.format.quantize(x, rounding=spec.rounding, generator=generator, scale=scale)
        except (SpecificationError, NonFiniteError) as error:
            raise type(error)(f"{self.where}: {error}") from None
        return result if spec.range.rescale == "own" or scale is None else result / scale

    @torch.no_grad()
    def holds(self, x: torch.Tensor) -> bool:
        """Whether ``x`` is on the grid already, where the grid does not depend on ``x``."""
        assert self.spec.format is not None
        return torch.equal(self.spec.format.quantize(x, rounding="nearest", scale=self.scale(x)), x)

    @torch.no_grad()
    def observe(self, x: torch.Tensor) -> None:
        """Widen a calibrated range so that it holds ``x``."""
        if x.numel():
            self.maximum.copy_(torch.maximum(self.maximum, self.spec.range.measure(x, self.channel)))

    def scale(self, x: torch.Tensor) -> torch.Tensor | None:
        """The scale that ``x`` is rounded with; None for the format's own range."""
        range_ = self.spec.range
        if range_.kind == "fixed":
            if range_.maximum is None:
                return None if self.spec.format is not None else x.new_ones(())
            maximum = x.new_tensor(range_.maximum)
        elif range_.kind == "tensor":
            maximum = range_.measure(x, self.channel)
        else:
            maximum = self._remembered(x)
        if not bool(maximum.isfinite().all()):
            raise NonFiniteError(f"{self.where}: has infinite numbers or NaN; find the operation that produced them")
        return range_.scale_for(maximum, self.spec.format)

    def _remembered(self, x: torch.Tensor) -> torch.Tensor:
        seen = self.maximum > 0
        if self.spec.range.kind == "calibrated":
            if not bool(seen.any()):
                raise SpecificationError(
                    f"{self.where}: its range was never calibrated; give quantize(..., calibration=batches)"
                )
            return self.maximum
        decay = self.spec.range.decay
        if self.training:
            now = self.spec.range.measure(x, self.channel)
            self.maximum.copy_(torch.where(seen, decay * self.maximum + (1 - decay) * now, now))
        elif not bool(seen.all()):
            return self.spec.range.measure(x, self.channel)  # before any training
        return self.maximum
