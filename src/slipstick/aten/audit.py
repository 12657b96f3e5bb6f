"""What was executed, and how: the evidence that nothing ran in floating point unnoticed."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

HOW = ("defined", "decomposed", "exact", "outside")


class Audit:
    """Counts of operators by how they were executed.

    "defined" in the arithmetic, "decomposed" into other operators, "exact" moves and selections, and "outside": inside
    ``ss.exact()`` or read by the host (``.item()``, ``.numpy()``).

    seconds: by operator that the program called, what it was decomposed into included.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._timing = False

    def record(self, operator: str, how: str) -> None:
        """Count one execution of ``operator``."""
        self.counts.setdefault(operator, Counter())[how] += 1

    @contextmanager
    def timing(self, operator: str) -> Iterator[None]:
        """Add the time inside to ``operator``, unless another one is being timed."""
        if self._timing:
            yield
            return
        self._timing, start = True, time.perf_counter()
        try:
            yield
        finally:
            self.seconds[operator] += time.perf_counter() - start
            self._timing = False

    def totals(self) -> dict[str, int]:
        """Executions by how, over all operators."""
        return {how: sum(counter[how] for counter in self.counts.values()) for how in HOW}

    def __str__(self) -> str:
        lines = [f"{'operator':<48} " + " ".join(f"{how:>10}" for how in (*HOW, "ms"))]
        for operator, counter in sorted(self.counts.items()):
            counts = " ".join(f"{counter[how]:>10}" for how in HOW)
            lines.append(f"{operator:<48} {counts} {1000 * self.seconds[operator]:>10.1f}")
        return "\n".join(lines)
