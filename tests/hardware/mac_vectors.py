"""Vectors for multiply-accumulate units, and units run on them."""

import functools
from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from slipstick.hardware.simulation import Simulator, words
from slipstick.hardware.unit import Unit

Codes = NDArray[np.int64]


@functools.cache
def simulator(unit: Unit) -> Simulator:
    """The unit compiled, once."""
    return Simulator(unit)


def run(unit: Unit, output: str = "sum", **ports: Codes) -> Codes:
    """What the unit computes, by cxxrtl."""
    return simulator(unit).run(**ports)[output].astype(np.int64)


def assert_equal(got: Codes, expected: Codes, **inputs: Codes) -> None:
    """Equal codes, or the first vectors that differ."""
    wrong = np.flatnonzero(got != expected)
    shown = [
        " ".join([*(f"{name}={values[i]}" for name, values in inputs.items()), f"got {got[i]}, not {expected[i]}"])
        for i in wrong[:3]
    ]
    assert not len(wrong), f"{len(wrong)} of {len(expected)} differ: {'; '.join(shown)}"


def every(*choices: int | Codes) -> tuple[Codes, ...]:
    """All combinations; an integer stands for all codes of so many bits."""
    values = [np.arange(1 << c) if isinstance(c, int) else np.asarray(c, np.int64) for c in choices]
    return tuple(x.ravel() for x in np.meshgrid(*values, indexing="ij"))


def corners(bits: int) -> Codes:
    """Codes next to those at which carries, signs and fields change."""
    around = [(1 << k) + delta for k in range(bits + 1) for delta in (-1, 0, 1)]
    both = np.array([code for value in around for code in (value, -value)], np.int64)
    return np.unique(both & ((1 << bits) - 1))


def mixed(rng: np.random.Generator, bits: int, count: int) -> Codes:
    """Random codes, a quarter of them corners and a quarter small in magnitude."""
    kind = rng.integers(0, 4, count)
    codes = rng.integers(0, 1 << bits, count)
    small = (codes >> rng.integers(0, bits, count)) * rng.choice([-1, 1], count) & ((1 << bits) - 1)
    return np.where(kind == 0, rng.choice(corners(bits), count), np.where(kind == 1, small, codes))


def packed(lanes: Codes, width: int) -> NDArray[np.uint64]:
    """Codes [rows, lanes] as one port, lane 0 in the lowest bits; 64-bit words."""
    rows, count = lanes.shape
    words = np.zeros((rows, -(-count * width // 64)), np.uint64)
    for lane in range(count):
        word, place = divmod(lane * width, 64)
        code = lanes[:, lane].astype(np.uint64)
        words[:, word] |= code << np.uint64(place)
        if place + width > 64:
            words[:, word + 1] |= code >> np.uint64(64 - place)
    return words[:, 0] if words.shape[1] == 1 else words


class _Together(wiring.Component):
    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units
        ports = {f"{port.name}_{i}": In(port.width) for i, unit in enumerate(units) for port in unit.inputs}
        ports |= {f"{port.name}_{i}": Out(port.width) for i, unit in enumerate(units) for port in unit.outputs}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for i, unit in enumerate(self._units):
            m.submodules[f"unit_{i}"] = unit.component
            for port in unit.inputs:
                m.d.comb += getattr(unit.component, port.name).eq(getattr(self, f"{port.name}_{i}"))
            for port in unit.outputs:
                m.d.comb += getattr(self, f"{port.name}_{i}").eq(getattr(unit.component, port.name))
        return m


class Together:
    """Combinational units, compiled as one, which takes the time of one; ``run`` runs one of them."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = list(units)
        component = _Together(self._units)
        self._simulator = Simulator(Unit("together", "Units of a test.", component, (), ()))

    def run(self, number: int, /, **ports: Codes) -> dict[str, Codes]:
        """Outputs of unit ``number``; the others get zeros."""
        given = {
            f"{port.name}_{i}": np.zeros((1, words(port.width)), np.int64)
            for i, unit in enumerate(self._units)
            for port in unit.inputs
        }
        given |= {f"{name}_{number}": values for name, values in ports.items()}
        outputs = self._simulator.run(**given)
        names = [port.name for port in self._units[number].outputs]
        return {name: outputs[f"{name}_{number}"].astype(np.int64) for name in names}
