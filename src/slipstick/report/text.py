"""Numbers as a reader wants them, for terminal and page alike. Nothing known is a dash."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipstick.report.intervals import Interval

NONE = "–"  # noqa: RUF001
MINUS = "−"  # noqa: RUF001 (a true minus sign)


def accuracy_text(accuracy: float | None) -> str:
    return NONE if accuracy is None else f"{100 * accuracy:.1f} %"


def points_text(points: float | None) -> str:
    """A difference of accuracies in points, signed."""
    return NONE if points is None else f"{points:+.1f}".replace("-", MINUS)


def seconds_text(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"


def slowdown_text(ratio: float | None) -> str:
    if ratio is None:
        return NONE
    return f"{ratio:.1f}x" if ratio < 100 else f"{ratio:.0f}x"


def loss_text(loss: float | None, per_character: bool = False) -> str:
    """In nats; of the next character also in bits per character."""
    if loss is None:
        return NONE
    return f"{loss:.3f} ({loss / math.log(2):.3f} bpc)" if per_character else f"{loss:.3f}"


def half_text(interval: "Interval | None", scale: float = 1.0) -> str:
    """Half an interval, in ``scale`` ths of its unit; a dash where one seed tells nothing."""
    if interval is None or interval.half is None:
        return NONE
    return f"{scale * interval.half:.1f}" if scale * interval.half >= 0.05 or interval.half == 0 else "< 0.1"


def amount_text(value: float | None) -> str:
    """Three digits that count, thousands apart."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def cost_text(value: float) -> str:
    """Whole numbers in full, others to three digits."""
    return f"{value:,.0f}" if value == int(value) else amount_text(value)
