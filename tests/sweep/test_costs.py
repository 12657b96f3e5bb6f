from pathlib import Path

import pytest

from slipstick.errors import SpecificationError
from slipstick.precision.cost import cost, uniform
from slipstick.precision.layer_sizes import LayerSizes, NetworkSizes
from slipstick.sweep.config import HardwareChoice, Study
from slipstick.sweep.costs import costs
from slipstick.train import load_data
from slipstick.train.config import Experiment

SIZES = NetworkSizes(
    (LayerSizes("1", (8, 64), (64,), (8,), 512), LayerSizes("3", (10, 8), (8,), (10,), 80))
)  # of the network below


def of(objectives: list[str], **fields: object) -> dict[str, float]:
    given = {"subset": {"train": 64, "test": 40}, "batch": 16, "model": {"name": "mlp", "hidden": [8]}}
    experiment = Experiment(name="trial", **{**given, **fields})  # type: ignore[arg-type]
    study = Study(name="s", objectives=objectives, experiment={}, space={}, hardware=HardwareChoice(cycles=64))  # type: ignore[arg-type]
    return costs(study, experiment, load_data(experiment))


def test_fixed_point_costs_what_precision_cost_says_but_for_the_accumulator() -> None:
    found = of(["full_adders", "bits"], arithmetic="FixedPoint(3,4) rounded")
    expected = cost(SIZES, uniform(8))
    accumulators = 8 * (512 + 80)  # no weights but the stored ones
    assert found == {
        "full_adders": float(expected.computational),
        "bits": float(expected.representational - accumulators),
    }


def test_a_wider_update_is_held_once() -> None:
    narrow, wide = of(["bits"], arithmetic="LNS(4,3)"), of(["bits"], arithmetic="LNS(4,3)", update="LNS(4,8)")
    assert wide["bits"] - narrow["bits"] == 5 * (512 + 80)


def test_full_adders_of_logarithms_grow_with_their_bits_alone() -> None:
    def of_adder(text: str) -> float:
        return of(["full_adders"], arithmetic=text)["full_adders"]

    products = 3 * (512 + 80) - 512
    assert of_adder("LNS(4,3) exact") == products * (1 + 4 + 3)
    assert of_adder("LNS(5,6) hamad2025") == of_adder("LNS(5,6) exact") == products * (1 + 5 + 6)


def test_a_layer_with_an_arithmetic_of_its_own_costs_that() -> None:
    found = of(["full_adders"], arithmetic="LNS(4,3) exact", override={"3": "LNS(4,5) exact"})
    assert found["full_adders"] == 2 * 512 * 8 + 3 * 80 * 10


def test_a_recipe_costs_by_role_and_its_master_copy_is_held() -> None:
    role = {"format": {"format": "FixedPoint", "int_bits": 1, "frac_bits": 3}}
    found = of(["bits"], quantize={"name": "mine", "weight": role})
    weights, inputs, outputs = 592, 64 + 8, 8 + 10
    assert found["bits"] == weights * (5 + 32 + 32) + 32 * inputs + 32 * outputs


def test_what_has_no_cost_says_so() -> None:
    with pytest.raises(SpecificationError, match=r"full_adders: not defined for .*; take the objective bits"):
        of(
            ["full_adders"],
            quantize={
                "name": "m",
                "weight": {"format": {"format": "MiniFloat", "exponent_bits": 4, "mantissa_bits": 3}},
            },
        )
    pytest.importorskip("amaranth")
    with pytest.raises(SpecificationError, match=r"no one unit computes LNS\(5,5\) rounded"):
        of(["area"], arithmetic="LNS(5,5) rounded")


@pytest.mark.long
def test_area_and_energy_are_those_of_the_arithmetics_unit_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("amaranth")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = of(["area", "energy"], arithmetic="LNS(4,2) exact")
    from slipstick.sweep import units

    def again(*_: object, **__: object) -> None:
        raise AssertionError("synthesised twice")

    monkeypatch.setattr(units, "explore", again)
    assert of(["area", "energy"], arithmetic="LNS(4,2) exact") == found
    narrower = Experiment(name="t", arithmetic="LNS(4,2) exact")
    area, energy = units.unit_costs(units.unit_of(narrower), HardwareChoice(cycles=64))
    assert found == {"area": area, "energy": pytest.approx(energy * (3 * (512 + 80) - 512) * 1e-6)}
