"""One self-contained HTML page: no script, no font, no picture from anywhere else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipstick.report.figures import accuracy_curves, loss_curves, run_colours
from slipstick.report.runs import RunRecord, compare_runs, standard_error
from slipstick.report.template import pictures, render, write_html
from slipstick.report.text import accuracy_text, loss_text, points_text, seconds_text, slowdown_text
from slipstick.train.config import Experiment, Transformer
from slipstick.train.experiment_files import experiment_toml
from slipstick.train.run_folder import Result

_MAY_DIFFER = {
    *("arithmetic", "update", "quantize", "label", "variant"),
    *("out", "threads", "log_every", "checkpoint_minutes"),
}


def write_report(runs: Sequence[RunRecord], path: Path) -> Path:
    """Write the comparison of ``runs`` to ``path``; returns its absolute path."""
    return write_html(path, render_report(runs))


def render_report(runs: Sequence[RunRecord]) -> str:
    """The page. ``runs``: at least one, of the same experiment."""
    first = runs[0]
    trained = any(run.experiment.epochs for run in runs)
    figures = [accuracy_curves(runs), loss_curves(runs)] if trained else []
    return render(
        "slipstick.report",
        "report.html.jinja",
        experiment=first.experiment,
        environment=first.environment,
        trained=trained,
        facts=_facts(runs),
        differences=_differences(runs),
        uncertainty=_uncertainty(runs),
        toml=experiment_toml(first.experiment),
        rows=_rows(runs),
        operators=_operators(runs),
        figures=pictures(figures),
    )


def _facts(runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """What the runs share, in a reader's words."""
    experiment = runs[0].experiment
    optimizer, schedule = experiment.optimizer, experiment.schedule
    facts = [("data", experiment.data), ("network", experiment.model.name)]
    if experiment.weights is not None:
        facts.append(("weights at the start", experiment.weights))
    if experiment.epochs:
        facts += [
            ("optimiser", f"{optimizer.name}, learning rate {optimizer.lr:g} ({schedule.kind})"),
            ("budget", f"{experiment.epochs} epochs, batch {experiment.batch}, seed {experiment.seed}"),
        ]
    else:
        facts.append(("budget", "no training, only evaluation"))
    if result := next((run.result for run in runs if run.result), None):
        facts.insert(1, _samples(experiment, result))
        facts[2] = ("network", f"{experiment.model.name}, {result.parameters:,} parameters")
    return facts


def _samples(experiment: Experiment, result: Result) -> tuple[str, str]:
    if isinstance(experiment.model, Transformer):
        windows = f"windows of {experiment.model.context} characters"
        return windows, f"{result.training_images:,} to train in every epoch, {result.test_images:,} to test"
    return "images", f"{result.training_images:,} to train, {result.test_images:,} to test"


def _differences(runs: Sequence[RunRecord]) -> list[str]:
    """Keys, besides those that a comparison varies, in which the experiments differ."""
    given = [run.experiment.model_dump(exclude=_MAY_DIFFER) for run in runs]
    return [key for key in given[0] if any(other[key] != given[0][key] for other in given)]


def _uncertainty(runs: Sequence[RunRecord]) -> str | None:
    """The largest standard error of the accuracies, in points; not of text, whose characters depend on each other."""
    errors = [
        standard_error(run.accuracy, run.result.test_images)
        for run in runs
        if run.accuracy is not None and run.result is not None and not run.experiment.reads_text
    ]
    return f"{100 * max(errors):.1f}" if errors else None


def _rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    rows = []
    for compared, colour in zip(compare_runs(runs), run_colours(runs), strict=True):
        run = compared.run
        rows.append(
            {
                "label": run.label,
                "colour": colour,
                "bits": run.width,
                "status": run.status,
                "message": run.result.message if run.result else "",
                "accuracy": accuracy_text(run.accuracy),
                "share": 100 * (run.accuracy or 0.0),
                "points": points_text(compared.points),
                "loss": loss_text(run.result.test_loss if run.result else None, run.experiment.reads_text),
                "step": seconds_text(run.step_seconds),
                "slowdown": slowdown_text(compared.slowdown),
                "audit": run.audit_totals,
            }
        )
    return rows


def _operators(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Each run's operators with how they were executed, the most frequent first."""
    listed = []
    for run in runs:
        if run.audit is None:
            continue
        entries = [(name, how, count) for name, counts in run.audit.items() for how, count in counts.items()]
        entries.sort(key=lambda entry: (-entry[2], entry[0]))
        listed.append({"label": run.label, "entries": entries})
    return listed
