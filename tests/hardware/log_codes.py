"""Codes of logarithmic numbers, and several units as one, which compiles in the time of one."""

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from slipstick import LNS, LogArithmetic
from slipstick.hardware.models.log import LogRange, accumulator_range
from slipstick.hardware.simulation import Simulator
from slipstick.hardware.unit import Unit

Codes = NDArray[np.int64]


def codes(format: LNS, logs: LogRange | None = None) -> Codes:
    """Zero, and both numbers of every log of the range."""
    logs = logs or LogRange(-format.max_log, format.max_log)
    fields = np.arange(logs.lowest, logs.highest + 1) & ((1 << (format.width - 1)) - 1)
    return np.concatenate([[zero(format)], fields, fields | 1 << (format.width - 1)])


def zero(format: LNS) -> int:
    """The code of zero."""
    return 1 << (format.width - 2)


def sums(arithmetic: LogArithmetic) -> Codes:
    """All codes that the accumulator can have."""
    return codes(arithmetic.accumulator_format, accumulator_range(arithmetic))


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
    """Combinational units, compiled as one; ``run`` runs one of them."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = list(units)
        component = _Together(self._units)
        self._simulator = Simulator(Unit("together", "Units of a test.", component, (), ()))

    def run(self, number: int, **ports: Codes) -> dict[str, Codes]:
        """Outputs of unit ``number``; the others get zeros."""
        given = {f"{port.name}_{i}": np.int64(0) for i, unit in enumerate(self._units) for port in unit.inputs}
        given |= {f"{name}_{number}": values for name, values in ports.items()}
        outputs = self._simulator.run(**given)
        names = [port.name for port in self._units[number].outputs]
        return {name: outputs[f"{name}_{number}"].astype(np.int64) for name in names}
