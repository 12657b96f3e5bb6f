"""LogGrid: thresholds and numbers of any scale against 200-bit arithmetic, and the logarithm without libm."""

import numpy as np
import pytest
import slow_quantisers as slow
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipstick.formats.log_grid import log_grid
from slipstick.formats.rounding_tables import decode_table, encode_table

CPU = torch.device("cpu")
scales = st.floats(2.0**-60, 2.0**60, width=32)


@given(st.integers(0, 8), scales, st.integers(0, 1 << 14), st.sampled_from([np.float32, np.float64]))
def test_the_nearest_log_changes_exactly_at_the_threshold(frac_bits, scale, k, dtype):
    k = k % (48 << frac_bits)
    point = slow.log_number(2 * k + 1, 2 << frac_bits, scale)
    x = np.array(slow.float_neighbours(point, dtype, reach=1), dtype)
    grid = log_grid(frac_bits, torch.tensor(scale), torch.from_numpy(x).dtype, CPU)
    assert grid.nearest(torch.from_numpy(x)).tolist() == [slow.nearest_log(float(v), 1 << frac_bits, scale) for v in x]


@given(st.integers(0, 11), scales, st.integers(0, 1 << 15))
def test_numbers_are_correctly_rounded(frac_bits, scale, k):
    grid = log_grid(frac_bits, torch.tensor(scale), torch.float32, CPU)
    k = k % (16 << frac_bits)
    number = grid.number(torch.tensor([k], dtype=torch.int32))
    assert number.item() == slow.to_float32(slow.log_number(k, 1 << frac_bits, scale))


@pytest.mark.parametrize("frac_bits", [0, 1, 3, 8, 11])
@pytest.mark.parametrize("mantissa_bits", [23, 52])
def test_scale_1_gives_the_tables_of_lns(frac_bits, mantissa_bits):
    grid = log_grid(frac_bits, None, torch.float32 if mantissa_bits == 23 else torch.float64, CPU)
    table = encode_table(frac_bits, mantissa_bits=mantissa_bits)
    np.testing.assert_array_equal(grid.offsets.numpy(), table.offsets)
    np.testing.assert_array_equal(grid.numbers.numpy() - (127 << 23), decode_table(frac_bits))


def test_scales_of_a_tensor_are_the_scales_one_by_one():
    values = torch.tensor([0.3, 1.0, 1.5, 2.0**-20, 1.9999999]).view(5, 1)
    together = log_grid(3, values, torch.float32, CPU)
    x = torch.rand(5, 4000, generator=torch.Generator().manual_seed(0)) * 100
    k = together.nearest(x)
    numbers = together.number(k)
    for row, value in enumerate(values.flatten()):
        alone = log_grid(3, value, torch.float32, CPU)
        assert torch.equal(k[row], alone.nearest(x[row]))
        assert torch.equal(numbers[row], alone.number(k[row]))


@pytest.mark.parametrize("frac_bits", [0, 1, 3, 7, 11])
def test_the_logarithm_of_a_ratio_is_within_2_to_the_minus_40(frac_bits):
    ratio = torch.exp2(torch.linspace(0, 1, 501, dtype=torch.float64) / (1 << frac_bits))
    got = log_grid(frac_bits, None, torch.float32, CPU).fraction(ratio).tolist()
    for value, r in zip(got, ratio.tolist(), strict=True):
        assert abs(value - slow.log2_ratio(r, 1.0) * (1 << frac_bits)) < 2.0**-40
