"""A study as one self-contained HTML page, and its plots as files of their own."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from slipstick.hardware_study.figures import study_plots, unit_colours
from slipstick.hardware_study.results import (
    INERTIAL,
    ZERO_DELAY,
    Check,
    NetworkCost,
    StudyResult,
    UnitResult,
)
from slipstick.hardware_study.tables import GIGA, mean_energy, roles
from slipstick.hardware_study.text import operands_text, ratio_text
from slipstick.report.template import pictures, render, write_output
from slipstick.report.text import amount_text, seconds_text
from slipstick.train.atomic_files import write_text

Cell = tuple[str, str]
"""A number, and its ratio to the baseline's."""


def write_page(result: StudyResult, path: Path) -> Path:
    """Write the page to ``path``, which belongs in the study's folder: links are relative. Returns its absolute path.

    Raises SpecificationError where it cannot be written.
    """
    return write_output(path, render_page(result))


def write_plots(result: StudyResult, folder: Path) -> list[Path]:
    """Every plot as an SVG file of ``folder``, which is made where it is not there. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, plot in study_plots(result).items():
        written.append(folder / f"{name}.svg")
        write_text(written[-1], plot.svg)
    return written


def render_page(result: StudyResult) -> str:
    """The page; links are relative to the study's folder."""
    colours = unit_colours(result)
    units = [_unit(unit, result.against, colour) for unit, colour in zip(result.units, colours, strict=True)]
    thriftiest = sorted(zip(result.units, units, strict=True), key=lambda pair: pair[0].least_energy_fj(INERTIAL))
    return render(
        "slipstick.hardware_study",
        "page.html.jinja",
        name=result.name,
        baseline=result.baseline,
        clock=f"{result.clock_ns:g}",
        facts=_facts(result),
        energy_over=", ".join(map(operands_text, roles(result))),
        failed=[(unit.label, check) for unit in result.units for check in unit.checks if check.failed],
        units=units,
        adders=[told for unit, told in thriftiest if unit.errors_lsb],
        networks=[_network(name, costs, result.baseline_of(costs)) for name, costs in result.by_network().items()],
        colours={unit.label: colour for unit, colour in zip(result.units, colours, strict=True)},
        figures=pictures(list(study_plots(result).values())),
    )


def _facts(result: StudyResult) -> list[tuple[str, str]]:
    recorded = ", ".join(map(operands_text, roles(result)))
    return [
        ("cell library", result.library),
        ("clock", f"{result.clock_ns:g} ns"),
        ("baseline", result.baseline),
        ("operands", f"recorded in a training: {recorded}" if recorded else "independent normal numbers"),
        ("circuits synthesised", str(sum(len(unit.points) for unit in result.units))),
    ]


def _unit(unit: UnitResult, base: UnitResult, colour: str) -> dict[str, Any]:
    """What the page tells of a unit."""
    return {
        "label": unit.label,
        "title": unit.title if unit.title != unit.label else "",
        "colour": colour,
        "bits": f"{unit.operand_bits} / {unit.accumulator_bits}",
        "area": _cell(unit.point.area_um2, base.point.area_um2),
        "period": f"{unit.point.period_ns:.2f}",
        "in_time": unit.in_time,
        "inertial": _cell(mean_energy(unit, INERTIAL), mean_energy(base, INERTIAL)),
        "zero_delay": _cell(mean_energy(unit, ZERO_DELAY), mean_energy(base, ZERO_DELAY)),
        "cells": f"{unit.cells:,}",
        "passed": f"{sum(check.held for check in unit.checks)} of {len(unit.checks)}",
        "undecided": sum(check.undecided for check in unit.checks),
        "failed": sum(check.failed for check in unit.checks),
        "least": {
            "area": _cell(unit.least_area_um2, base.least_area_um2),
            "inertial": _cell(unit.least_energy_fj(INERTIAL), base.least_energy_fj(INERTIAL)),
            "zero_delay": _cell(unit.least_energy_fj(ZERO_DELAY), base.least_energy_fj(ZERO_DELAY)),
        },
        "errors": {name: f"{value:.3f}" for name, value in unit.errors_lsb.items()},
        "best": _best(unit),
        "checks": [_check(check) for check in unit.checks],
        "files": [(name, quote(path)) for name, path in unit.files.items()],
        "flow": seconds_text(unit.flow_s),
        "registers": f"{100 * unit.register_area_um2 / unit.point.area_um2:.0f}",
    }


def _cell(value: float, base: float) -> Cell:
    return amount_text(value), ratio_text(value, base)


def _best(unit: UnitResult) -> list[dict[str, str]]:
    """The circuits that win by a criterion, one row for each circuit."""
    criteria = {"chosen": unit.chosen, "smallest": unit.smallest, "thriftiest": unit.thriftiest}
    rows = []
    for place in dict.fromkeys(criteria.values()):
        point = unit.points[place]
        rows.append(
            {
                "criteria": ", ".join(name for name, its in criteria.items() if its == place),
                "circuit": point.circuit,
                "mapping": point.mapping,
                "area": amount_text(point.area_um2),
                "period": f"{point.period_ns:.2f}",
                "energy": amount_text(None if point.energy_fj is None else point.energy_fj[INERTIAL]),
            }
        )
    return rows


def _check(check: Check) -> dict[str, Any]:
    return {
        "what": check.what,
        "outcome": check.outcome,
        "failed": check.failed,
        "told": check.told if check.failed else "",
        "vectors": f"{check.vectors:,}" if check.vectors else "all inputs" if check.outcome == "proved" else "",
        "seconds": seconds_text(check.seconds),
    }


def _network(name: str, costs: list[NetworkCost], base: NetworkCost) -> dict[str, Any]:
    return {
        "name": name,
        "batch": base.batch,
        "products": amount_text(base.products / GIGA),
        "rows": [_network_row(cost, base) for cost in costs],
    }


def _network_row(cost: NetworkCost, base: NetworkCost) -> dict[str, Any]:
    return {
        "unit": cost.unit,
        "inertial": _cell(cost.energy_mj[INERTIAL], base.energy_mj[INERTIAL]),
        "zero_delay": _cell(cost.energy_mj[ZERO_DELAY], base.energy_mj[ZERO_DELAY]),
        "area_time": _cell(cost.area_time_mm2_s, base.area_time_mm2_s),
        "traffic": _cell(cost.bits / GIGA, base.bits / GIGA),
    }
