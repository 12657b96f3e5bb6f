"""Whole dot products of LinearAccumulate: units, fed cycle by cycle, are the layers of a quantised network bit for bit.

From float weights and activations by codes to the integer sum, from there to float32 and to the code of the next layer.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from mac_vectors import Codes, Together, assert_equal, packed, run

import slipstick as ss
from slipstick import LinearAccumulate, MultiBaseLNS, Product, QuantizerSpec, Range, Recipe
from slipstick.hardware.models.fixed import pattern, signed
from slipstick.hardware.models.linear_accumulate import LinearOutput, LinearVector
from slipstick.hardware.rtl.linear_accumulate import linear_mac_unit
from slipstick.hardware.rtl.linear_output import linear_output_unit
from slipstick.hardware.rtl.linear_vector import linear_vector_unit
from slipstick.hardware.rtl.mac import clocked_mac_unit
from slipstick.hardware.unit import Unit

PAPER, WITH_ZERO, COARSE = MultiBaseLNS(8, 8), MultiBaseLNS(8, 8, zero=True), MultiBaseLNS(5, 4, zero=True)


@dataclass(frozen=True)
class Layer:
    """A product of ``terms``, and the unit for it: of one lane the core, whose every addition stops; else a tree."""

    format: MultiBaseLNS
    product: Product
    lanes: int
    terms: int
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.terms} terms, {self.lanes} lanes, {self.format}, {self.product}"

    @property
    def arithmetic(self) -> LinearAccumulate:
        made = self.product.arithmetic(self.format)
        assert made.format == self.format
        return made

    @cached_property
    def unit(self) -> Unit:
        if self.lanes == 1:
            return clocked_mac_unit(linear_mac_unit(self.arithmetic))
        return clocked_mac_unit(linear_vector_unit(LinearVector(self.arithmetic, self.lanes)))

    @property
    def output(self) -> LinearOutput:
        return LinearOutput(self.format, self.product.bits)


LAYERS = [
    Layer(PAPER, Product(backward=False), 4, 24),
    Layer(WITH_ZERO, Product(entries=2, constant_bits=9, backward=False), 5, 33),
    Layer(WITH_ZERO, Product(bits=14, headroom=0, overflow="wrap", backward=False), 3, 40, True),
    Layer(PAPER, Product(entries=1, bits=16, headroom=0, backward=False), 1, 50, True),
    Layer(COARSE, Product(bits=20, headroom=6, backward=False), 6, 64),
]
LONG = [
    Layer(PAPER, Product(backward=False), 16, 256),
    Layer(PAPER, Product(entries=4, backward=False), 16, 240),
    Layer(PAPER, Product(entries=1, backward=False), 32, 256),
    Layer(WITH_ZERO, Product(bits=18, headroom=1, overflow="wrap", backward=False), 16, 1000, True),
    Layer(PAPER, Product(bits=18, headroom=1, backward=False), 1, 1000, True),
]


@pytest.fixture(scope="module")
def units() -> Together:
    return Together([linear_output_unit(layer.output) for layer in LAYERS])


def sums(layer: Layer, a: Codes, b: Codes) -> Codes:
    """The accumulator after dot products of codes [rows, terms] that follow each other without a gap; signed."""
    rows, latency = len(a), layer.unit.latency
    cycles = -(-layer.terms // layer.lanes)
    ports = {}
    for name, side in (("a", a), ("b", b)):
        padded = np.zeros((rows, cycles * layer.lanes), np.int64)
        padded[:, : layer.terms] = side
        terms = np.concatenate([padded.reshape(-1, layer.lanes), np.zeros((latency - 1, layer.lanes), np.int64)])
        ports[name] = packed(terms, layer.format.bits)
    clear = np.zeros(rows * cycles + latency - 1, np.int64)
    clear[: rows * cycles : cycles] = 1
    got = run(layer.unit, **ports, clear=clear)[latency - 1 :]
    return signed(got[cycles - 1 :: cycles], layer.product.bits)


def check(units: Together, number: int, layer: Layer, size: int) -> None:
    """A linear layer of PyTorch, quantised, and its units; all scales powers of two, as hardware has them."""
    torch.manual_seed(size)
    spec = QuantizerSpec(layer.format, range=Range(scale="power_of_two"))
    linear, x = nn.Linear(layer.terms, size, bias=False), torch.randn(size, layer.terms)
    if layer.stops:  # sums that leave the accumulator: of one sign, and large
        with torch.no_grad():
            linear.weight.abs_().add_(0.5 / layer.terms**0.5)
            x = x.abs() + 1
    weight = linear.weight.detach().clone()
    ss.quantize(linear, Recipe("units", weight=spec, activation=spec, product=layer.product))
    with torch.no_grad():
        y = linear(x).numpy()
    scales = [spec.range.scale_for(spec.range.measure(side), layer.format) for side in (x, weight)]
    a, b = (layer.format.encode(side, scale=s).numpy() for side, s in zip((x, weight), scales, strict=True))
    total = sums(layer, np.repeat(a, size, 0), np.tile(b, (size, 1)))
    weighs = 2.0**layer.arithmetic.lsb * float(scales[0]) * float(scales[1])
    got = (total * weighs).astype(np.float32)
    assert_equal(got.view(np.uint32).astype(np.int64), y.ravel().view(np.uint32).astype(np.int64))
    ends = 1 << (layer.product.bits - 1)
    assert layer.stops == (layer.product.overflow == "wrap" or bool((total >= ends - 1).any()))

    scale = float(spec.range.scale_for(spec.range.measure(torch.from_numpy(y)), layer.format))
    offset = round(np.log2(weighs / scale) * layer.format.base_factor)
    assert offset % layer.format.base_factor == 0
    operands = units.run(
        number,
        acc=pattern(total, layer.product.bits),
        offset=np.full_like(total, pattern(np.array(offset), layer.output.offset_bits)),
    )["operand"]
    expected = layer.format.encode(torch.from_numpy(y.ravel()), scale=scale).numpy().astype(np.int64)
    assert_equal(operands, expected, sum=total)


@pytest.mark.parametrize("number", range(len(LAYERS)), ids=lambda i: str(LAYERS[i]))
def test_a_quantised_layer_is_what_the_units_compute(units: Together, number: int) -> None:
    check(units, number, LAYERS[number], 17)


@pytest.mark.long
@pytest.mark.parametrize("layer", LONG, ids=str)
def test_a_layer_of_four_million_products(layer: Layer) -> None:
    units = Together([linear_output_unit(layer.output)])
    check(units, 0, layer, int((4e6 / layer.terms) ** 0.5) + 1)
