"""The test bench beside a unit's Verilog, run by a simulator that knows nothing of Slipstick."""

import shutil

import numpy as np
import pytest

pytest.importorskip("amaranth")

from slipstick.arithmetic import parse_arithmetic
from slipstick.errors import SpecificationError
from slipstick.hardware.candidates import LogCandidate, clocked_units
from slipstick.hardware.rtl.verilog import verilog
from slipstick.hardware.rtl.verilog_bench import verilog_bench
from slipstick.hardware.tools import MissingTool, run, verilator_command

CANDIDATE = LogCandidate(parse_arithmetic("LNS(3,2) exact"))
ROWS = 200


def vectors():
    """Rows a, b, clear, sum of a new sum every ten products; sums by the software."""
    generator = np.random.default_rng(0)
    a, b = (CANDIDATE.encode(generator.normal(0, 1, ROWS).astype(np.float32), 1.0) for _ in "ab")
    clear = (np.arange(ROWS) % 10 == 0).astype(int)
    total, rows = np.array([CANDIDATE.zero]), []
    for row in range(ROWS):
        total = np.array([CANDIDATE.zero]) if clear[row] else total
        total = CANDIDATE.step(a[row : row + 1], b[row : row + 1], total)
        rows.append([int(a[row]), int(b[row]), int(clear[row]), int(total[0])])
    return rows


def write(folder, rows):
    text = "// a b clear sum\n" + "\n".join(" ".join(f"{value:x}" for value in row) for row in rows)
    (folder / "vectors.txt").write_text(text)


@pytest.fixture
def simulator(tmp_path, cache):
    """Runs the bench on what vectors.txt holds; what it prints."""
    unit = clocked_units(CANDIDATE)[0]
    files = ["testbench.v", f"{unit.name}.v"]
    (tmp_path / files[0]).write_text(verilog_bench(unit, ROWS, "vectors.txt"))
    (tmp_path / files[1]).write_text(verilog(unit, cache=cache))
    if icarus := shutil.which("iverilog"):
        run([icarus, "-Wall", "-o", "bench", *files], what="icarus", folder=tmp_path, timeout_s=60)
        built = "bench"
    else:
        try:
            command, environment = verilator_command()
        except MissingTool:
            pytest.skip("neither iverilog nor verilator is installed")
        flags = ["--binary", "--timing", "-Wall", "-CFLAGS", "-std=c++20 -O0"]
        run([*command, *flags, *files], what="verilator", folder=tmp_path, timeout_s=300, environment=environment)
        built = "obj_dir/Vtestbench"
    return lambda: run([str(tmp_path / built)], what="bench", folder=tmp_path, timeout_s=60)


def test_another_simulator_finds_the_softwares_sums_and_a_wrong_one(simulator, tmp_path):
    rows = vectors()
    write(tmp_path, rows)
    assert f"PASSED: {ROWS} rows" in simulator()
    rows[17][3] ^= 1
    write(tmp_path, rows)
    told = simulator()
    assert f"row 17: sum is {rows[17][3] ^ 1:03x}, not {rows[17][3]:03x}" in told
    assert f"FAILED: 1 of {ROWS} rows" in told


def test_a_core_without_a_clock_has_no_bench():
    with pytest.raises(SpecificationError, match="must be clocked"):
        verilog_bench(CANDIDATE.cores()[0], ROWS, "vectors.txt")
