"""Studies as TOML: what can be built is, and every mistake is one line."""

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from slipstick.errors import SpecificationError
from slipstick.hardware_study import load_study

ROOT = Path(__file__).parents[2]

UNITS = """
[[units]]
kind = "fixed"
bits = 8
accumulator_bits = 20

[[units]]
label = "logarithms"
kind = "log"
arithmetic = "LNS(5,5) hamad2025"

[[units]]
kind = "float"
operands = "e4m3"
accumulator = "fp16"

[[units]]
kind = "linear-accumulate"
"""


def study(tmp_path, text, *overrides):
    path = tmp_path / "trial.toml"
    path.write_text(text)
    return load_study(path, overrides)


def refused(tmp_path, text, *overrides):
    with pytest.raises(SpecificationError) as error:
        study(tmp_path, text, *overrides)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_units_are_candidates_with_labels(tmp_path):
    found = study(tmp_path, UNITS, "clock_ns=3.5")
    assert found.name == "trial"
    assert found.clock_ns == 3.5
    assert found.folder == Path("runs/trial")
    assert found.labels[:2] == ["fixed point 8 x 8 + 20 bits, wrap", "logarithms"]
    assert [unit.candidate().operand_bits for unit in found.units] == [8, 12, 8, 8]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('baseline = "nobody"\n', "baseline = 'nobody': no unit has this label"),
        ("record_at = [5, 5]\n", "record_at = [5, 5]: give ascending steps"),
        ("clock = 2\n", "clock: unknown key; did you mean 'clock_ns'?"),
        ("clock_ns = 0\n", "clock_ns = 0: must be greater than 0"),
        ('training = {arithmetic = "LNS(5,5) exact"}\n', "operands are recorded in fp32"),
        ("training = {epoch = 3}\n", "training.epoch: unknown key; did you mean 'epochs'?"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, extra, message):
    assert message in refused(tmp_path, extra + UNITS)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ('kind = "fixed"\nbits = 99\naccumulator_bits = 20', "FixedMac(a_bits=99): must be an integer from 2 to 24"),
        ('kind = "log"\narithmetic = "LNS(5,5) nobody"', "nobody"),
        ('kind = "log"\narithmetic = "fp32"', "no logarithmic arithmetic"),
        ('kind = "linear-accumulate"\nbits = 12', "12"),
        ('kind = "analogue"', "choose one of"),
    ],
)
def test_a_unit_that_cannot_be_is_refused_before_synthesis(tmp_path, unit, message):
    assert message in refused(tmp_path, f"[[units]]\n{unit}\n")


def test_units_are_told_apart(tmp_path):
    twice = '[[units]]\nkind = "fixed"\nbits = 8\naccumulator_bits = 20\n'
    assert "is listed twice" in refused(tmp_path, 2 * twice)


def test_no_units_and_no_file(tmp_path):
    assert "units: this key is missing" in refused(tmp_path, "clock_ns = 2\n")
    with pytest.raises(SpecificationError, match="no such experiment file"):
        load_study(tmp_path / "nothing.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "hardware").glob("*.toml")), ids=lambda path: path.name)
def test_every_study_of_the_project_is_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)  # designs are given from there
    found = load_study(path)
    assert found.name == f"hardware-{path.stem}"
    assert len({unit.candidate().title for unit in found.units}) == len(found.units)
