"""What was executed, and how: the evidence that nothing ran in floating point unnoticed."""

from collections import Counter

HOW = ("defined", "decomposed", "exact", "outside")


class Audit:
    """Counts of operators by how they were executed.

    "defined" in the arithmetic, "decomposed" into other operators, "exact" moves and selections, and "outside": inside
    ``ss.exact()`` or read by the host (``.item()``, ``.numpy()``).
    """

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}

    def record(self, operator: str, how: str) -> None:
        """Count one execution of ``operator``."""
        self.counts.setdefault(operator, Counter())[how] += 1

    def totals(self) -> dict[str, int]:
        """Executions by how, over all operators."""
        return {how: sum(counter[how] for counter in self.counts.values()) for how in HOW}

    def __str__(self) -> str:
        lines = [f"{'operator':<48} " + " ".join(f"{how:>10}" for how in HOW)]
        for operator, counter in sorted(self.counts.items()):
            lines.append(f"{operator:<48} " + " ".join(f"{counter[how]:>10}" for how in HOW))
        return "\n".join(lines)
