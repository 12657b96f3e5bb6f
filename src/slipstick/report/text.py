"""Numbers as a reader wants them, for terminal and page alike. Nothing known is a dash."""

import math

NONE = "–"  # noqa: RUF001


def accuracy_text(accuracy: float | None) -> str:
    return NONE if accuracy is None else f"{100 * accuracy:.1f} %"


def points_text(points: float | None) -> str:
    """A difference of accuracies in points, signed."""
    return NONE if points is None else f"{points:+.1f}".replace("-", "−")  # noqa: RUF001 (a true minus sign)


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
