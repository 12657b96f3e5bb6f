"""The table of what a recipe attached where."""

from collections.abc import Sequence

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from slipstick.quantize.layer_quantizers import is_quantized, quantizers_of
from slipstick.quantize.layers import find_layers
from slipstick.text_table import aligned

_COLUMNS = ("layer", "role", "tensor", "format", "rounding", "range")
_TENSORS = {"activation": "input", "activation_gradient": "output"}


def table(model: nn.Module) -> str:
    """One line for each quantised tensor of ``model``, in the order of its layers, then what is left in float32."""
    rows: list[Sequence[str]] = [_COLUMNS]
    recipe = None
    for name, module in model.named_modules():
        if not is_quantized(module):
            continue
        quantizers = quantizers_of(module)
        recipe = quantizers.recipe
        for role, path, quantizer in quantizers.entries(module):
            spec = quantizer.spec
            tensor = path or _TENSORS[role]
            if role == "weight" and not recipe.keeps_master and "update" not in quantizers.specs:
                tensor += " (stored)"
            format = str(spec.format) if spec.format is not None else "none"
            rows.append((name or "(model)", role, tensor, format, spec.rounding, str(spec.range)))
    lines = aligned(rows)
    if recipe is not None:
        copy = "full-precision master copy" if recipe.keeps_master else "no master copy"
        lines.insert(0, f"recipe {recipe.name}: {copy}, biases in {recipe.biases.replace('_', ' ')}")
        if recipe.product is not None:
            lines.insert(1, f"products as integers: {recipe.product}")
    if left := _left_alone(model):
        lines.append("in float32: " + ", ".join(left))
    return "\n".join(lines)


def _left_alone(model: nn.Module) -> list[str]:
    layers, others = find_layers(model)
    alone = [(layer.name, layer.module) for layer in layers if not is_quantized(layer.module)]
    alone += [(name, module) for name, module in others if not isinstance(module, ParametrizationList)]
    return [f"{name or '(model)'} ({type(module).__name__})" for name, module in alone]
