"""What stays in codes between kernels gives the bits that tensors between them give."""

import pytest
import torch
from operands import seed, tensor

from grid import random_codes
from slipstick import LNS, LogArithmetic, Sequential, Tree
from slipstick.kernels import products, reference
from slipstick.kernels.elementwise import CodeArray, chain, identity
from slipstick.kernels.observation import observing
from slipstick.kernels.spec import KernelSpec, kernel_spec

total_and_product = chain(lambda x, y: (x + y, x * y))
scaled_difference = chain(lambda x, y, z: (x - y) * z)
positive = chain(lambda x: x > 0.0)

NARROW = kernel_spec(LogArithmetic(LNS(5, 5), "hamad2025"))
FINE = kernel_spec(LogArithmetic(LNS(4, 9), "exact", order=Sequential()))
WIDE = kernel_spec(LogArithmetic(LNS(6, 10), "exact", order=Tree(4)))


def numbers(spec: KernelSpec, shape: tuple[int, ...], *key: object) -> torch.Tensor:
    format = spec.arithmetic.format
    return tensor(reference.from_codes(random_codes(format, shape, seed(key, shape)), format))


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.permute(2, 0, 3, 1).contiguous().permute(1, 3, 0, 2),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
    "expanded": lambda x: x[:1].expand(x.shape),
}


@pytest.mark.parametrize("spec", [NARROW, FINE], ids=lambda s: str(s.arithmetic))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (8, 16, 9, 9)], ids=str)
def test_results_in_codes_are_the_results(spec: KernelSpec, layout: str, shape, isa, threads) -> None:
    x, y = LAYOUTS[layout](numbers(spec, shape, "x")), numbers(spec, (shape[1], 1, 1), "y")
    z = numbers(spec, shape, "z")
    results = total_and_product(spec, "both", x, y)
    coded = total_and_product.coded(spec, "both", x, y)
    for result, codes in zip(results, coded, strict=True):
        assert isinstance(codes, CodeArray)
        assert codes.shape == result.shape
        assert torch.equal(identity(spec, "decode", codes), result)
        assert torch.equal(scaled_difference(spec, "mix", codes, y, z), scaled_difference(spec, "mix", result, y, z))
        for dims in ([0, 2, 3], [1], [3], [0, 1, 2, 3]):
            expected = products.sum_over(result, dims, True, spec)
            assert torch.equal(products.sum_over(codes, dims, True, spec), expected)


def test_float64_joins_codes_as_tensors(isa) -> None:
    x, y = numbers(NARROW, (30, 7), "x"), numbers(NARROW, (30, 7), "y")
    codes = identity.coded(NARROW, "encode", x)
    got = scaled_difference(NARROW, "mix", codes, y.double(), 0.37)
    assert got.dtype == torch.float64
    assert torch.equal(got, scaled_difference(NARROW, "mix", x, y.double(), 0.37))


def test_codes_go_on_where_a_constant_is_new(isa) -> None:
    spec = kernel_spec(LogArithmetic(LNS(5, 4), "exact"))
    x = numbers(spec, (50,), "x")
    codes = identity.coded(spec, "encode", x)
    assert torch.equal(
        scaled_difference(spec, "new", codes, 0.8125, 3.5), scaled_difference(spec, "new", x, 0.8125, 3.5)
    )


@pytest.mark.parametrize(
    ("spec", "x"),
    [(WIDE, torch.ones(5)), (NARROW, torch.ones(5, dtype=torch.float64)), (NARROW, torch.ones(0))],
    ids=["more than 16 bits", "float64", "nothing"],
)
def test_where_codes_do_not_serve_tensors_do(spec: KernelSpec, x: torch.Tensor) -> None:
    result = total_and_product.coded(spec, "both", x, x)[0]
    if x.numel():
        assert isinstance(result, torch.Tensor)
        assert result.dtype == x.dtype
    assert torch.equal(identity(spec, "decode", result).to(x.dtype), x + x)


def test_masks_are_tensors() -> None:
    assert positive.coded(NARROW, "mask", torch.tensor([1.0, -1.0])).tolist() == [True, False]


class Nothing:
    """An observer that looks at nothing."""

    def contraction(self, seen: object) -> None: ...

    def chain(self, seen: object) -> None: ...


def test_observers_see_tensors() -> None:
    with observing(Nothing()):
        assert isinstance(total_and_product.coded(NARROW, "both", torch.ones(3), 1.0)[0], torch.Tensor)
