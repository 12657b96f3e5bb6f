import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import recipe

from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.formats import E4M3, FixedPoint, LogQuant, MultiBaseLNS
from slipstick.quantize import QuantizerSpec, Range
from slipstick.quantize.quantizer import TensorQuantizer
from slipstick.quantize.ranges import full_scale, power_of_two
from slipstick.quantize.rounding_generator import RoundingGenerator

FORMATS = [FixedPoint(0, 7), E4M3, MultiBaseLNS(8, 8), LogQuant(5, 0)]


def quantizer(range_: Range, format: object = FORMATS[0], **fields: object) -> TensorQuantizer:
    return TensorQuantizer(
        QuantizerSpec(format, range=range_), "x", RoundingGenerator(0), torch.device("cpu"), **fields
    )


@given(st.floats(1e-300, 1e300), st.sampled_from(["up", "nearest", "down"]))
def test_power_of_two_is_the_rounded_logarithm(x: float, towards: str) -> None:
    found = float(power_of_two(torch.tensor(x, dtype=torch.float64), towards))
    below = math.ldexp(1.0, math.frexp(x)[1] - 1)
    expected = {
        "up": below if x == below else 2 * below,
        "down": below,
        "nearest": below * (1 + (x / below > math.sqrt(2))),
    }
    assert found == expected[towards]


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_a_real_scale_maps_the_maximum_to_the_largest_number(format: object) -> None:
    x = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 0.03
    range_ = Range()
    scale = range_.scale_for(range_.measure(x), format)
    assert torch.equal(scale, format.scale_of(x))
    peak = x.abs().argmax()
    torch.testing.assert_close(format.quantize(x, scale=scale)[peak], x[peak], rtol=1e-6, atol=0)


@pytest.mark.parametrize("peak", [0.6, 0.5, 0.500001, 0.71, 0.9, 3.0, 1e-9])
def test_the_maximum_of_a_logarithmic_tensor_is_the_top_code_and_is_not_clipped(peak: float) -> None:
    x = torch.tensor([peak / 3, -peak])
    for towards, format in (("nearest", LogQuant(5, 0)), ("up", LogQuant(5, 0, base="sqrt2"))):
        range_ = Range(scale="power_of_two", towards=towards)
        scale = range_.scale_for(range_.measure(x), format)
        wide = replace(format, fsr=20, bits=7).quantize(x)
        assert torch.equal(format.quantize(x, scale=scale), wide)
        if towards == "nearest":
            assert float(wide[1]) == -format.largest * float(scale)


@pytest.mark.parametrize("peak", [0.6, 0.5, 0.500001, 3.0, 1e-9])
def test_the_full_scale_range_of_evenly_spaced_numbers_holds_the_maximum(peak: float) -> None:
    scale = float(Range(scale="power_of_two").scale_for(torch.tensor(peak), FixedPoint(0, 5)))
    assert scale == 2.0 ** math.ceil(math.log2(torch.tensor(peak)))


def test_shift_is_the_nearest_power_of_two() -> None:
    range_ = Range(scale="power_of_two", towards="nearest")
    assert full_scale(FixedPoint(0, 7)) == 1.0
    for peak, shift in ((0.7, 0.5), (0.71, 1.0), (1.4, 1.0), (1.42, 2.0)):
        assert float(range_.scale_for(torch.tensor(peak), FixedPoint(0, 7))) == shift


def test_full_scales() -> None:
    assert [full_scale(f) for f in (FixedPoint(3, 4), LogQuant(4, -2), E4M3, None)] == [8.0, 0.125, 448.0, 1.0]


def test_rms_times_three() -> None:
    x = torch.tensor([3.0, -4.0, 0.0, 0.0])
    assert float(Range(statistic="rms", times=3).measure(x)) == 7.5


def test_channels_have_scales_of_their_own() -> None:
    x = torch.tensor([[1.0, -2.0], [0.25, 0.125]])
    for statistic in ("max", "rms"):
        both = Range(per="channel", statistic=statistic).measure(x, 0)
        each = [Range(statistic=statistic).measure(row) for row in x]
        assert torch.equal(both.flatten(), torch.stack(each))
        assert both.shape == (2, 1)
    assert Range(per="channel").measure(x, 1).shape == (1, 2)
    assert Range(per="channel").measure(x[0], 0).tolist() == [1.0, 2.0]


def test_a_tensor_of_zeros_stays() -> None:
    for kind in ("tensor", "running"):
        assert torch.equal(quantizer(Range(kind)).rounded(torch.zeros(3)), torch.zeros(3))
    assert quantizer(Range()).rounded(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_tiny_and_huge_tensors_have_scales(format: object) -> None:
    for size in (1e-44, 1e-38, 1e38, torch.finfo(torch.float32).max):
        for scale in ("real", "power_of_two"):
            for towards in ("up", "nearest", "down"):
                range_ = Range(scale=scale, towards=towards)
                rounded = quantizer(range_, format).rounded(torch.tensor([size, -size / 2]))
            assert bool(rounded.isfinite().all())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["tensor", "running"])
def test_what_is_not_finite_is_named(value: float, kind: str) -> None:
    with pytest.raises(NonFiniteError, match=r"^x: has infinite numbers or NaN"):
        quantizer(Range(kind)).rounded(torch.tensor([1.0, value]))
    with pytest.raises(NonFiniteError, match=r"^x: .*NaN"):
        quantizer(Range("fixed", 1.0)).rounded(torch.tensor([1.0, math.nan]))


def test_a_running_maximum_is_an_average_that_starts_at_the_first_tensor() -> None:
    moving = quantizer(Range("running", decay=0.75))
    expected = None
    for peak in (2.0, 4.0, 1.0):
        expected = peak if expected is None else 0.75 * expected + 0.25 * peak
        rounded = moving.rounded(torch.tensor([peak, -0.5]))
        assert float(moving.maximum) == expected
        scale = expected / FORMATS[0].largest
        assert torch.equal(rounded, FORMATS[0].quantize(torch.tensor([peak, -0.5]), scale=scale))
    moving.eval()
    moving.rounded(torch.tensor([9.0]))
    assert float(moving.maximum) == expected


def test_before_any_training_a_running_range_is_the_tensors_own() -> None:
    moving, x = quantizer(Range("running")).eval(), torch.tensor([0.3, -0.9])
    assert torch.equal(moving.rounded(x), quantizer(Range()).rounded(x))
    assert float(moving.maximum) == 0


def test_a_fixed_range_is_the_number_given_or_the_formats_own() -> None:
    x = torch.tensor([0.3, 5.0, -2.2])
    assert torch.equal(quantizer(Range("fixed"), FixedPoint(2, 3)).rounded(x), FixedPoint(2, 3).quantize(x))
    fixed = quantizer(Range("fixed", 2.0, scale="power_of_two"))
    assert torch.equal(fixed.rounded(x), FORMATS[0].quantize(x, scale=2.0))


def test_a_scale_may_be_dropped() -> None:
    x = torch.tensor([3.0, -5.0, 0.1])
    dropped = quantizer(Range(scale="power_of_two", towards="nearest", rescale="none"))
    assert torch.equal(dropped.rounded(x), FORMATS[0].quantize(x / 4))
    shifted = TensorQuantizer(
        QuantizerSpec(None, range=dropped.spec.range), "x", RoundingGenerator(0), torch.device("cpu")
    )
    assert torch.equal(shifted.rounded(x), x / 4)


def test_double_tensors_keep_their_type() -> None:
    x = torch.tensor([0.3, -0.9], dtype=torch.float64)
    assert quantizer(Range()).rounded(x).dtype == torch.float64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "minmax"}, "range kind = 'minmax': choose one of 'fixed', 'tensor', 'running', 'calibrated'"),
        ({"statistic": "mean"}, "range statistic = 'mean'"),
        ({"scale": "int"}, "range scale = 'int'"),
        ({"towards": "zero"}, "range towards = 'zero'"),
        ({"per": "group"}, "range per = 'group'"),
        ({"rescale": "yes"}, "range rescale = 'yes'"),
        ({"maximum": 1.0}, "range maximum=1.0: belongs to kind='fixed', not 'tensor'"),
        ({"kind": "fixed", "maximum": -1.0}, "range maximum=-1.0: must be a positive number"),
        ({"times": math.inf}, "range times=inf"),
        ({"decay": 1.0}, "range decay=1.0: must be a number from 0 to below 1"),
    ],
)
def test_an_impossible_range_is_one_line(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        Range(**fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("role", "spec", "message"),
    [
        ("activation", QuantizerSpec(FORMATS[0], range=Range(per="channel")), "per = 'channel' is for weight"),
        ("weight_gradient", QuantizerSpec(FORMATS[0], range=Range("calibrated")), "cannot be calibrated beforehand"),
        ("weight_gradient", QuantizerSpec(None, range=Range(rescale="update")), "where keeps_master = false"),
    ],
)
def test_a_range_that_does_not_go_with_its_role_is_refused(role: str, spec: QuantizerSpec, message: str) -> None:
    with pytest.raises(SpecificationError, match=f"recipe 'trial': {role}: .*{message}"):
        recipe(**{role: spec})


def test_formats_and_ranges_must_agree() -> None:
    with pytest.raises(SpecificationError, match="scale = 'per_channel'"):
        QuantizerSpec(MultiBaseLNS(8, 8), range=Range(per="channel"))
    with pytest.raises(SpecificationError, match="needs scale = 'power_of_two'"):
        QuantizerSpec(MultiBaseLNS(8, 8, power_of_two=True))
    with pytest.raises(SpecificationError, match="changes nothing"):
        QuantizerSpec(None)
    with pytest.raises(SpecificationError, match="rounding = 'stochastic-log': choose one of 'nearest', 'stochastic'"):
        QuantizerSpec(FORMATS[0], "stochastic-log")
