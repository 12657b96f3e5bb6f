"""Numbers of a study as a reader wants them, for page and plots alike. Nothing known is a dash."""

from slipstick.report.text import NONE, amount_text


def ratio_text(value: float, base: float) -> str:
    """``value`` in units of ``base``, to the third decimal or, where both differ much, to three digits."""
    if not base:
        return NONE
    ratio = value / base
    return f"{ratio:.3f}×" if 0.01 <= ratio < 10 else f"{amount_text(ratio)}×"  # noqa: RUF001


def operands_text(name: str) -> str:
    return name.replace("_", " ")
