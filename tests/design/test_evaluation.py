"""What is said of an adder is true: errors as published, sums as the oracle sums them, costs as counted by hand."""

import numpy as np
import pytest

from slipstick import LNS, LogArithmetic, Tree
from slipstick.arithmetic import BitShift, Exact, IndexedTable, IndexForm, PiecewiseLinear, Segments, Table
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.arithmetic.published import named_adder
from slipstick.design import DesignRequest, Weights, evaluate, gaussian_target
from slipstick.design.cost import adder_cost, cheapest_index, index_forms, instructions, significant_bits
from slipstick.design.evaluation import smallest_effective_ratio, sum_errors
from slipstick.kernels import native, reference
from slipstick.kernels.reference import LogArray
from slipstick.kernels.spec import kernel_spec


def published(name, frac_bits):
    return named_adder(name, LNS(5, frac_bits))


def evaluated(name, frac_bits):
    return evaluate(published(name, frac_bits), frac_bits)


# Errors of the tables of Hamad et al. 2025, over d = 1 .. 12 * 2^F, as printed where they were first measured:
# D+ and D- each RMS, mean, largest; D- at d = 1..4.
MEASURED = {
    ("hamad2025-agnostic", 8): ((".633", "-.25", "2.9"), ("84.2", "-1.40", "4663"), ("-4663", "100", "15", "-27")),
    ("hamad2025", 8): ((".676", ".23", "2.9"), ("3.21", "-.02", "98"), ("98", "-30", "-51", "-29")),
    ("hamad2025", 7): ((".578", ".34", "1.6"), ("1.17", "-.21", "22"), ("-1.8", "-1.3", "22", "1.7")),
    ("hamad2025", 6): ((".409", ".17", "1.3"), (".567", "-.06", "3.7"), ("-.7", "-.2", "-.1", "2.8")),
    ("hamad2025", 5): ((".408", ".20", "1.1"), (".426", "-.11", "1.9"), ("-.6", "-.1", "-.3", "1.9")),
}


def as_printed(text):
    """The number, to half a unit of its last digit."""
    return pytest.approx(float(text), abs=0.5001 * 10.0 ** -len(text.partition(".")[2]))


@pytest.mark.parametrize(("name", "frac_bits"), MEASURED)
def test_errors_of_the_published_tables(name, frac_bits):
    (plus_rms, plus_bias, plus_max), (minus_rms, minus_bias, minus_max), near = MEASURED[name, frac_bits]
    evaluation = evaluated(name, frac_bits)
    # without d = 0, which only D+ has
    n = 12 << frac_bits
    at_zero = float(published(name, frac_bits).tables(LNS(5, frac_bits))[0][0] - (1 << frac_bits))
    assert ((evaluation.plus.rms**2 * (n + 1) - at_zero**2) / n) ** 0.5 == as_printed(plus_rms)
    assert (evaluation.plus.bias * (n + 1) - at_zero) / n == as_printed(plus_bias)
    assert evaluation.plus.max == as_printed(plus_max)
    assert evaluation.minus.rms == as_printed(minus_rms)
    assert evaluation.minus.bias == as_printed(minus_bias)
    assert evaluation.minus.max == as_printed(minus_max)
    assert [value == as_printed(text) for value, text in zip(evaluation.near, near, strict=True)] == [True] * 4


@pytest.mark.parametrize(
    ("name", "frac_bits", "up", "down"),
    [
        ("hamad2025-agnostic", 8, ".196", ".349"),
        ("hamad2025", 8, ".098", ".098"),
        ("hamad2025", 7, ".098", ".098"),
        ("hamad2025", 6, ".395", ".395"),
        ("hamad2025", 5, ".399", ".399"),
        ("exact", 8, ".136", ".136"),
        ("exact", 7, ".27", ".27"),
        ("exact", 6, ".55", ".54"),
        ("exact", 5, "1.1", "1.1"),
    ],
)
def test_smallest_effective_updates_of_the_published_tables(name, frac_bits, up, down):
    evaluation = evaluated(name, frac_bits)
    assert 100 * evaluation.swamping_up == as_printed(up)
    assert 100 * evaluation.swamping_down == as_printed(down)


def test_the_smallest_effective_ratio_is_that_of_the_last_value_other_than_zero():
    assert smallest_effective_ratio(np.array([8, 3, 0, 0, -1, 0], np.int32), 2) == 0.5
    assert smallest_effective_ratio(np.array([8, 0, 0], np.int32), 2) == 1.0
    format = LNS(5, 4)
    plus, minus = Exact().tables(format)
    for table, ratio in zip((plus, minus), (smallest_effective_ratio(t, 4) for t in (plus, minus)), strict=True):
        d = round(-np.log2(ratio) * 16)
        assert table[d] != 0
        assert not table[d + 1 :].any()


def test_correct_rounding_errs_by_at_most_half():
    evaluation = evaluated("exact", 5)
    assert evaluation.plus.max <= 0.5
    assert evaluation.minus.max <= 0.5
    assert max(map(abs, evaluation.near)) <= 0.5
    assert evaluation.plus.rms == pytest.approx(0.249, abs=6e-4)
    assert evaluation.minus.rms == pytest.approx(0.244, abs=6e-4)


def test_weighted_errors_are_those_under_the_weights():
    evaluation = evaluate(published("hamad2025", 5), 5, Weights("small"))
    table, target = published("hamad2025", 5).tables(LNS(5, 5))[1], gaussian_target(-1, 5)
    error, weight = target.on_domain(table) - target.real, Weights("small").of(target)
    assert evaluation.weighted_minus.rms == pytest.approx((weight * error**2).mean() ** 0.5)
    assert evaluation.weighted_minus.bias == pytest.approx((weight * error).mean())
    assert evaluation.minus == evaluated("hamad2025", 5).minus
    assert evaluated("hamad2025", 5).weighted_plus == evaluated("hamad2025", 5).plus


@pytest.mark.parametrize("name", ["exact", "hamad2025", "sanyal2019-bitshift"])
def test_drift_and_noise_are_those_of_the_oracles_sums(name):
    """Other random products, summed by the oracle in a format that they cannot leave."""
    format, terms, trials = LNS(10, 5), 4096, 48
    draw = np.random.default_rng(99)
    products = draw.standard_normal((terms, trials)) * draw.standard_normal((terms, trials))
    log, sign = np.rint(np.log2(np.abs(products)) * 32).astype(np.int64), (products < 0).astype(np.int64)
    values = np.exp2(log / 32)
    tables = published(name, 5).tables(LNS(5, 5))
    one_sign = reference.ordered_sum(LogArray(format, np.zeros_like(sign), log), Tree(16), tables)
    drift = (one_sign.log - np.log2(values.sum(axis=0)) * 32).mean()
    both = reference.ordered_sum(LogArray(format, sign, log), Tree(16), tables)
    exact = np.where(sign == 1, -values, values).sum(axis=0)
    total = np.where(both.is_zero, 0.0, np.where(both.sign == 1, -1.0, 1.0) * np.exp2(both.log / 32))
    noise = np.sqrt(((total - exact) ** 2).mean() / (exact**2).mean())
    measured = sum_errors(tables, 5)
    assert measured[0] == pytest.approx(drift, abs=0.35 + 0.02 * abs(drift))
    assert measured[1] == pytest.approx(noise, rel=0.5)


def test_a_biased_table_drifts_further_than_an_unbiased_one():
    drift = [evaluated(name, 5).drift for name in ("exact", "designed", "hamad2025", "sanyal2019-bitshift")]
    noise = [evaluated(name, 5).noise for name in ("exact", "designed", "hamad2025", "sanyal2019-bitshift")]
    assert drift == sorted(drift)
    assert noise == sorted(noise)


def test_an_evaluation_as_data_is_json_of_its_numbers():
    evaluation = evaluated("hamad2025", 5)
    data = evaluation.to_dict()
    assert data["plus"] == {
        "rms": pytest.approx(evaluation.plus.rms, abs=1e-6),
        "bias": pytest.approx(evaluation.plus.bias, abs=1e-6),
        "max": pytest.approx(evaluation.plus.max, abs=1e-6),
    }
    assert data["near"] == pytest.approx(list(evaluation.near), abs=1e-6)
    assert data["cost"] == evaluation.cost.to_dict()


# Cost


def test_the_cost_of_segments_counted_by_hand():
    adder = PiecewiseLinear(
        3,
        Segments((2, 6, 39), (-1, -2, -1), (8, 4, 30)),
        Segments((1, 6), (2, -1), (-20, -6)),
    )
    cost = adder_cost(adder, 3)
    assert cost.segments == 3 + 2
    assert cost.shifts == 2 + 2  # {-1, -2} and {2, -1}
    # next segments begin at 3 = 11b, 7 = 111b, 40 = 101000b; 2 = 10b, 7 = 111b
    assert cost.comparator_bits == (2 + 3 + 3) + (1 + 3)
    # 3 intercepts of 5 bits and 3 shifts of 2 bits; 2 intercepts of 5 bits and 2 shifts of 2 bits; no stored signs
    assert cost.table_bits == 3 * 5 + 3 * 2 + 2 * 5 + 2 * 2


def test_the_stored_bits_of_tables_counted_by_hand():
    table = IndexedTable(3, IndexForm(1, 1, 3), (8, 5, 2, 0), (0, -9, 3, 0))
    # the last entries are 0 and D-(0) cancels: 3 of 4 bits; 2 of 4 bits with a sign
    assert adder_cost(table, 3).table_bits == 3 * 4 + 2 * 5
    assert adder_cost(table, 3).segments == 0
    plus, minus = (np.abs(t) for t in Table(0.5, 3.0).tables(LNS(5, 3)))
    width = int(plus.max()).bit_length()
    samples = minus[4:-1:4]
    assert adder_cost(Table(0.5, 3.0), 3).table_bits == 6 * width + len(samples) * int(samples.max()).bit_length()


@pytest.mark.parametrize("number", [*range(130), 4096, 4097, (1 << 40) + 4])
def test_significant_bits_are_those_from_the_first_one_to_the_last(number):
    assert significant_bits(np.array([number]))[0] == len(f"{number:b}".strip("0"))


def constant_on(form, tables):
    """Whether both tables are constant on every class, and 0 in the last."""
    plus, minus = tables
    d = np.arange(len(plus) + form.end + 2)
    classes = form.of(d)
    for table in (plus, minus):
        padded = np.zeros(len(d), dtype=np.int64)
        padded[: len(table)] = table
        if padded[classes == form.top].any():
            return False
        first = padded[np.unique(classes, return_index=True)[1]]
        if (first[classes] != padded).any():
            return False
    return True


def random_tables():
    """Tables on the classes of some index, with runs of equal entries."""
    draw = np.random.default_rng(11)
    for form in (
        IndexForm(0, 40, 40),
        IndexForm(3, 9, 30),
        IndexForm(2, 31, 63),
        IndexForm(1, 60, 100),
        IndexForm(6, 3, 20),
        IndexForm(4, 100, 130),
        IndexForm(0, 300, 300),
    ):
        plus, minus = (np.sort(draw.integers(0, 9, form.top + 1))[::-1] for _ in range(2))
        plus[-1] = minus[-1] = 0
        yield IndexedTable(4, form, tuple(plus.tolist()), tuple((-minus).tolist())).tables(LNS(5, 4))


@pytest.mark.parametrize("tables", random_tables(), ids=lambda tables: f"{len(tables[0])} entries")
def test_the_cheapest_index_is_the_cheapest_of_all(tables):
    fitting = [form for bits in (6, 7, 8) for form in index_forms(bits) if constant_on(form, tables)]
    found = cheapest_index(tables)
    if not fitting:
        assert found is None
    else:
        assert found in fitting
        assert instructions(found) == min(map(instructions, fitting))


@pytest.mark.skipif(native.current_isa() == "portable", reason="this machine has no byte kernels")
@pytest.mark.parametrize("frac_bits", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(
    "name", ["exact", "hamad2025", "hamad2025-agnostic", "sanyal2019-lut", "sanyal2019-bitshift", "designed", "bytes"]
)
def test_an_index_is_named_where_and_only_where_a_kernel_looks_up_by_class(name, frac_bits):
    if "hamad2025" in name and frac_bits < 5:
        return
    adder = large_entries(frac_bits) if name == "bytes" else published(name, frac_bits)
    plan = native.plan_name(kernel_spec(LogArithmetic(LNS(3, frac_bits), add=adder)).native)
    cost = adder_cost(adder, frac_bits)
    if not plan.startswith("steps"):  # AVX2 has kernels that look up without a class, some of the same tables faster
        assert (cost.index is not None) == plan.startswith("bytes")
    assert (cost.instructions is None) == (cost.index is None)


def large_entries(frac_bits):
    """Correctly rounded on few classes, so that only the size of the entries stands in a kernel's way."""
    form = IndexForm(4, 20, 63)
    first = np.array([np.flatnonzero(form.of(np.arange(form.end + 1)) == c)[0] for c in range(64)])
    plus, minus = (table[np.minimum(first, len(table) - 1)] for table in Exact().tables(LNS(5, frac_bits)))
    plus[-1] = minus[-1] = minus[0] = 0
    return IndexedTable(frac_bits, form, tuple(plus.tolist()), tuple(minus.tolist()))


def test_a_table_that_cancels_beyond_equal_operands_has_no_byte_index():
    plus, minus = BitShift().tables(LNS(5, 3))
    assert cheapest_index((plus, minus)) is not None
    cancelling = minus.copy()
    cancelling[1] = CANCEL
    assert cheapest_index((plus, cancelling)) is None


def test_fewer_instructions_for_fewer_and_finer_classes():
    six, seven, eight = (instructions(IndexForm(0, top, top)) for top in (63, 127, 255))
    assert six < seven < eight
    assert instructions(IndexForm(2, 20, 63)) > six


def test_the_cost_of_a_request_is_in_its_record():
    from slipstick.design import design_adder, design_record

    request = DesignRequest(3, segments=4, exact_through=-1)
    adder = design_adder(request)
    assert design_record(request, adder)["evaluation"]["cost"] == adder_cost(adder, 3).to_dict()
