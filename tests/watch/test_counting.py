import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import slipstick as ss
from slipstick.watch.counting import Counts, Grid, count

FORMATS = [ss.LNS(5, 5), ss.LNS(2, 1), ss.LNS(3, 2, "flush"), ss.FixedPoint(2, 5)]


def one_by_one(x: torch.Tensor, largest: float, smallest: float) -> Counts:
    """The definition, element by element in Python's floats."""
    counts = Counts()
    for value in map(abs, x.flatten().tolist()):
        counts.count += 1
        counts.zero += value == 0
        counts.saturated += value >= largest  # two's complement has one more below zero
        counts.underflow += value == smallest
        if value and math.isfinite(value):
            octave = math.frexp(value)[1] - 1
            counts.octaves[octave] = counts.octaves.get(octave, 0) + 1
    return counts


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_counts_are_those_of_a_walk_over_the_elements(format: ss.LNS | ss.FixedPoint) -> None:
    generator = torch.Generator().manual_seed(1)
    x = ss.snap_(torch.randn(4000, generator=generator) * torch.randn(4000, generator=generator).mul(4).exp2(), format)
    x[::7] = 0.0
    x[::11] = -0.0
    rounded = torch.tensor([format.largest, format.smallest])
    largest, smallest = ss.snap_(rounded, format).tolist()
    found = count(x, Grid.of(format))
    assert found == one_by_one(x, largest, smallest)
    assert found.zero > 0
    assert format == ss.LNS(5, 5) or (found.saturated > 0 and found.underflow > 0)


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=40))
def test_octaves_hold_every_finite_number_that_is_not_zero(numbers: list[float]) -> None:
    x = torch.tensor(numbers, dtype=torch.float32)
    found = count(x)
    assert found == one_by_one(x, math.nan, math.nan)
    assert sum(found.octaves.values()) + found.zero == int(x.isfinite().sum())


def test_pieces_and_strides_change_nothing() -> None:
    x = torch.randn(700, 700).relu()
    whole = count(x.t())
    parts = Counts()
    for row in x:
        parts.add(count(row))
    assert whole == parts


def test_a_scale_moves_the_ends() -> None:
    format = ss.FixedPoint(0, 3)
    x = torch.tensor([[0.5, 1.0, 2.0], [5.0, 6.0, 40.0]])
    scale = format.scale_of(x, dim=0)
    found = count(format.quantize(x, scale=scale), Grid.of(format, scale))
    assert (found.saturated, found.underflow) == (2, 2)  # 2 and 40 are the maxima; 1/7 of 40 is the next below 6
