"""LogArithmetic: what + and x mean on LNS numbers, bit for bit."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Union

from slipstick.arithmetic.adders import Adder, Tables
from slipstick.arithmetic.design_file import DESIGN_SUFFIX, load_adder
from slipstick.arithmetic.exponential import ExpSegments, load_exponential, named_exponential
from slipstick.arithmetic.orders import Order, Tree
from slipstick.arithmetic.published import named_adder
from slipstick.errors import SpecificationError
from slipstick.formats import LNS

Accumulator = Union[Literal["guard", "operand"], "LogArithmetic"]

_GUARD_BITS = 2


@dataclass(frozen=True)
class LogArithmetic:
    """Arithmetic on the numbers of an LNS format.

    format: the operands and results. Above int_bits = 6 it serves as another arithmetic's accumulator only.
    add: an adder, the name of one ("exact", "designed", "designed-plateau", "designed-8", "designed-4",
        "designed-simd", "hamad2025", "hamad2025-agnostic", "sanyal2019-lut", "sanyal2019-bitshift"), or the path of a
        design file, which is read at once.
    order: of the terms of a sum: Sequential(), Tree(radix), Blocked(length).
    accumulator: where dot products and reductions are summed. "guard": LNS(I+2, F) with the same adder;
        "operand": the operand format, saturating at every step (Hamad et al. 2025); or another LogArithmetic, of which
        format and adder count.
    exp: of the function exp, in softmax and elsewhere: "exact" (correctly rounded), "designed" (the shipped piece-wise
        linear table of the format's frac_bits), a table, or the path of a file with one. All other functions are
        correctly rounded.
    """

    format: LNS
    add: Adder | str = "exact"
    order: Order = field(default_factory=Tree)
    accumulator: Accumulator = "guard"
    exp: ExpSegments | str = "exact"
    kind: ClassVar[str] = "log"

    def __post_init__(self) -> None:
        if not isinstance(self.format, LNS):
            raise SpecificationError(f"LogArithmetic(format={self.format!r}): must be an LNS")
        if not isinstance(self.order, Order):
            raise SpecificationError(f"LogArithmetic(order={self.order!r}): use Sequential(), Tree() or Blocked()")
        if isinstance(self.add, str) and self.add.endswith(DESIGN_SUFFIX):
            object.__setattr__(self, "add", load_adder(self.add))
        if isinstance(self.add, str):
            named_adder(self.add, self.format)
        elif not isinstance(self.add, Adder):
            raise SpecificationError(f"LogArithmetic(add={self.add!r}): must be an adder or the name of one")
        self.adder.tables(self.format)
        self._check_accumulator()
        self._check_exp()

    def _check_accumulator(self) -> None:
        if isinstance(self.accumulator, LogArithmetic):
            wide = self.accumulator.format
            if wide.frac_bits < self.format.frac_bits:
                raise SpecificationError(
                    f"LogArithmetic(accumulator={wide}): has fewer fraction bits than its operands {self.format}"
                )
        elif self.accumulator not in ("guard", "operand"):
            raise SpecificationError(
                f"LogArithmetic(accumulator={self.accumulator!r}): use 'guard', 'operand' or a LogArithmetic"
            )

    def _check_exp(self) -> None:
        if isinstance(self.exp, str) and self.exp.endswith(DESIGN_SUFFIX):
            object.__setattr__(self, "exp", load_exponential(self.exp))
        if isinstance(self.exp, str):
            named_exponential(self.exp, self.format)
        elif isinstance(self.exp, ExpSegments):
            self.exp.check_format(self.format)
        else:
            raise SpecificationError(f"LogArithmetic(exp={self.exp!r}): use 'exact', 'designed' or an ExpSegments")

    def __str__(self) -> str:
        name = self.add if isinstance(self.add, str) else str(self.add)
        parts = [f"{self.format} {name}"]
        if self.order != Tree():
            parts.append(str(self.order))
        if isinstance(self.accumulator, LogArithmetic):
            parts.append(f"accumulator {self.accumulator.format} {self.accumulator.adder}")
        elif self.accumulator != "guard":
            parts.append(f"accumulator {self.accumulator}")
        if self.exp != "exact":
            parts.append(f"exp={self.exp}" if isinstance(self.exp, str) else str(self.exp))
        return ", ".join(parts)

    @property
    def adder(self) -> Adder:
        """The adder object, also where ``add`` is a name."""
        return named_adder(self.add, self.format) if isinstance(self.add, str) else self.add

    @property
    def exponential(self) -> ExpSegments | None:
        """The table of exp, also where ``exp`` is a name; None where exp is correctly rounded."""
        return named_exponential(self.exp, self.format) if isinstance(self.exp, str) else self.exp

    @property
    def tables(self) -> Tables:
        """D+ and D- of the operand format."""
        return self.adder.tables(self.format)

    @property
    def accumulator_format(self) -> LNS:
        """The format that sums are formed in."""
        if isinstance(self.accumulator, LogArithmetic):
            return self.accumulator.format
        guard = _GUARD_BITS if self.accumulator == "guard" else 0
        return LNS(self.format.int_bits + guard, self.format.frac_bits, self.format.underflow)

    @property
    def accumulator_tables(self) -> Tables:
        """D+ and D- of the accumulator."""
        if isinstance(self.accumulator, LogArithmetic):
            return self.accumulator.tables
        return self.adder.tables(self.accumulator_format)

    def to_dict(self) -> dict[str, Any]:
        nested = isinstance(self.accumulator, LogArithmetic)
        data: dict[str, Any] = {
            "kind": self.kind,
            "format": self.format.to_dict(),
            "add": self.add if isinstance(self.add, str) else self.add.to_dict(),
            "order": self.order.to_dict(),
            "accumulator": self.accumulator.to_dict() if nested else self.accumulator,  # type: ignore[union-attr]
        }
        if self.exp != "exact":  # left out by default: the descriptions in older checkpoints stay equal
            data["exp"] = self.exp if isinstance(self.exp, str) else self.exp.to_dict()
        return data
