# amaranth: UnusedElaboratable=no
"""From LinearAccumulate's integer back to a logarithm: the nearest code, by comparison with every threshold.

The sum's magnitude is normalised, its mantissa compared with 2^((2r+1) / (2 gamma)) for every r. A negative sum is not
negated: its complement is normalised with ones from the right, and the 1 that is missing at its end is one more bit
of every comparison.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from slipstick.hardware.models.linear_accumulate import LinearOutput
from slipstick.hardware.rtl.linear_accumulate import code_meaning, format_name
from slipstick.hardware.rtl.normalise import leading_zeros, shifted_left
from slipstick.hardware.unit import Port, Unit


def linear_output_unit(output: LinearOutput) -> Unit:
    """The converter of ``models.linear_accumulate.linear_output``: combinational, acc and offset to operand."""
    format = output.format
    offset = f"of the scales, two's complement, in steps of 1/{format.base_factor} octave"
    return Unit(
        name=f"linear_output_{output.accumulator_bits}_{output.offset_bits}_{format_name(format)}",
        title=f"Accumulator to logarithm: {output}.\nThe nearest logarithm, plus an offset, stopped at the ends of the "
        "format; exact thresholds.",
        component=_LinearOutput(output),
        inputs=(
            Port("acc", output.accumulator_bits, "accumulator, two's complement"),
            Port("offset", output.offset_bits, offset),
        ),
        outputs=(Port("operand", format.bits, code_meaning(format)),),
    )


class _LinearOutput(wiring.Component):
    def __init__(self, output: LinearOutput) -> None:
        self._output = output
        super().__init__(
            {"acc": In(output.accumulator_bits), "offset": In(output.offset_bits), "operand": Out(output.format.bits)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        format, places = self._output.format, self._output.accumulator_bits - 1
        negative = self.acc[-1]
        zeros = Signal(range(places + 1))
        m.d.comb += zeros.eq(leading_zeros(m, self.acc[:-1] ^ negative.replicate(places)))
        mantissa = shifted_left(m, self.acc[:-1], zeros, "mantissa") ^ negative.replicate(places)
        rest = self._rest(m, Cat(negative, mantissa))

        octave = Signal(signed(len(zeros) + 1))  # -1 of 0 and of -1, which is all ones
        log = Signal(signed(max(len(octave) + format.base_factor.bit_length(), len(self.offset)) + 2))
        m.d.comb += octave.eq(places - 1 - zeros)
        m.d.comb += log.eq(octave * format.base_factor + rest + self.offset.as_signed())
        below = Signal()
        above = Signal()
        m.d.comb += below.eq(log[-1] | ~self.acc.any())
        m.d.comb += above.eq(log[format.bits - 1 : -1].any())
        x = Signal(format.bits - 1)
        m.d.comb += x.eq((log[: len(x)] | above.replicate(len(x))) & ~below.replicate(len(x)))
        plus = ~x.any() if format.zero else ~self.acc.any()
        m.d.comb += self.operand.eq(Cat(x, negative & ~plus))
        return m

    def _rest(self, m: Module, mantissa: Value) -> Value:
        """How many thresholds lie below the mantissa, a number from 0 to gamma; its last bit is the missing 1."""
        passed = [Signal(name=f"passed{r}") for r in range(self._output.format.base_factor)]
        for bit, threshold in zip(passed, self._output.thresholds, strict=True):
            m.d.comb += bit.eq(mantissa > (threshold >> 1 << 1))
        every, rows = passed[-1], passed
        count = Signal(len(passed).bit_length() - 1)
        for bit in reversed(
            range(len(count))
        ):  # they pass in ascending order: the middle one says in which half to go on
            half = len(rows) // 2
            m.d.comb += count[bit].eq(rows[half - 1])
            rows = [Mux(count[bit], high, low) for low, high in zip(rows[:half], rows[half:], strict=True)]
        return Cat(count & ~every.replicate(len(count)), every)
