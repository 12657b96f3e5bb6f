"""From RTL to cells and back: netlists do what their RTL does, by simulation and by proof, the same every time."""

import json

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from tiny_units import absolute, accumulator, product

from slipstick.errors import SpecificationError
from slipstick.hardware import synthesis
from slipstick.hardware.activity import settle, zero_delay
from slipstick.hardware.cache import Cache
from slipstick.hardware.energy import energy
from slipstick.hardware.formal import prove_netlist, prove_table
from slipstick.hardware.inertial import inertial
from slipstick.hardware.simulation import Simulator
from slipstick.hardware.synthesis import Mapping, synthesise
from slipstick.hardware.timing import Timing
from slipstick.hardware.tools import ToolTimeout

LIBRARIES = ("nangate45", "osu018")


@pytest.fixture(scope="module", params=LIBRARIES)
def mapping(request, installed):
    installed(request.param)
    return Mapping(library=request.param, target_ps={"nangate45": 600, "osu018": 3000}[request.param])


def operands(rows=400):
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 16, (2, rows))
    return {"a": a, "b": b, "clear": np.arange(rows) % 16 == 0}


def test_gates_do_in_every_cycle_what_the_rtl_does(mapping, cache):
    unit = accumulator()
    cycles = settle(synthesise(unit, mapping, cache=cache).netlist, operands(), cache=cache)
    expected = Simulator(unit, cache=cache).run(**operands())["sum"]
    assert np.array_equal(cycles.port("sum")[1:], expected[:-1])


def test_area_delay_and_energy_have_the_size_of_the_library(mapping, cache):
    """A 4-bit MAC is some thousand times a transistor pair, in either technology; glitches cost more than none."""
    made = synthesise(accumulator(), mapping, cache=cache)
    timing = Timing(made.netlist)
    cycles = settle(made.netlist, operands(), cache=cache)
    smooth, real = (energy(a, timing) for a in (zero_delay(cycles), inertial(cycles, timing, step_ns=0.01)))
    small = mapping.library == "nangate45"
    assert (150 if small else 3000) < made.area_um2 < (350 if small else 9000)
    assert (0.4 if small else 2.0) < timing.period_ns < (1.5 if small else 6.0)
    assert (100 if small else 3000) < smooth.total_fj < real.total_fj < (2000 if small else 60000)
    assert made.area_um2 == pytest.approx(
        sum(made.netlist.library.cell(c).area_um2 * n for c, n in made.netlist.counts.items())
    )
    assert 0 < made.netlist.register_area_um2 < made.area_um2


def test_the_same_unit_gives_the_same_netlist(nangate, cache, tmp_path):
    first = synthesise(accumulator(), Mapping(target_ps=600), cache=cache)
    again = synthesise(accumulator(), Mapping(target_ps=600), cache=Cache(tmp_path))
    assert (first.folder / "netlist.json").read_bytes() == (again.folder / "netlist.json").read_bytes()
    assert Timing(first.netlist).period_ns == Timing(again.netlist).period_ns


def test_a_second_synthesis_runs_no_tool(nangate, cache, monkeypatch):
    first = synthesise(accumulator(), Mapping(target_ps=600), cache=cache)
    monkeypatch.setattr(synthesis, "run_yosys", None)
    again = synthesise(accumulator(), Mapping(target_ps=600), cache=cache)
    assert (again.area_um2, again.seconds) == (first.area_um2, first.seconds)
    assert "ABC" in again.log


def test_every_mapping_gives_an_equal_netlist(nangate, cache):
    unit = product()
    inputs = dict(zip(("a", "b", "acc"), np.random.default_rng(1).integers(0, [16, 16, 1024], (300, 3)).T, strict=True))
    expected = Simulator(unit, cache=cache).run(**inputs)["sum"]
    areas = set()
    for changes in (
        {"multiplier": "array", "cover": "speed"},
        {"full_adders": "cells", "adder": "kogge-stone"},
        {"multiplier": "array", "full_adders": "cells", "cover": "rewritten-area"},
    ):
        made = synthesise(unit, Mapping(**changes), cache=cache)
        areas.add(made.area_um2)
        assert np.array_equal(settle(made.netlist, inputs).port("sum"), expected)
        assert any(name.startswith("FA_") for name in made.netlist.counts) == (changes.get("full_adders") == "cells")
    assert len(areas) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target_ps": 0}, "give 1 to 1000000 picoseconds"),
        ({"adder": "ripple-around"}, "give one of brent-kung"),
        ({"multiplier": "wallace"}, "give one of booth, array"),
        ({"cover": "best"}, "give one of speed, area"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(SpecificationError, match=message):
        Mapping(**wrong)


def test_a_library_that_is_not_known_is_refused(cache):
    with pytest.raises(SpecificationError, match="cell library 'nope'"):
        synthesise(product(), Mapping(library="nope"), cache=cache)


def test_a_synthesis_that_takes_too_long_is_stopped(nangate, tmp_path):
    with pytest.raises(ToolTimeout, match=r"yosys, synthesis of product_4_10 \(nangate45.*time limit of 0.05 s"):
        synthesise(product(), cache=Cache(tmp_path), timeout_s=0.05)
    assert not list(tmp_path.rglob("netlist.json"))


@pytest.mark.parametrize("unit", [product(), accumulator()], ids=["combinational", "clocked"])
def test_a_netlist_is_proved_equal_to_its_rtl_and_not_to_another(unit, nangate, cache):
    made = synthesise(unit, Mapping(target_ps=600), cache=cache)
    proof = prove_netlist(unit, made, cache=cache)
    assert (proof.outcome, proof.method) == ("proved", "dsec" if unit.latency else "sat")
    other = unit.rtlil().replace("cell $add", "cell $sub")
    assert prove_netlist(other, made, cache=cache).outcome == "refuted"


def test_a_unit_is_proved_to_be_its_table_or_shown_where_it_is_not(cache):
    i = np.arange(1 << 8)
    a, b = (((i >> shift & 15) ^ 8) - 8 for shift in (0, 4))
    tables = {
        "high": np.maximum(abs(a), abs(b)),
        "first": abs(a) >= abs(b),
        "shifted": (a >> (b & 3)) & 15,
    }
    tables = {name: table.astype(int) for name, table in tables.items()}
    unit = absolute(4)
    assert prove_table(unit, tables, cache=cache).outcome == "proved"
    tables["high"][0x3A] ^= 1
    proof = prove_table(unit, tables, cache=cache)
    assert proof.outcome == "refuted"
    assert "in_a" in proof.told
    assert "1010" in proof.told
    with pytest.raises(SpecificationError, match="needs 256 entries of 4 bits"):
        prove_table(unit, tables | {"high": [0, 1]}, cache=cache)


def test_a_proof_that_takes_too_long_is_undecided_and_tried_again(nangate, tmp_path):
    unit, cache = product(12, 24), Cache(tmp_path)
    made = synthesise(unit, Mapping(), cache=cache)
    proof = prove_netlist(unit, made, timeout_s=1, cache=cache)
    assert proof.outcome == "undecided"
    assert not (tmp_path / "proofs").exists() or not list((tmp_path / "proofs").rglob("proof.json"))


def test_the_netlist_is_read_from_what_yosys_wrote(nangate, cache):
    made = synthesise(product(), Mapping(target_ps=600), cache=cache)
    written = json.loads((made.folder / "netlist.json").read_text())["modules"][made.netlist.name]
    assert len(made.netlist.cells) == len(written["cells"])
    assert {name: len(bits) for name, bits in made.netlist.outputs.items()} == {"sum": 10}
