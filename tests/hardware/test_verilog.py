"""Verilog: the same bits as the RTL it is written from, and nothing for a linter to say."""

import dataclasses
import re

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from tiny_units import absolute, accumulator, product

from slipstick import LNS, LinearAccumulate, LogArithmetic, MultiBaseLNS, Tree
from slipstick.errors import SpecificationError
from slipstick.hardware.cache import Cache
from slipstick.hardware.float_format import FP16
from slipstick.hardware.models.fixed import FixedMac, FixedOutput
from slipstick.hardware.models.floating import FloatMac
from slipstick.hardware.models.linear_accumulate import LinearVector
from slipstick.hardware.rtl.flat_module import FlatModule
from slipstick.hardware.rtl.float_mac import float_mac_unit
from slipstick.hardware.rtl.linear_accumulate import linear_mac_unit
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit, fixed_output_unit
from slipstick.hardware.rtl.linear_vector import linear_vector_unit
from slipstick.hardware.rtl.log_adder import log_adder_unit
from slipstick.hardware.rtl.log_converters import log_decode_unit, log_encode_unit
from slipstick.hardware.rtl.log_dot import log_dot_unit
from slipstick.hardware.rtl.log_mac import log_mac_unit
from slipstick.hardware.rtl.log_vector import log_vector_unit
from slipstick.hardware.rtl.mac import clocked_mac_unit
from slipstick.hardware.rtl.verilog import verilog
from slipstick.hardware.simulation import Simulator
from slipstick.hardware.tools import MissingTool, run, run_yosys, verilator_command

LNS8 = LogArithmetic(LNS(3, 3), add="exact", accumulator="operand")
EXACT8 = LinearAccumulate(MultiBaseLNS(8, 8))

UNITS = {"combinational": absolute(6), "clocked": accumulator(), "operators": product()}
FAMILIES = {
    "log mac": lambda: clocked_mac_unit(log_mac_unit(LNS8, clear=True), zero=1 << (LNS8.format.width - 2)),
    "log adder": lambda: log_adder_unit(LNS8.adder, LNS8.format),
    "log vector": lambda: log_vector_unit(LNS8, 4),
    "log dot": lambda: log_dot_unit(dataclasses.replace(LNS8, order=Tree(4))),
    "log encode": lambda: log_encode_unit(LNS8.format),
    "log decode": lambda: log_decode_unit(LNS8.format),
    "fixed": lambda: clocked_mac_unit(fixed_mac_unit(FixedMac(8, 8, 20))),
    "fixed booth": lambda: fixed_mac_unit(FixedMac(8, 8, 20, "wrap"), "booth"),
    "fixed output": lambda: fixed_output_unit(FixedOutput(20, 8, 8)),
    "float": lambda: float_mac_unit(FloatMac(FP16, FP16, FP16)),
    "linear accumulate": lambda: linear_mac_unit(EXACT8),
    "linear vector": lambda: linear_vector_unit(LinearVector(EXACT8, 4)),
}


def read_back(text, name, folder):
    (folder / "read.v").write_text(text)
    script = f"read_verilog read.v\nhierarchy -check -top {name}\nproc\nwrite_rtlil read.il\n"
    run_yosys(script, what="reading back", folder=folder, timeout_s=60)
    return (folder / "read.il").read_text()


def assert_same(unit, cache, folder):
    rtl = Simulator(unit, cache=cache)
    written = Simulator(read_back(verilog(unit, cache=cache), unit.name, folder), cache=cache)
    generator = np.random.default_rng(0)
    inputs = {name: random_words(generator, width, 4000) for name, width in rtl.inputs.items()}
    if "rst" in inputs:
        inputs["rst"] = generator.integers(0, 20, 4000) == 0
    expected, found = rtl.run(**inputs), written.run(**inputs)
    assert all(np.array_equal(expected[port.name], found[port.name]) for port in unit.outputs)


def random_words(generator, width, rows):
    """Any values of a port, as words of 64 bits."""
    highest = [(1 << min(64, width - low)) - 1 for low in range(0, width, 64)]
    return np.stack([generator.integers(0, high, rows, np.uint64, endpoint=True) for high in highest], axis=1)


@pytest.mark.parametrize("unit", [UNITS["combinational"], UNITS["clocked"]], ids=["combinational", "clocked"])
def test_what_is_written_computes_the_same(unit, cache, tmp_path):
    assert_same(unit, cache, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_verilog_computes_the_same(family, cache, tmp_path):
    assert_same(FAMILIES[family](), cache, tmp_path)


@pytest.mark.parametrize("family", [*UNITS, *FAMILIES])
def test_verilator_has_nothing_to_say(family, cache, tmp_path):
    unit = UNITS[family] if family in UNITS else FAMILIES[family]()
    try:
        command, environment = verilator_command()
    except MissingTool:
        pytest.skip("verilator is not installed")
    (tmp_path / f"{unit.name}.v").write_text(verilog(unit, cache=cache))
    lint = [*command, "--lint-only", "-Wall", f"{unit.name}.v"]
    assert "Warning" not in run(lint, what="lint", folder=tmp_path, timeout_s=60, environment=environment)


def test_the_header_says_what_it_is(cache):
    text = verilog(UNITS["clocked"], cache=cache)
    head = text[: text.index("module ")].splitlines()
    assert all(line == "" or line.startswith("//") for line in head)
    assert head[0] == "// accumulator_4_10"
    assert "// sum of products" in head
    assert "// input   clear   1 bits  begins a sum" in head
    assert any("Latency: 2 cycles of clk" in line for line in head)
    assert "Latency: none, combinational." in verilog(UNITS["operators"], cache=cache)


def test_names_and_order_are_a_readers(cache):
    text = verilog(UNITS["clocked"], cache=cache)
    assert "\\" not in text
    assert re.search(r"always @\(posedge clk\) begin\n +\S+ <= clear;\n +if \(rst\) begin", text)
    assert max(len(line) for line in text.splitlines()) <= 110
    declared = re.findall(r"^  (?:wire|reg) (?:\[\d+:0\] )?(\w+)", text, re.MULTILINE)
    assert len(set(declared)) == len(declared)


def test_text_is_the_same_every_time(cache, tmp_path):
    assert verilog(UNITS["operators"], cache=cache) == verilog(product(), cache=Cache(tmp_path))


def test_rtlil_that_is_not_known_is_refused():
    with pytest.raises(SpecificationError, match="RTLIL that is not known"):
        FlatModule.parse("module \\m\n  memory width 8 size 4 \\x\nend\n")
