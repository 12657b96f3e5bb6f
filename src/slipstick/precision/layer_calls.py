"""Which layers of a model are probed, and one sample's way through them.

Probed are linear, convolution and transposed convolution layers: those whose output is bilinear in one weight and one
input. Embeddings, ``nn.MultiheadAttention`` and bilinear layers are not (they stay in float32); attention made of
linear layers is, up to its products of activations, which are no layers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map

from slipstick.errors import SpecificationError
from slipstick.quantize.layer_quantizers import is_quantized
from slipstick.quantize.layers import Layer, find_layers, with_inputs

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED_PRODUCTS = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def probed_layers(model: nn.Module, ignore: Sequence[str] = ()) -> list[Layer]:
    """In order of registration, without those whose name matches a pattern of ``ignore``.

    Raises SpecificationError where there is none, one is quantised or parametrised, or two share a weight.
    """
    found = [
        layer for layer in find_layers(model)[0] if isinstance(layer.module, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED))
    ]
    for pattern in ignore:
        if not any(fnmatchcase(layer.name, pattern) for layer in found):
            names = ", ".join(layer.title for layer in found)
            raise SpecificationError(f"probe: ignore = {pattern!r} matches no layer; there are: {names}")
    layers = [layer for layer in found if not any(fnmatchcase(layer.name, pattern) for pattern in ignore)]
    if not layers:
        raise SpecificationError(f"probe: {type(model).__name__} has no linear or convolution layer to probe")
    owners: dict[nn.Parameter, str] = {}
    for layer in layers:
        if is_quantized(layer.module):
            raise SpecificationError(f"probe: {layer.title} is quantised; call ss.dequantize(model) first")
        if parametrize.is_parametrized(layer.module, "weight"):
            raise SpecificationError(f"probe: {layer.title}.weight is parametrised; remove that first")
        weight = weight_of(layer)
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise SpecificationError(f"probe: {layer.title}.weight has no shape yet; run the model once before")
        if weight in owners:
            raise SpecificationError(
                f"probe: {layer.title}.weight is that of {owners[weight]} too; untie them, or ignore one"
            )
        owners[weight] = layer.title
    return layers


def weight_of(layer: Layer) -> nn.Parameter:
    weight = layer.module.weight
    assert isinstance(weight, nn.Parameter)
    return weight


def product(module: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What ``module`` makes of ``x`` with this weight and no bias: bilinear in both.

    A weight may have fewer outputs than the layer's own, but those of a transposed convolution.
    """
    if isinstance(module, nn.Linear):
        return F.linear(x, weight)
    if isinstance(module, CONVOLUTIONS):
        y: torch.Tensor = module._conv_forward(x, weight, None)
        return y
    assert isinstance(module, TRANSPOSED)
    transposed: Any = _TRANSPOSED_PRODUCTS[weight.dim() - 3]
    y = transposed(
        x, weight, None, module.stride, module.padding, module.output_padding, module.groups, module.dilation
    )
    assert isinstance(y, torch.Tensor)
    return y


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """``model`` in evaluation mode; afterwards every module is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


Change = Callable[[int, int, torch.Tensor], torch.Tensor]
"""Of the number of a call, the index of its layer and a tensor: what takes the tensor's place."""


@contextmanager
def _intercepted(layers: Sequence[Layer], on_input: Change, on_output: Change) -> Iterator[None]:
    """While entered, every call of a layer has its input and its output changed."""
    calls = count()
    under_way: list[int] = []

    def before(index: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        under_way.append(next(calls))
        return with_inputs(layers[index].kind, args, kwargs, partial(on_input, under_way[-1], index))

    def after(index: int, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        return on_output(under_way.pop(), index, output)

    with ExitStack() as stack:
        for i, layer in enumerate(layers):
            for hook in (
                layer.module.register_forward_pre_hook(partial(before, i), with_kwargs=True),
                layer.module.register_forward_hook(partial(after, i)),
            ):
                stack.callback(hook.remove)
        yield


@dataclass(frozen=True)
class Call:
    """One use of a layer in the forward pass of one sample. layer: its index. Shapes have the batch axis of 1."""

    layer: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


class SampleNetwork:
    """A model as a function of one sample, with its parameters as constants: what ``torch.func`` differentiates.

    The model is called in evaluation mode on a batch of 1, so that samples do not mix; it is left as it was. All
    samples must make the same calls with the same shapes.

    vectorize: whether ``each`` runs many samples as one by ``torch.func.vmap``; False for a model that cannot be run so
    (a Python branch on its numbers).
    calls: of layers, in the order of the forward pass. positions: shape of a sample's output without the classes: ()
    for one decision a sample. classes: the last axis of the output.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], sample: torch.Tensor, *, vectorize: bool = True
    ) -> None:
        """``sample``: without batch axis. Raises SpecificationError for a layer not reached, or another output."""
        self.model, self.layers, self._vectorize = model, tuple(layers), vectorize
        self._state = {name: t.detach() for name, t in (*model.named_parameters(), *model.named_buffers())}
        self._like = next(iter(self._state.values()))
        calls: dict[int, list[Any]] = {}

        def record(call: int, index: int, tensor: torch.Tensor) -> torch.Tensor:
            calls.setdefault(call, [index]).append(tuple(tensor.shape))
            return tensor

        with torch.no_grad(), in_evaluation(model), _intercepted(layers, record, record):
            logits = model(sample[None].to(self._like.device))
        self.calls = tuple(Call(*facts) for _, facts in sorted(calls.items()))
        name = type(model).__name__
        reached = {call.layer for call in self.calls}
        for i, layer in enumerate(self.layers):
            if i not in reached:
                raise SpecificationError(
                    f"probe: {layer.title} is never reached in the forward pass of {name}; remove it, or ignore it"
                )
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if isinstance(shape, str) or len(shape) < 2 or shape[0] != 1 or shape[-1] < 2:
            raise SpecificationError(
                f"probe: {name} makes {shape} of one sample; it must be logits (1, classes) or (1, positions, classes)"
            )
        self.positions, self.classes = shape[1:-1], shape[-1]

    @property
    def device(self) -> torch.device:
        return self._like.device

    def order(self) -> list[int]:
        """Indices of the layers by their first call."""
        return list(dict.fromkeys(call.layer for call in self.calls))

    def calls_of(self, index: int) -> list[int]:
        """Which calls are of this layer."""
        return [number for number, call in enumerate(self.calls) if call.layer == index]

    def each(self, function: Callable[..., Any], *batches: Any) -> Any:
        """What ``function`` makes of every sample of the batches, tensors (N, ...) or lists of them, likewise."""
        if not self._vectorize:
            count = len(tree_leaves(batches)[0])
            alone = (function(*tree_map(lambda t, i=i: t[i], batches)) for i in range(count))
            return tree_map(lambda *t: torch.stack(t), *alone)
        try:
            return vmap(function)(*batches)
        except RuntimeError as error:
            raise SpecificationError(
                f"probe: {type(self.model).__name__} cannot run many samples as one "
                f"({str(error).strip().splitlines()[0]}); pass vectorize=False"
            ) from error

    def run(
        self,
        samples: torch.Tensor,
        inputs: Sequence[torch.Tensor] | None = None,
        outputs: Sequence[torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits (N, ..., classes) of samples (N, ...), and the input (N, 1, ...) of every call; in evaluation mode.

        inputs, outputs: added to the input and the output of every call. An activation that enters two layers is a
        tensor of its own for each.
        """
        with in_evaluation(self.model):
            if inputs is None or outputs is None:
                inputs, outputs = self.zeros(len(samples))
            logits, seen = self.each(self._perturbed, samples, list(inputs), list(outputs))
            return logits[:, 0], seen

    def zeros(self, count: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """For every call of so many samples, of the shape of its input and of its output."""
        return (
            [self._like.new_zeros((count, *call.input_shape)) for call in self.calls],
            [self._like.new_zeros((count, *call.output_shape)) for call in self.calls],
        )

    def _perturbed(
        self, sample: torch.Tensor, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        seen: dict[int, torch.Tensor] = {}

        def change_input(call: int, index: int, x: torch.Tensor) -> torch.Tensor:
            seen[call] = x
            return x + inputs[call]

        def change_output(call: int, index: int, y: torch.Tensor) -> torch.Tensor:
            return y + outputs[call]

        with _intercepted(self.layers, change_input, change_output):
            logits: torch.Tensor = functional_call(self.model, self._state, (sample[None],))
        return logits, [x for _, x in sorted(seen.items())]
