"""Recorded distances are those of the additions made: all of them where all is looked at, unbiased where not."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import FINE, LNS12, assert_same_state, network, train
from torch import Tensor, nn

import slipstick as ss
from slipstick.arithmetic import Order
from slipstick.arithmetic.distances import DistanceHistogram, bins
from slipstick.aten.recording import DistanceRecorder, Sampling
from slipstick.kernels import reference
from slipstick.kernels.reference import LogArray
from slipstick.kernels.reference.addition import add_by
from slipstick.kernels.reference.products import term

EVERYTHING = Sampling(None, None, None)
COARSE_IN_FINE = ss.LogArithmetic(ss.LNS(4, 3), "exact", ss.Tree(4), ss.LogArithmetic(ss.LNS(6, 6)))
ARITHMETICS = [
    LNS12,
    ss.LogArithmetic(ss.LNS(5, 5), "exact", ss.Sequential()),
    ss.LogArithmetic(ss.LNS(3, 4, "flush"), "exact", ss.Blocked(7), "operand"),
    COARSE_IN_FINE,
]
each_arithmetic = pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)


class Count:
    """Additions of single numbers counted one after another, without the recorder's code."""

    def __init__(self, frac_bits: int) -> None:
        self.frac_bits = frac_bits
        self.plus, self.minus = np.zeros(bins(frac_bits)), np.zeros(bins(frac_bits))
        self.zero = 0

    def add(self, a: LogArray, b: LogArray, tables: Any) -> LogArray:
        """a + b; counts every element."""
        for sa, la, za, sb, lb, zb in np.nditer([a.sign, a.log, a.is_zero, b.sign, b.log, b.is_zero]):
            if za or zb:
                self.zero += 1
            else:
                counts = self.plus if sa == sb else self.minus
                counts[min(abs(int(la) - int(lb)), len(counts) - 1)] += 1
        return add_by(tables, a, b)

    def sum(self, terms: list[LogArray], arithmetic: ss.LogArithmetic) -> LogArray:
        """The sum of a list in the order of ``arithmetic``."""
        tables, order = arithmetic.accumulator_tables, arithmetic.order
        if isinstance(order, ss.Sequential):
            return self._in_turn(terms, tables)
        if isinstance(order, ss.Blocked):
            cut = [terms[i : i + order.length] for i in range(0, len(terms), order.length)]
            return self._folded([self._in_turn(block, tables) for block in cut], 16, tables)
        return self._folded(terms, order.radix, tables)

    def _in_turn(self, terms: list[LogArray], tables: Any) -> LogArray:
        total = terms[0]
        for one in terms[1:]:
            total = self.add(total, one, tables)
        return total

    def _folded(self, terms: list[LogArray], radix: int, tables: Any) -> LogArray:
        while len(terms) > 1:
            sums = []
            for start in range(0, len(terms), radix):
                block, half = terms[start : start + radix], radix
                while half > 1:
                    half //= 2
                    pairs = [(block[i], block[i + half]) for i in range(half) if i + half < len(block)]
                    block = [self.add(a, b, tables) for a, b in pairs] + block[len(pairs) : half]
                sums.append(block[0])
            terms = sums
        return terms[0]

    def products(self, a: Iterable[Any], b: Iterable[Any], arithmetic: ss.LogArithmetic) -> LogArray:
        """The sum of products of paired arrays of numbers."""
        terms = [term(numbers(x, arithmetic), numbers(y, arithmetic), arithmetic) for x, y in zip(a, b, strict=True)]
        return self.sum(terms, arithmetic)


def numbers(x: Any, arithmetic: ss.LogArithmetic) -> LogArray:
    values = x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return reference.encode(np.ascontiguousarray(values), arithmetic.format)


def constant(value: float, like: LogArray) -> LogArray:
    return reference.encode(np.full(like.shape, value), like.format)


def assert_same(got: DistanceHistogram, want: Count) -> None:
    assert got.frac_bits == want.frac_bits
    np.testing.assert_array_equal(got.plus, want.plus)
    np.testing.assert_array_equal(got.minus, want.minus)
    assert got.zero == want.zero
    assert got.additions > 0


def record(
    run: Callable[[], Any],
    arithmetic: ss.LogArithmetic,
    sampling: Sampling | None = EVERYTHING,
    seed: int = 0,
    **how: Any,
) -> dict[tuple[str, str], DistanceHistogram]:
    recorder = DistanceRecorder(seed, sampling)
    with ss.use(arithmetic, record=recorder, **how):
        run()
    return recorder.histograms()


def random(*shape: int, seed: int = 0) -> Tensor:
    """Numbers over some octaves, a few of them zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * torch.exp2(torch.randint(-6, 7, shape, generator=generator))
    return torch.where(torch.rand(shape, generator=generator) < 0.1, 0.0, x)


@each_arithmetic
@pytest.mark.parametrize("terms", [2, 5, 16, 41])
def test_a_matrix_product_counts_every_addition(arithmetic: ss.LogArithmetic, terms: int) -> None:
    a, b = random(3, terms), random(terms, 4, seed=1)
    recorded = record(lambda: a @ b, arithmetic)
    count = Count(arithmetic.accumulator_format.frac_bits)
    for row in a:
        for column in b.T:
            count.products(row[:, None], column[:, None], arithmetic)
    assert recorded.keys() == {("forward", "sums")}
    assert_same(recorded["forward", "sums"], count)


@each_arithmetic
def test_a_convolution_and_its_gradients_count_every_addition_in_their_phase(arithmetic: ss.LogArithmetic) -> None:
    x, w = random(2, 2, 5, 5).requires_grad_(), random(3, 2, 3, 3, seed=1).requires_grad_()
    g = random(2, 3, 3, 3, seed=2)
    recorded = record(lambda: F.conv2d(x, w, stride=2, padding=1).backward(g), arithmetic)
    frac_bits = arithmetic.accumulator_format.frac_bits
    forward, backward = Count(frac_bits), Count(frac_bits)
    patches = F.unfold(x, 3, padding=1, stride=2)  # [N, C * 9, positions]
    for sample in patches:
        for filter_ in w.flatten(1):
            forward.products(filter_[:, None], sample, arithmetic)
    for upstream in g.transpose(0, 1).flatten(1):  # weight gradient: terms (sample, row, column)
        backward.products(upstream[:, None], patches.permute(0, 2, 1).flatten(0, 1), arithmetic)
    spread = torch.zeros(2, 3, 9, 9)  # input gradient: gy with its stride gaps, on a border of 2
    spread[:, :, 2:7:2, 2:7:2] = g
    for n in range(2):
        for c in range(2):
            seen = [spread[n, o, 3 - i : 8 - i, 3 - j : 8 - j] for o in range(3) for i in range(3) for j in range(3)]
            backward.products(w[:, c].flatten()[:, None, None], seen, arithmetic)
    assert recorded.keys() == {("forward", "sums"), ("backward", "sums")}
    assert_same(recorded["forward", "sums"], forward)
    assert_same(recorded["backward", "sums"], backward)


@each_arithmetic
def test_a_chain_counts_its_additions_and_subtractions(arithmetic: ss.LogArithmetic) -> None:
    x, y, z = random(6, 1, 5), random(4, 1, seed=1), random(5, seed=2)
    a, b, c = (numbers(t.expand(6, 4, 5), arithmetic) for t in (x, y, z))
    count, tables = Count(arithmetic.format.frac_bits), arithmetic.tables
    # lerp: x + z (y - x), and then a subtraction of a scaled tensor, in place
    between = count.add(b, reference.negate(a), tables)
    lerp = count.add(a, reference.multiply(c, between), tables)
    count.add(lerp, reference.negate(reference.multiply(constant(0.3, c), c)), tables)
    recorded = record(lambda: torch.lerp(x, y, z).sub_(z, alpha=0.3), arithmetic)
    assert recorded.keys() == {("forward", "elements")}
    assert_same(recorded["forward", "elements"], count)


@pytest.mark.parametrize("update", [None, FINE], ids=str)
def test_an_update_counts_in_the_format_of_the_update(update: ss.LogArithmetic | None) -> None:
    chosen = update or LNS12
    w = ss.snap_(random(40), chosen).requires_grad_()
    w.grad = ss.snap_(random(40, seed=1), LNS12)
    optimizer = torch.optim.SGD([w], lr=0.07, weight_decay=0.01)
    before, gradient = numbers(w.clone(), chosen), numbers(w.grad.clone(), chosen)
    recorded = record(optimizer.step, LNS12, update=update)
    count = Count(chosen.format.frac_bits)
    decayed = count.add(gradient, reference.multiply(constant(0.01, before), before), chosen.tables)
    after = count.add(before, reference.multiply(constant(-0.07, before), decayed), chosen.tables)
    assert recorded.keys() == {("update", "elements")}
    assert_same(recorded["update", "elements"], count)
    np.testing.assert_array_equal(after.numbers(), w.detach().numpy())


@pytest.mark.parametrize("update", [None, FINE], ids=str)
def test_running_statistics_and_marked_code_belong_to_the_update(update: ss.LogArithmetic | None) -> None:
    layer = nn.BatchNorm1d(3)

    def run() -> None:
        layer(random(8, 3))
        with ss.update_phase():
            random(5) + random(5)

    recorded = record(run, LNS12, update=update)
    assert recorded["update", "elements"].additions == 3 + 3 + 5  # two running statistics of 3 channels
    assert recorded["update", "elements"].frac_bits == (update or LNS12).format.frac_bits
    assert recorded["forward", "elements"].frac_bits == LNS12.format.frac_bits
    assert recorded["forward", "sums"].additions == 2 * 3 * 7


def test_distances_from_24_octaves_on_share_the_last_bin() -> None:
    recorded = record(lambda: torch.full((1,), 2.0**20) + torch.tensor([2.0**-20, 2.0**-4, -(2.0**-3)]), LNS12)
    histogram = recorded["forward", "elements"]
    assert (histogram.plus[-1], histogram.minus[23 * 32], histogram.additions) == (2, 1, 3)


@pytest.mark.parametrize("sampling", [None, EVERYTHING, Sampling(1, 1, 1)], ids=str)
@pytest.mark.parametrize("update", [None, FINE], ids=str)
def test_recording_changes_no_bit_of_a_run(sampling: Sampling | None, update: ss.LogArithmetic | None) -> None:
    models, others = [], []
    for recorder in (None, DistanceRecorder(3, sampling)):
        model = ss.snap_(network(), update or LNS12)
        np.random.seed(0)
        with ss.use(LNS12, update=update, audit=True, record=recorder) as run:
            train(model, torch.optim.Adam(model.parameters(), lr=0.01))
        models.append(model)
        others.append((torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), run.audit.counts))
    assert_same_state(*models)
    assert others[0] == others[1]


def test_a_small_sample_has_the_exact_total_and_is_drawn_from_the_seed() -> None:
    model = ss.snap_(network().eval(), LNS12)

    def recorded(sampling: Sampling, seed: int = 0) -> dict[tuple[str, str], DistanceHistogram]:
        return record(lambda: train(model, torch.optim.SGD(model.parameters(), lr=0.0), 1), LNS12, sampling, seed)

    whole, some, again, other = recorded(EVERYTHING), *(recorded(Sampling(40, 3, None), seed) for seed in (1, 1, 2))
    assert (
        whole.keys()
        == some.keys()
        == {(p, k) for p in ("forward", "backward") for k in ("sums", "elements")} | {("update", "elements")}
    )
    for key, part in some.items():
        assert part.additions == pytest.approx(whole[key].additions, rel=1e-12)
        assert np.array_equal(part.plus, again[key].plus)
    assert any(not np.array_equal(part.plus, other[key].plus) for key, part in some.items())


@pytest.mark.parametrize("order", [ss.Tree(), ss.Sequential(), ss.Blocked(30)], ids=str)
def test_the_estimate_of_every_bin_is_unbiased(order: Order) -> None:
    arithmetic = ss.LogArithmetic(ss.LNS(4, 0), "exact", order)
    a, b = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(1))
    b[0] *= 1e3  # one column unlike the others

    def run() -> None:
        a @ b.T + a[:, :1]

    whole = record(run, arithmetic)
    draws = [record(run, arithmetic, Sampling(80, 3, 15), seed) for seed in range(400)]
    for key, part in whole.items():
        found = [d[key] for d in draws if key in d]
        for name in ("plus", "minus"):
            samples = np.array([getattr(h, name) for h in found] + [np.zeros(len(part.plus))] * (400 - len(found)))
            error = np.abs(samples.mean(0) - getattr(part, name))
            assert (error <= 4.5 * samples.std(0) / 20 + 1e-9).all(), key
    skipped = sum(("forward", "sums") not in d for d in draws)
    assert (skipped > 100) == (not isinstance(order, ss.Tree))


def test_only_the_run_that_asked_is_recorded() -> None:
    recorder, x = DistanceRecorder(), random(5)
    with ss.use(LNS12, record=recorder):
        with ss.exact():
            x + x
        with ss.use(FINE):
            x + x
        ss.snap_(x.clone(), LNS12)
    x + x
    assert not recorder.histograms()
    with ss.use(FINE), ss.use(LNS12, record=recorder):
        x + x
        x.new_zeros(0) + x[:0]
        torch.zeros(3, 0) @ torch.zeros(0, 2)
        torch.ones(3, 1) @ torch.ones(1, 2)
    assert recorder.histograms().keys() == {("forward", "elements")}
    assert recorder.histograms()["forward", "elements"].additions == 5


def test_a_recorder_gathers_several_runs_of_one_arithmetic() -> None:
    recorder = DistanceRecorder()
    for _ in range(2):
        with ss.use(LNS12, record=recorder):
            random(5) + random(5)
    assert recorder.histograms()["forward", "elements"].additions == 10
    with ss.use(FINE, record=recorder), pytest.raises(ss.SpecificationError, match="take a new recorder"):
        random(5) + random(5)


def test_errors_of_operators_are_those_without_recording() -> None:
    nan, zero = torch.full((2,), float("nan")), torch.zeros(2)
    for run in (lambda: nan + 1.0, lambda: torch.addcdiv(zero, zero, zero), lambda: nan @ nan, lambda: zero + nan[0]):
        messages = []
        for recorder in (None, DistanceRecorder()):
            with ss.use(LNS12, record=recorder), pytest.raises(ss.NonFiniteError) as caught:
                run()
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(ss.SpecificationError, match="a rounded baseline has no log additions"):
        ss.use(ss.RoundedArithmetic(ss.LNS(5, 5)), record=DistanceRecorder())
    with pytest.raises(ss.SpecificationError, match=r"Sampling\(elements=0\): must be a positive integer, or None"):
        Sampling(elements=0)
