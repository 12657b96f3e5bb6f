"""That a unit of a study computes what the software computes: by simulation, and by proof where it comes to an end."""

import time
from pathlib import Path

import numpy as np

from slipstick.hardware.activity import settle
from slipstick.hardware.cache import Cache
from slipstick.hardware.candidates import Candidate, Codes, Reals
from slipstick.hardware.formal import prove_netlist
from slipstick.hardware.measurement import Point, Ports
from slipstick.hardware.simulation import Simulator
from slipstick.hardware.tools import silent
from slipstick.hardware.unit import Unit
from slipstick.hardware_study.results import Check
from slipstick.train.atomic_files import write_text

_WRITTEN_VECTORS = 4096
_CHUNK = 1 << 20


def random_vectors(unit: Unit, candidate: Candidate, count: int, seed: int, cache: Cache | None = None) -> Check:
    """The core on random operands and sums, against the software."""
    began, generator, wrong = time.perf_counter(), np.random.default_rng(seed), ""
    simulator = Simulator(unit, cache=cache)
    for start in range(0, count, _CHUNK):
        rows = min(_CHUNK, count - start)
        ports = _random_ports(candidate, generator, rows)
        given = ports | ({"clear": np.zeros(1, np.int64)} if any(p.name == "clear" for p in unit.inputs) else {})
        got = simulator.run(silent, **given)["sum"].astype(np.int64)
        wrong = wrong or _first_difference(got, candidate.step(**ports), **ports)
    return Check(f"{unit.name} = software, random", _outcome(wrong), count, time.perf_counter() - began, wrong)


def recorded_dots(unit: Unit, candidate: Candidate, ports: Ports, sums: Codes, cache: Cache | None = None) -> Check:
    """The clocked unit on the study's dot products, against the software's ``sums``."""
    began = time.perf_counter()
    got = Simulator(unit, cache=cache).run(silent, rst=0, **ports)["sum"].astype(np.int64)
    wrong = _first_difference(got[unit.latency - 1 :], sums[: 1 - unit.latency])
    return Check(
        f"{unit.name} = software, dot products", _outcome(wrong), len(sums), time.perf_counter() - began, wrong
    )


def netlist_dots(point: Point, ports: Ports, sums: Codes, cache: Cache | None = None) -> Check:
    """The netlist's gates on the same dot products."""
    began, latency = time.perf_counter(), point.unit.latency
    got = settle(point.synthesis.netlist, {"rst": 0, **ports}, cache=cache).port("sum").astype(np.int64)
    wrong = _first_difference(got[latency:], sums[:-latency])
    return Check("netlist = software, dot products", _outcome(wrong), len(sums), time.perf_counter() - began, wrong)


def netlist_proof(point: Point, seconds: float, cache: Cache | None = None) -> Check:
    """The netlist equals its RTL for all inputs and for all time."""
    proof = prove_netlist(point.unit, point.synthesis, timeout_s=seconds, cache=cache)
    return Check(f"netlist = RTL, formally ({proof.method})", proof.outcome, 0, proof.seconds, proof.told)


def write_vectors(path: Path, ports: Ports, sums: Codes) -> int:
    """The first dot products as text, hexadecimal: a, b, clear and the sum once they are taken in, a row a cycle.
    Returns the number of rows."""
    rows = zip(*(column[:_WRITTEN_VECTORS].tolist() for column in (*_abc(ports), sums)), strict=True)
    lines = [f"{a:x} {b:x} {clear:x} {total:x}" for a, b, clear, total in rows]
    write_text(path, "\n".join(["// a b clear sum, the sum of all products from clear to this one", *lines]) + "\n")
    return len(lines)


def _abc(ports: Ports) -> tuple[Codes, Codes, Codes]:
    return ports["a"], ports["b"], ports["clear"]


def _random_ports(candidate: Candidate, generator: np.random.Generator, rows: int) -> dict[str, Codes]:
    """a, b and acc; of every third row acc is what the product takes away again."""
    x, y = _reals(generator, rows), _reals(generator, rows)
    a, b, acc = candidate.encode(x, 1.0), candidate.encode(y, 1.0), candidate.sums(generator, rows)
    opposite = candidate.step(candidate.encode(-x, 1.0), b, np.full_like(acc, candidate.zero))
    return {"a": a, "b": b, "acc": np.where(np.arange(rows) % 3 == 0, opposite, acc)}


def _reals(generator: np.random.Generator, count: int) -> Reals:
    """Of all sizes up to 1: large ones, small ones, and exact zeros."""
    sizes = np.exp2(-generator.exponential(3.0, count))
    reals: Reals = (sizes * generator.choice([-1.0, 1.0, 1.0, -1.0, 0.0], count)).astype(np.float32)
    return reals


def _first_difference(got: Codes, expected: Codes, **inputs: Codes) -> str:
    """ "" where all are equal, else the first row that is not."""
    different = np.flatnonzero(got != expected)
    if not different.size:
        return ""
    row = int(different[0])
    given = "".join(f"{name} = {int(values[row]):#x}, " for name, values in inputs.items())
    found = f"got {int(got[row]):#x}, expected {int(expected[row]):#x}"
    return f"{different.size} of {len(expected)} differ, first row {row}: {given}{found}"


def _outcome(wrong: str) -> str:
    return "different" if wrong else "equal"
