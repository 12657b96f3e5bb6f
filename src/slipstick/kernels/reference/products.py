"""Matrix products and convolutions: which terms there are, in which order."""

from collections.abc import Sequence
from math import prod

import numpy as np

from slipstick.arithmetic import LogArithmetic
from slipstick.kernels.reference.addition import add
from slipstick.kernels.reference.logs import Bools, Ints, LogArray, encode, rounded
from slipstick.kernels.reference.scalars import multiply, same_format
from slipstick.kernels.reference.sums import accumulate

Hits = tuple[Ints, Bools]
"""Indices along an axis, and whether there is an element at each."""


def term(a: LogArray, b: LogArray, arithmetic: LogArithmetic) -> LogArray:
    """ "Products are formed in the accumulator, a left shift if it has more fraction bits"."""
    same_format(a, b, arithmetic.format)
    wide = arithmetic.accumulator_format
    log = (a.log + b.log) << (wide.frac_bits - arithmetic.format.frac_bits)
    return rounded(a.sign ^ b.sign, log, a.is_zero | b.is_zero, wide)


def matmul(a: LogArray, b: LogArray, arithmetic: LogArithmetic) -> LogArray:
    """[..., M, K] x [..., K, N] -> [..., M, N]: "k ascending". Leading axes broadcast."""
    left = LogArray(a.format, np.moveaxis(a.sign, -1, 0)[..., None], np.moveaxis(a.log, -1, 0)[..., None])
    right = LogArray(b.format, np.moveaxis(b.sign, -2, 0)[..., None, :], np.moveaxis(b.log, -2, 0)[..., None, :])
    rank = max(len(left.shape), len(right.shape))
    left, right = (_with_rank(side, rank) for side in (left, right))
    return accumulate(term(left, right, arithmetic), arithmetic)


def _with_rank(a: LogArray, rank: int) -> LogArray:
    """Axes of length 1 after the axis of terms, so that the rest broadcasts."""
    return a.reshape(a.shape[0], *(1,) * (rank - len(a.shape)), *a.shape[1:])


def addmm(
    c: LogArray, a: LogArray, b: LogArray, arithmetic: LogArithmetic, beta: float = 1.0, alpha: float = 1.0
) -> LogArray:
    """ "Bias and beta*C are then added in the operand arithmetic; alpha multiplies after rounding"."""
    scaled = multiply(_constant(alpha, arithmetic), matmul(a, b, arithmetic))
    return add(multiply(_constant(beta, arithmetic), c), scaled, arithmetic)


def _constant(value: float, arithmetic: LogArithmetic) -> LogArray:
    return encode(np.array(value, np.float64), arithmetic.format)


def convolution(
    x: LogArray,
    weight: LogArray,
    arithmetic: LogArithmetic,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> LogArray:
    """x [N, C, *space], weight [O, C / groups, *kernel] -> [N, O, *positions].

    "(input channel, kernel row, kernel column)"; "padding zeros in place"; "groups: channel within group".
    """
    outputs, channels, *kernel = weight.shape
    positions = output_positions(x.shape[2:], kernel, stride, padding, dilation)
    axes = zip(positions, kernel, stride, padding, dilation, x.shape[2:], strict=True)
    hits = [_input_under_tap(*axis) for axis in axes]
    places, taps = _interleaved(len(kernel))
    count, per_group = channels * prod(kernel), outputs // groups

    def one_group(group: int) -> LogArray:
        seen = _gather(x[:, group * channels : (group + 1) * channels], hits)  # [N, channels, P1, K1, P2, K2, ...]
        factors = weight[group * per_group : (group + 1) * per_group].reshape(per_group, count).transpose(1, 0)
        terms = term(
            seen.transpose(1, *taps, 0, *places).reshape(count, x.shape[0], 1, *positions),
            factors.reshape(count, 1, per_group, *(1 for _ in kernel)),
            arithmetic,
        )
        return accumulate(terms, arithmetic)

    return _joined([one_group(group) for group in range(groups)], axis=1)


def convolution_input_gradient(
    gradient: LogArray,
    weight: LogArray,
    arithmetic: LogArithmetic,
    input_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> LogArray:
    """gradient [N, O, *positions], weight [O, C / groups, *kernel] -> [N, C, *space] of ``input_shape``.

    "(output channel, kernel row, kernel column) with the indices of the unflipped weight"; "stride gaps are zeros in
    place": the weight's tap t meets the position q with q * stride + t * dilation = i + padding, where there is one.
    A transposed convolution is this function.
    """
    outputs, channels, *kernel = weight.shape
    samples, _, *space = input_shape
    axes = zip(space, kernel, stride, padding, dilation, gradient.shape[2:], strict=True)
    hits = [_position_meeting_tap(*axis) for axis in axes]
    places, taps = _interleaved(len(kernel))
    per_group = outputs // groups
    count = per_group * prod(kernel)

    def one_group(group: int) -> LogArray:
        block = slice(group * per_group, (group + 1) * per_group)
        met = _gather(gradient[:, block], hits)  # [N, per_group, I1, K1, I2, K2, ...]
        factors = weight[block].transpose(0, *range(2, 2 + len(kernel)), 1)  # [per_group, *kernel, channels]
        terms = term(
            met.transpose(1, *taps, 0, *places).reshape(count, samples, 1, *space),
            factors.reshape(count, 1, channels, *(1 for _ in kernel)),
            arithmetic,
        )
        return accumulate(terms, arithmetic)

    return _joined([one_group(group) for group in range(groups)], axis=1)


def convolution_weight_gradient(
    gradient: LogArray,
    x: LogArray,
    arithmetic: LogArithmetic,
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> LogArray:
    """gradient [N, O, *positions], x [N, C, *space] -> [O, C / groups, *kernel] of ``weight_shape``.

    "(sample, row, column)" of the output's positions; a position whose tap falls into the padding is a zero in place.
    """
    outputs, channels, *kernel = weight_shape
    samples, _, *positions = gradient.shape
    axes = zip(positions, kernel, stride, padding, dilation, x.shape[2:], strict=True)
    hits = [_input_under_tap(*axis) for axis in axes]
    places, taps = _interleaved(len(kernel))
    count, per_group = samples * prod(positions), outputs // groups

    def one_group(group: int) -> LogArray:
        seen = _gather(x[:, group * channels : (group + 1) * channels], hits)  # [N, channels, P1, K1, P2, K2, ...]
        upstream = gradient[:, group * per_group : (group + 1) * per_group]
        upstream = upstream.transpose(0, *range(2, 2 + len(kernel)), 1)  # [N, *positions, per_group]
        terms = term(
            upstream.reshape(count, per_group, 1, *(1 for _ in kernel)),
            seen.transpose(0, *places, 1, *taps).reshape(count, 1, channels, *kernel),
            arithmetic,
        )
        return accumulate(terms, arithmetic)

    return _joined([one_group(group) for group in range(groups)], axis=0)


def output_positions(
    space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """How many positions a kernel takes along each axis."""
    axes = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in axes)


def _input_under_tap(positions: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> Hits:
    """[positions, kernel]: the input index under every tap at every output position, inside the input or not."""
    position, tap = np.ogrid[:positions, :kernel]
    index = np.asarray(position * stride + tap * dilation - padding, np.int64)
    return index, (index >= 0) & (index < size)


def _position_meeting_tap(size: int, kernel: int, stride: int, padding: int, dilation: int, positions: int) -> Hits:
    """[size, kernel]: the output position at which every tap meets every input index, and whether there is one."""
    index, tap = np.ogrid[:size, :kernel]
    scaled = np.asarray(index + padding - tap * dilation, np.int64)
    position = scaled // stride
    return position, (scaled % stride == 0) & (position >= 0) & (position < positions)


def _interleaved(spatial: int) -> tuple[range, range]:
    """Axes of the places and of the taps in an array [N, C, place, tap, place, tap, ...]."""
    return range(2, 2 + 2 * spatial, 2), range(3, 3 + 2 * spatial, 2)


def _gather(a: LogArray, hits: Sequence[Hits]) -> LogArray:
    """[N, C, *space] -> [N, C, place, tap, place, tap, ...]; zero where there is no element."""
    sign, log = a.sign, a.log
    for number, (index, exists) in enumerate(hits):
        axis = 2 + 2 * number  # the axes before it have become pairs
        after = log.ndim - axis - 1
        present = exists.reshape(*exists.shape, *(1,) * after)
        inside = np.where(exists, index, 0)
        sign = np.where(present, np.take(sign, inside, axis=axis), 0)
        log = np.where(present, np.take(log, inside, axis=axis), a.format.zero_log)
    return LogArray(a.format, sign, log)


def _joined(parts: Sequence[LogArray], axis: int) -> LogArray:
    sign = np.concatenate([part.sign for part in parts], axis)
    log = np.concatenate([part.log for part in parts], axis)
    return LogArray(parts[0].format, sign, log)
