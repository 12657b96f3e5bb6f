"""Vectors for multiply-accumulate units, and units run on them."""

import numpy as np
from numpy.typing import NDArray

from slipstick.hardware.simulation import Simulator
from slipstick.hardware.unit import Unit

Codes = NDArray[np.int64]


def run(unit: Unit, output: str = "sum", **ports: Codes) -> Codes:
    """What the unit computes, by cxxrtl."""
    return Simulator(unit).run(**ports)[output].astype(np.int64)


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
