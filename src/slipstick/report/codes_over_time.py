"""Codes, updates and gradients of a watched training, over its steps and layers."""

from collections.abc import Iterable, Sequence

import numpy as np

from slipstick.report.heat_maps import MOST_COLUMNS, Matrix, Panel, decibels, per_cents
from slipstick.report.svg import Plot
from slipstick.watch import Counts, Look, TensorLook
from slipstick.watch.look import ROLES

ROLE_NAMES = {
    "weight": "weights",
    "activation": "activations",
    "activation_gradient": "activation gradients",
    "weight_gradient": "weight gradients",
}
RATES = ("zero", "saturated", "underflow")

_Cells = dict[tuple[str | int, int], float]
"""Values by row and step."""


def watch_plots(looks: Sequence[Look], label: str) -> list[Plot]:
    """What a watch saw, as far as it looked: distributions, rates by role, updates, gradients."""
    roles = roles_of(looks)
    plots = [_distribution_over_time(looks, roles, label), _distribution_by_layer(looks, roles, label)] if roles else []
    plots += [plot for role in roles if (plot := _rates(looks, role, label)) is not None]
    plots += [plot for plot in (_swamped(looks, label), _gradients(looks, label)) if plot is not None]
    return plots


def roles_of(looks: Sequence[Look]) -> list[str]:
    """Those with elements, in the usual order."""
    seen = {tensor.role for look in looks for tensor in look.tensors if tensor.counts.count}
    return [role for role in ROLES if role in seen]


def role_name(role: str) -> str:
    return ROLE_NAMES[role]


def _distribution_over_time(looks: Sequence[Look], roles: Sequence[str], label: str) -> Plot:
    """Of all layers together: the share of a role's elements in every octave, at every step."""
    panels = []
    for role in roles:
        cells: _Cells = {}
        for look in looks:
            total, octaves = _octaves(tensor for tensor in look.tensors if tensor.role == role)
            cells |= {(octave, look.step): 100 * count / total for octave, count in octaves.items()}
        panels.append(_panel(_capital(role_name(role)), _all_octaves(cells), cells, missing=0.0))
    return per_cents(
        "Distribution of codes over time",
        panels,
        "training step",
        "octave",
        f"share of elements by octave and step of {label}",
        _largest(panels),
    )


def _distribution_by_layer(looks: Sequence[Look], roles: Sequence[str], label: str) -> Plot:
    """At the last look: the share of a layer's elements in every octave."""
    panels = []
    for role in roles:
        last = next(look for look in reversed(looks) if any(tensor.role == role for tensor in look.tensors))
        tensors = [tensor for tensor in last.tensors if tensor.role == role and tensor.counts.count]
        octaves = [octave for tensor in tensors for octave in tensor.counts.octaves]
        columns = list(range(min(octaves, default=0), max(octaves, default=0) + 1))
        cells = np.array(
            [[100 * tensor.counts.octaves.get(k, 0) / tensor.counts.count for k in columns] for tensor in tensors]
        )
        title = f"{_capital(role_name(role))}, step {last.step}"
        panels.append(Panel(title, columns, [tensor.layer for tensor in tensors], cells))
    return per_cents(
        "Distribution of codes by layer",
        panels,
        "octave [2^k, 2^(k+1))",
        "",
        f"share of elements by octave and layer at the last look of {label}",
        _largest(panels),
    )


def _rates(looks: Sequence[Look], role: str, label: str) -> Plot | None:
    """Of one role: zero, saturated and underflowing elements; None where there never are any."""
    panels = []
    for name in RATES:
        cells: _Cells = {
            (tensor.layer, look.step): 100 * tensor.rates[name]
            for look in looks
            for tensor in look.tensors
            if tensor.role == role and tensor.counts.count
        }
        if any(cells.values()):
            panels.append(_panel(name, _layers(cells), cells))
    if not panels:
        return None
    title = f"{_capital(role_name(role))}: {', '.join(panel.title for panel in panels)}"
    return per_cents(title, panels, "training step", "", f"rates by layer and step of the {role_name(role)} of {label}")


def _swamped(looks: Sequence[Look], label: str) -> Plot | None:
    cells: _Cells = {
        (update.layer, look.step): 100 * look.lost(update)
        for look in looks
        for update in look.updates
        if look.asked(update.layer)
    }
    if not cells:
        return None
    panels = [_panel("share of the updates", _layers(cells), cells)]
    text = f"share of updates that change no bit, by layer and step of {label}"
    return per_cents("Updates that change no bit", panels, "training step", "", text)


def _gradients(looks: Sequence[Look], label: str) -> Plot | None:
    cells: _Cells = {
        (gradient.layer, look.step): gradient.sqnr_db
        for look in looks
        for gradient in look.gradients
        if gradient.sqnr_db is not None and np.isfinite(gradient.sqnr_db)
    }
    if not cells:
        return None
    layers = list(dict.fromkeys(gradient.layer for look in looks for gradient in look.gradients))
    panels = [_panel("signal to quantisation noise", layers, cells)]
    text = f"gradient signal to quantisation noise by layer and step of {label}"
    return decibels("Weight gradients against their rounding", panels, "training step", "", text)


def _panel(title: str, rows: Sequence[str] | Sequence[int], cells: _Cells, missing: float = np.nan) -> Panel:
    steps = sorted({step for _, step in cells})
    place, column = {row: i for i, row in enumerate(rows)}, {step: i for i, step in enumerate(steps)}
    matrix = np.full((max(len(rows), 1), max(len(steps), 1)), missing)
    for (row, step), value in cells.items():
        matrix[place[row], column[step]] = value
    columns, matrix = _averaged(steps or [0], matrix)
    return Panel(title, columns, rows or [0], matrix)


def _averaged(steps: Sequence[int], matrix: Matrix) -> tuple[list[float], Matrix]:
    """At most so many columns as can be told apart."""
    if len(steps) <= MOST_COLUMNS:
        return [float(step) for step in steps], matrix
    parts = np.array_split(np.arange(len(steps)), MOST_COLUMNS)
    known = np.isfinite(matrix)
    sums, counts = np.where(known, matrix, 0.0), known.astype(float)
    averaged = [sums[:, part].sum(1) / np.maximum(counts[:, part].sum(1), 1e-300) for part in parts]
    empty = [counts[:, part].sum(1) == 0 for part in parts]
    cells = np.where(np.stack(empty, axis=1), np.nan, np.stack(averaged, axis=1))
    return [float(np.mean([steps[i] for i in part])) for part in parts], cells


def _octaves(tensors: Iterable[TensorLook]) -> tuple[int, dict[int, int]]:
    """Elements in all, and in each octave."""
    found = Counts()
    for tensor in tensors:
        found.add(tensor.counts)
    return max(found.count, 1), found.octaves


def _all_octaves(cells: _Cells) -> list[int]:
    octaves = [int(octave) for octave, _ in cells]
    return list(range(min(octaves, default=0), max(octaves, default=0) + 1))


def _layers(cells: _Cells) -> list[str]:
    return list(dict.fromkeys(str(layer) for layer, _ in cells))


def _largest(panels: Sequence[Panel]) -> float:
    return max(1.0, max(float(panel.cells.max()) for panel in panels))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
