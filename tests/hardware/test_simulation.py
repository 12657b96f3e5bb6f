"""Compiled units against integers."""

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from tiny_units import accumulator, pair, product, wide

from slipstick.errors import SpecificationError
from slipstick.hardware.rtlil import Design
from slipstick.hardware.simulation import Simulator


@pytest.fixture(scope="module")
def simulator(cache):
    return Simulator(product(), cache=cache)


def test_a_design_knows_its_ports():
    design = Design.of(accumulator())
    assert (design.name, design.clocked, design.has_reset) == ("accumulator_4_10", True, True)
    assert design.inputs == {"a": 4, "b": 4, "clear": 1}
    assert design.outputs == {"sum": 10}


def test_every_pair_of_factors_gives_its_product(simulator):
    a, b = (x.ravel() for x in np.meshgrid(np.arange(16), np.arange(16)))
    assert (simulator.run(a=a, b=b, acc=1000)["sum"] == (1000 + a * b) % 1024).all()


def test_rows_are_the_same_in_any_number_at_a_time(simulator, monkeypatch):
    monkeypatch.setattr("slipstick.hardware.simulation._CHUNK_ROWS", 7)
    a, told = np.arange(16, dtype=np.uint8), []
    outputs = simulator.run(lambda what, share: told.append(share), a=a, b=3, acc=a)
    assert (outputs["sum"] == 4 * a).all()
    assert told == [7 / 16, 14 / 16, 1.0]


def test_a_clocked_unit_starts_anew_in_every_run_and_resets(cache):
    simulator = Simulator(accumulator(), cache=cache)
    a, b = np.arange(40) % 16, np.arange(40) * 7 % 16
    clear = np.arange(40) % 8 == 0
    expected = np.cumsum((a * b).reshape(-1, 8), axis=1).ravel()
    for _ in range(2):
        assert (simulator.run(a=a, b=b, clear=clear)["sum"][1:] == expected[:-1]).all()
    reset = simulator.run(a=a, b=b, clear=0, rst=np.arange(40) == 20)["sum"]
    assert reset[20] == 0
    assert reset[22] == a[21] * b[21]


def test_what_is_behind_registers_is_read_after_the_same_edge(cache):
    a, b = np.arange(12), np.arange(12) * 3 % 16
    sums = Simulator(pair(), cache=cache).run(a=a, b=b, clear=np.arange(12) == 0)["sum"]
    assert (sums[1:] == np.cumsum(a + b)[:-1]).all()


def test_ports_wider_than_a_word_are_words(cache):
    simulator = Simulator(wide(), cache=cache)
    numbers = [0, (1 << 64) - 1, (1 << 128) - 1, (1 << 149) + 7, (1 << 150) - 1]
    value = np.array([[n >> 64 * i & (1 << 64) - 1 for i in range(3)] for n in numbers], np.uint64)
    made = [sum(int(word) << 64 * i for i, word in enumerate(row)) for row in simulator.run(value=value)["following"]]
    assert made == [(n + 1) % (1 << 150) for n in numbers]


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({"a": [1], "b": [1]}, "input acc is not given; its inputs are a, b, acc"),
        ({"a": [1], "b": [1], "acc": 0, "c": 0}, "no input c"),
        ({"a": [16], "b": [1], "acc": 0}, "input a: value 16; the port is unsigned, of 4 bits"),
        ({"a": [3], "b": [-1], "acc": 0}, "input b: value -1"),
        ({"a": [0.5], "b": [1], "acc": 0}, "values of type float64"),
        ({"a": [1, 2], "b": [1, 2, 3], "acc": 0}, "inputs of 2 and 3 rows"),
    ],
)
def test_wrong_values_are_one_line(simulator, ports, message):
    with pytest.raises(SpecificationError, match=message):
        simulator.run(**ports)


def test_rtlil_without_a_top_is_refused():
    with pytest.raises(SpecificationError, match="RTLIL without a module"):
        Design.of("module \\x\nend\n")
