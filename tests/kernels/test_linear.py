"""Sums of LinearAccumulate equal the reference: every table, window, shape, ISA and thread count."""

import numpy as np
import pytest
import torch
from operands import channels_last, everywhere, seed

from slipstick import SpecificationError
from slipstick.arithmetic import LinearAccumulate
from slipstick.formats import MultiBaseLNS
from slipstick.kernels import convolutions, products, reference
from slipstick.kernels.convolutions import Geometry
from slipstick.kernels.linear_spec import ScaledSums, linear_spec

PAPER = MultiBaseLNS(8, 8)
ONE = torch.ones((), dtype=torch.float64)


def sums(arithmetic: LinearAccumulate, unit: torch.Tensor = ONE) -> ScaledSums:
    return ScaledSums(linear_spec(arithmetic), unit)


def every_code(arithmetic: LinearAccumulate) -> np.ndarray:
    """Every signed log."""
    return np.arange(-arithmetic.largest_log - 1, arithmetic.largest_log + 2)


def codes(arithmetic: LinearAccumulate, shape: tuple[int, ...], mode: str, rng: np.random.Generator) -> np.ndarray:
    """Signed logs of one temper."""
    count, octave = arithmetic.largest_log + 1, arithmetic.format.base_factor
    low = {"largest": max(1, count - octave), "positive": max(1, count - octave)}.get(mode, 1)
    high = {"smallest": min(count, octave)}.get(mode, count)
    magnitude = rng.integers(low, high + 1, shape)
    if mode == "positive":
        return magnitude
    zero = rng.random(shape) < {"sparse": 0.8, "any": 0.1}.get(mode, 0.0)
    return np.where(zero, 0, magnitude * rng.choice([-1, 1], shape))


MODES = ["any", "sparse", "largest", "smallest", "positive"]


def tensor(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a, np.int16))


def assert_bits(got: torch.Tensor, expected: np.ndarray, where: str = "") -> None:
    """Equal float32 patterns: -0.0 is not 0.0."""
    assert got.dtype == torch.float32
    assert tuple(got.shape) == expected.shape
    same = got.contiguous().view(torch.int32).numpy() == expected.view(np.int32)
    if not same.all():
        first = tuple(np.argwhere(~same)[0].tolist())
        raise AssertionError(
            f"{where}: {(~same).sum()} of {same.size} differ; at {first} {got[first]}, not {expected[first]}"
        )


def assert_matmul(a: np.ndarray, b: np.ndarray, arithmetic: LinearAccumulate, note: str = "") -> np.ndarray:
    """The kernels' a b, in every way that they have, is the reference's; returns its sums."""
    total = reference.linear_matmul(a, b, arithmetic)
    expected = reference.linear_result(total, 1.0)
    for where in everywhere():
        assert_bits(products.matmul(tensor(a), tensor(b), sums(arithmetic)), expected, f"{arithmetic}, {where} {note}")
    return total


# --- products ---------------------------------------------------------------------------------------------------


def small_arithmetics() -> list[LinearAccumulate]:
    """Every format of up to 5 bits with every table, in windows of every kind."""
    made = []
    for bits in range(2, 6):
        for gamma in (1 << log for log in range(bits)):
            for entries in (1 << log for log in range(gamma.bit_length())):
                for constant_bits, window, headroom in ((20, 24, 8), (3, 8, 5), (1, 16, 0), (20, 31, 0)):
                    format = MultiBaseLNS(bits, gamma)
                    made.append(LinearAccumulate(format, entries, constant_bits, window, headroom))
    return made


def test_every_pair_of_codes_of_small_formats_multiplies_as_the_reference():
    for arithmetic in small_arithmetics():
        every = every_code(arithmetic)
        assert_matmul(every[:, None], every[None, :], arithmetic)


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("entries", [1, 2, 4, 8])
@pytest.mark.parametrize("window", [(8, 0), (8, 5), (16, 2), (24, 8), (31, 0), (31, 28)], ids=str)
def test_every_pair_of_codes_of_the_paper_multiplies_as_the_reference(entries, window, overflow):
    arithmetic = LinearAccumulate(PAPER, entries, 20, *window, overflow)
    every = every_code(arithmetic)
    assert_matmul(every[:, None], every[None, :], arithmetic)


@pytest.mark.parametrize("bits", [8, 24, 31])
@pytest.mark.parametrize("spare", [0, 1, 2], ids="spare={}".format)
def test_every_pair_of_the_widest_range_multiplies_as_the_reference(bits, spare):
    """127 octaves on either side: factors of a product as small and as large as float32 numbers become."""
    arithmetic = LinearAccumulate(MultiBaseLNS(8, 1), bits=bits, headroom=bits - 3 - spare)
    every = every_code(arithmetic)
    assert_matmul(every[:, None], every[None, :], arithmetic)


@pytest.mark.parametrize("entries", [1, 16, 512])
def test_pairs_of_codes_of_the_finest_format_multiply_as_the_reference(entries):
    arithmetic = LinearAccumulate(MultiBaseLNS(10, 512), entries)
    every = every_code(arithmetic)
    assert_matmul(every[::7, None], every[None, ::5], arithmetic)


# --- sums -------------------------------------------------------------------------------------------------------

ARITHMETICS = [
    # the paper's format with every table, in its window and in narrower and wider ones
    *(LinearAccumulate(PAPER, entries) for entries in (1, 2, 4, 8)),
    *(LinearAccumulate(PAPER, entries, 8, 16, 6) for entries in (1, 2, 4, 8)),
    *(LinearAccumulate(PAPER, entries, 20, 31, 14) for entries in (2, 8)),
    *(LinearAccumulate(PAPER, entries, 20, 20, 8, "wrap") for entries in (4, 8)),
    LinearAccumulate(PAPER, 8, 20, 8, 0),
    LinearAccumulate(PAPER, 1, 4, 8, 5),
    LinearAccumulate(PAPER, 8, 20, 31, 0),
    LinearAccumulate(PAPER, 2, 20, 31, 0, "wrap"),
    # other formats, from the coarsest to the finest
    *(LinearAccumulate(MultiBaseLNS(8, gamma)) for gamma in (1, 2, 16, 32, 128)),
    *(LinearAccumulate(MultiBaseLNS(8, gamma), gamma // 2) for gamma in (2, 32, 128)),
    LinearAccumulate(MultiBaseLNS(8, 1), None, 20, 24, 21),
    LinearAccumulate(MultiBaseLNS(2, 1)),
    LinearAccumulate(MultiBaseLNS(4, 4), 2, 1, 12, 4),
    LinearAccumulate(MultiBaseLNS(5, 2), 1, 2, 24, 0, "wrap"),
    LinearAccumulate(MultiBaseLNS(10, 8), 4),
    LinearAccumulate(MultiBaseLNS(10, 512), 32, 12, 28, 10),
]
each_arithmetic = pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
SIZES = [
    (1, 1, 1),
    (1, 9, 40),
    (40, 9, 1),
    (3, 1, 70),
    (5, 17, 16),
    (7, 40, 33),
    (13, 65, 25),
    (6, 257, 24),
    (2, 700, 19),
]


@each_arithmetic
def test_matmul_equals_the_reference(arithmetic):
    for number, size in enumerate(SIZES):
        rows, terms, columns = size
        rng = seed("linear", str(arithmetic), size)
        for mode in (MODES[number % len(MODES)], MODES[(number + 2) % len(MODES)]):
            a = codes(arithmetic, (rows, terms), mode, rng)
            b = codes(arithmetic, (terms, columns), "any" if mode == "sparse" else mode, rng)
            assert_matmul(a, b, arithmetic, f"{size} {mode}")


@each_arithmetic
def test_sums_of_the_largest_terms_equal_the_reference(arithmetic):
    """As far from zero as terms lead, and back: where a kernel counts in floats, to the ends of what it may count."""
    k, largest = np.arange(600), arithmetic.largest_log + 1
    signs = [1 - 2 * (k // length % 2) for length in (600, 1, 37, 72, 128, 146, 152, 255, 256, 300)]
    a = largest * np.array([*signs, -signs[0]])
    assert_matmul(a, np.full((600, 35), largest), arithmetic)


def test_these_datapaths_take_every_path_of_the_kernels():
    """One factor for each logarithm, one for each remainder of the other operand, and terms looked up."""
    versions = {linear_spec(arithmetic).versions for arithmetic in ARITHMETICS}
    assert versions >= {0, 1, 8, 512}


@pytest.mark.parametrize("entries", [2, 8])
def test_matmul_beyond_one_block_equals_the_reference(entries):
    arithmetic, rng = LinearAccumulate(PAPER, entries), seed("blocks", entries)
    for rows, terms, columns in ((255, 20, 35), (5, 20, 390), (253, 9, 385)):
        a, b = (codes(arithmetic, shape, "any", rng) for shape in ((rows, terms), (terms, columns)))
        assert_matmul(a, b, arithmetic)


def random_arithmetic(rng: np.random.Generator) -> LinearAccumulate:
    bits = int(rng.integers(2, 11))
    gamma = 1 << int(rng.integers(max(0, 2 * bits - 16 - (bits == 10)), bits))
    entries = 1 << int(rng.integers(0, gamma.bit_length()))
    window = int(rng.integers(8, 32))
    headroom = int(rng.integers(0, window - 2))
    overflow = str(rng.choice(["saturate", "wrap"]))
    return LinearAccumulate(MultiBaseLNS(bits, gamma), entries, int(rng.integers(1, 21)), window, headroom, overflow)


@pytest.mark.parametrize("number", range(12))
def test_matmul_in_random_datapaths_equals_the_reference(number):
    rng = seed("datapaths", number)
    for _ in range(10):
        arithmetic = random_arithmetic(rng)
        rows, terms, columns = (int(rng.integers(1, bound)) for bound in (14, 90, 60))
        left, right = rng.choice(MODES, 2)
        assert_matmul(
            codes(arithmetic, (rows, terms), left, rng), codes(arithmetic, (terms, columns), right, rng), arithmetic
        )


def test_sums_of_nothing_are_zero_and_no_sums_are_none():
    for rows, terms, columns in ((3, 0, 4), (0, 3, 4), (3, 4, 0)):
        a, b = (torch.zeros(shape, dtype=torch.int16) for shape in ((rows, terms), (terms, columns)))
        for where in everywhere():
            got = products.matmul(a, b, sums(ARITHMETICS[0]))
            assert_bits(got, np.zeros((rows, columns), np.float32), where)


@pytest.mark.parametrize("entries", [1, 8])
def test_zeros_make_positive_zeros(entries):
    arithmetic = LinearAccumulate(PAPER, entries)
    a = np.array([[0, 0], [-128, 128], [-1, 0], [0, -5]])
    b = np.array([[0, 77, -77], [0, 77, -77]])
    assert not assert_matmul(a, b, arithmetic)[:2].any()


# --- the ends of the accumulator ----------------------------------------------------------------------------------

SATURATING = [
    *(LinearAccumulate(PAPER, entries, 20, 24, 8) for entries in (1, 2, 4, 8)),  # in floats, chunk by chunk
    *(LinearAccumulate(PAPER, entries, 20, 16, 5) for entries in (2, 8)),
    *(LinearAccumulate(PAPER, entries, 20, 22, 9) for entries in (2, 8)),
    LinearAccumulate(PAPER, 4, 20, 8, 3),
    LinearAccumulate(PAPER, 8, 20, 8, 0),  # too narrow to add a chunk unseen
    LinearAccumulate(PAPER, 8, 3, 16, 2),
    *(LinearAccumulate(PAPER, entries, 20, 31, headroom) for entries, headroom in ((1, 0), (4, 3), (8, 0), (8, 7))),
    LinearAccumulate(MultiBaseLNS(8, 32), None, 20, 11, 4),
    LinearAccumulate(MultiBaseLNS(8, 1), None, 20, 24, 8),
    LinearAccumulate(MultiBaseLNS(10, 8), None, 20, 24, 8),
    LinearAccumulate(MultiBaseLNS(6, 2), 1, 20, 18, 6),
]
each_saturating = pytest.mark.parametrize("arithmetic", SATURATING, ids=str)


def steps_to(total: int, arithmetic: LinearAccumulate) -> list[int]:
    """Signed logs of products that add up to ``total`` exactly, the largest first."""
    terms = reference.linear.terms(arithmetic)
    assert 1 in terms
    made, rest = [], abs(total)
    while rest:
        log = int(np.argmax(np.where(terms <= rest, terms, -1)))
        made += [log + 1] * (rest // int(terms[log]))
        rest %= int(terms[log])
    return made if total >= 0 else [-step for step in made]


def walks(arithmetic: LinearAccumulate) -> dict[str, tuple[list[int], int]]:
    """Sums that meet the ends: the signed logs of their products, and what a saturating accumulator makes of them."""
    top = (1 << (arithmetic.bits - 1)) - 1
    big = min(int(reference.linear.terms(arithmetic).max()), top // 2)

    def path(*totals: int) -> list[int]:
        return [step for total in totals for step in steps_to(total, arithmetic)]

    return {
        "the top exactly": (path(top), top),
        "one more is lost": (path(top, 1), top),
        "the top and back": (path(top, -1), top - 1),
        "past the top by one and back": (path(top, 1, -1), top - 1),
        "past the top by much and back": (path(top - 1, big, -big), top - big),
        "the bottom exactly": (path(-top - 1), -top - 1),
        "one less is lost": (path(-top - 1, -1), -top - 1),
        "one above the bottom": (path(-top), -top),
        "past the bottom by one and back": (path(-top - 1, -1, 1), -top),
        "past the bottom by much and back": (path(-top, -big, big), big - top - 1),
        "past the top and back to the middle": (path(top, 3, -(top // 2), -(top // 2)), 1),
        "past the bottom and back to the middle": (path(-top - 1, -3, top // 2, top // 2), -2),
        "past both ends": (path(top, big, -top, -top, -big, -1, 5), 5 - top - 1),
        "almost": (path(top - 1, -top, -top, 3, big), 2 - top + big),
        "far from them": (path(top // 3, -(top // 3)), 0),
    }


def operands_of(steps: list[int], arithmetic: LinearAccumulate) -> tuple[np.ndarray, np.ndarray]:
    """Signed logs on the left and positive ones on the right, whose products have the signed logs ``steps``."""
    log = np.abs(steps) - 1
    left = np.minimum(log, arithmetic.largest_log)
    return np.sign(steps) * (left + 1), log - left + 1


@each_saturating
def test_additions_stop_at_the_ends_in_the_middle_of_a_sum(arithmetic):
    """From several places in a chunk; among the columns are some that stay away from the ends."""
    made = list(walks(arithmetic).values())
    shifts = [0, 61]
    length = max(len(steps) for steps, _ in made) + max(shifts)
    columns = np.array([1, 0, -1, *[0] * 9, 1, *[0] * 19, -1])
    for shift in shifts:
        a, b = np.zeros((len(made), 3, length), np.int64), np.zeros((len(made), length, len(columns)), np.int64)
        for batch, (steps, _) in enumerate(made):
            left, right = operands_of(steps, arithmetic)
            a[batch, 0, shift : shift + len(left)] = left
            a[batch, 2, shift : shift + len(left)] = -left
            b[batch, shift : shift + len(left)] = right[:, None] * columns
        b[:, ::3, 20] = 1
        total = assert_matmul(a, b, arithmetic, f"from {shift}")
        for column in (0, 12):
            np.testing.assert_array_equal(total[:, 0, column], [end for _, end in made])


@each_saturating
def test_a_walk_that_turns_at_an_end_depends_on_its_order(arithmetic):
    """A sum taken in another order would show."""
    steps = walks(arithmetic)["past both ends"][0]
    rng = seed("order", str(arithmetic))
    orders = [steps, steps[::-1], rng.permutation(steps).tolist(), sorted(steps)]
    left, right = zip(*(operands_of(order, arithmetic) for order in orders), strict=True)
    a, b = np.array(left)[:, None], np.repeat(np.array(right)[..., None], 5, axis=2)
    assert len(np.unique(assert_matmul(a, b, arithmetic))) > 1


@each_saturating
def test_only_the_columns_that_overflow_saturate(arithmetic):
    """A tile that is summed anew leaves its neighbours alone."""
    steps = steps_to((1 << (arithmetic.bits - 1)) - 1, arithmetic)
    left, right = operands_of([*steps, steps[0], -steps[0]], arithmetic)
    rng = seed("columns", str(arithmetic))
    a = np.stack([left, np.zeros_like(left), rng.permutation(left), np.ones_like(left)])
    made = []
    for column in (0, 5, 15, 16, 23, 24, 31, 32, 50, 69):
        b = codes(arithmetic, (len(left), 70), "any", rng)
        b[:, column] = right
        made.append(b)
    assert_matmul(np.broadcast_to(a, (len(made), *a.shape)), np.stack(made), arithmetic)


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("entries", [1, 4, 8, 32])
@pytest.mark.parametrize("window", [(8, 1), (12, 0), (16, 3), (24, 6), (31, 0)], ids=str)
def test_random_sums_that_overflow_equal_the_reference(window, entries, overflow):
    format = PAPER if entries <= 8 else MultiBaseLNS(8, 32)
    arithmetic = LinearAccumulate(format, entries, 20, *window, overflow)
    rng = seed("overflow", str(arithmetic))
    top = (1 << (arithmetic.bits - 1)) - 1
    for mode in ("largest", "positive", "any"):
        a, b = codes(arithmetic, (5, 300), mode, rng), codes(arithmetic, (300, 49), mode, rng)
        a[:, 220:] *= -1  # back from the end
        total = assert_matmul(a, b, arithmetic, mode)
        unbounded = reference.linear_products(a[..., None], b, arithmetic).sum(1)
        if mode == "positive":
            assert (total != unbounded).any()
        if overflow == "wrap":
            assert not ((total - unbounded) % (2 * top + 2)).any()


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize(("entries", "gamma"), [(2, 64), (2, 128), (4, 128), (8, 128), (1, 128), (128, 128)])
def test_the_largest_term_fits_beside_a_full_accumulator(entries, gamma, overflow):
    """Just below the next table entry a line lies above it: the largest terms of hybrids exceed two units of 2^29."""
    arithmetic = LinearAccumulate(MultiBaseLNS(8, gamma), entries, 20, 31, 0, overflow)
    a = np.array([[128, 128, 128, 1], [-128, -128, -128, 128], [128, -128, 128, -128]])
    total = assert_matmul(a, np.full((4, 20), 128), arithmetic)
    if overflow == "saturate":
        assert (total[0] == (1 << 30) - 1).all()


# --- what operands look like ----------------------------------------------------------------------------------------

LAID_OUT = [LinearAccumulate(PAPER), LinearAccumulate(PAPER, 2), LinearAccumulate(PAPER, 1, 20, 8, 1)]
each_laid_out = pytest.mark.parametrize("arithmetic", LAID_OUT, ids=str)


@each_laid_out
def test_batches_multiply_one_by_one(arithmetic):
    rng = seed("batch", str(arithmetic))
    for batch, rows, terms, columns in ((5, 7, 33, 20), (1, 3, 8, 50), (3, 1, 700, 1)):
        a, b = (
            codes(arithmetic, (batch, rows, terms), "any", rng),
            codes(arithmetic, (batch, terms, columns), "any", rng),
        )
        assert_matmul(a, b, arithmetic)
        shared = b[0]
        expected = reference.linear_result(reference.linear_matmul(a, shared, arithmetic), 1.0)
        for where in everywhere():
            got = products.matmul(tensor(a), tensor(shared).expand(batch, terms, columns), sums(arithmetic))
            assert_bits(got, expected, where)


@each_laid_out
def test_strides_of_the_operands_do_not_matter(arithmetic):
    rng = seed("strides", str(arithmetic))
    a, b = codes(arithmetic, (19, 67), "any", rng), codes(arithmetic, (67, 53), "any", rng)
    expected = reference.linear_result(reference.linear_matmul(a, b, arithmetic), 1.0)
    backwards = reference.linear_result(reference.linear_matmul(b.T, a.T, arithmetic), 1.0)
    roomy_a, roomy_b = torch.full((40, 140), 99, dtype=torch.int16), torch.full((70, 200), 99, dtype=torch.int16)
    roomy_a[1:39:2, 3:137:2], roomy_b[2:69, 5:164:3] = tensor(a), tensor(b)
    lefts = [tensor(a), tensor(a.T).t(), roomy_a[1:39:2, 3:137:2]]
    rights = [tensor(b), tensor(b.T).t(), roomy_b[2:69, 5:164:3]]
    for where in everywhere():
        for left in lefts:
            for right in rights:
                assert_bits(products.matmul(left, right, sums(arithmetic)), expected, where)
                assert_bits(products.matmul(right.t(), left.t(), sums(arithmetic)), backwards, where)


@each_laid_out
def test_repeated_operands_and_parts_of_memory_multiply(arithmetic):
    rng = seed("repeated", str(arithmetic))
    line, column = codes(arithmetic, (1, 30), "any", rng), codes(arithmetic, (30, 1), "any", rng)
    expected = reference.linear_result(reference.linear_matmul(line, column, arithmetic), 1.0)
    many = np.ascontiguousarray(np.broadcast_to(expected, (9, 41)))
    for where in everywhere():
        got = products.matmul(tensor(line).expand(9, 30), tensor(column).expand(30, 41), sums(arithmetic))
        assert_bits(got, many, where)


# --- units ----------------------------------------------------------------------------------------------------------

WIDE = LinearAccumulate(PAPER, None, 20, 31, 1)


@pytest.mark.parametrize("unit", [1.0, 2.0**-17, 1 / 3, 0.1 * 2.0**40, 1e-45, 3.3e-52, 1e34], ids=str)
def test_a_sum_is_rounded_once_after_its_unit(unit):
    """Not before: sums beyond 24 bits keep theirs. Units reach subnormal float32 numbers and infinity."""
    rng = seed("unit", unit)
    a, b = codes(WIDE, (6, 50), "any", rng), codes(WIDE, (50, 40), "any", rng)
    total = reference.linear_matmul(a, b, WIDE)
    assert np.abs(total).max() > 1 << 26
    expected = reference.linear_result(total, unit)
    for where in everywhere():
        got = products.matmul(tensor(a), tensor(b), sums(WIDE, torch.tensor(unit, dtype=torch.float64)))
        assert_bits(got, expected, where)


@pytest.mark.parametrize("arithmetic", [WIDE, *LAID_OUT], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 255])
def test_every_row_of_the_left_operand_has_a_unit(arithmetic, rows):
    rng = seed("row units", rows, str(arithmetic))
    a, b = codes(arithmetic, (rows, 20), "any", rng), codes(arithmetic, (20, 33), "any", rng)
    unit = rng.lognormal(0, 9, rows)
    expected = reference.linear_result(reference.linear_matmul(a, b, arithmetic), unit[:, None])
    spread = torch.zeros(rows, 3, dtype=torch.float64)
    spread[:, 1] = torch.from_numpy(unit)
    for where in everywhere():
        for given in (torch.from_numpy(unit), spread[:, 1]):
            assert_bits(products.matmul(tensor(a), tensor(b), sums(arithmetic, given)), expected, where)


def test_every_row_of_every_batch_has_a_unit():
    arithmetic, rng = LAID_OUT[0], seed("batch units")
    a, b = codes(arithmetic, (4, 5, 20), "any", rng), codes(arithmetic, (4, 20, 9), "any", rng)
    unit = rng.lognormal(0, 3, (4, 5))
    expected = reference.linear_result(reference.linear_matmul(a, b, arithmetic), unit[..., None])
    for where in everywhere():
        got = products.matmul(tensor(a), tensor(b), sums(arithmetic, torch.from_numpy(unit.reshape(-1))))
        assert_bits(got, expected, where)


def test_operands_that_do_not_fit_are_refused():
    a, b = torch.zeros(3, 4, dtype=torch.int16), torch.zeros(5, 6, dtype=torch.int16)
    with pytest.raises(SpecificationError, match=r"shapes \(3, 4\) and \(5, 6\) do not multiply"):
        products.matmul(a, b, sums(ARITHMETICS[0]))


# --- convolutions ---------------------------------------------------------------------------------------------------

CONVOLUTIONS = [
    # samples, channels, outputs, space, kernel, stride, padding, dilation, groups
    (2, 3, 4, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 5, 3, (7, 9), (3, 2), (2, 3), (1, 0), (1, 1), 1),
    (2, 4, 6, (8, 7), (3, 3), (2, 1), (2, 3), (2, 1), 2),
    (3, 6, 6, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 17, 9, (4, 4), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 2, 3, (5, 5), (1, 1), (2, 2), (1, 1), (1, 1), 1),
    (1, 2, 2, (4, 4), (4, 4), (1, 1), (3, 3), (1, 1), 1),
    (2, 3, 2, (11,), (4,), (3,), (2,), (2,), 1),
    (3, 4, 4, (60,), (5,), (1,), (2,), (1,), 4),
    (2, 2, 4, (5, 4, 6), (2, 3, 2), (2, 1, 1), (1, 1, 0), (1, 1, 2), 2),
    (1, 3, 2, (4, 5, 3), (3, 3, 3), (1, 2, 1), (1, 1, 1), (1, 1, 1), 1),
]
each_convolution = pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
CONVOLVED = [
    *(LinearAccumulate(PAPER, entries) for entries in (1, 4, 8)),
    LinearAccumulate(PAPER, 8, 20, 8, 1),  # in which the order of the terms shows
    LinearAccumulate(PAPER, 2, 20, 16, 3),
    LinearAccumulate(PAPER, 8, 20, 12, 1, "wrap"),
]
each_convolved = pytest.mark.parametrize("arithmetic", CONVOLVED, ids=str)


class Unfolded:
    """A convolution as matrix products, with every index in sight.

    seen[group]: [samples, positions, (channel, tap)], the input under each tap; met[group]: [samples, pixels, (filter,
    tap)], the gradient at the position where a tap meets a pixel. Where there is none, zero in place.
    """

    def __init__(self, case: tuple, arithmetic: LinearAccumulate):
        self.samples, self.channels, self.outputs, self.space, self.kernel, *rest = case
        self.stride, self.padding, self.dilation, self.groups = rest
        rng = seed("linear convolution", case, str(arithmetic))
        per_axis = zip(self.space, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        self.positions = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in per_axis)
        self.arithmetic, self.inside = arithmetic, self.channels // self.groups
        self.filters = self.outputs // self.groups
        self.x = codes(arithmetic, (self.samples, self.channels, *self.space), "any", rng)
        self.w = codes(arithmetic, (self.outputs, self.inside, *self.kernel), "any", rng)
        self.g = codes(arithmetic, (self.samples, self.outputs, *self.positions), "any", rng)
        self.units = rng.lognormal(0, 3, max(self.outputs, self.channels))

    def links(self):
        """Every tap at every position: their numbers, and where the input lies."""
        for position in np.ndindex(*self.positions):
            for tap in np.ndindex(*self.kernel):
                axes = zip(position, self.stride, tap, self.dilation, self.padding, strict=True)
                place = tuple(q * s + t * d - p for q, s, t, d, p in axes)
                if all(0 <= i < n for i, n in zip(place, self.space, strict=True)):
                    yield position, tap, place

    def blocks(self):
        """The channels and the filters of each group."""
        for group in range(self.groups):
            yield (
                slice(group * self.inside, (group + 1) * self.inside),
                slice(group * self.filters, (group + 1) * self.filters),
            )

    def forward(self) -> np.ndarray:
        seen = np.zeros((self.samples, self.channels, *self.kernel, *self.positions), np.int64)
        for position, tap, place in self.links():
            seen[(slice(None), slice(None), *tap, *position)] = self.x[(slice(None), slice(None), *place)]
        parts = [
            reference.linear_matmul(
                self.w[filters].reshape(self.filters, -1),
                seen[:, channels].reshape(self.samples, self.inside * int(np.prod(self.kernel)), -1),
                self.arithmetic,
            )
            for channels, filters in self.blocks()
        ]
        return np.concatenate(parts, 1).reshape(self.samples, self.outputs, *self.positions)

    def input_gradient(self) -> np.ndarray:
        met = np.zeros((self.samples, self.outputs, *self.kernel, *self.space), np.int64)
        for position, tap, place in self.links():
            met[(slice(None), slice(None), *tap, *place)] = self.g[(slice(None), slice(None), *position)]
        parts = [
            reference.linear_matmul(
                np.moveaxis(self.w[filters], 1, 0).reshape(self.inside, -1),
                met[:, filters].reshape(self.samples, self.filters * int(np.prod(self.kernel)), -1),
                self.arithmetic,
            )
            for _, filters in self.blocks()
        ]
        return np.concatenate(parts, 1).reshape(self.samples, self.channels, *self.space)

    def weight_gradient(self) -> np.ndarray:
        seen = np.zeros((self.samples, *self.positions, self.channels, *self.kernel), np.int64)
        for position, tap, place in self.links():
            seen[(slice(None), *position, slice(None), *tap)] = self.x[(slice(None), slice(None), *place)]
        terms = self.samples * int(np.prod(self.positions))
        parts = [
            reference.linear_matmul(
                np.moveaxis(self.g[:, filters], 1, 0).reshape(self.filters, terms),
                seen.reshape(terms, self.channels, *self.kernel)[:, channels].reshape(terms, -1),
                self.arithmetic,
            )
            for channels, filters in self.blocks()
        ]
        return np.concatenate(parts, 0).reshape(self.outputs, self.inside, *self.kernel)

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.stride, self.padding, self.dilation, self.groups)

    def scaled(self, totals: np.ndarray, axis: int) -> tuple[np.ndarray, ScaledSums]:
        """With a unit for each index of an axis."""
        units = self.units[: totals.shape[axis]]
        shape = [-1 if d == axis else 1 for d in range(totals.ndim)]
        expected = reference.linear_result(totals, units.reshape(shape))
        return expected, sums(self.arithmetic, torch.from_numpy(units))


@each_convolution
@each_convolved
def test_convolutions_equal_the_reference(case, arithmetic):
    made = Unfolded(case, arithmetic)
    x, w, g = (tensor(codes_) for codes_ in (made.x, made.w, made.g))
    forward, spec = made.scaled(made.forward(), 1)
    to_input, spec_of_input = made.scaled(made.input_gradient(), 1)
    to_weight, spec_of_weight = made.scaled(made.weight_gradient(), 0)
    for where in everywhere():
        for lay in (lambda t: t, channels_last):
            got = convolutions.convolution(lay(x), lay(w), spec, made.geometry)
            assert_bits(got, forward, where)
            got = convolutions.convolution_input_gradient(lay(g), lay(w), x.shape, spec_of_input, made.geometry)
            assert_bits(got, to_input, where)
            got = convolutions.convolution_weight_gradient(lay(g), lay(x), w.shape, spec_of_weight, made.geometry)
            assert_bits(got, to_weight, where)


def test_a_convolution_takes_one_unit_for_all():
    made = Unfolded(CONVOLUTIONS[0], CONVOLVED[0])
    expected = reference.linear_result(made.forward(), 0.3)
    for where in everywhere():
        spec = sums(made.arithmetic, torch.tensor(0.3, dtype=torch.float64))
        assert_bits(convolutions.convolution(tensor(made.x), tensor(made.w), spec, made.geometry), expected, where)
