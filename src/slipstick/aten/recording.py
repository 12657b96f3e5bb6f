"""Measuring the distances d = |La - Lb| that log additions see inside a run, by sampling.

    recorder = DistanceRecorder(seed=0)
    with ss.use(arithmetic, record=recorder):
        ...
    recorder.histograms()["forward", "sums"].plus

A full count would take far longer than the run. So a kernel call that makes N results is looked at with probability p,
n of its N results are drawn without replacement, these are replayed in the NumPy reference, and every addition in them
counts N / (n p). Whatever p and n are, each addition of the run then counts 1 in expectation: the estimator of every
bin is unbiased. Within one call all results take equally many additions, so where p = 1 the total number of additions
is exact whatever n is. The draws come from the recorder's own NumPy generator: recording changes no bits of the run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from slipstick.arithmetic import Blocked, Order, Sequential
from slipstick.arithmetic.distances import DistanceHistogram, Kind, Phase, bins
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.kernels import replay
from slipstick.kernels.observation import ChainCall, Contraction, Observer
from slipstick.kernels.reference import LogArray
from slipstick.kernels.reference.logs import Bools, Ints
from slipstick.kernels.spec import KernelSpec

PhaseOf = Callable[[KernelSpec], Phase]


@dataclass(frozen=True)
class Sampling:
    """How much is looked at; all of it where a field is None.

    additions: of one sum of products, in as many of its results as have so many additions, at least one result.
    elements: of the result of one elementwise chain.
    in_turn: the most additions one after another that are always followed. A contraction with k times as many, which
        only sequential orders have, is looked at with probability 1 / k.
    """

    additions: int | None = 8192
    elements: int | None = 512
    in_turn: int | None = 256

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if value is not None and (type(value) is not int or value < 1):
                raise SpecificationError(f"Sampling({name}={value!r}): must be a positive integer, or None for all")

    def results(self, number: int, terms: int) -> int:
        """How many of a contraction's results to look at."""
        return number if self.additions is None else min(number, max(1, self.additions // max(terms - 1, 1)))

    def probability(self, order: Order, terms: int) -> float:
        """With which to look at a contraction at all."""
        if self.in_turn is None or not isinstance(order, Sequential | Blocked):
            return 1.0
        in_turn = min(terms, order.length) if isinstance(order, Blocked) else terms
        return min(1.0, self.in_turn / in_turn)


class DistanceRecorder:
    """Histograms of the additions of a run; see the module's docstring."""

    def __init__(self, seed: int | Sequence[int] = 0, sampling: Sampling | None = None) -> None:
        """seed: of the draws, one number or several."""
        self._random = np.random.default_rng(seed)
        self._sampling = sampling or Sampling()
        self._tallies: dict[tuple[Phase, Kind], _Tally] = {}

    def observer(self, phase_of: PhaseOf) -> Observer:
        """What kernels show their work to. phase_of: the phase that a kernel of these tables runs in."""
        return _Recording(self, phase_of)

    def histograms(self) -> dict[tuple[Phase, Kind], DistanceHistogram]:
        """Estimates of all additions so far, by phase and kind; those without any are left out."""
        return {key: tally.histogram() for key, tally in self._tallies.items()}

    def contraction(self, phase: Phase, seen: Contraction) -> None:
        """Sample a sum of products."""
        number, terms = replay.outputs(seen), replay.terms(seen)
        probability = self._sampling.probability(seen.spec.arithmetic.order, terms)
        if terms < 2 or self._random.random() >= probability:
            return
        chosen = self._draw(number, self._sampling.results(number, terms))
        sample = _Sample(seen.spec.arithmetic.accumulator_format.frac_bits)
        replay.replay_contraction(seen, chosen, sample.report)
        self._tally(phase, "sums", sample).add(sample, number / (len(chosen) * probability))

    def chain(self, phase: Phase, seen: ChainCall) -> None:
        """Sample an elementwise chain."""
        number = replay.elements(seen)
        if number == 0:
            return
        chosen = self._draw(number, min(number, self._sampling.elements or number))
        sample = _Sample(seen.spec.format.frac_bits)
        try:
            replay.replay_chain(seen, chosen, sample.report)
        except NonFiniteError:
            return  # the kernel is about to raise the same and to name the operator
        self._tally(phase, "elements", sample).add(sample, number / len(chosen))

    def _draw(self, number: int, wanted: int) -> Ints:
        if wanted == number:
            return np.arange(number)
        return self._random.choice(number, wanted, replace=False, shuffle=False)

    def _tally(self, phase: Phase, kind: Kind, sample: "_Sample") -> "_Tally":
        tally = self._tallies.setdefault((phase, kind), _Tally(sample.frac_bits))
        if tally.frac_bits != sample.frac_bits:
            raise SpecificationError(
                f"DistanceRecorder: has {kind} with frac_bits={tally.frac_bits} and was given some with "
                f"{sample.frac_bits}; take a new recorder for another arithmetic"
            )
        return tally


@dataclass(frozen=True)
class _Recording:
    """A recorder in one run, which knows the phases."""

    recorder: DistanceRecorder
    phase_of: PhaseOf

    def contraction(self, seen: Contraction) -> None:
        self.recorder.contraction(self.phase_of(seen.spec), seen)

    def chain(self, seen: ChainCall) -> None:
        self.recorder.chain(self.phase_of(seen.spec), seen)


class _Sample:
    """The additions of one replay: d, shifted by the number of bins where the signs are opposite."""

    def __init__(self, frac_bits: int) -> None:
        self.frac_bits = frac_bits
        self.bins = bins(frac_bits)
        self.places: list[Ints] = []
        self.zero = 0

    def report(self, a: LogArray, b: LogArray, there: Bools) -> None:
        d = np.minimum(np.abs(a.log - b.log), self.bins - 1)
        with_zero = a.is_zero | b.is_zero
        self.places.append((d + self.bins * (a.sign != b.sign))[there & ~with_zero])
        self.zero += int(np.count_nonzero(there & with_zero))


class _Tally:
    """A histogram that grows."""

    def __init__(self, frac_bits: int) -> None:
        self.frac_bits = frac_bits
        self.counts = np.zeros(2 * bins(frac_bits))
        self.zero = 0.0

    def add(self, sample: _Sample, weight: float) -> None:
        counts = np.bincount(np.concatenate(sample.places)) if sample.places else np.zeros(0)
        self.counts[: len(counts)] += weight * counts
        self.zero += weight * sample.zero

    def histogram(self) -> DistanceHistogram:
        plus, minus = self.counts.reshape(2, -1).copy()
        return DistanceHistogram(self.frac_bits, plus, minus, self.zero)
