"""Proofs for all inputs: netlists of the units do what their RTL does, adders are their tables."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick import LNS, LogArithmetic
from slipstick.arithmetic import Adder
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import named_adder
from slipstick.hardware.formal import prove_netlist, prove_table
from slipstick.hardware.models.fixed import FixedMac
from slipstick.hardware.rtl.linear_fixed import fixed_mac_unit
from slipstick.hardware.rtl.log_adder import log_adder_unit
from slipstick.hardware.rtl.log_mac import log_mac_unit
from slipstick.hardware.rtl.mac import clocked_mac_unit
from slipstick.hardware.synthesis import Mapping, synthesise
from slipstick.hardware.unit import Unit

EIGHT_BITS = LogArithmetic(LNS(3, 3), accumulator="operand")
PUBLISHED, DESIGNED = LogArithmetic(LNS(5, 5), "hamad2025"), LogArithmetic(LNS(5, 5), "designed")

UNITS = {
    "8-bit logarithms": lambda: log_mac_unit(EIGHT_BITS),
    "12-bit logarithms, published adder": lambda: log_mac_unit(PUBLISHED),
    "12-bit logarithms, designed adder": lambda: log_mac_unit(DESIGNED),
    "fixed point 4 x 4 + 12": lambda: fixed_mac_unit(FixedMac(4, 4, 12)),
    "fixed point 4 x 4 + 12, Booth": lambda: fixed_mac_unit(FixedMac(4, 4, 12), "booth"),
    "fixed point 4 x 4 + 12, clocked": lambda: clocked_mac_unit(fixed_mac_unit(FixedMac(4, 4, 12))),
    "12-bit logarithms, clocked": lambda: clocked_mac_unit(log_mac_unit(DESIGNED), 1 << 12),
}

ADDERS = [
    *(("exact", LNS(3, f)) for f in (0, 3)),
    *((name, LNS(5, 5)) for name in ("hamad2025", "hamad2025-agnostic", "designed", "designed-8", "designed-4")),
    *((name, LNS(5, 5)) for name in ("sanyal2019-lut", "sanyal2019-bitshift")),
    *((name, LNS(4, 8)) for name in ("hamad2025", "designed-4")),
]


pytestmark = pytest.mark.usefixtures("nangate")


@pytest.mark.parametrize("name", UNITS)
def test_a_netlist_is_proved_equal_to_its_unit(name: str) -> None:
    unit = UNITS[name]()
    proof = prove_netlist(unit, synthesise(unit, Mapping()))
    assert (proof.outcome, proof.method) == ("proved", "dsec" if unit.latency else "sat"), proof.told


def test_the_netlist_of_another_unit_is_refuted() -> None:
    """The two differ in a few corrections, for which the solver has operands."""
    saturating, flushing = (LNS(3, 3, underflow) for underflow in ("saturate", "flush"))
    unit, other = (log_mac_unit(LogArithmetic(format, accumulator="operand")) for format in (saturating, flushing))
    renamed = dataclasses.replace(other, name=unit.name)
    proof = prove_netlist(renamed, synthesise(unit, Mapping()))
    assert (proof.outcome, proof.method) == ("refuted", "sat")
    assert all(f"in_{port}" in proof.told for port in ("a", "b", "acc"))


def test_a_clocked_netlist_of_another_unit_is_refuted() -> None:
    unit, other = (clocked_mac_unit(fixed_mac_unit(FixedMac(4, 4, 12, stop))) for stop in ("saturate", "wrap"))
    renamed = dataclasses.replace(other, name=unit.name)
    assert prove_netlist(renamed, synthesise(unit, Mapping())).outcome == "refuted"


def test_a_multiplier_of_twelve_bits_is_undecided_after_a_second() -> None:
    unit = fixed_mac_unit(FixedMac(12, 12, 28))
    proof = prove_netlist(unit, synthesise(unit, Mapping()), timeout_s=1)
    assert proof.outcome == "undecided"
    assert "1 s" in proof.told


class _Sum(wiring.Component):
    """An adder whose correction is 0 where the sum is zero; there it means nothing, and may be any number."""

    def __init__(self, adder: Unit) -> None:
        self._adder = adder
        ports = {port.name: In(port.width) for port in adder.inputs}
        super().__init__(ports | {port.name: Out(port.width) for port in adder.outputs})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.adder = adder = self._adder.component
        m.d.comb += [getattr(adder, port.name).eq(getattr(self, port.name)) for port in self._adder.inputs]
        m.d.comb += [self.cancel.eq(adder.cancel), self.correction.eq(Mux(adder.cancel, 0, adder.correction))]
        return m


def sum_unit(adder: Adder, format: LNS) -> Unit:
    unit = log_adder_unit(adder, format)
    return dataclasses.replace(unit, component=_Sum(unit))


def tables(adder: Adder, format: LNS, unit: Unit) -> dict[str, np.ndarray]:
    """By inputs, d lowest, then opposite, then live: the adder's entries, none unless live."""
    distances = np.arange(1 << unit.inputs[0].width)
    plus, minus = (table.astype(np.int64)[np.minimum(distances, len(table) - 1)] for table in adder.tables(format))
    cancels = (distances == 0) | (minus == CANCEL)
    minus[cancels] = 0
    nothing = np.zeros_like(distances)
    return {
        "correction": np.concatenate([nothing, nothing, plus, minus]) & ((1 << unit.outputs[0].width) - 1),
        "cancel": np.concatenate([nothing, nothing, nothing, cancels.astype(np.int64)]),
    }


@pytest.mark.parametrize(("name", "format"), ADDERS, ids=str)
def test_an_adder_is_proved_to_be_its_tables_for_every_distance(name: str, format: LNS) -> None:
    adder = named_adder(name, format)
    unit = sum_unit(adder, format)
    proof = prove_table(unit, tables(adder, format, unit))
    assert proof.outcome == "proved", proof.told


def test_a_table_with_one_wrong_entry_is_refuted_and_the_distance_told() -> None:
    format = LNS(5, 5)
    adder = named_adder("designed", format)
    unit = sum_unit(adder, format)
    wrong = tables(adder, format, unit)
    wrong["correction"][37 | 3 << unit.inputs[0].width] ^= 1
    proof = prove_table(unit, wrong)
    assert proof.outcome == "refuted"
    assert f"{37:011b}" in proof.told
