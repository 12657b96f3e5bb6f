"""Which trials are best: of one objective the first ones, of several those that no other one beats."""

from collections.abc import Sequence

from slipstick.sweep.config import MAXIMISED, Study
from slipstick.sweep.trials import TrialRecord


def best_first(plan: Study, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those that have finished, by the first objective, then the others."""
    finished = [record for record in records if record.values is not None]
    return sorted(finished, key=lambda record: (_costs(plan, record), record.number))


def front(plan: Study, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The best: those that no other one equals in all objectives and betters in one."""
    kept: list[TrialRecord] = []
    for record in best_first(plan, records):
        costs = _costs(plan, record)
        if not any(_beats(_costs(plan, other), costs) for other in kept):
            kept.append(record)
    return kept


def _costs(plan: Study, record: TrialRecord) -> tuple[float, ...]:
    """The less the better."""
    assert record.values is not None
    return tuple(
        -value if name in MAXIMISED else value for name, value in zip(plan.objectives, record.values, strict=True)
    )


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
