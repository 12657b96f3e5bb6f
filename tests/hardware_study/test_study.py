"""A small study from nothing to its folder; what is there is not made again; operands are those of the training."""

import json

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache
from slipstick.hardware.exploration import best, front
from slipstick.hardware.operands import codes
from slipstick.hardware.workload import ROLES
from slipstick.hardware_study import HardwareStudy, networks_table, run_study, units_table
from slipstick.hardware_study.config import Network
from slipstick.hardware_study.networks import workload_of
from slipstick.hardware_study.recording import NORMAL, of_training, recorded_operands
from slipstick.hardware_study.results import INERTIAL, ZERO_DELAY

MLP = {"name": "mlp", "hidden": [12]}
TRAINING = {
    "name": "digits", "data": "digits", "model": MLP, "batch": 20, "subset": {"train": 60, "test": 20}, "threads": 1,
}  # fmt: skip
LINEAR = {"kind": "fixed", "bits": 4, "accumulator_bits": 10, "label": "linear"}
LOGS = {"kind": "log", "arithmetic": "LNS(2,2) exact", "label": "logarithms"}


def study(out, **fields):
    small = {
        "name": "trial", "out": str(out), "training": TRAINING, "record_at": [1, 4], "cycles": 100, "vectors": 3000,
        "sweep": {"targets": [0.6], "adders": ["brent-kung"], "covers": ["area"], "full_adders": ["gates"],
                  "multipliers": ["booth"], "measured": 1},
        "networks": [{"name": "small", "model": MLP, "image": [1, 8, 8], "batch": 10}],
        "units": [LINEAR, LOGS],
    }  # fmt: skip
    return HardwareStudy.model_validate(small | fields)


@pytest.fixture(scope="module")
def cache(tmp_path_factory, nangate):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def done(tmp_path_factory, cache):
    chosen = study(tmp_path_factory.mktemp("runs"))
    return chosen, run_study(chosen, cache=cache)


def test_the_folder_holds_what_was_made(done):
    chosen, result = done
    for unit in result.units:
        files = {name: chosen.folder / path for name, path in unit.files.items()}
        assert set(files) == {"verilog", "log", "netlist", "vectors", "test bench"}
        assert f"module {unit.point.circuit}" in files["verilog"].read_text()
        first, *rows = files["vectors"].read_text().splitlines()
        assert first.startswith("// a b clear sum")
        assert len(rows) >= 300
        assert all(len(row.split()) == 4 for row in rows)
    assert json.loads((chosen.folder / "results.json").read_text())["baseline"] == "linear"


def test_units_equal_the_software(done):
    checks = [check for unit in done[1].units for check in unit.checks]
    assert {check.outcome for check in checks} <= {"equal", "proved"}
    assert sum(check.what.startswith("netlist = RTL") for check in checks) == 2
    assert sum(check.vectors == 3000 for check in checks) == 4  # two circuits of each unit


def test_energies_are_of_the_recorded_roles_and_of_normal_numbers(done):
    for unit in done[1].units:
        assert set(unit.energy_fj) == {*ROLES, NORMAL}
        for energy in unit.energy_fj.values():
            assert energy[INERTIAL] >= energy[ZERO_DELAY] > 0
        split = sum(unit.parts_fj["forward"].values())
        assert split == pytest.approx(unit.energy_fj["forward"][INERTIAL], rel=1e-9)
        assert unit.point.energy_fj is not None
        assert unit.in_time


def test_tables_have_every_unit_beside_the_baseline(done):
    text = units_table(done[1])
    assert "against linear" in text
    assert text.count("(1.000)") == 3
    assert "logarithms" in text
    assert "FAILED" not in text
    networks = networks_table(done[1])
    assert networks.startswith("small: a training step of 10")
    assert networks.count("(1.000)") == 3


def test_a_step_costs_its_products(done):
    (linear, _) = done[1].networks
    workload = workload_of(done[0].networks[0])
    assert linear.products == workload.products() == 10 * (64 * 12 + 12 * 10) * 2 + 10 * 12 * 10
    unit = done[1].units[0]
    expected = sum(workload.products(role) * unit.energy_fj[role][INERTIAL] for role in ROLES) * 1e-12
    assert linear.energy_mj[INERTIAL] == pytest.approx(expected)


def test_a_transformers_step_has_the_products_of_its_layers_and_of_attention():
    model = {"name": "transformer", "width": 8, "layers": 1, "heads": 2, "context": 4}
    network = Network.model_validate({"name": "text", "model": model, "classes": 11, "batch": 3})
    position, character, attention = 4 * 4 * 8, 11 * 8, 3 * 2 * 4 * 4 * 4
    block = 4 * 8 * 8 + 2 * 8 * 32
    assert workload_of(network).products("forward") == position + 12 * (2 * character + block) + 2 * attention


OWN_PROGRAM = """
import torch

def step():
    model = torch.nn.Linear(6, 5, bias=False)
    return model, torch.empty(7, 6), lambda y: y.square().mean()

def half():
    return torch.nn.Linear(6, 5), torch.empty(7, 6)
"""


def test_a_program_of_ones_own_is_priced_and_computes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_step.py").write_text(OWN_PROGRAM)
    workload = workload_of(Network(name="mine", program="own_step:step"))
    assert (workload.batch, workload.products("forward"), workload.products()) == (7, 7 * 6 * 5, 2 * 7 * 6 * 5)
    with pytest.raises(SpecificationError, match=r"returned Linear, Tensor; it must return \(model, inputs, loss\)"):
        workload_of(Network(name="mine", program="own_step:half"))
    with pytest.raises(SpecificationError, match="no_step:step: cannot be imported"):
        workload_of(Network(name="mine", program="no_step:step"))


@pytest.mark.parametrize("given", [{}, {"model": MLP, "program": "a:b"}])
def test_a_network_is_a_model_or_a_program(given):
    with pytest.raises(ValueError, match="give a model or a program"):
        Network.model_validate({"name": "odd", **given})


def test_what_is_there_is_not_made_again(done, cache, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("made again")

    monkeypatch.setattr("slipstick.hardware_study.study.explore", fail)
    assert run_study(done[0], cache=cache) == done[1]
    with pytest.raises(AssertionError, match="made again"):
        run_study(done[0].model_copy(update={"clock_ns": 9.0}), cache=cache)


def test_an_extended_study_keeps_its_units(done, cache):
    more = [LINEAR, LOGS, {"kind": "log", "arithmetic": "LNS(2,1) exact", "label": "fewer"}]
    told = []
    result = run_study(study(done[0].out, units=more), cache=cache, progress=lambda what, share: told.append(what))
    assert result.units[:2] == done[1].units
    assert all("fewer" in what for what in told if "record" not in what)


def test_recorded_operands_are_kept_and_belong_to_their_training(tmp_path):
    chosen = study(tmp_path)
    first, again = recorded_operands(chosen), recorded_operands(chosen)
    assert list(first) == [*ROLES, NORMAL]
    for name, pieces in first.items():
        for one, other in zip(pieces, again[name], strict=True):
            assert np.array_equal(one.a, other.a)
            assert np.array_equal(one.clear, other.clear)
            assert (one.a_peak, one.b_peak) == (other.a_peak, other.b_peak)
    later = recorded_operands(study(tmp_path, record_at=[2, 5]))
    assert not np.array_equal(later["forward"][0].a, first["forward"][0].a)
    assert len(codes(of_training(first), chosen.units[0].candidate())["a"]) >= 300


def test_without_a_training_operands_are_normal(tmp_path):
    found = recorded_operands(study(tmp_path, training=None))
    assert list(found) == [NORMAL]
    assert of_training(found) == found[NORMAL]


class At:
    def __init__(self, area_um2, period_ns):
        self.area_um2, self.period_ns = area_um2, period_ns


def test_the_front_has_what_nothing_beats():
    points = [At(10, 3.0), At(12, 2.0), At(13, 2.5), At(15, 1.0), At(12, 2.2)]
    assert [(p.area_um2, p.period_ns) for p in front(points)] == [(10, 3.0), (12, 2.0), (15, 1.0)]


def test_the_best_keep_to_the_clock_and_then_are_fast():
    points = [At(10, 3.0), At(12, 2.0), At(15, 1.0), At(9, 4.0)]
    assert [p.area_um2 for p in best(points, 2.5, 4)] == [12, 15, 10, 9]
