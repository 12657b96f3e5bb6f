"""What an observer replays of a kernel is what the kernel computed, and every order takes K - 1 additions."""

from typing import Any

import numpy as np
import pytest
import torch
from arithmetics import DEFAULTS, KERNEL_ARITHMETICS, each_default
from operands import operand, seed, tensor

from slipstick import LNS, LogArithmetic, NonFiniteError
from slipstick.kernels import convolutions, products, reference, replay
from slipstick.kernels.convolutions import Geometry
from slipstick.kernels.elementwise import chain
from slipstick.kernels.observation import ChainCall, Contraction, current_observer, observing
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec

GEOMETRIES = [
    # input, weight, stride, padding, dilation, groups
    ((2, 3, 7, 6), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((1, 4, 9, 8), (6, 2, 3, 2), (2, 3), (2, 0), (1, 2), 2),
    ((2, 2, 11), (3, 2, 4), (2,), (3,), (2,), 1),
]


class Replayer:
    """Replays everything that it sees."""

    def __init__(self) -> None:
        self.sums: list[tuple[Contraction, LogArray]] = []
        self.chains: list[tuple[ChainCall, dict[int, Any]]] = []
        self.additions = 0

    def contraction(self, seen: Contraction) -> None:
        sums = replay.replay_contraction(seen, np.arange(replay.outputs(seen)), self.report)
        self.sums.append((seen, reference.convert(sums, seen.spec.format)))

    def chain(self, seen: ChainCall) -> None:
        self.chains.append((seen, replay.replay_chain(seen, np.arange(replay.elements(seen)), self.report)))

    def report(self, a: LogArray, b: LogArray, there: Any) -> None:
        assert a.shape == b.shape
        self.additions += int(np.count_nonzero(np.broadcast_to(there, a.shape)))


def assert_replayed(observer: Replayer, out: torch.Tensor) -> None:
    """The last contraction, put where the kernel put it, is ``out``; K terms took K - 1 additions."""
    seen, sums = observer.sums[-1]
    sizes = (1, *(dim[0] for dim in (*seen.batch, *seen.rows, *seen.columns)))
    strides = (0, *(dim[-1] for dim in (*seen.batch, *seen.rows, *seen.columns)))
    index = np.unravel_index(np.arange(replay.outputs(seen)), sizes)
    place = sum(i * stride for i, stride in zip(index, strides, strict=True))
    got = np.empty(out.numel(), np.float32)
    got[place] = sums.numbers()
    np.testing.assert_array_equal(got, out.contiguous().flatten().numpy())
    assert observer.additions == out.numel() * (replay.terms(seen) - 1)


def numbers(arithmetic: LogArithmetic, shape: tuple[int, ...], *key: object) -> torch.Tensor:
    return tensor(operand(arithmetic.format, shape, "close", seed(key, shape, str(arithmetic))))


@pytest.mark.parametrize("arithmetic", KERNEL_ARITHMETICS[::3], ids=str)
@pytest.mark.parametrize("terms", [1, 2, 15, 16, 17, 70, 300])
def test_a_matrix_product_is_replayed(arithmetic, terms):
    spec = kernel_spec(arithmetic)
    a, b = numbers(arithmetic, (2, 3, terms), "a"), numbers(arithmetic, (2, terms, 4), "b")
    observer = Replayer()
    with observing(observer):
        out = products.matmul(a, b.transpose(1, 2).contiguous().transpose(1, 2), spec)
    assert_replayed(observer, out)


@each_default
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_convolution_and_its_gradients_are_replayed(arithmetic, geometry):
    shape, kernel, *rest = geometry
    spec = kernel_spec(arithmetic, LNS(arithmetic.format.int_bits, 10, arithmetic.format.underflow))
    x, w = torch.randn(shape, generator=torch.Generator().manual_seed(1)), numbers(arithmetic, kernel, "w")
    observer = Replayer()
    with observing(observer):
        y = convolutions.convolution(x, w, spec, Geometry(*rest))
        assert_replayed(observer, y)
        gy, observer.additions = numbers(arithmetic, tuple(y.shape), "gy").double(), 0
        assert_replayed(observer, convolutions.convolution_input_gradient(gy, w, shape, spec, Geometry(*rest)))
        observer.additions = 0
        assert_replayed(observer, convolutions.convolution_weight_gradient(gy, x, kernel, spec, Geometry(*rest)))


@each_default
def test_a_reduction_is_replayed(arithmetic):
    observer = Replayer()
    with observing(observer):
        for dims in ([0], [1, 2], None):
            observer.additions = 0
            x = numbers(arithmetic, (6, 5, 4), "x").permute(2, 0, 1)
            assert_replayed(observer, products.sum_over(x, dims, True, kernel_spec(arithmetic)))


@chain
def everything(x, y, z, mask, scale):
    total = x * scale + y
    small = abs(total) < 0.5
    kept = small.select(z, total - 2.0 * z).maximum(mask.select(-x, y.minimum(z)))
    above = (x >= y).select(x <= z, (x > z).select(y.equals(z), y.differs(z)))
    first = (kept * kept).sqrt() / (1 + abs(y)) - above.select(x.is_zero().select(1.0, x.function("exp")), z)
    return first, (x * x + 1.0).rsqrt() + (y * y + 1.0).reciprocal(), above


@pytest.mark.parametrize("arithmetic", [DEFAULTS[0], DEFAULTS[3]], ids=str)
def test_a_chain_is_replayed(arithmetic):
    spec = kernel_spec(arithmetic, LNS(arithmetic.format.int_bits, 12, arithmetic.format.underflow))
    x, y = numbers(arithmetic, (30, 7), "x"), numbers(arithmetic, (7,), "y").double()
    z, mask = torch.randn(30, 1, generator=torch.Generator().manual_seed(1)), (x > 0)
    observer = Replayer()
    with observing(observer):
        out = everything(spec, "everything", x, y, z, mask, 0.3)
    ((seen, registers),) = observer.chains
    assert observer.additions == 210 * sum(op in ("add", "sub") for op, *_ in seen.steps)
    found = [value.numbers() if isinstance(value, LogArray) else value for value in registers.values()]
    for result in out:
        assert any(np.array_equal(result.flatten().numpy(), value) for value in found)


def test_a_chain_in_place_is_shown_before_it_is_overwritten():
    adding = chain(lambda x, y: x + y)
    x = torch.tensor([1.0, 2.0])
    observer = Replayer()
    with observing(observer):
        adding(kernel_spec(DEFAULTS[0]), "add", x, 3.0, out=x)
    ((_, registers),) = observer.chains
    np.testing.assert_array_equal(registers[0].numbers(), [1.0, 2.0])
    np.testing.assert_array_equal(registers[2].numbers(), x.numpy())


def test_a_replay_that_has_no_value_raises_as_its_kernel_does():
    log = chain(lambda x: x.function("log") + x)
    with observing(Replayer()), pytest.raises(NonFiniteError):
        log(kernel_spec(DEFAULTS[0]), "log", torch.tensor([1.0, -1.0]))


def test_nobody_looks_on_unless_asked():
    assert current_observer() is None
    with observing(Replayer()) as nothing:
        assert nothing is None
        assert current_observer() is not None
    assert current_observer() is None
