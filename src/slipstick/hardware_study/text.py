"""Numbers of a study as a reader wants them, for page and plots alike. Nothing known is a dash."""

import math

from slipstick.report.text import NONE


def amount_text(value: float | None) -> str:
    """Three digits that count, thousands apart."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def ratio_text(value: float, base: float) -> str:
    """``value`` in units of ``base``, to the third decimal or, where both differ much, to three digits."""
    if not base:
        return NONE
    ratio = value / base
    return f"{ratio:.3f}×" if 0.01 <= ratio < 10 else f"{amount_text(ratio)}×"  # noqa: RUF001


def operands_text(name: str) -> str:
    return name.replace("_", " ")
