"""A watched run in a few numbers: where it stood worst when it was last looked at, and what it was warned of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slipstick.report.codes_over_time import RATES, role_name
from slipstick.report.runs import RunRecord
from slipstick.report.text import MINUS
from slipstick.report.watch import Warned, warnings_of
from slipstick.watch import Look

SWAMPED = "unchanged updates"
SQNR = "lowest gradient SQNR"
COLUMNS = (*RATES, SWAMPED, SQNR)


@dataclass(frozen=True)
class Worst:
    """value: a rate from 0 to 1, or dB. where: layer, and role where there are several."""

    value: float
    where: str


@dataclass(frozen=True)
class WatchSummary:
    """worst: by column, at the last look that saw it."""

    run: RunRecord
    looks: int
    warnings: tuple[Warned, ...]
    worst: dict[str, Worst]


def summarise(run: RunRecord, looks: Sequence[Look]) -> WatchSummary:
    """``looks``: of the run, at least one."""
    worst = {name: found for name, found in _worst(looks).items() if found is not None}
    return WatchSummary(run, len(looks), tuple(warnings_of(looks)), worst)


def worst_text(name: str, worst: Worst) -> str:
    """The number alone."""
    return f"{worst.value:.1f} dB".replace("-", MINUS) if name == SQNR else share_text(worst.value)


def share_text(share: float) -> str:
    """In per cent, to two digits."""
    if share == 0:
        return "0 %"
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.2g} %" if share >= 1e-4 else "< 0.01 %"


def _worst(looks: Sequence[Look]) -> dict[str, Worst | None]:
    tensors = next((look.tensors for look in reversed(looks) if look.tensors), ())
    updated = next((look for look in reversed(looks) if look.updates), None)
    gradients = next((look.gradients for look in reversed(looks) if look.gradients), ())
    found = {
        name: _largest(Worst(t.rates[name], f"{t.layer}, {role_name(t.role)}") for t in tensors if t.counts.count)
        for name in RATES
    }
    asked = (
        () if updated is None else [Worst(updated.lost(u), u.layer) for u in updated.updates if updated.asked(u.layer)]
    )
    found[SWAMPED] = _largest(asked)
    known = [Worst(float(g.sqnr_db), g.layer) for g in gradients if g.sqnr_db is not None]
    found[SQNR] = min(known, key=lambda each: each.value, default=None)
    return found


def _largest(candidates: Iterable[Worst]) -> Worst | None:
    return max(candidates, key=lambda each: each.value, default=None)
