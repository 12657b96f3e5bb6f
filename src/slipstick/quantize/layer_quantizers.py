"""What a recipe attaches to one layer: a child module ``quantizers``, hooks, parametrised weights.

The hooks are plain functions that look the child up in the module they are called with, so that a deep copy of a model
is quantised by quantisers of its own.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from slipstick.errors import SpecificationError
from slipstick.quantize.layer_products import LayerProduct, geometry_of
from slipstick.quantize.layers import Layer, owner_of, with_inputs
from slipstick.quantize.quantizer import TensorQuantizer
from slipstick.quantize.roles import Role
from slipstick.quantize.rounding_generator import RoundingGenerator
from slipstick.quantize.specification import QuantizerSpec, Recipe

CHILD = "quantizers"
_GRADIENT_HOOK = "_slipstick_gradient_hook"

Entry = tuple[Role, str, TensorQuantizer]


class LayerQuantizers(nn.Module):
    """The quantisers of one layer, except those of its weights in use, which are parametrisations.

    gradients, stored: by path of the parameter. ``stored`` rounds a weight as it is kept, where there is no master
    copy: by ``update``, or by ``weight`` where the recipe has no ``update``.
    """

    activation: TensorQuantizer | None
    activation_gradient: TensorQuantizer | None

    def __init__(
        self, layer: Layer, recipe: Recipe, specs: Mapping[Role, QuantizerSpec], generator: RoundingGenerator
    ) -> None:
        super().__init__()
        self.layer_kind, self.title = layer.kind, layer.title
        self.recipe, self.specs, self.generator = recipe, dict(specs), generator
        self.paths = tuple(layer.parameters(recipe.biases == "as_weights"))
        self.versions: dict[str, tuple[int, int]] = {}
        self.orders: dict[str, list[str]] = {}
        self.hooks: list[Any] = []
        self.activation = self._make("activation", layer) if layer.kind.inputs else None
        self.activation_gradient = self._make("activation_gradient", layer)
        self.gradients, self.stored = nn.ModuleDict(), nn.ModuleDict()

    def _make(self, role: Role, layer: Layer, path: str = "", spec_of: Role | None = None) -> TensorQuantizer | None:
        spec = self.specs.get(spec_of or role)
        if spec is None:
            return None
        device = next(layer.module.parameters()).device
        if not path:
            return TensorQuantizer(spec, f"{role} of {layer.title}", self.generator, device)
        shape = parameter_at(layer.module, path).shape
        return TensorQuantizer(
            spec, f"{role} of {layer.title}.{path}", self.generator, device, shape, layer.kind.channel
        )

    def attach(self, layer: Layer) -> None:
        """Put everything in place. Ranges of weights are calibrated on their values before any is rounded."""
        module = layer.module
        module.add_module(CHILD, self)
        for path in self.paths:
            weight = self._make("weight", layer, path)
            gradient = self._make("weight_gradient", layer, path)
            stored = None
            if not self.recipe.keeps_master:
                stored = self._make("update", layer, path, "update" if "update" in self.specs else "weight")
                weight = weight if "update" in self.specs else None
            for quantizer in (weight, stored):
                if quantizer is not None and quantizer.spec.range.kind == "calibrated":
                    quantizer.observe(parameter_at(module, path))
            if stored is not None:
                self.stored[_key(path)] = stored
            if gradient is not None:
                self.gradients[_key(path)] = gradient
            if weight is not None:
                owner, attribute = owner_of(module, path)
                self.orders[path] = list(owner._parameters)
                parametrize.register_parametrization(owner, attribute, weight, unsafe=True)
        self.round_stored(module)
        self.watch_gradients(module)
        if self.activation is not None or len(self.gradients) or len(self.stored):
            self.hooks.append(module.register_forward_pre_hook(_before_forward, with_kwargs=True))
        if self.recipe.product is not None and layer.kind.inputs:
            module.forward = MethodType(_forward, module)
        elif self.activation_gradient is not None:
            self.hooks.append(module.register_forward_hook(_after_forward))

    def detach(self, module: nn.Module) -> None:
        """Take everything off. The parameters are the objects that they were, with their present values."""
        for hook in self.hooks:
            hook.remove()
        module.__dict__.pop("forward", None)
        for path in reversed(self.paths):
            parameter = parameter_at(module, path)
            if hasattr(parameter, _GRADIENT_HOOK):
                getattr(parameter, _GRADIENT_HOOK).remove()
                delattr(parameter, _GRADIENT_HOOK)
            if path in self.orders:
                owner, attribute = owner_of(module, path)
                _remove_parametrization(owner, attribute)
                first = {name: owner._parameters[name] for name in self.orders[path]}
                owner._parameters = first | owner._parameters
        delattr(module, CHILD)

    def entries(self, module: nn.Module) -> Iterator[Entry]:
        """Role, path of the parameter (empty for inputs and outputs) and quantiser of everything that is attached."""
        for role in ("activation", "activation_gradient"):
            if (quantizer := getattr(self, role)) is not None:
                yield role, "", quantizer
        for path in self.paths:
            if path in self.orders:
                owner, attribute = owner_of(module, path)
                yield "weight", path, owner.parametrizations[attribute][0]  # type: ignore[index,misc]
            if _key(path) in self.stored:
                yield "update" if "update" in self.specs else "weight", path, self._stored(path)
            if _key(path) in self.gradients:
                yield "weight_gradient", path, self._gradient(path)

    def product(self, module: nn.Module) -> LayerProduct:
        """How the layer multiplies. Only where the recipe has a product."""
        product = self.recipe.product
        assert product is not None
        assert self.activation is not None
        if "weight" in self.orders:
            weight = module.parametrizations["weight"][0]  # type: ignore[index]
            assert isinstance(weight, TensorQuantizer)
        else:
            weight = self._stored("weight")
            weight.used_scale = weight.scale(parameter_at(module, "weight"))
        arithmetic = product.arithmetic(self.recipe.product_format(self.specs))
        gradient = self.activation_gradient
        return LayerProduct(arithmetic, geometry_of(module), self.activation, weight, gradient, product.backward)

    def _stored(self, path: str) -> TensorQuantizer:
        quantizer = self.stored[_key(path)]
        assert isinstance(quantizer, TensorQuantizer)
        return quantizer

    def _gradient(self, path: str) -> TensorQuantizer:
        quantizer = self.gradients[_key(path)]
        assert isinstance(quantizer, TensorQuantizer)
        return quantizer

    def stored_parameters(self, module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights that are kept on a grid, with their paths."""
        for path in self.paths:
            if _key(path) in self.stored:
                yield path, parameter_at(module, path)

    @torch.no_grad()
    def round_stored(self, module: nn.Module, only: set[int] | None = None) -> None:
        """Q_U: round the stored weights to their grid; ``only`` those whose id is in the set."""
        for path, parameter in self.stored_parameters(module):
            if only is None or id(parameter) in only:
                parameter.copy_(self._stored(path).rounded(parameter))
                self.versions[path] = _version(parameter)

    def require_on_grid(self, module: nn.Module) -> None:
        """Raise SpecificationError where a stored weight was changed to a number off its grid."""
        for path, parameter in self.stored_parameters(module):
            if _version(parameter) == self.versions.get(path):
                continue
            if not self._stored(path).holds(parameter):
                raise SpecificationError(
                    f"{self.title}.{path}: was changed to numbers off its grid ({self._stored(path).spec.format}); "
                    "call attach(optimizer) of what quantize returned, once, before training"
                )
            self.versions[path] = _version(parameter)

    def watch_gradients(self, module: nn.Module) -> None:
        """Round the gradients of the weights; a parameter that is new (a deep copy) gets its hook here."""
        for path in self.paths:
            if _key(path) in self.gradients:
                parameter = parameter_at(module, path)
                if parameter.requires_grad and not hasattr(parameter, _GRADIENT_HOOK):
                    hook = parameter.register_hook(partial(self._round_gradient, path))
                    setattr(parameter, _GRADIENT_HOOK, hook)

    def _round_gradient(self, path: str, gradient: torch.Tensor) -> torch.Tensor:
        quantizer = self._gradient(path)
        rounded = quantizer.rounded(gradient)
        if quantizer.spec.range.rescale == "update":
            scale = self._stored(path).scale(gradient)  # of a range that stays: the same as the weight's
            return rounded if scale is None else rounded * scale
        return rounded


def _before_forward(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    quantizers = quantizers_of(module)
    if torch.is_grad_enabled():
        quantizers.watch_gradients(module)
        if module.training:
            quantizers.require_on_grid(module)
    if quantizers.activation is None:
        return None
    return with_inputs(quantizers.layer_kind, args, kwargs, quantizers.activation)


def _forward(module: nn.Module, input: torch.Tensor) -> torch.Tensor:
    """In place of the module's own, where products are integers. The input has been rounded."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, torch.Tensor)
    assert bias is None or isinstance(bias, torch.Tensor)
    return quantizers_of(module).product(module)(input, weight, bias)


def _after_forward(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    quantizer = quantizers_of(module).activation_gradient
    assert quantizer is not None
    if isinstance(output, tuple):
        return quantizer.on_gradient(output[0]), *output[1:]
    return quantizer.on_gradient(output)


def quantizers_of(module: nn.Module) -> LayerQuantizers:
    """The quantisers of a quantised layer."""
    quantizers = getattr(module, CHILD)
    assert isinstance(quantizers, LayerQuantizers)
    return quantizers


def is_quantized(module: nn.Module) -> bool:
    return isinstance(getattr(module, CHILD, None), LayerQuantizers)


def _remove_parametrization(owner: nn.Module, attribute: str) -> None:
    """Give ``owner`` its parameter and its class back.

    PyTorch's own ``remove_parametrizations`` also empties the class that it made, which deep copies share.
    """
    parametrizations = owner.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    parameter = parametrizations[attribute].original
    assert isinstance(parameter, nn.Parameter)
    if len(parametrizations) > 1:
        del parametrizations[attribute]
    else:
        del owner.parametrizations
        owner.__class__ = type(owner).__bases__[0]
    owner._parameters[attribute] = parameter


def _version(parameter: nn.Parameter) -> tuple[int, int]:
    """Changes whenever the parameter's numbers may have."""
    return id(parameter), parameter._version


def _key(path: str) -> str:
    return path.replace(".", "-")  # names of modules have no dots


def parameter_at(module: nn.Module, path: str) -> nn.Parameter:
    """The parameter itself, below a parametrisation if there is one."""
    owner, attribute = owner_of(module, path)
    if parametrize.is_parametrized(owner, attribute):
        parameter = owner.parametrizations[attribute].original  # type: ignore[index,union-attr]
    else:
        parameter = getattr(owner, attribute)
    assert isinstance(parameter, nn.Parameter)
    return parameter
