"""What all quantiser formats share: one meaning of encode, decode and quantize; unbiased rounding; plain errors."""

from math import inf, nan

import pytest
import torch

import slipstick as ss
from slipstick import (
    E3M0,
    E4M3,
    E5M2,
    FixedPoint,
    LogQuant,
    MiniFloat,
    MultiBaseLNS,
    NonFiniteError,
    SpecificationError,
)
from slipstick.formats import Quantiser, ScaledLNS

FORMATS = [
    FixedPoint(0, 7), FixedPoint(0, 3, symmetric=True, rounding="half-even"), FixedPoint(2, 2, signed=False),
    E4M3, E5M2, E3M0, MiniFloat(3, 2, specials="none"), LogQuant(3, 0), LogQuant(4, 2, "sqrt2"),
    LogQuant(4, 1, signed=False), MultiBaseLNS(8, 8), MultiBaseLNS(4, 2), MultiBaseLNS(6, 4, zero=True),
    ScaledLNS(2, 2, -3), ScaledLNS(1, 1, 2, signed=False),
]  # fmt: skip
ROUNDINGS = [(f, r) for f in FORMATS for r in f.roundings]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def spread(format, count, seed=0):
    """Numbers of both signs, over the range of the format and beyond it."""
    generator = seeded(seed)
    logs = torch.rand(count, generator=generator, dtype=torch.float64) * 14 - 11
    signs = torch.randint(0, 2, (count,), generator=generator) * 2 - 1
    return (format.largest * torch.exp2(logs) * signs).float()


def same_bits(a, b):
    return torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())


@pytest.mark.parametrize(("format", "rounding"), ROUNDINGS, ids=str)
def test_quantize_is_decode_of_encode(format, rounding):
    for x in (spread(format, 5000), spread(format, 5000).double() * 1.0000000001, spread(format, 7), torch.tensor(0.3)):
        for scale in (None, 0.25, format.scale_of(x)):
            codes = format.encode(x, rounding=rounding, generator=seeded(), scale=scale)
            assert codes.dtype == torch.int32
            assert codes.min() >= 0
            assert codes.max() < 1 << format.width
            result = format.quantize(x, rounding=rounding, generator=seeded(), scale=scale)
            assert result.dtype == x.dtype
            assert result.shape == x.shape
            assert same_bits(result, format.decode(codes, scale=scale).to(x.dtype))


@pytest.mark.parametrize(("format", "rounding"), ROUNDINGS, ids=str)
def test_large_tensors_in_pieces_and_any_layout_give_the_same_bits(format, rounding):
    x = spread(format, 600_000).view(600, 10, 100)
    whole = format.quantize(x, rounding=rounding, generator=seeded())
    assert same_bits(whole, format.decode(format.encode(x, rounding=rounding, generator=seeded())))
    turned = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not turned.is_contiguous()
    assert same_bits(format.quantize(turned, rounding=rounding, generator=seeded()), whole)
    if rounding == "nearest":
        apart = torch.cat([format.quantize(part) for part in x.split(7)])
        assert same_bits(apart, whole)
        assert same_bits(format.quantize(x[::3, :, 1::2]), whole[::3, :, 1::2])


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_results_do_not_depend_on_the_number_of_threads(format):
    x = spread(format, 300_000)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(format.quantize(x, rounding="stochastic", generator=seeded()))
    finally:
        torch.set_num_threads(threads)
    assert same_bits(*results)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_rounding_is_monotonic_and_lands_on_values(format):
    x = spread(format, 20_000).sort().values
    result = format.quantize(x)
    assert (result.diff() >= 0).all()
    assert torch.isin(result, format.values).all()
    assert format.quantize(torch.tensor([inf, -inf])).tolist() == [format.values[-1].item(), format.values[0].item()]


@pytest.mark.parametrize(("format", "rounding"), ROUNDINGS, ids=str)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_numbers_of_the_format_never_move(format, rounding, scale):
    numbers = format.decode(format.encode(format.values), scale=scale)
    generator = seeded()
    for _ in range(30):
        assert torch.equal(format.quantize(numbers, rounding=rounding, generator=generator, scale=scale), numbers)


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_stochastic_rounding_has_exactly_the_mean_x(format, dtype, scale):
    """All draws j / 4096 in turn: the mean misses x by less than one draw's worth of the gap around x."""
    numbers = format.decode(format.encode(format.values), scale=scale).to(dtype)
    inside = numbers[:-1] + numbers.diff() * torch.rand(len(numbers) - 1, generator=seeded(1), dtype=torch.float64)
    x = inside[torch.linspace(0, len(inside) - 1, min(len(inside), 150)).long()].to(dtype)
    count = 4096
    draws = (torch.arange(count) / count)[:, None].expand(count, len(x)).contiguous()
    place = format._place(format._scale(scale, x), draws.to(dtype))
    results = format._quantize(x.expand(count, -1).contiguous(), "stochastic", draws, place).double()
    above = torch.searchsorted(numbers, x, right=True).clamp(max=len(numbers) - 1)
    low, high = numbers[above - 1].double(), numbers[above].double()
    assert ((results == low) | (results == high)).all()
    rounding_of_the_quotient = 2.0**-20 * x.double().abs() if scale else 0
    assert ((results.mean(dim=0) - x.double()).abs() <= (high - low) / count + rounding_of_the_quotient).all()


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_many_draws_average_to_x(format):
    x = (format.values[:-1] + format.values.diff() * 0.37)[:: max(1, len(format.values) // 30)]
    count = 20_000
    results = format.quantize(x.expand(count, -1), rounding="stochastic", generator=seeded(5)).double()
    gap = results.amax(dim=0) - results.amin(dim=0)
    deviation = gap * (0.37 * 0.63 / count) ** 0.5
    assert ((results.mean(dim=0) - x.double()).abs() < 5 * deviation + 1e-6 * gap).all()


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_stochastic_rounding_repeats_with_its_generator_and_saturates(format):
    x = torch.cat([spread(format, 1000), torch.tensor([inf, -inf, 0.0])])
    first, second = (format.quantize(x, rounding="stochastic", generator=seeded(3)) for _ in range(2))
    assert same_bits(first, second)
    assert not torch.equal(first, format.quantize(x, rounding="stochastic", generator=seeded(4)))
    assert first[1000:1002].tolist() == [format.values[-1].item(), format.values[0].item()]


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_nearest_leaves_the_generator_alone(format):
    generator = seeded()
    before = generator.get_state()
    format.quantize(torch.ones(5), generator=generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_errors_are_one_line_that_names_the_format(format):
    x = torch.ones(2, 3)
    for call, error, says in (
        (lambda: format.encode(torch.tensor([1.0, nan])), NonFiniteError, "NaN is not quantised"),
        (lambda: format.quantize(torch.tensor([nan], dtype=torch.float64)), NonFiniteError, "NaN is not quantised"),
        (lambda: format.scale_of(torch.tensor([inf])), NonFiniteError, "beyond float32"),
        (lambda: format.encode(x.half()), SpecificationError, "use float32 or float64"),
        (lambda: format.encode(x.int()), SpecificationError, "use float32 or float64"),
        (lambda: format.encode(x, rounding="up"), SpecificationError, "choose 'nearest' or 'stochastic'"),
        (lambda: format.quantize(x, rounding="stochastic"), SpecificationError, r"generator=torch.Generator\(\)"),
        (lambda: format.encode(x, scale=0.0), SpecificationError, "scale=0: must be at least"),
        (lambda: format.encode(x, scale=-1.0), SpecificationError, "scale=-1: must be at least"),
        (lambda: format.encode(x, scale=nan), SpecificationError, "scale=nan"),
        (lambda: format.encode(x, scale=inf), SpecificationError, "scale=inf"),
        (lambda: format.decode(torch.tensor([-1])), SpecificationError, "-1 is not a code"),
        (lambda: format.decode(torch.tensor([1 << format.width])), SpecificationError, "is not a code"),
        (lambda: format.decode(x), SpecificationError, "codes are integers"),
    ):
        with pytest.raises(error, match=says) as caught:
            call()
        assert str(caught.value).startswith(str(format))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", [FixedPoint(0, 7), E4M3, LogQuant(3, 0)], ids=str)
def test_scales_broadcast_or_are_refused(format):
    x = spread(format, 12).view(3, 4)
    scale = format.scale_of(x, dim=0)
    assert scale.shape == (3, 1)
    rows = torch.stack([format.quantize(row, scale=s) for row, s in zip(x, scale.flatten(), strict=True)])
    assert same_bits(format.quantize(x, scale=scale), rows)
    assert format.quantize(x, scale=scale).abs().amax(dim=1).tolist() == (scale.flatten() * format.largest).tolist()
    with pytest.raises(SpecificationError, match=r"shape \(2,\) does not broadcast to \(3, 4\)"):
        format.encode(x, scale=torch.ones(2))


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_scales_of_zero_and_of_nothing_are_the_smallest(format):
    x = torch.zeros(2, 3)
    assert format.scale_of(x) == format.scale_of(torch.zeros(0, 3)) == format.smallest_scale
    result = format.quantize(x, scale=format.scale_of(x))
    assert (result.abs() <= 2.0**-126).all()


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_power_of_two_scales_hold_the_peak_tightly(format):
    for peak in (1e-20, 0.1, 1.0, 3.0, 1e20):
        scale = float(format.scale_of(torch.tensor([peak, -peak / 2]), power_of_two=True))
        assert float.fromhex(float.hex(scale)) == 2.0 ** round(torch.log2(torch.tensor(scale)).item())
        peak = float(torch.tensor(peak))
        assert scale * format.largest >= peak > scale / 2 * format.largest


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_empty_and_scalar_tensors_and_gradients(format):
    assert format.encode(torch.zeros(0, 3)).shape == format.quantize(torch.zeros(0, 3)).shape == (0, 3)
    assert format.quantize(torch.zeros(0), rounding="stochastic", generator=seeded()).shape == (0,)
    assert format.decode(format.encode(torch.tensor(1.0))).shape == ()
    x = torch.ones(4, requires_grad=True)
    assert not format.quantize(x).requires_grad
    kept = spread(format, 50)
    copy = kept.clone()
    for rounding in format.roundings:
        format.quantize(kept, rounding=rounding, generator=seeded(), scale=0.5)
        format.encode(kept, rounding=rounding, generator=seeded())
    codes = format.encode(kept)
    copied = codes.clone()
    format.decode(codes)
    assert torch.equal(kept, copy)
    assert torch.equal(codes, copied)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_an_arithmetic_in_use_does_not_reach_into_a_format(format):
    x = spread(format, 100)
    expected = format.quantize(x)
    with ss.use(ss.LogArithmetic(ss.LNS(5, 5))):
        assert same_bits(format.quantize(x), expected)
        assert same_bits(format.decode(format.encode(x)), expected)


@pytest.mark.parametrize("format", [*FORMATS, MultiBaseLNS(8, 8, "per_channel", power_of_two=True)], ids=str)
def test_formats_survive_their_dict_and_are_values(format):
    data = format.to_dict()
    assert data["format"] == type(format).__name__
    for reader in (type(format), Quantiser):
        again = reader.from_dict(data)
        assert again == format
        assert hash(again) == hash(format)
    assert type(format).from_dict({k: v for k, v in data.items() if k != "format"}) == format
    assert str(format).startswith(type(format).__name__)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"format": "LogQant", "bits": 3}, "choose FixedPoint or LogQuant or MiniFloat or MultiBaseLNS"),
        (
            {"format": "LogQuant", "bits": 3, "fsr": 0, "sign": True},
            "LogQuant: unknown field 'sign'; the fields are",
        ),
        ({"format": "LogQuant", "bits": 3}, "LogQuant: missing 1 required positional argument: 'fsr'"),
        ({"format": "LogQuant", "bits": 3.0, "fsr": 0}, r"LogQuant\(bits=3.0\)"),
        ({"bits": 3}, "format='Quantiser': choose"),
        ({"format": 3}, "format=3: choose"),
    ],
)
def test_dicts_that_describe_no_format(data, says):
    with pytest.raises(SpecificationError, match=says):
        Quantiser.from_dict(data)


def test_a_dict_of_another_class_is_refused():
    with pytest.raises(SpecificationError, match="format='LogQuant': choose FixedPoint"):
        FixedPoint.from_dict(LogQuant(3, 0).to_dict())
