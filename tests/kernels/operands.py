"""Operands of kernels, and the comparison of what comes back with the reference."""

import zlib
from collections.abc import Iterator

import numpy as np
import torch

from grid import every_code, random_codes
from slipstick import LNS
from slipstick.kernels import native, reference
from slipstick.kernels.reference import LogArray

MODES = ["any", "close", "cancelling", "largest", "smallest", "sparse"]


def seed(*parts: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def operand(format: LNS, shape: tuple[int, ...], mode: str, rng: np.random.Generator) -> LogArray:
    """Numbers of one temper; axis -1 of "cancelling" ones holds pairs x, -x."""
    if mode == "any":
        return reference.from_codes(random_codes(format, shape, rng), format)
    octave = 1 << format.frac_bits
    top = format.max_log
    low, high = {
        "close": (-2 * octave, 2 * octave),
        "cancelling": (-octave, octave),
        "largest": (top - octave, top),
        "smallest": (-top, octave - top),
        "sparse": (-4 * octave, 4 * octave),
    }[mode]
    log = np.clip(rng.integers(low, high + 1, shape), -top, top)
    sign = rng.integers(0, 2, shape)
    if mode == "cancelling":
        paired = shape[-1] - shape[-1] % 2
        log[..., 1:paired:2] = log[..., 0:paired:2]
        sign[..., 1:paired:2] = 1 - sign[..., 0:paired:2]
    zero = rng.random(shape) < {"sparse": 0.8, "largest": 0.0}.get(mode, 0.1)
    return reference.rounded(sign, log, zero, format)


def tensor(a: LogArray) -> torch.Tensor:
    return torch.from_numpy(a.numbers())


def everywhere() -> Iterator[str]:
    """Runs the body of a loop on every instruction set, with one thread and with two."""
    isa, threads = native.current_isa(), torch.get_num_threads()
    try:
        for name in native.available_isas():
            native.set_isa(name)
            for count in (1, 2):
                torch.set_num_threads(count)
                yield f"{name}, {count} threads"
    finally:
        native.set_isa(isa)
        torch.set_num_threads(threads)


def assert_bits(got: torch.Tensor, expected: LogArray, where: str = "") -> None:
    """Equal float32 patterns: -0.0 is not 0.0."""
    assert got.dtype == torch.float32
    assert tuple(got.shape) == expected.shape
    np.testing.assert_array_equal(
        got.contiguous().view(torch.int32).numpy(), expected.numbers().view(np.int32), err_msg=where
    )


def channels_last(t: torch.Tensor) -> torch.Tensor:
    """The same tensor with its channels next to each other in memory."""
    order = (0, *range(2, t.dim()), 1)
    back = (0, t.dim() - 1, *range(1, t.dim() - 1))
    return t.permute(order).contiguous().permute(back)


def all_pairs(format: LNS) -> tuple[LogArray, LogArray]:
    """Every pair of numbers of a small format."""
    codes = reference.from_codes(every_code(format), format)
    n = codes.shape[0]
    return codes[np.repeat(np.arange(n), n)], codes[np.tile(np.arange(n), n)]
