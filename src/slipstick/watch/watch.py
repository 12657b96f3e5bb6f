"""Watching a network train: what its number formats do to every layer, at some of the steps."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.aten import snap_
from slipstick.errors import SpecificationError
from slipstick.watch.alarms import Alarms
from slipstick.watch.counting import Counts, Grid, count
from slipstick.watch.layers import (
    Layer,
    Weight,
    carriers,
    changes_units,
    find_layers,
    format_in_force,
    grid_of,
    rounded_grid,
    update_format,
)
from slipstick.watch.look import ROLES, GradientLook, Look, Role, TensorLook, UpdateLook
from slipstick.watch.reference import LossOf, float_gradients

WATCH_EVERY = 50
"""Steps from one that is looked at to the next."""
WATCH_RECIPE_EVERY = 100
"""The same for runs of recipes: their steps are nearly as short as in float32, a look costs up to three of them."""


class Watch:
    """Looks at the first and then at every so-many-th step of ``optimizer``; the training loop stays as it is.

        watch = ss.Watch(model, optimizer)
        for x, y in batches:
            watch.reference(lambda model: F.cross_entropy(model(x), y))  # optional: measures the gradients' noise
            with ss.use(arithmetic):
                ...

    Of each module with parameters of its own it counts the elements that are zero, of the format's largest magnitude
    ("saturated") and of its smallest ("underflow"), in four roles: weight, activation (what the module returns),
    activation_gradient (the gradient of that) and weight_gradient (as the optimiser gets it). The formats are those of
    the arithmetic in force, weights those of its ``update``. Of a model quantised by a recipe they are the recipe's,
    where it rounds: activations are then the rounded inputs of a layer. In float32 nothing is at the ends of a format.
    An update is lost ("unchanged", swamping) where a parameter's element keeps its code in the optimiser's step though
    its gradient is not zero; residues that ``AccumulatorSGD`` keeps are not lost.

    Signal to quantisation noise of a layer's weight gradients, in decibels, is 10 log10(sum r^2 / sum (g - r)^2), g the
    gradient that the optimiser gets and r that in float32 of the same weights, inputs and random numbers (the ratio of
    variances of Sakr & Shanbhag 2019, arXiv 1812.11732, of one step and without subtracting means). It is None where
    either sum is 0, without ``reference``, and with recipes that give gradients other units (a ``rescale`` that is not
    "own"). What a loop does to gradients before the step, clipping say, is noise.

    Changes no bit of the training: it reads, outside of every arithmetic, and costs nothing at the other steps.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        every: int = WATCH_EVERY,
        on_look: Callable[[Look], None] | None = None,
    ) -> None:
        """every: steps from one look to the next, at least 1. on_look: gets each look; by default its warnings are
        shown by ``warnings.warn``. Quantise the model and ``attach`` the optimiser before."""
        if type(every) is not int or every < 1:
            raise SpecificationError(f"Watch(every={every!r}): must be a positive number of steps")
        self.last: Look | None = None
        self._model, self._optimizer, self._every = model, optimizer, every
        self._on_look = on_look or _warn
        self._layers = find_layers(model)
        self._changes_units = any(map(changes_units, self._layers))
        self._taken = 0
        self._hooks: list[Any] = []
        self._tally: dict[tuple[Layer, Role], Counts] = {}
        self._used: dict[Weight, Counts] = {}
        self._references: dict[int, torch.Tensor] = {}
        self._before: dict[Weight, _Before] = {}
        self._gradients: list[GradientLook] = []
        self._alarms = self._fresh_alarms()
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        self._start_step()

    @property
    def looks_now(self) -> bool:
        """Whether the step that comes next, or is under way, is looked at."""
        return self._taken == 0 or (self._taken + 1) % self._every == 0

    def resume(self, steps: int, looks: Sequence[Look] = ()) -> None:
        """Go on after ``steps`` steps, of which ``looks`` were looked at."""
        self._taken = steps
        self.last = looks[-1] if looks else None
        self._alarms = self._fresh_alarms()
        for look in looks:
            self._alarms.warnings(look)
        self._start_step()

    def _fresh_alarms(self) -> Alarms:
        return Alarms(recipe=any(layer.quantizers is not None for layer in self._layers))

    def remove(self) -> None:
        """Stop watching."""
        self._stop_hooks()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def reference(self, loss: LossOf) -> None:
        """Compute the step's gradients in float32 too, where it is looked at; else do nothing.

        loss: given the network, the step's loss. It gets a copy. Call it before the step's own forward pass, so that
        both draw the same random numbers; where gradients of several passes are added up, before each.
        """
        if not self.looks_now or self._changes_units:
            return
        parameters = [weight.parameter for layer in self._layers for weight in layer.weights]
        for key, gradient in float_gradients(self._model, loss, parameters).items():
            before = self._references.get(key)
            self._references[key] = gradient if before is None else before + gradient

    def _start_step(self) -> None:
        self._stop_hooks()
        self._tally.clear()
        self._used.clear()
        self._references.clear()
        self._before.clear()
        if self.looks_now:
            for layer in self._layers:
                self._watch_layer(layer)

    def _stop_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _watch_layer(self, layer: Layer) -> None:
        """Hooks are closures: a deep copy of the network calls them too, and they know it by its modules."""

        def before(module: nn.Module, inputs: Any) -> None:
            layer.format = format_in_force()

        def after(module: nn.Module, inputs: Any, result: Any) -> None:
            if module is layer.module and torch.is_grad_enabled():
                self._look_at_outputs(layer, result)

        self._hooks.append(layer.module.register_forward_pre_hook(before))
        # Before the recipe's own hook, so that the gradient of what is seen is the rounded one.
        self._hooks.append(layer.module.register_forward_hook(after, prepend=True))
        self._watch_quantizers(layer)

    def _watch_quantizers(self, layer: Layer) -> None:
        if layer.quantizers is not None and (inputs := layer.quantizers.activation) is not None:

            def rounded(module: nn.Module, _: Any, result: torch.Tensor) -> None:
                if module is inputs and torch.is_grad_enabled():
                    self._add(layer, "activation", result, rounded_grid(inputs))

            self._hooks.append(inputs.register_forward_hook(rounded))
        for weight in layer.weights:
            if weight.used is not None:
                self._watch_used(weight, weight.used)

    def _watch_used(self, weight: Weight, quantizer: nn.Module) -> None:
        def rounded(module: nn.Module, _: Any, result: torch.Tensor) -> None:
            if module is weight.used and torch.is_grad_enabled():
                with _unwatched():
                    self._used[weight] = count(result, rounded_grid(weight.used))

        self._hooks.append(quantizer.register_forward_hook(rounded))

    def _look_at_outputs(self, layer: Layer, result: Any) -> None:
        quantizers = layer.quantizers
        for output in carriers(result):
            if quantizers is None or quantizers.activation is None:
                self._add(layer, "activation", output, grid_of(layer.format))
            if output.requires_grad:
                with torch._C.DisableTorchFunction():
                    output.register_hook(self._gradient_hook(layer))

    def _gradient_hook(self, layer: Layer) -> Callable[[torch.Tensor], None]:
        def look(gradient: torch.Tensor) -> None:
            grid = grid_of(layer.format)
            quantizers = layer.quantizers
            if quantizers is not None and quantizers.activation_gradient is not None:
                is_rounded = quantizers.recipe.product is None  # a product rounds it inside
                grid = rounded_grid(quantizers.activation_gradient) if is_rounded else None
            self._add(layer, "activation_gradient", gradient, grid)

        return look

    def _add(self, layer: Layer, role: Role, x: torch.Tensor, grid: Grid | None) -> None:
        with _unwatched():
            self._tally.setdefault((layer, role), Counts()).add(count(x, grid))

    def _before_step(self, *_: Any) -> None:
        if not self.looks_now:
            return
        self._gradients = []
        format = update_format()
        for layer in self._layers:
            noise = _Noise()
            for weight in layer.weights:
                self._look_at_weight(layer, weight, format, noise)
            if noise.measured:
                self._gradients.append(GradientLook(layer.name, noise.decibels, noise.vanished))

    def _look_at_weight(self, layer: Layer, weight: Weight, format: Any, noise: "_Noise") -> None:
        parameter, gradient = weight.parameter, weight.parameter.grad
        if weight in self._used:
            self._tally.setdefault((layer, "weight"), Counts()).add(self._used[weight])
        else:
            stored = grid_of(format) if weight.stored is None else rounded_grid(weight.stored)
            self._add(layer, "weight", parameter, stored)
        if gradient is None or gradient.layout != torch.strided:
            return
        rounded = grid_of(layer.format) if weight.gradient is None else rounded_grid(weight.gradient)
        self._add(layer, "weight_gradient", gradient, rounded)
        with _unwatched():
            self._before[weight] = _Before(parameter, gradient, format, self._residue(parameter))
            if (reference := self._references.get(id(parameter))) is not None:
                noise.add(gradient, reference)

    def _residue(self, parameter: nn.Parameter) -> torch.Tensor | None:
        """What the optimiser keeps of an update below the last bit of the weight."""
        residue = self._optimizer.state.get(parameter, {}).get("accumulator")
        return residue if isinstance(residue, torch.Tensor) else None

    def _after_step(self, *_: Any) -> None:
        if self.looks_now:
            self._finish()
        self._taken += 1
        self._start_step()

    def _finish(self) -> None:
        updates = []
        with _unwatched():
            for layer in self._layers:
                moved = [(self._before[weight], weight.parameter) for weight in layer.weights if weight in self._before]
                if moved:
                    unchanged = sum(before.unchanged(now, self._residue(now)) for before, now in moved)
                    updates.append(UpdateLook(layer.name, sum(now.numel() for _, now in moved), unchanged))
        tensors = tuple(
            TensorLook(layer.name, role, counts)
            for layer in self._layers
            for role in ROLES
            if (counts := self._tally.get((layer, role))) is not None
        )
        lr = float(self._optimizer.param_groups[0].get("lr", 0.0))
        look = Look(self._taken + 1, lr, tensors, tuple(updates), tuple(self._gradients))
        self.last = replace(look, warnings=self._alarms.warnings(look))
        self._on_look(self.last)


class _Before:
    """A parameter before the optimiser's step, and where its gradient is not zero."""

    def __init__(
        self, parameter: torch.Tensor, gradient: torch.Tensor, format: Any, residue: torch.Tensor | None
    ) -> None:
        self._numbers = parameter.detach().clone()
        if format is not None:
            snap_(self._numbers, format)  # as the step's first operator reads it
        self._asked = gradient != 0
        self._residue = None if residue is None else residue.clone()

    def unchanged(self, now: torch.Tensor, residue: torch.Tensor | None) -> int:
        same = (self._numbers == now) & self._asked
        if self._residue is not None and residue is not None:
            same &= self._residue == residue
        return int(torch.count_nonzero(same))


class _Noise:
    """Sums over a layer's weight gradients."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0
        self.alive = self.gone = 0

    def add(self, gradient: torch.Tensor, reference: torch.Tensor) -> None:
        self.signal += _square(reference)
        self.noise += _square(gradient - reference)
        self.alive += int(torch.count_nonzero(reference))
        self.gone += int(torch.count_nonzero((gradient == 0) & (reference != 0)))

    @property
    def measured(self) -> bool:
        return self.alive > 0

    @property
    def decibels(self) -> float | None:
        if not (0 < self.signal < math.inf and 0 < self.noise < math.inf):
            return None
        return round(10 * math.log10(self.signal / self.noise), 2)

    @property
    def vanished(self) -> float:
        return round(self.gone / self.alive, 4)


def _square(x: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64)) ** 2


@contextmanager
def _unwatched() -> Iterator[None]:
    """Outside of every arithmetic, and of its audit."""
    with torch.no_grad(), _disable_current_modes(), torch._C.DisableTorchFunction():
        yield


def _warn(look: Look) -> None:
    for warning in look.warnings:
        warnings.warn(warning, RuntimeWarning, stacklevel=2)
