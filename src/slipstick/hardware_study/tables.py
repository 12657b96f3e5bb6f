"""A study's results as text."""

from collections.abc import Sequence

from slipstick.hardware_study.recording import NORMAL, recorded
from slipstick.hardware_study.results import INERTIAL, ZERO_DELAY, NetworkCost, StudyResult, UnitResult
from slipstick.text_table import aligned

GIGA = 1e9


def units_table(result: StudyResult) -> str:
    """Units beside the baseline: each at its least area, at its least energy with and without glitches, and the one
    circuit that stands for it; checks."""
    base = result.against
    rows: list[Sequence[str]] = [
        (
            "unit",
            "bits",
            "least um2",
            "",
            "least fJ",
            "",
            "no glitches",
            "",
            "one circuit",
            "um2",
            "ns",
            "fJ",
            "checks",
        ),
    ]
    for unit in result.units:
        rows.append(
            (
                unit.label,
                f"{unit.operand_bits} + {unit.accumulator_bits}",
                *_cells(unit.least_area_um2, base.least_area_um2),
                *_cells(unit.least_energy_fj(INERTIAL), base.least_energy_fj(INERTIAL)),
                *_cells(unit.least_energy_fj(ZERO_DELAY), base.least_energy_fj(ZERO_DELAY)),
                "",
                f"{unit.point.area_um2:.0f}",
                f"{unit.point.period_ns:.2f}" + ("" if unit.in_time else " late"),
                f"{mean_energy(unit, INERTIAL):.0f}",
                checks_text(unit),
            )
        )
    told = ", ".join(roles(result)) or "normal operands"
    title = (
        f"{result.library}, clock {result.clock_ns:g} ns; ratios against {result.baseline}; energy of a product, mean "
        f"over {told}; one circuit: the least area times energy"
    )
    return "\n".join([title, *aligned(rows)])


def errors_table(result: StudyResult) -> str:
    """Logarithmic units, the thriftiest first, with the errors of their adders; nothing where there are none."""
    logs = sorted((unit for unit in result.units if unit.errors_lsb), key=lambda u: u.least_energy_fj(INERTIAL))
    if not logs:
        return ""
    rows: list[Sequence[str]] = [("unit", "least fJ", "no glitches", "least um2", *(logs[0].errors_lsb))]
    for unit in logs:
        costs = (unit.least_energy_fj(INERTIAL), unit.least_energy_fj(ZERO_DELAY), unit.least_area_um2)
        errors = (f"{value:.3f}" for value in unit.errors_lsb.values())
        rows.append((unit.label, *(f"{cost:.0f}" for cost in costs), *errors))
    title = "adders by the energy of their units; errors in LSB of the accumulator's format"
    return "\n".join([title, *aligned(rows)])


def networks_table(result: StudyResult) -> str:
    """Training steps, every unit beside the baseline."""
    lines: list[str] = []
    for name, costs in result.by_network().items():
        base = result.baseline_of(costs)
        rows: list[Sequence[str]] = [("unit", "energy mJ", "", "zero delay", "", "area-time mm2 s", "", "traffic Gbit")]
        rows += [_network_row(cost, base) for cost in costs]
        title = f"{name}: a training step of {base.batch}, {base.products / GIGA:.4g} G products"
        lines += ["", title, *aligned(rows)]
    return "\n".join(lines[1:])


def roles(result: StudyResult) -> list[str]:
    """Recorded operands, by name."""
    return [name for name in result.operands if name != NORMAL]


def mean_energy(unit: UnitResult, glitches: str) -> float:
    """fJ of a product of the chosen circuit: mean over the recorded roles, or of normal operands without any."""
    found = [energy[glitches] for energy in recorded(unit.energy_fj)]
    return sum(found) / len(found)


def _cells(value: float, base: float) -> tuple[str, str]:
    return f"{value:.0f}", ratio(value, base)


def ratio(value: float, base: float) -> str:
    return f"({value / base:.3f})" if base else ""


def checks_text(unit: UnitResult) -> str:
    """How many held; those that did not, or came to no end, by name."""
    failed = [check.what for check in unit.checks if check.failed]
    if failed:
        return f"FAILED: {failed[0]}"
    undecided = sum(check.undecided for check in unit.checks)
    return f"{sum(check.held for check in unit.checks)} hold" + (f", {undecided} undecided" if undecided else "")


def _network_row(cost: NetworkCost, base: NetworkCost) -> tuple[str, ...]:
    return (
        cost.unit,
        f"{cost.energy_mj[INERTIAL]:.4g}",
        ratio(cost.energy_mj[INERTIAL], base.energy_mj[INERTIAL]),
        f"{cost.energy_mj[ZERO_DELAY]:.4g}",
        ratio(cost.energy_mj[ZERO_DELAY], base.energy_mj[ZERO_DELAY]),
        f"{cost.area_time_mm2_s:.4g}",
        ratio(cost.area_time_mm2_s, base.area_time_mm2_s),
        f"{cost.bits / GIGA:.3g}",
    )
