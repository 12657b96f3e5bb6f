"""The probe: watches a model train in float32 and gathers what a precision assignment asks of that training.

    probe = Probe(model)
    with probe:                                  # hooks on, off again at the end
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss(model(inputs), targets).backward()
            probe.after_backward()               # once a step
            optimizer.step()
    statistics = probe.statistics(batches, smallest_lr=0.001, batch=128)

The model, its parameters and its gradients are never changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from math import ceil, prod
from typing import Any

import torch
from torch import nn

from slipstick.errors import SpecificationError, UnsupportedOperation
from slipstick.precision.jacobian import SquareJacobian, mean_squares
from slipstick.precision.layer_calls import TRANSPOSED, Call, SampleNetwork, probed_layers, weight_of
from slipstick.precision.noise_gain import CHUNK, NoiseGainSum
from slipstick.precision.spreads import Spreads
from slipstick.precision.statistics import LayerStatistics, Spread, Statistics
from slipstick.quantize.arithmetic_guard import refuse_inside_arithmetic


class Probe:
    """Of the linear and (transposed) convolution layers of ``model``; see ``layer_calls`` for what is left out.

    every: one step in so many is looked at; the others cost nothing. ignore: patterns of names of layers to leave out.
    Raises SpecificationError for a model without such layers, a quantised or a parametrised layer, or a shared weight.
    """

    def __init__(self, model: nn.Module, *, every: int = 1, ignore: Sequence[str] = ()) -> None:
        self.model = model
        self._layers = probed_layers(model, ignore)
        self._spreads = Spreads(self._layers, every)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of registration."""
        return tuple(layer.name for layer in self._layers)

    @property
    def steps(self) -> int:
        """Training steps that it has watched."""
        return self._spreads.steps

    def check(self, inputs: torch.Tensor) -> None:
        """Run the model on the first of these inputs (N, ...), in evaluation mode.

        Raises SpecificationError where it never reaches a layer, or makes something else than logits (N, classes) or
        (N, positions, classes): what ``statistics`` would refuse after the training.
        """
        SampleNetwork(self.model, self._layers, inputs[0])

    def attach(self) -> "Probe":
        """Begin to watch. Raises UnsupportedOperation inside an arithmetic: its numbers are those of float32."""
        _refuse_inside_arithmetic()
        self._spreads.attach()
        return self

    def remove(self) -> None:
        """Take the hooks off. What was seen stays."""
        self._spreads.remove()

    def __enter__(self) -> "Probe":
        return self.attach()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def after_backward(self) -> None:
        """Once in every training step, after the last ``backward()`` and before gradients are cleared."""
        self._spreads.after_backward()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What was seen of the training, in vectors over the layers. The model's own state is not part of it."""
        return self._spreads.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from ``state_dict``: statistics end as if the training had not been interrupted.

        Raises SpecificationError for the state of other layers or of another ``every``.
        """
        self._spreads.load_state_dict(state)

    def statistics(
        self,
        batches: Iterable[Any],
        smallest_lr: float,
        *,
        batch: int = 1,
        draws: int | None = None,
        seed: int = 0,
        chunk: int = CHUNK,
        vectorize: bool = True,
        done: Callable[[int], None] | None = None,
    ) -> Statistics:
        """What the training was, and the noise gains and square-Jacobians of the model as it is now.

        batches: inputs (N, ...), or tuples that begin with them; the model takes one tensor. smallest_lr: of the
        schedule. batch: the samples of a training step. draws, seed, chunk: see ``NoiseGainSum``; vectorize: see
        ``SampleNetwork``. done: told how many samples are.
        Raises SpecificationError for a layer that the forward pass never reaches, gradients that were always zero,
        an output that is no logits (N, classes) or (N, positions, classes), and where there is nothing to measure.
        """
        _refuse_inside_arithmetic()
        if type(batch) is not int or batch < 1:
            raise SpecificationError(f"probe: batch = {batch!r} must be a positive integer")
        if not 0 < smallest_lr < torch.inf:
            raise SpecificationError(f"probe: smallest_lr = {smallest_lr!r} must be a positive number")
        inputs = (some[0] if isinstance(some, (tuple, list)) else some for some in batches)
        first = next(inputs, None)
        if first is None or len(first) == 0:
            raise SpecificationError("probe: no samples to measure noise gains with; give batches of inputs")
        if self.steps == 0:
            raise SpecificationError("probe: has watched no training step; call after_backward() in every step")
        network = SampleNetwork(self.model, self._layers, first[0], vectorize=vectorize)
        for index in network.order():
            self._gradients(index)  # complains before the long part
        gains = NoiseGainSum(network, draws=draws, seed=seed, chunk=chunk)
        jacobians = [SquareJacobian(layer.module) for layer in self._layers]
        for some in chain([first], inputs):
            squares = mean_squares(network, some, gains.samples_at_once)
            for index, jacobian in enumerate(jacobians):
                jacobian.add([squares[number] for number in network.calls_of(index)])
            for few in some.split(gains.samples_at_once):
                gains.add(few)
                if done is not None:
                    done(len(few))
        found = gains.result()
        layers = [
            self._layer(network, i, found.weights[i], found.activations[i], jacobians[i]) for i in network.order()
        ]
        name = type(self.model).__name__
        return Statistics(name, tuple(layers), found.samples, self.steps, float(smallest_lr), batch)

    def _gradients(self, index: int) -> tuple[Spread, Spread]:
        """Of the weight and of the output."""
        title = self._layers[index].title
        return (
            self._spreads.weight_gradients.spread(index, f"{title}.weight"),
            self._spreads.output_gradients.spread(index, f"the output of {title}"),
        )

    def _layer(
        self, network: SampleNetwork, index: int, weight_gain: float, activation_gain: float, jacobian: SquareJacobian
    ) -> LayerStatistics:
        layer, seen = self._layers[index], self._spreads
        weight = weight_of(layer).detach()
        calls = [network.calls[number] for number in network.calls_of(index)]
        title = layer.title
        of_weight, of_output = self._gradients(index)
        norm = jacobian.largest_singular_value()
        for what, value in (("input", norm), ("weight", float(weight.abs().max()))):
            if value == 0:
                raise SpecificationError(f"probe: {title}: its {what} is all zero; train it, or ignore the layer")
        if weight_gain == 0:
            raise SpecificationError(
                f"probe: {title}: no logit depends on its weight (zero gradients); train it, or ignore the layer"
            )
        return LayerStatistics(
            name=layer.name,
            weight_shape=tuple(weight.shape),
            input_shape=_of_one_sample(calls[0].input_shape),
            output_shape=_of_one_sample(calls[0].output_shape),
            macs=sum(_macs(layer.module, call) for call in calls),
            fan_in=_fan_in(layer.module),
            weight_gain=weight_gain,
            activation_gain=activation_gain,
            weight_maximum=max(float(seen.weight_maximum[index]), float(weight.abs().max())),
            activation_maximum=float(seen.input_maximum[index]),
            activation_has_signs=bool(seen.input_minimum[index] < 0),
            weight_gradient=of_weight,
            activation_gradient=of_output,
            jacobian=norm,
            weight_mean_square=float(weight.double().square().mean()),
            activation_mean_square=jacobian.mean_square(),
        )


def _refuse_inside_arithmetic() -> None:
    try:
        refuse_inside_arithmetic("probe")
    except UnsupportedOperation:
        raise UnsupportedOperation(
            "probe: would run inside ss.use, and its numbers are those of float32; leave the with block"
        ) from None


def _of_one_sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without the batch axis of 1, where there is one."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _macs(module: nn.Module, call: Call) -> int:
    """Multiply-accumulates of one call; a transposed convolution multiplies inputs, the others make outputs."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    shape = call.input_shape if isinstance(module, TRANSPOSED) else call.output_shape
    return prod(shape) * weight[0].numel()


def _fan_in(module: nn.Module) -> int:
    """Terms of an output's sum; of a transposed convolution the most that meet at one output."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if not isinstance(module, TRANSPOSED):
        return weight[0].numel()
    taps = (ceil(kernel / stride) for kernel, stride in zip(module.kernel_size, module.stride, strict=True))
    return weight.shape[0] // module.groups * prod(taps)
