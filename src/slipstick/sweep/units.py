"""The multiply-accumulate unit of an experiment's arithmetic, and what it costs: synthesised once, then kept.

Needs ``slipstick[hardware]``.
"""

import json
from pathlib import Path

import slipstick
from slipstick.arithmetic import LogArithmetic, RoundedArithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import FixedPoint, MultiBaseLNS
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.candidates import (
    Candidate,
    FixedCandidate,
    FloatCandidate,
    LinearAccumulateCandidate,
    LogCandidate,
    clocked_units,
)
from slipstick.hardware.exploration import Sweep as Mappings
from slipstick.hardware.exploration import explore
from slipstick.hardware.float_format import FP32
from slipstick.hardware.models.fixed import FixedMac
from slipstick.hardware.models.floating import FloatMac
from slipstick.hardware.operands import codes, normal
from slipstick.hardware.tools import yosys_version
from slipstick.sweep.config import HardwareChoice
from slipstick.train import Experiment
from slipstick.train.atomic_files import write_json
from slipstick.train.config import resolve_arithmetic

_DOT_LENGTH = 64
_GUARD_BITS = 4
_FEW = Mappings(targets=(0.8, 0.6), adders=("brent-kung", "han-carlson"), covers=("area", "rewritten-area"))


def unit_of(experiment: Experiment) -> Candidate:
    """The unit that multiplies and accumulates what the experiment does.

    LogArithmetic: its own. A recipe with integer products: LinearAccumulate. Linear numbers of b bits, rounded: fixed
    point, accumulators of 2 b + 4 bits that wrap. fp32: floating point, fused.
    Raises SpecificationError where there is no such unit, or several.
    """
    arithmetic, recipe = resolve_arithmetic(experiment.arithmetic), experiment.recipe
    if experiment.override:
        raise SpecificationError("energy and area: override gives layers units of their own; drop it or the objective")
    if isinstance(arithmetic, LogArithmetic):
        return LogCandidate(arithmetic)
    if isinstance(arithmetic, RoundedArithmetic) and isinstance(arithmetic.format, FixedPoint):
        bits = arithmetic.format.width
        return FixedCandidate(FixedMac(bits, bits, 2 * bits + _GUARD_BITS, "wrap"))
    if recipe is not None and recipe.product is not None and recipe.weight is not None:
        format = recipe.weight.format
        if isinstance(format, MultiBaseLNS):
            return LinearAccumulateCandidate(recipe.product.arithmetic(format))
    if arithmetic is None and experiment.is_fp32:
        return FloatCandidate(FloatMac(FP32, FP32, FP32))
    what = arithmetic or (recipe.name if recipe is not None else "fp32")
    raise SpecificationError(f"energy and area: no one unit computes {what}; take full_adders or bits instead")


def unit_costs(candidate: Candidate, hardware: HardwareChoice, cache: Cache | None = None) -> tuple[float, float]:
    """Area in um2 and energy of a product in fJ, of the circuit with the least product of both within the clock.

    Raises SpecificationError where no circuit keeps to the clock, and as the tools do.
    """
    cache = cache or Cache()
    ports = codes(normal(hardware.cycles, _DOT_LENGTH), candidate)
    mappings = Mappings() if hardware.thorough else _FEW
    units = [unit.rtlil() for unit in clocked_units(candidate)]
    values = [array.tobytes() for array in ports.values()]
    key = content_key(slipstick.__version__, yosys_version(), hardware.model_dump_json(), *units, *values)

    def make(folder: Path) -> None:
        found = explore(candidate.title, candidate, ports, hardware.clock_ns, library=hardware.library,
                        sweep=mappings, cache=cache)  # fmt: skip
        if not found.meets_clock:
            raise SpecificationError(
                f"{candidate.title}: no circuit keeps to a clock of {hardware.clock_ns:g} ns; give hardware.clock_ns "
                f"of at least {found.chosen.point.period_ns:.2f}"
            )
        write_json(folder / "cost.json", [found.chosen.point.area_um2, found.chosen.energy_fj("inertial")])

    entry = cache.entry("unit-cost", key, make)
    area_um2, energy_fj = json.loads((entry / "cost.json").read_text(encoding="utf-8"))
    return float(area_um2), float(energy_fj)
