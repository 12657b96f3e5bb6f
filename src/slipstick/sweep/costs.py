"""What a point of the space costs, from its experiment alone: no training is needed.

full_adders   1-bit full adders of a training step, of one sample (``precision.cost``, computational). Of
              logarithms only products are counted, so it does not tell adders apart; area and energy do.
bits          held in a training step, of one sample: weights, activations and gradients (``precision.cost``,
              representational)
area          of the multiply-accumulate unit, um2
energy        of all products of a training step, of one sample, nJ, on normal numbers, glitches included
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from slipstick.arithmetic.parsing import Arithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import LNS, MiniFloat
from slipstick.formats.log_quantiser import LogQuantiser
from slipstick.formats.quantiser import Quantiser
from slipstick.precision.cost import FLOAT32, Design, LayerWidths, Width, cost, fixed_point, float32
from slipstick.precision.layer_sizes import NetworkSizes, network_sizes
from slipstick.quantize import QuantizerSpec, Recipe, Role
from slipstick.quantize.layers import find_layers
from slipstick.sweep.config import MEASURED, SYNTHESISED, HardwareChoice, Study
from slipstick.train import Data, Experiment
from slipstick.train.config import resolve_arithmetic
from slipstick.train.models import build_model

if TYPE_CHECKING:
    from slipstick.hardware.candidates import Candidate

_FEMTO_TO_NANO = 1e-6


def costs(study: Study, experiment: Experiment, data: Data) -> dict[str, float]:
    """The study's objectives that are costs, by name.

    Raises SpecificationError for an experiment whose cost is not defined, and as ``hardware`` does.
    """
    wanted = [name for name in study.objectives if name not in MEASURED]
    if not wanted:
        return {}
    with torch.device("meta"):
        model = build_model(experiment.model, data.shape, data.classes)
        kind = torch.int64 if experiment.reads_text else torch.float32
        sizes = network_sizes(model, torch.zeros(1, *data.shape, dtype=kind))
    counted = cost(sizes, design_of(experiment, model))
    found = {"bits": float(counted.representational)}
    if "full_adders" in wanted:
        require_full_adders(experiment)
        found["full_adders"] = float(counted.computational)
    if any(name in SYNTHESISED for name in wanted):
        found |= synthesised_costs(study.hardware, experiment, sizes)
    return {name: found[name] for name in wanted}


def require_full_adders(experiment: Experiment) -> None:
    """Raises SpecificationError where a format's products are not a number of full adders."""
    recipe = experiment.recipe
    formats = [] if recipe is None else _operand_formats(recipe)
    narrow = next((format for format in formats if isinstance(format, MiniFloat)), None)
    if narrow is not None:
        raise SpecificationError(f"full_adders: not defined for {narrow}; take the objective bits")


def synthesised_unit(experiment: Experiment, hardware: HardwareChoice) -> "Candidate":
    """The unit whose area and energy are asked for.

    Raises SpecificationError where there is none, or packages are missing, and MissingTool as the library does.
    """
    try:
        from slipstick.hardware.liberty import load_library
        from slipstick.hardware.tools import yosys_version
        from slipstick.sweep.units import unit_of

        yosys_version()
        load_library(hardware.library)
    except ModuleNotFoundError as error:
        if (error.name or "slipstick").split(".")[0] == "slipstick":
            raise
        raise SpecificationError(
            f"objectives energy and area need the package {error.name!r}; pip install 'slipstick[hardware]'"
        ) from None
    return unit_of(experiment)


def synthesised_costs(hardware: HardwareChoice, experiment: Experiment, sizes: NetworkSizes) -> dict[str, float]:
    """Area and energy by synthesis."""
    from slipstick.sweep.units import unit_costs

    area_um2, energy_fj = unit_costs(synthesised_unit(experiment, hardware), hardware)
    return {"area": area_um2, "energy": products(sizes) * energy_fj * _FEMTO_TO_NANO}


def products(sizes: NetworkSizes) -> int:
    """Multiply-accumulates of a training step of one sample: forward, both gradients, none of the first input."""
    return sum(3 * layer.macs for layer in sizes.layers) - sizes.layers[0].macs


def design_of(experiment: Experiment, model: nn.Module) -> Design:
    """The widths of all tensors of a training."""
    assignment, recipe = experiment.assignment, experiment.recipe
    if assignment is not None:
        return fixed_point(assignment)
    layers = find_layers(model)[0]
    if recipe is not None:
        roles = {x.name: recipe.for_layer(x.name, i, len(layers)) for i, x in enumerate(layers)}
        widths = {
            name: _of_roles({role: spec.format for role, spec in specs.items()}, recipe.keeps_master)
            for name, specs in roles.items()
        }
        return Design(recipe.name, layers=widths)
    compute = resolve_arithmetic(experiment.arithmetic)
    if compute is None:
        return float32()
    update = compute if experiment.update is None else resolve_arithmetic(experiment.update)
    assert update is not None, "the experiment was validated"
    others = {name: resolve_arithmetic(text) for name, text in (experiment.override or {}).items()}
    named: dict[str, LayerWidths] = {}
    for layer in layers:
        inside = [name for name in others if layer.name == name or layer.name.startswith(f"{name}.")]
        named[layer.name] = _of_arithmetic(others[max(inside, key=len)] if inside else compute, update)
    return Design(str(compute), layers=named)


def _of_arithmetic(compute: Arithmetic | None, update: Arithmetic) -> LayerWidths:
    """Weights are held in ``update``, whose further bits count as those of the accumulator."""
    assert compute is not None, "an override is logarithmic"
    width = _width(compute.format)
    return LayerWidths(width, width, width, width, Width(max(0, update.format.width - width.bits)))


def _of_roles(formats: Mapping[Role, Quantiser | None], keeps_master: bool) -> LayerWidths:
    def width(role: Role) -> Width:
        format = formats.get(role)
        return FLOAT32 if format is None else _width(format)

    weight = width("weight")
    more = FLOAT32 if keeps_master else Width(max(0, width("update").bits - weight.bits if "update" in formats else 0))
    return LayerWidths(weight, width("activation"), width("weight_gradient"), width("activation_gradient"), more)


def _width(format: Quantiser | LNS) -> Width:
    """Of logarithms, I and F of which the sum of two has one bit more than both, as ``precision.cost`` counts."""
    if isinstance(format, LNS):
        return Width(format.width, log=(format.int_bits, format.frac_bits))
    if isinstance(format, LogQuantiser):
        return Width(format.width, log=(format.width - 2, 0))
    return Width(format.width)


def _operand_formats(recipe: Recipe) -> list[Quantiser]:
    """Of what is multiplied, in any layer."""
    roles = ("weight", "activation", "activation_gradient")
    specs = [getattr(each, role) for each in (recipe, *recipe.layers) for role in roles]
    return [spec.format for spec in specs if isinstance(spec, QuantizerSpec) and spec.format is not None]
