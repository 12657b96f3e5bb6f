"""Run folders made without training: what a report reads, with figures that follow from the arguments."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from slipstick.train.config import Experiment
from slipstick.train.experiment_files import experiment_toml
from slipstick.train.metrics import Row
from slipstick.train.run_folder import Result

LAYERS = ("features.0", "features.3", "features.6", "classifier.1", "classifier.4")
_STEPS_PER_EPOCH = 20


def make_run(
    folder: Path,
    accuracy: float,
    *,
    status: str | None = "finished",
    epochs: int = 4,
    log_every: int = 5,
    started: str = "2026-01-01T00:00:00+00:00",
    watched: bool = False,
    **keys: Any,
) -> Path:
    """A run that ends with ``accuracy``. status None: not finished, after half the epochs."""
    given = {"name": "made", "model": {"name": "cnn"}, "epochs": epochs, "log_every": log_every, "out": "runs"}
    experiment = Experiment(**{**given, **keys})
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(experiment_toml(experiment))
    environment = {"time": started, "slipstick": "0.1.0", "torch": "2.13", "threads": 2, "isa": "avx2"}
    (folder / "environment.json").write_text(json.dumps([environment]))
    done = epochs if status == "finished" else epochs // 2
    rows = _rows(accuracy, done, log_every)
    _write_metrics(folder, rows)
    if status is not None:
        message = "" if status == "finished" else "the loss became nan"
        last = rows[-1]
        result = Result(
            status=status,  # type: ignore[arg-type]
            message=message,
            epochs=done,
            steps=last.step,
            accuracy=last.test_accuracy,
            best_accuracy=last.test_accuracy,
            median_last_accuracy=last.test_accuracy,
            test_loss=last.test_loss,
            elapsed_seconds=last.elapsed_seconds,
            training_images=1000,
            test_images=400,
            parameters=15498,
        )
        (folder / "result.json").write_text(json.dumps(asdict(result)))
    if not experiment.is_fp32:
        (folder / "audit.json").write_text(
            json.dumps({"counts": {"aten.mm": {"defined": 7}, "aten.view": {"exact": 5}}})
        )
    if watched:
        write_watch(folder, done * _STEPS_PER_EPOCH)
    return folder


def write_watch(folder: Path, steps: int, every: int = 2, layers: tuple[str, ...] = LAYERS) -> None:
    """Weights that grow, gradients that fade, updates that are swamped more and more."""
    lines = [json.dumps(_look(step, steps, layers)) for step in range(every, steps + 1, every)]
    (folder / "watch.jsonl").write_text("\n".join(lines) + "\n")


def _rows(accuracy: float, epochs: int, log_every: int) -> list[Row]:
    rows = []
    for step in range(1, epochs * _STEPS_PER_EPOCH + 1):
        epoch = (step - 1) // _STEPS_PER_EPOCH + 1
        loss = 2.3 * math.exp(-step / 40) + 3 * (1 - accuracy)
        if step % log_every == 0:
            rows.append(Row("step", epoch, step, 0.05, loss, accuracy, None, None, 0.01, step * 0.01))
        if step % _STEPS_PER_EPOCH == 0:
            now = accuracy * (1 - math.exp(-2 * epoch)) / (1 - math.exp(-2 * epochs))
            rows.append(Row("epoch", epoch, step, 0.05, loss, now, loss + 0.1, now, 0.01, step * 0.01))
    return rows


def _write_metrics(folder: Path, rows: list[Row]) -> None:
    lines = [",".join(field.name for field in fields(Row))]
    lines += [",".join("" if value is None else str(value) for value in asdict(row).values()) for row in rows]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def _look(step: int, steps: int, layers: tuple[str, ...]) -> dict[str, Any]:
    share = step / steps
    tensors, updates, gradients, warnings = [], [], [], []
    for place, layer in enumerate(layers):
        for role, centre in (("weight", -4), ("activation", 0), ("activation_gradient", -12), ("weight_gradient", -8)):
            middle = centre + place / 2 - (3 * share if "gradient" in role else -share)
            octaves = {str(k): int(1000 * math.exp(-(((k - middle) / 3) ** 2))) for k in range(centre - 8, centre + 9)}
            octaves = {octave: count for octave, count in octaves.items() if count}
            zero = 700 if role == "activation" else 20 * place
            saturated = int(60 * share) if (role, place) == ("activation", 1) else 0
            underflow = int(400 * share * share) if role == "activation_gradient" else 0
            count = sum(octaves.values()) + zero
            counts = {"count": count, "zero": zero, "saturated": saturated, "underflow": underflow}
            tensors.append({"layer": layer, "role": role, **counts, "octaves": octaves})
        unchanged = int(1728 * share * (place + 1) / (len(layers) + 1))
        updates.append({"layer": layer, "count": 1728, "unchanged": unchanged})
        gradients.append(
            {
                "layer": layer,
                "sqnr_db": None if place == 2 and share < 0.3 else 31.2 - 20 * share - 3 * place,
                "vanished": 0.0,
            }
        )
        if unchanged > 1000:
            warnings.append(f"{layer}: {100 * unchanged / 1728:.0f} % of updates change no bit")
    return {
        "step": step,
        "epoch": (step - 1) // _STEPS_PER_EPOCH + 1,
        "lr": 0.1,
        "tensors": tensors,
        "updates": updates,
        "gradients": gradients,
        "warnings": warnings,
    }


ARITHMETICS = (
    ("fp32", 0.972),
    ("LNS(5,8) hamad2025", 0.968),
    ("LNS(5,5) exact", 0.961),
    ("LNS(5,5) designed", 0.958),
    ("LNS(5,5) hamad2025", 0.944),
    ("LNS(5,4) designed", 0.951),
    ("LNS(5,3) exact", 0.897),
    ("LNS(4,10) sanyal2019-lut", 0.966),
)


_ADDERS = dict(zip((name for name, _ in ARITHMETICS), (9e6, 4e6, 1.6e6, 1.8e6, 1.4e6, 1.1e6, 8e5, 5e6), strict=True))


def make_study(
    folder: Path,
    seeds: int = 3,
    copies: int = 1,
    watched: bool = True,
    arithmetics: Sequence[tuple[str, float]] = ARITHMETICS,
) -> Path:
    """A sweep's folder: trials of every arithmetic, with ``copies`` learning rates, and its study.csv."""
    lines = ["trial,folder,state,duration,param.arithmetic,param.seed,value.accuracy,value.full_adders"]
    trial = 0
    for copy in range(copies):
        for place, (arithmetic, accuracy) in enumerate(arithmetics):
            for seed in range(seeds):
                ends = accuracy - 0.02 * copy + 0.004 * math.sin(7 * seed + place)
                name = f"trials/{trial:04d}"
                make_run(
                    folder / name / "made" / f"run{place}",
                    ends,
                    seed=seed,
                    arithmetic=arithmetic,
                    optimizer={"name": "sgd", "lr": 0.05 / (copy + 1)},
                    started=f"2026-01-01T{trial // 60:02d}:{trial % 60:02d}:00+00:00",
                    watched=watched and place % 3 == 2,
                )
                lines.append(f'{trial},{name},COMPLETE,3.2,"{arithmetic}",{seed},{ends},{_ADDERS[arithmetic]}')
                trial += 1
    lines.append(f'{trial},,FAIL,0.1,"LNS(5,2) exact",0,,')
    (folder / "study.csv").write_text("\n".join(lines) + "\n")
    return folder
