"""What a training does to the tensors of its layers: how wide gradients spread, how large weights and inputs become.

Of every weight gradient and of the gradient of every layer's output, one variance a tensor (over all its elements, the
batch included, about their mean) is averaged over the snapshots:

    s <- 0.9 s + 0.1 var(g),

and the least and the largest sqrt(s) over training are kept (Sakr & Shanbhag 2019, arXiv 1812.11732, as released; they
average over all steps, start at s = 0 and look at s once an epoch). Here the first snapshot whose gradient is not all
zero starts the average, and s is looked at after every snapshot. Gradients are those of the loss that training
minimises.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from slipstick.errors import SpecificationError
from slipstick.precision.layer_calls import weight_of
from slipstick.precision.statistics import Spread
from slipstick.quantize.layers import Layer

_DECAY = 0.9

_Numbers = Sequence[list[torch.Tensor]]
"""For each layer the scalars of one step, as many as there were calls."""


class RunningSpreads:
    """The averages of one kind of gradient: a vector with one element for each layer."""

    def __init__(self, count: int) -> None:
        self.average = torch.zeros(count, dtype=torch.float64)
        self.smallest = torch.full((count,), torch.inf, dtype=torch.float64)
        self.largest = torch.zeros(count, dtype=torch.float64)

    def add(self, variances: torch.Tensor, there: torch.Tensor) -> None:
        """One snapshot. there (bool): which tensors had a gradient; the others stay as they are."""
        variances = torch.where(there, variances.double(), 0.0)
        started = self.average != 0
        moved = torch.where(started, _DECAY * self.average + (1 - _DECAY) * variances, variances)
        self.average = torch.where(there, moved, self.average)
        known = there & (self.average != 0)
        spread = self.average.sqrt()
        self.smallest = torch.where(known, torch.minimum(self.smallest, spread), self.smallest)
        self.largest = torch.where(known, torch.maximum(self.largest, spread), self.largest)

    def spread(self, index: int, what: str) -> Spread:
        """Raises SpecificationError, naming ``what``, where there was no gradient but zeros, or one not finite."""
        smallest, largest = float(self.smallest[index]), float(self.largest[index])
        if largest == 0:
            raise SpecificationError(
                f"probe: {what}: its gradient was zero at every snapshot; train it (requires_grad), or ignore the layer"
            )
        if not largest < torch.inf:
            raise SpecificationError(f"probe: {what}: its gradient was not finite; train again with a lower lr")
        return Spread(smallest, largest)


class Spreads:
    """Watches the layers of a model while it trains: attach, then ``after_backward`` in every step.

    every: one step in so many is a snapshot; the others cost nothing. Inputs, outputs and weights are read with two
    passes over each, without a transfer to the host but one a snapshot. A layer that is called several times in a step
    counts the mean of the variances of its output gradients.

    Hooks act in training mode with gradients enabled only. A deep copy of the model is not watched.
    """

    def __init__(self, layers: Sequence[Layer], every: int = 1) -> None:
        if type(every) is not int or every < 1:
            raise SpecificationError(f"probe: every = {every!r} must be a positive number of steps")
        self._layers, self._every = tuple(layers), every
        self._hooks: list[RemovableHandle] = []
        self._variances: _Numbers
        self._highest: _Numbers
        self._lowest: _Numbers
        count = len(self._layers)
        self.steps = 0
        self.weight_gradients, self.output_gradients = RunningSpreads(count), RunningSpreads(count)
        self.weight_maximum = torch.zeros(count, dtype=torch.float64)
        self.input_maximum = torch.zeros(count, dtype=torch.float64)
        self.input_minimum = torch.zeros(count, dtype=torch.float64)
        self._forget()

    def attach(self) -> None:
        """Raises SpecificationError where it is attached."""
        if self._hooks:
            raise SpecificationError("probe: is attached already; remove it first")
        for index, layer in enumerate(self._layers):
            hook = _ForwardHook(self, index)
            self._hooks.append(layer.module.register_forward_hook(hook, with_kwargs=True))

    def remove(self) -> None:
        """Take the hooks off; what was seen stays."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._forget()

    @torch.no_grad()
    def after_backward(self) -> None:
        """Once a step, while ``.grad`` holds the gradients of the step; its end for the probe."""
        if self._due:
            gradients = [weight_of(layer).grad for layer in self._layers]
            of_weights = [[] if gradient is None else [_variance(gradient)] for gradient in gradients]
            extremes = [weight_of(layer).aminmax() for layer in self._layers]
            columns = (
                _column(of_weights, torch.mean),
                _column(self._variances, torch.mean),
                _column([[torch.maximum(-low, high)] for low, high in extremes], torch.amax),
                _column(self._highest, torch.amax),
                _column(self._lowest, torch.amin),
            )
            of_weight, of_output, weight_maximum, highest, lowest = torch.stack(columns).cpu()  # the one transfer
            self.weight_gradients.add(of_weight, _known(of_weights))
            self.output_gradients.add(of_output, _known(self._variances))
            self.weight_maximum = torch.maximum(self.weight_maximum, weight_maximum)
            self.input_maximum = torch.maximum(self.input_maximum, torch.maximum(highest, -lowest))
            self.input_minimum = torch.minimum(self.input_minimum, lowest)
        self.steps += 1
        self._forget()

    @property
    def _due(self) -> bool:
        return self.steps % self._every == 0

    def _forget(self) -> None:
        """Begin a step."""
        self._variances, self._highest, self._lowest = ([[] for _ in self._layers] for _ in range(3))

    def watch(self, index: int, x: torch.Tensor, y: torch.Tensor) -> None:
        """A layer was called."""
        if self._due:
            low, high = x.detach().aminmax()
            self._lowest[index].append(low)
            self._highest[index].append(high)
            if y.requires_grad:
                y.register_hook(partial(self._watch_gradient, index))

    def _watch_gradient(self, index: int, gradient: torch.Tensor) -> None:
        self._variances[index].append(_variance(gradient))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All numbers, in float64: a training that goes on with them ends with the same statistics."""
        state = {
            "progress": torch.tensor([self.steps, self._every], dtype=torch.float64),
            "weight_maximum": self.weight_maximum,
            "input_maximum": self.input_maximum,
            "input_minimum": self.input_minimum,
        }
        for kind, spreads in (("weight_gradient", self.weight_gradients), ("output_gradient", self.output_gradients)):
            state |= {f"{kind}.{name}": value for name, value in vars(spreads).items()}
        return {name: tensor.clone() for name, tensor in state.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raises SpecificationError for what is no state of these layers, or was seen at another ``every``."""
        own = self.state_dict()
        if {name: t.shape for name, t in state.items()} != {name: t.shape for name, t in own.items()}:
            raise SpecificationError("probe: the saved state is not of these layers; start the training again")
        steps, every = (int(number) for number in state["progress"])
        if every != self._every:
            raise SpecificationError(f"probe: was started with every = {every}, not {self._every}; change it back")
        self.steps = steps
        for name, value in state.items():
            owner, _, attribute = name.rpartition(".")
            if owner:
                setattr(getattr(self, f"{owner}s"), attribute, value.clone())
            elif name != "progress":
                setattr(self, name, value.clone())
        self._forget()


class _ForwardHook:
    """Tells a ``Spreads`` of every call of one layer. A deep copy of it, as of the layer, tells nobody."""

    def __init__(self, spreads: Spreads | None, index: int) -> None:
        self._spreads, self._index = spreads, index

    def __deepcopy__(self, memo: dict[int, Any]) -> "_ForwardHook":
        return _ForwardHook(None, self._index)

    def __reduce__(self) -> Any:
        return _ForwardHook, (None, self._index)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: torch.Tensor) -> None:
        if self._spreads is not None and module.training and torch.is_grad_enabled():
            self._spreads.watch(self._index, args[0] if args else kwargs["input"], y)


def _variance(tensor: torch.Tensor) -> torch.Tensor:
    """About the mean, over all elements: by two passes of reductions, which is faster than ``torch.var``.

    Relative error about 1e-6 (1 + mean^2 / variance).
    """
    norm: torch.Tensor = torch.linalg.vector_norm(tensor)
    return (norm.double().square() / tensor.numel() - tensor.mean().double().square()).clamp_min(0)


def _column(values: _Numbers, combine: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """One number (float64) for each layer, 0 where it has none."""
    device = next((each[0].device for each in values if each), None)
    nothing = torch.zeros((), dtype=torch.float64, device=device)
    return torch.stack([combine(torch.stack(each).double()) if each else nothing for each in values])


def _known(values: _Numbers) -> torch.Tensor:
    return torch.tensor([bool(each) for each in values])
