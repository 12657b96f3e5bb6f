"""LinearAccumulate in integers: constants and products from their formulas, sums term by term.

Operands are signed logs: 0 is zero, +-(x + 1) the number with logarithm x, x = 0 .. X. Letters as in
``arithmetic.linear_accumulate``; of its tables nothing is used.
"""

from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from slipstick.arithmetic import LinearAccumulate
from slipstick.kernels.reference.logs import Ints


def constants(arithmetic: LinearAccumulate) -> list[int]:
    """c[r], r = 0 .. gamma - 1: "with L = gamma / E, r = i L + j, c[r] = T[i] + floor(T[i] j / gamma)"."""
    gamma, entries = arithmetic.format.base_factor, arithmetic.table_entries
    table = [_nearest_power(i, entries, arithmetic.constant_bits) for i in range(entries)]
    made = []
    for r in range(gamma):
        i, j = divmod(r, gamma // entries)
        made.append(table[i] + table[i] * j // gamma)
    return made


@lru_cache(maxsize=4096)
def _nearest_power(i: int, entries: int, bits: int) -> int:
    """ "T[i] = nearest integer to 2^m 2^(i / E)".

    n + 1/2 is at or below it exactly where (2n + 1)^E is at or below (2 2^m)^E 2^i: T[i] is the first n of which that
    is not so. No n ties: 2^(i / E) is an integer or irrational.
    """
    candidates = range(1 << bits, (2 << bits) + 1)
    power = 1 << (entries * (bits + 1) + i)
    return candidates[bisect_right(candidates, power, key=lambda n: (2 * n + 1) ** entries)]


@lru_cache(maxsize=16)
def terms(arithmetic: LinearAccumulate) -> Ints:
    """t[p], p = 0 .. 2X: "nearest integer to c[r] 2^(q - lsb - m), ties away from zero", q, r = divmod(p, gamma)."""
    gamma, m = arithmetic.format.base_factor, arithmetic.constant_bits
    top = 2 * ((1 << (arithmetic.format.bits - 1)) - 1)
    lsb = top // gamma - (arithmetic.bits - 2 - arithmetic.headroom)
    table = constants(arithmetic)
    exact = [table[p % gamma] * Fraction(2) ** (p // gamma - lsb - m) for p in range(top + 1)]
    return np.array([int(value + Fraction(1, 2)) for value in exact], np.int64)


def linear_products(a: Ints, b: Ints, arithmetic: LinearAccumulate) -> Ints:
    """Terms, element by element: "p = xa + xb, sign = sign a xor sign b; a zero makes the product zero"."""
    sign = np.sign(a) * np.sign(b)
    p = (np.abs(a) - 1) + (np.abs(b) - 1)
    return sign * terms(arithmetic)[np.where(sign == 0, 0, p)]


def linear_sum(products: Ints, arithmetic: LinearAccumulate) -> Ints:
    """Sum over axis 0, from 0: ""saturate": each addition stops at -2^(A-1) and 2^(A-1) - 1; "wrap": modulo 2^A"."""
    low, high = -(1 << (arithmetic.bits - 1)), (1 << (arithmetic.bits - 1)) - 1
    total = np.zeros(products.shape[1:], np.int64)
    for k in range(products.shape[0]):
        total = total + products[k]
        if arithmetic.overflow == "saturate":
            total = np.minimum(np.maximum(total, low), high)
        else:
            total = (total - low) % (1 << arithmetic.bits) + low
    return total


def linear_matmul(a: Ints, b: Ints, arithmetic: LinearAccumulate) -> Ints:
    """[..., M, K] x [..., K, N] -> the sums [..., M, N] in units of 2^lsb: "products with k ascending".

    Leading axes broadcast.
    """
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    products = linear_products(a[..., :, :, None], b[..., None, :, :], arithmetic)  # [..., M, K, N]
    return linear_sum(np.moveaxis(products, -2, 0), arithmetic)


def linear_result(sums: Ints, unit: NDArray[np.float64] | float) -> NDArray[np.float32]:
    """ "times the rest in float64, once rounded to float32"; ``unit`` is 2^lsb (sa sb), broadcast to ``sums``."""
    with np.errstate(over="ignore", under="ignore"):
        return (sums.astype(np.float64) * unit).astype(np.float32)
