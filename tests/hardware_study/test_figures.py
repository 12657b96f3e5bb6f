"""Plots of a study: one colour a unit, nothing left out, the same study the same picture."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("matplotlib")

from study_results import LABELS, study

from slipstick.hardware.exploration import front
from slipstick.hardware_study.figures import (
    area_and_period,
    energy_by_operands,
    energy_parts,
    study_plots,
    training_energy,
    unit_colours,
)
from slipstick.hardware_study.results import PointResult, StudyResult
from slipstick.report.svg import REFERENCE

CASES = {
    "one unit": study(1),
    "one unit, no training": study(1, recorded=False, networks=0),
    "two": study(2, networks=1),
    "twelve": study(12),
    "far apart": study(4, sizes=(1, 40, 0.3, 0.04)),
}


def height(svg: str) -> float:
    found = re.search(r'height="([\d.]+)pt"', svg)
    assert found
    return float(found[1])


@pytest.mark.parametrize("result", CASES.values(), ids=CASES.keys())
def test_every_plot_is_well_formed_and_tells_its_units(result: StudyResult) -> None:
    plots = study_plots(result)
    assert list(plots) == ["area-period", "energy", "energy-parts", *["training-energy"] * bool(result.networks)]
    for plot in plots.values():
        root = ET.fromstring(plot.svg)
        assert root.tag.endswith("svg")
        assert "<image" not in plot.svg
        assert plot.title
        assert all(unit.label in plot.description for unit in result.units)


def test_the_same_study_gives_the_same_plots() -> None:
    assert study_plots(study(3)) == study_plots(study(3))


def test_twelve_units_have_twelve_colours_and_the_baseline_is_the_reference() -> None:
    result = replace(study(12), baseline=LABELS[4])
    colours = unit_colours(result)
    assert len(set(colours)) == 12
    assert colours[4] == REFERENCE
    assert colours[:4] == unit_colours(study(5))[1:]


def test_each_unit_is_drawn_in_its_colour_everywhere() -> None:
    result = study(5)
    for plot in (area_and_period(result), energy_by_operands(result), training_energy(result)):
        assert all(colour in plot.svg for colour in unit_colours(result)), plot.title


def test_bars_grow_with_what_they_show() -> None:
    assert height(energy_by_operands(study(12)).svg) > 5 * height(energy_by_operands(study(1)).svg)
    assert height(training_energy(study(4, networks=3)).svg) > height(training_energy(study(4, networks=1)).svg)
    assert height(energy_parts(study(12)).svg) > height(energy_parts(study(2)).svg)


def test_the_front_has_exactly_the_points_that_no_other_beats() -> None:
    points = [
        PointResult("mac", "m", area, period) for area, period in ((9, 1.0), (5, 2.0), (6, 2.0), (5, 3.0), (4, 3.5))
    ]
    assert [(p.area_um2, p.period_ns) for p in reversed(front(points))] == [(9, 1.0), (5, 2.0), (4, 3.5)]
    unit = study(1).units[0]
    ahead = front(unit.points)
    for point in unit.points:
        others = [o for o in unit.points if o != point]
        beaten = any(o.area_um2 <= point.area_um2 and o.period_ns <= point.period_ns for o in others)
        assert (point in ahead) != beaten


def test_a_unit_of_one_circuit_is_a_point() -> None:
    unit = study(1).units[0]
    alone = replace(unit, points=unit.points[:1], chosen=0, smallest=0, thriftiest=0)
    assert ET.fromstring(area_and_period(replace(study(1), units=(alone,))).svg) is not None
