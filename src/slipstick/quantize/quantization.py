"""Attaching a recipe to a model, and what one then holds: the quantisation."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.quantize.arithmetic_guard import refuse_inside_arithmetic
from slipstick.quantize.layer_products import geometry_of
from slipstick.quantize.layer_quantizers import CHILD, LayerQuantizers, is_quantized, quantizers_of
from slipstick.quantize.layers import Layer, find_layers, owner_of
from slipstick.quantize.roles import ROLES, Role
from slipstick.quantize.rounding_generator import RoundingGenerator
from slipstick.quantize.shipped import recipe as shipped_recipe
from slipstick.quantize.specification import QuantizerSpec, Recipe
from slipstick.quantize.table import table


@runtime_checkable
class MultiplicativeOptimizer(Protocol):
    """An optimiser whose steps are a fraction of an octave, so that a base factor can be too coarse for them."""

    def check_lattice(self, format: MultiBaseLNS) -> None: ...


class Quantization:
    """A quantised model seen as one: its table, its random numbers, the rounding of its updates.

    It keeps nothing that the model does not: ``Quantization(copy.deepcopy(model))`` belongs to the copy.
    """

    def __init__(self, model: nn.Module) -> None:
        """Raises SpecificationError where ``model`` is not quantised."""
        self.model = model
        if not any(True for _ in self.layers()):
            raise SpecificationError(f"{type(model).__name__}: is not quantised; call ss.quantize(model, recipe)")
        first = quantizers_of(next(self.layers())[1])
        self.recipe: Recipe = first.recipe
        self._generator: RoundingGenerator = first.generator

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """The quantised layers with their qualified names."""
        return ((name, module) for name, module in self.model.named_modules() if is_quantized(module))

    def __str__(self) -> str:
        return table(self.model)

    def attach(self, optimizer: torch.optim.Optimizer) -> RemovableHandle:
        """Round the stored weights after every step of ``optimizer``; returns a handle with ``remove()``.

        Does nothing where the recipe keeps a master copy. Without it the next training step of a model that keeps
        none raises SpecificationError. Warns where Madam's learning rate is too small for the update format.
        """
        mine = {id(p) for _, module in self.layers() for _, p in quantizers_of(module).stored_parameters(module)}
        if mine and not mine & _parameters(optimizer):
            raise SpecificationError(f"attach({type(optimizer).__name__}): holds none of the model's quantised weights")
        if mine and isinstance(optimizer, MultiplicativeOptimizer):
            for format in self._stored_formats():
                if isinstance(format, MultiBaseLNS):
                    optimizer.check_lattice(format)
        return optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        moved = _parameters(optimizer)
        for _, module in self.layers():
            quantizers_of(module).round_stored(module, moved)

    def _stored_formats(self) -> set[Any]:
        quantizers = (quantizers_of(module) for _, module in self.layers())
        return {q.spec.format for each in quantizers for q in each.stored.values()}  # type: ignore[union-attr]

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Any], run: Callable[[Any], Any] | None = None) -> None:
        """Fix the calibrated ranges of activations on ``batches``: each is given to ``run``, by default the model.

        The model runs in evaluation mode; activations are not rounded meanwhile, weights are.
        """
        chosen = [
            q
            for _, module in self.layers()
            if (q := quantizers_of(module).activation) is not None and q.spec.range.kind == "calibrated"
        ]
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        for quantizer in chosen:
            quantizer.maximum.zero_()
            quantizer.observes = True
        try:
            for batch in batches:
                (run or self.model)(batch)
        finally:
            for quantizer in chosen:
                quantizer.observes = False
            for module, mode in modes.items():
                module.training = mode

    def state_dict(self) -> dict[str, Any]:
        """What the model's own ``state_dict`` lacks: where the random numbers of stochastic rounding are."""
        return {"generator": self._generator.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the random numbers of ``state_dict``."""
        self._generator.load_state_dict(state["generator"])


def quantize(model: nn.Module, recipe: Recipe | str, *, calibration: Iterable[Any] | None = None) -> Quantization:
    """Attach ``recipe``, or the shipped recipe of that name, to ``model`` in place.

    Linear, convolution, transposed convolution, embedding, bilinear and attention layers take part; other modules stay
    in float32. Weights are parametrised (or kept on their grid, where the recipe has no master copy), activations are
    a layer's inputs, activation gradients those of its output. Everything is straight-through for autograd.

    The parameters stay the objects they are, so an optimiser may exist already; load float32 weights beforehand.
    calibration: batches for ranges of kind "calibrated".
    Raises SpecificationError for a role without a place, a pattern without a layer, or a model quantised already.
    """
    refuse_inside_arithmetic("quantize")
    recipe = shipped_recipe(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(recipe, Recipe):
        raise SpecificationError(f"quantize(recipe={recipe!r}): must be a Recipe or the name of one")
    plan = _plan(model, recipe)
    generator = RoundingGenerator(recipe.seed)
    for layer, specs in plan:
        LayerQuantizers(layer, recipe, specs, generator).attach(layer)
    quantization = Quantization(model)
    if calibration is not None:
        quantization.calibrate(calibration)
    return quantization


def dequantize(model: nn.Module) -> nn.Module:
    """Take a recipe off: modules, parameters and their order are as before; returns ``model``.

    Values are the present ones; where the recipe kept no master copy they stay on their grid.
    """
    for _, module in list(Quantization(model).layers()):
        quantizers_of(module).detach(module)
    return model


def quantization_table(model: nn.Module) -> str:
    """What is attached where, as text; one line for each tensor, and the modules left alone."""
    return str(Quantization(model))


def _plan(model: nn.Module, recipe: Recipe) -> list[tuple[Layer, dict[Role, QuantizerSpec]]]:
    """Which layer gets which roles. Checks everything before anything is changed."""
    layers, _ = find_layers(model)
    names = ", ".join(layer.title for layer in layers) or "none"
    for rule in recipe.layers:
        if not any(rule.matches(layer.name, i, len(layers)) for i, layer in enumerate(layers)):
            raise SpecificationError(
                f"recipe {recipe.name!r}: layers: match = {rule.match!r} matches no layer; there are: {names}"
            )
    plan = [(layer, recipe.for_layer(layer.name, i, len(layers))) for i, layer in enumerate(layers)]
    plan = [(layer, _with_a_place(layer, specs)) for layer, specs in plan]
    for role in ROLES:
        if recipe.names(role) and not any(role in specs for _, specs in plan):
            raise SpecificationError(
                f"recipe {recipe.name!r}: {role} finds no place in {type(model).__name__}; its layers: {names}"
            )
    for layer, specs in plan:
        if specs:
            _require_free(layer, specs)
            _require_products(layer, specs, recipe)
            _require_a_range(layer, specs, recipe)
    return [(layer, specs) for layer, specs in plan if specs]


def _with_a_place(layer: Layer, specs: dict[Role, QuantizerSpec]) -> dict[Role, QuantizerSpec]:
    return {role: spec for role, spec in specs.items() if role != "activation" or layer.kind.inputs}


def _require_free(layer: Layer, specs: Mapping[Role, QuantizerSpec]) -> None:
    if is_quantized(layer.module):
        raise SpecificationError(f"{layer.title}: is quantised already; call ss.dequantize(model) first")
    if hasattr(layer.module, CHILD):
        raise SpecificationError(f"{layer.title}: has an attribute {CHILD!r} of its own; rename it")
    if getattr(layer.module, "sparse", False) and "weight_gradient" in specs:
        raise SpecificationError(f"{layer.title}: sparse gradients are not rounded; build it with sparse=False")
    gradient = specs.get("weight_gradient")
    if gradient is not None and gradient.range.rescale == "update" and not specs.keys() & {"weight", "update"}:
        raise SpecificationError(
            f"{layer.title}: weight_gradient has rescale = 'update' and no stored format to follow"
        )
    for path in (*layer.kind.weights, *layer.kind.biases):
        owner, attribute = owner_of(layer.module, path)
        if parametrize.is_parametrized(owner, attribute):
            raise SpecificationError(f"{layer.title}.{path}: is parametrised already; remove that first")
        if isinstance(getattr(owner, attribute, None), nn.parameter.UninitializedParameter):
            raise SpecificationError(f"{layer.title}.{path}: has no shape yet; run the model once before quantize")


def _require_products(layer: Layer, specs: Mapping[Role, QuantizerSpec], recipe: Recipe) -> None:
    if recipe.product is None or not layer.kind.inputs:  # an embedding multiplies nothing
        return
    try:
        geometry_of(layer.module)
        recipe.product.arithmetic(recipe.product_format(specs))
    except SpecificationError as error:
        raise SpecificationError(f"{layer.title}: {error}") from None


def _require_a_range(layer: Layer, specs: Mapping[Role, QuantizerSpec], recipe: Recipe) -> None:
    calibrated = [role for role in ("weight", "update") if role in specs and specs[role].range.kind == "calibrated"]
    for path in layer.parameters(recipe.biases == "as_weights") if calibrated else ():
        owner, attribute = owner_of(layer.module, path)
        if not bool(getattr(owner, attribute).any()):
            raise SpecificationError(
                f"{layer.title}.{path}: is all zero, which says nothing of the range of {calibrated[0]}; "
                "initialise it, or give the role a range of kind 'fixed'"
            )


def _parameters(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
