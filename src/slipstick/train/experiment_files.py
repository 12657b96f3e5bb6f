"""Experiment files: TOML and ``key=value`` overrides to validated experiments, and back."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.train.config import ACCUMULATOR_SGD, FP32, Comparison, Experiment, RunChoice
from slipstick.train.naming import run_label, run_slug, variant_of
from slipstick.train.validated_toml import parse_toml, read_experiment_text, validate

DEMO = "digits.toml"

_WHAT_RUNS_CHOOSE = ("arithmetic", "update", "override", "quantize", "precision")


def load_experiment(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Experiment:
    """The experiment of a TOML file. Raises SpecificationError naming file and key."""
    data = _read(path, overrides, out)
    if "runs" in data or "arithmetics" in data:
        raise SpecificationError(f"{path}: lists several runs; start it with 'slipstick compare {path}'")
    return validate(Experiment, data, str(path), overrides)


def load_comparison(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    arithmetics: Sequence[str] = (),
    out: Path | None = None,
) -> Comparison:
    """Every run of a TOML file; without a file, of the demonstration on digits.

    The runs are ``arithmetics`` if given, else the file's [[runs]] or ``arithmetics`` list, else its one arithmetic.
    """
    source = str(path) if path else f"the built-in {DEMO}"
    data = _read(path, overrides, out)
    choices = _choices(data, source, arithmetics, overrides)
    for key in _WHAT_RUNS_CHOOSE:
        data.pop(key, None)
    runs = [validate(Experiment, {**data, **c.model_dump(exclude_none=True)}, source, overrides) for c in choices]
    runs = _told_apart(runs, lambda: validate(Experiment, _of_the_file(data, choices), source, overrides))
    slugs = [run_slug(run) for run in runs]
    for run, slug in zip(runs, slugs, strict=True):
        if slugs.count(slug) > 1:
            raise SpecificationError(f"{source}: the run {run_label(run)!r} is listed twice; keep one")
    return Comparison(name=runs[0].name, out=runs[0].out, runs=tuple(runs))


def _of_the_file(data: dict[str, Any], choices: Sequence[RunChoice]) -> dict[str, Any]:
    """What the runs share, and the assignment of one of them where the file's optimiser needs any."""
    optimizer = data.get("optimizer")
    if not isinstance(optimizer, dict) or optimizer.get("name") != ACCUMULATOR_SGD:
        return data
    return {**data, "precision": next((c.precision for c in choices if c.precision is not None), None)}


def _told_apart(runs: list[Experiment], base: Callable[[], Experiment]) -> list[Experiment]:
    """Runs that would share a folder get their optimiser or initial weights into their names; ``base``: the file's."""
    slugs = [run_slug(run) for run in runs]
    shared = [slugs.count(slug) > 1 for slug in slugs]
    if not any(shared):
        return runs
    file = base()
    variants = [variant_of(run, file) if often else None for run, often in zip(runs, shared, strict=True)]
    return [run.model_copy(update={"variant": v}) if v else run for run, v in zip(runs, variants, strict=True)]


def experiment_toml(experiment: Experiment) -> str:
    """The resolved experiment as TOML, every default written out."""
    data = experiment.model_dump(exclude_none=True)
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in data.items() if key not in tables]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _read(path: Path | None, overrides: Sequence[str], out: Path | None) -> dict[str, Any]:
    text = read_experiment_text(path) if path else files("slipstick.train").joinpath(DEMO).read_text()
    data = parse_toml(text, str(path or DEMO), overrides)
    if out is not None:
        data["out"] = str(out)
    data.setdefault("name", (path or Path(DEMO)).stem)
    return data


def _choices(
    data: dict[str, Any], source: str, arithmetics: Sequence[str], overrides: Sequence[str]
) -> list[RunChoice]:
    runs, listed = data.pop("runs", None), data.pop("arithmetics", None)
    if arithmetics:
        for key in (given.partition("=")[0].partition(".")[0].strip() for given in overrides):
            if key in _WHAT_RUNS_CHOOSE:
                raise SpecificationError(f"--set {key}: --arithmetic replaces it; list the runs in a file, as [[runs]]")
        return [validate(RunChoice, {"arithmetic": text}, "--arithmetic") for text in arithmetics]
    if runs is not None and listed is not None:
        raise SpecificationError(f"{source}: has both 'runs' and 'arithmetics'; keep one")
    if listed is not None:
        runs = [{"arithmetic": text} for text in listed] if isinstance(listed, list) else listed
    if runs is None:
        runs = [{k: data[k] for k in (*_WHAT_RUNS_CHOOSE, "label") if k in data}]
    elif any(key in data for key in _WHAT_RUNS_CHOOSE):
        raise SpecificationError(
            f"{source}: lists its runs; set {', '.join(map(repr, _WHAT_RUNS_CHOOSE))} there, or use --arithmetic"
        )
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise SpecificationError(f"{source}: 'runs' must be a list of tables, e.g. [[runs]] arithmetic = \"fp32\"")
    runs = [{"arithmetic": FP32, **run} if run.keys() & {"quantize", "precision"} else run for run in runs]
    return [validate(RunChoice, run, f"{source}: runs[{i}]", overrides) for i, run in enumerate(runs)]
