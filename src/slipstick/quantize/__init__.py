"""Training with tensors rounded by role: quantisers at the points where papers place them, float32 in between."""

from slipstick.quantize.product import Product
from slipstick.quantize.quantization import Quantization, dequantize, quantization_table, quantize
from slipstick.quantize.ranges import Range
from slipstick.quantize.roles import ROLES, Role
from slipstick.quantize.shipped import recipe, recipe_from, recipe_names
from slipstick.quantize.specification import LayerRule, QuantizerSpec, Recipe

__all__ = [
    "ROLES",
    "LayerRule",
    "Product",
    "Quantization",
    "QuantizerSpec",
    "Range",
    "Recipe",
    "Role",
    "dequantize",
    "quantization_table",
    "quantize",
    "recipe",
    "recipe_from",
    "recipe_names",
]
