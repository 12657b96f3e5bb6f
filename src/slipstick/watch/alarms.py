"""When to warn, and in which words.

Each rule has a threshold, and holds only where it was passed at two looks in a row, since one batch may be odd. Each is
told once for a layer. The thresholds were set between runs of a small CNN on digits that train well and runs that fail;
docs/watching.md has the figures.

Updates that are lost, and gradients in noise, are no failure where training has converged or its learning rate was
lowered on purpose. Both rules therefore also ask that updates are as large as before: learning rate times root mean
square gradient at least a third of the largest seen for the layer.
"""

import math
from collections.abc import Iterator

from slipstick.watch.counting import Counts
from slipstick.watch.look import GradientLook, Look, Role, UpdateLook

STILL_LARGE = 1 / 3
"""Of the largest update that a layer was asked for: below it training has converged, or was slowed down."""
UNCHANGED = 0.8
"""Lost updates. Healthy runs in 12 bits begin at 0.75 and reach more only while updates become small; in 9 bits, where
training fails, nine of ten are lost from the first step on."""
NOISE_DB = -3.0
"""Signal to noise of weight gradients: twice as much noise as signal. Momentum averages much away: runs train at 0."""
VANISHED = 0.5
"""Weight gradients that are zero though the float32 gradient is not: half of them."""
SATURATED = 0.01
"""Elements at the largest magnitude: of a tensor that is not clipped, one code among hundreds has far fewer."""
UNDERFLOW = 0.25
"""Gradients at the smallest magnitude, where they are clamped and no longer tell how small they are."""

Finding = tuple[str, str, str]  # layer, kind, text


class Alarms:
    """Remembers what was said. Given the same looks again, it comes to the same state.

    recipe: the model is quantised by a recipe. How much it clips is then its choice, and no reason to warn.
    """

    def __init__(self, recipe: bool) -> None:
        self._recipe = recipe
        self._largest: dict[str, float] = {}
        self._before: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()

    def warnings(self, look: Look) -> tuple[str, ...]:
        """What to say after this look."""
        found = list(self._findings(look))
        due = [each for each in found if each[:2] in self._before and each[:2] not in self._told]
        self._before = {each[:2] for each in found}
        self._told |= {each[:2] for each in due}
        return tuple(text for _, _, text in due)

    def _findings(self, look: Look) -> Iterator[Finding]:
        large = {update.layer for update in look.updates if self._still_large(look, update.layer)}
        for update in look.updates:
            if update.layer in large:
                yield from self._lost(look, update)
        for gradient in look.gradients:
            yield from self._vanished(gradient)
            if gradient.layer in large:
                yield from self._noisy(gradient)
        if not self._recipe:
            for tensor in look.tensors:
                yield from _at_the_ends(tensor.layer, tensor.role, tensor.counts)

    def _still_large(self, look: Look, layer: str) -> bool:
        counts = look.of(layer, "weight_gradient")
        size = 0.0 if counts is None else look.lr * _root_mean_square(counts)
        largest = self._largest[layer] = max(self._largest.get(layer, 0.0), size)
        return size > 0 and size >= STILL_LARGE * largest

    def _lost(self, look: Look, update: UpdateLook) -> Iterator[Finding]:
        rate = update.unchanged / max(look.asked(update.layer), 1)
        if rate < UNCHANGED:
            return
        finer = "more bits in the recipe's stored weights, or keeps_master = true"
        way_out = finer if self._recipe else 'a finer update format (update=), the adder "designed-plateau"'
        yield (
            update.layer,
            "unchanged",
            f"{update.layer}: {100 * rate:.0f} % of updates change no bit, though gradients are as large as before; "
            f"try {way_out}, or a higher learning rate",
        )

    def _noisy(self, gradient: GradientLook) -> Iterator[Finding]:
        if gradient.sqnr_db is None or gradient.sqnr_db >= NOISE_DB:
            return
        finer = "more fraction bits, another adder, or, where gradients are small, integer bits or a loss scale"
        way_out = "more bits for activation gradients" if self._recipe else finer
        yield (
            gradient.layer,
            "noise",
            f"{gradient.layer}: weight gradients hold more rounding noise than signal ({gradient.sqnr_db:.0f} dB); "
            f"try {way_out}",
        )

    def _vanished(self, gradient: GradientLook) -> Iterator[Finding]:
        if gradient.vanished >= VANISHED:
            way_out = "a wider range of gradients" if self._recipe else "more integer bits"
            yield (
                gradient.layer,
                "vanished",
                f"{gradient.layer}: {100 * gradient.vanished:.0f} % of weight gradients are zero that float32 has not; "
                f"try a loss scale (loss_scale), or {way_out}",
            )


def _at_the_ends(layer: str, role: Role, counts: Counts) -> Iterator[Finding]:
    words = role.replace("_", " ") + "s"
    if counts.saturated >= SATURATED * counts.count:
        text = f"{layer}: {_percent(counts.saturated, counts)} of {words} are at the format's largest magnitude"
        yield layer, f"saturated {role}", f"{text}; try more integer bits, or a lower learning rate"
    if role.endswith("gradient") and counts.underflow >= UNDERFLOW * counts.count:
        text = f"{layer}: {_percent(counts.underflow, counts)} of {words} are at the format's smallest magnitude"
        yield layer, f"underflow {role}", f"{text}; try a loss scale (loss_scale), or more integer bits"


def _percent(number: int, counts: Counts) -> str:
    return f"{100 * number / counts.count:.0f} %"


def _root_mean_square(counts: Counts) -> float:
    """From the octaves, up to a factor that is always the same."""
    return math.sqrt(sum(n * 4.0**k for k, n in counts.octaves.items()) / max(counts.count, 1))
