# amaranth: UnusedElaboratable=no
"""A clocked multiply-accumulate unit around a combinational core: registers for the operands, a register for the sum.

    registered a, b, clear        every cycle
    sum <= (clear ? 0 : sum) + a b, one cycle later

Only the registered ``clear`` has a reset, to 1: a dot product begins by clearing, so data registers need none.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.errors import SpecificationError
from slipstick.hardware.unit import Port, Unit


class ClockedMac(wiring.Component):
    """a, b, clear -> sum, two cycles later.

    core: combinational, inputs a, b, acc, output sum; may have an input clear. zero: the accumulator's code of zero.
    """

    def __init__(self, core: Unit, zero: int) -> None:
        self._core, self._zero = core, zero
        widths = {port.name: port.width for port in (*core.inputs, *core.outputs)}
        super().__init__({"a": In(widths["a"]), "b": In(widths["b"]), "clear": In(1), "sum": Out(widths["sum"])})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self._core.component
        a, b = Signal(len(self.a), reset_less=True), Signal(len(self.b), reset_less=True)
        clear = Signal(init=1)
        total = Signal(len(self.sum), init=self._zero, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), clear.eq(self.clear), total.eq(core.sum)]
        m.d.comb += [core.a.eq(a), core.b.eq(b), self.sum.eq(total)]
        if "clear" in core.signature.members:
            m.d.comb += [core.clear.eq(clear), core.acc.eq(total)]
        else:
            m.d.comb += core.acc.eq(Mux(clear, self._zero, total))
        return m


def clocked_mac_unit(core: Unit, zero: int = 0) -> Unit:
    """The clocked unit of a combinational multiply-accumulate core, whose accumulator has the code ``zero`` for 0.

    Raises:
        SpecificationError: the core has other ports than a, b, acc (and maybe clear) and sum.
    """
    inputs, outputs = {port.name: port for port in core.inputs}, {port.name: port for port in core.outputs}
    if core.latency or not {"a", "b", "acc"} <= set(inputs) <= {"a", "b", "acc", "clear"} or set(outputs) != {"sum"}:
        raise SpecificationError(
            f"clocked_mac_unit({core.name}): the core must be combinational, from a, b, acc to sum; "
            f"it has {', '.join(inputs)} and {', '.join(outputs)}"
        )
    return Unit(
        name=f"clocked_{core.name}",
        title=f"{core.title}\nClocked: every cycle the registered a, b, clear give sum <= (clear ? 0 : sum) + a b.",
        component=ClockedMac(core, zero),
        inputs=(inputs["a"], inputs["b"], Port("clear", 1, "begins a new sum with this product")),
        outputs=(Port("sum", outputs["sum"].width, outputs["sum"].meaning),),
        latency=2,
    )
