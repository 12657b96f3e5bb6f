"""Matrix products and convolutions: which terms there are, in which order."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from slipstick.arithmetic import LogArithmetic
from slipstick.kernels.reference.addition import add
from slipstick.kernels.reference.logs import Bools, Ints, LogArray, encode, rounded
from slipstick.kernels.reference.scalars import multiply, same_format
from slipstick.kernels.reference.sums import accumulate

Window = tuple[int, ...]


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
    per_group = outputs // groups
    result = _empty((x.shape[0], outputs, *positions), arithmetic)
    for o, where in product(range(outputs), np.ndindex(*positions)):
        first = o // per_group * channels
        taps = [_taps(*axis) for axis in zip(where, kernel, stride, padding, dilation, x.shape[2:], strict=True)]
        patch = _gather(x[:, first : first + channels], taps)  # [N, channels, *kernel]
        terms = term(patch, weight[o][None], arithmetic).reshape(x.shape[0], -1).transpose(1, 0)
        _store(result, (slice(None), o, *where), accumulate(terms, arithmetic))
    return result


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
    per_group = outputs // groups
    result = _empty(tuple(input_shape), arithmetic)
    for c, where in product(range(input_shape[1]), np.ndindex(*input_shape[2:])):
        first = c // channels * per_group
        axes = zip(where, kernel, stride, padding, dilation, gradient.shape[2:], strict=True)
        met = _gather(gradient[:, first : first + per_group], [_meetings(*axis) for axis in axes])
        taps = weight[first : first + per_group, c % channels]
        terms = term(met, taps[None], arithmetic).reshape(input_shape[0], -1).transpose(1, 0)
        _store(result, (slice(None), c, *where), accumulate(terms, arithmetic))
    return result


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
    per_group = outputs // groups
    result = _empty(tuple(weight_shape), arithmetic)
    positions = gradient.shape[2:]
    spatial = zip(kernel, stride, padding, dilation, positions, x.shape[2:], strict=True)
    hits = [[_column(t, *axis) for t in range(axis[0])] for axis in spatial]
    for c, tap in product(range(channels), np.ndindex(*kernel)):
        columns = [hit[t] for hit, t in zip(hits, tap, strict=True)]
        for group in range(groups):
            seen = _gather(x[:, group * channels + c], columns)  # [N, *positions]
            block = slice(group * per_group, (group + 1) * per_group)
            terms = term(gradient[:, block], seen[:, None], arithmetic)  # [N, per_group, *positions]
            moved = LogArray(terms.format, np.moveaxis(terms.sign, 1, -1), np.moveaxis(terms.log, 1, -1))
            _store(result, (block, c, *tap), accumulate(moved.reshape(-1, per_group), arithmetic))
    return result


def output_positions(
    space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Window:
    """How many positions a kernel takes along each axis."""
    axes = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in axes)


def _taps(position: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> tuple[Ints, Bools]:
    """Input index under every kernel tap at an output position, and whether it lies inside the input."""
    index = position * stride - padding + np.arange(kernel, dtype=np.int64) * dilation
    return index, (index >= 0) & (index < size)


def _meetings(index: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> tuple[Ints, Bools]:
    """Output position that every kernel tap carries to an input index, and whether there is one."""
    scaled = index + padding - np.arange(kernel, dtype=np.int64) * dilation
    position = scaled // stride
    return position, (scaled % stride == 0) & (position >= 0) & (position < size)


def _column(
    tap: int, kernel: int, stride: int, padding: int, dilation: int, positions: int, size: int
) -> tuple[Ints, Bools]:
    """Input index under one kernel tap at every output position, and whether it lies inside the input."""
    index = np.arange(positions, dtype=np.int64) * stride - padding + tap * dilation
    return index, (index >= 0) & (index < size)


def _gather(a: LogArray, axes: Sequence[tuple[Ints, Bools]]) -> LogArray:
    """Trailing axes of ``a`` at the product of the indices; zero where an index does not exist."""
    sign, log = a.sign, a.log
    first = len(a.shape) - len(axes)
    for axis, (index, exists) in enumerate(axes, start=first):
        shape = [1] * len(a.shape)
        shape[axis] = len(index)
        inside = np.where(exists, index, 0)
        present = exists.reshape(shape)
        sign = np.where(present, np.take(sign, inside, axis=axis), 0)
        log = np.where(present, np.take(log, inside, axis=axis), a.format.zero_log)
    return LogArray(a.format, sign, log)


def _empty(shape: tuple[int, ...], arithmetic: LogArithmetic) -> LogArray:
    return LogArray(arithmetic.format, np.empty(shape, np.int64), np.empty(shape, np.int64))


def _store(target: LogArray, where: tuple[int | slice, ...], value: LogArray) -> None:
    target.sign[where] = value.sign
    target.log[where] = value.log
