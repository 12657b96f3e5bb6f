"""A recipe's products in integers: LinearAccumulate in place of float32, forward and backward.

    forward    y = (Q_A(x) Q_W(w)) + bias          backward   dx = Q_E(dy) Q_W(w),  dw = Q_A(x) Q_E(dy)

Each parenthesis and each product of the backward pass is a LinearAccumulate of codes; the bias and everything between
layers is float32. Training with an approximate table in the forward pass is the paper's approximation-aware training
(Zhao et al. 2021, arXiv 2106.13914).
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from slipstick.arithmetic import LinearAccumulate
from slipstick.arithmetic.linear_accumulate import Overflow
from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.quantize.choices import require_choice, require_keys


@dataclass(frozen=True)
class Product:
    """The datapath of a layer's products; its format is that of the roles.

    entries, constant_bits, bits, headroom, overflow: of LinearAccumulate. backward: the products of the backward pass
    too; otherwise they are float32 products of the rounded tensors.
    """

    entries: int | None = None
    constant_bits: int = 20
    bits: int = 24
    headroom: int = 8
    overflow: Overflow = "saturate"
    backward: bool = True

    def __post_init__(self) -> None:
        require_choice("product backward", self.backward, (True, False))

    def arithmetic(self, format: MultiBaseLNS) -> LinearAccumulate:
        """The datapath for operands of ``format``. Raises SpecificationError where there is none."""
        fields = {name: value for name, value in asdict(self).items() if name != "backward"}
        return LinearAccumulate(format, **fields)

    def __str__(self) -> str:
        table = "exact table" if self.entries is None else f"{self.entries} entries"
        passes = "forward and backward" if self.backward else "forward"
        return f"{table}, {self.bits}-bit accumulator, headroom {self.headroom}, {self.overflow}, {passes}"

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        default = asdict(Product())
        return {name: value for name, value in asdict(self).items() if value != default[name]}

    @classmethod
    def from_dict(cls, data: Any) -> "Product":
        """Of a table such as ``{entries = 1, bits = 20}``."""
        return cls(**require_keys("product", data, [field.name for field in fields(cls)]))


def common_format(formats: dict[str, Any]) -> MultiBaseLNS:
    """The one format of operands, by role, as far as a product sees it. Raises SpecificationError where they differ."""
    seen: dict[tuple[int, int], str] = {}
    for role, format in formats.items():
        if not isinstance(format, MultiBaseLNS):
            raise SpecificationError(f"product: {role} is {format or 'not rounded'}; it needs a MultiBaseLNS")
        seen.setdefault((format.bits, format.base_factor), role)
    if len(seen) > 1:
        (first, one), (second, other) = list(seen.items())[:2]
        raise SpecificationError(
            f"product: {one} has (bits, base_factor) {first} and {other} {second}; logarithms add in one format"
        )
    (bits, base_factor), _ = next(iter(seen.items()))
    return MultiBaseLNS(bits, base_factor)
