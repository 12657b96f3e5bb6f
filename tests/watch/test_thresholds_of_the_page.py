"""docs/watching.md has the thresholds that warnings have."""

from pathlib import Path

from slipstick.watch import alarms

PAGE = (Path(__file__).parents[2] / "docs" / "watching.md").read_text(encoding="utf-8")


def test_the_page_has_the_thresholds() -> None:
    for text in (
        f"≥ {100 * alarms.UNCHANGED:.0f} %, while updates are large",
        f"< \N{MINUS SIGN}{-alarms.NOISE_DB:.0f} dB",
        f"≥ {100 * alarms.SATURATED:.0f} % |",
        f"≥ {100 * alarms.UNDERFLOW:.0f} % of a gradient",
        f"≥ {100 * alarms.VANISHED:.0f} % |",
    ):
        assert text in PAGE
