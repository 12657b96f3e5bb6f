"""Interleaved timing: machines drift, so a candidate is only ever compared with a reference measured beside it."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """Median seconds of a candidate and of its reference, measured in turns."""

    candidate: float
    reference: float

    @property
    def ratio(self) -> float:
        """Speed of the candidate over that of the reference."""
        return self.reference / self.candidate


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(candidate: Work, reference: Work, repeats: int = 7, least: float = 0.02) -> Comparison:
    """Run both in turns, each often enough to last ``least`` seconds a turn; medians over ``repeats`` turns."""
    inner = [max(1, int(least / max(seconds(work), 1e-7))) for work in (candidate, reference)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for k, work in enumerate((candidate, reference)):
            start = time.perf_counter()
            for _ in range(inner[k]):
                work()
            times[k].append((time.perf_counter() - start) / inner[k])
    return Comparison(statistics.median(times[0]), statistics.median(times[1]))


def least(works: Sequence[Work], turns: int, done: Callable[[float], object] = lambda share: None) -> list[float]:
    """Seconds of each in its fastest turn: of calls as short as these, whatever else runs only adds to the time.

    done: is told the share of turns that are.
    """
    found = [math.inf] * len(works)
    for turn in range(turns):
        done(turn / turns)
        for k, work in enumerate(works):
            found[k] = min(found[k], seconds(work))
    return found


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's and the kernels' thread count, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
