"""Experiment files: TOML and ``key=value`` overrides to validated experiments, and back."""

import difflib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from slipstick.errors import SpecificationError
from slipstick.train.config import ACCUMULATOR_SGD, FP32, Comparison, Experiment, RunChoice
from slipstick.train.naming import run_label, run_slug, variant_of

DEMO = "digits.toml"

_WHAT_RUNS_CHOOSE = ("arithmetic", "update", "quantize", "precision")

_M = TypeVar("_M", bound=BaseModel)


def load_experiment(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Experiment:
    """The experiment of a TOML file. Raises SpecificationError naming file and key."""
    data = _read(path, overrides, out)
    if "runs" in data or "arithmetics" in data:
        raise SpecificationError(f"{path}: lists several runs; start it with 'slipstick compare {path}'")
    return _validate(Experiment, data, str(path), overrides)


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
    runs = [_validate(Experiment, {**data, **c.model_dump(exclude_none=True)}, source, overrides) for c in choices]
    runs = _told_apart(runs, lambda: _validate(Experiment, _of_the_file(data, choices), source, overrides))
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
        lines += ["", f"[{key}]", *(f"{k} = {_toml_value(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _read(path: Path | None, overrides: Sequence[str], out: Path | None) -> dict[str, Any]:
    try:
        text = path.read_text() if path else files("slipstick.train").joinpath(DEMO).read_text()
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise SpecificationError(f"{path}: no such experiment file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecificationError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _set(data, override)
    if out is not None:
        data["out"] = str(out)
    data.setdefault("name", (path or Path(DEMO)).stem)
    return data


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise SpecificationError(f"--set {override!r}: write key=value, e.g. --set optimizer.lr=0.05")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        value = text.strip()  # a bare word: --set data=digits
    for part in parts[:-1]:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise SpecificationError(f"--set {override!r}: {part!r} is a single value, not a table")
    data[parts[-1]] = value


def _choices(
    data: dict[str, Any], source: str, arithmetics: Sequence[str], overrides: Sequence[str]
) -> list[RunChoice]:
    runs, listed = data.pop("runs", None), data.pop("arithmetics", None)
    if arithmetics:
        return [_validate(RunChoice, {"arithmetic": text}, "--arithmetic") for text in arithmetics]
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
    return [_validate(RunChoice, run, f"{source}: runs[{i}]", overrides) for i, run in enumerate(runs)]


def _validate(model: type[_M], data: dict[str, Any], source: str, overrides: Sequence[str] = ()) -> _M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SpecificationError(_one_line(model, error, data, source, overrides)) from None


def _one_line(
    model: type[BaseModel], error: ValidationError, data: dict[str, Any], source: str, overrides: Sequence[str]
) -> str:
    problem = error.errors()[0]
    table: Any = data
    path: list[str] = []
    for part in problem["loc"]:
        # pydantic puts the tag of a union into the location; only what the file contains counts
        if isinstance(table, dict) and (part in table or (problem["type"] == "missing" and part == problem["loc"][-1])):
            path.append(str(part))
            table = table.get(part)
        elif isinstance(table, list) and isinstance(part, int):
            path[-1] += f"[{part}]"
            table = table[part]
    context = problem.get("ctx", {})
    if problem["type"].startswith("union_tag"):
        path.append(str(context["discriminator"]).strip("'"))
    key = ".".join(path)
    if any(override.split("=")[0].strip() == key for override in overrides):
        source = "--set"
    where = f"{source}: {key}" if key else source
    others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {_known_keys(model, problem['loc'], path)}{others}"
        case "missing" | "union_tag_not_found":
            return f"{where}: this key is missing{others}"
        case "union_tag_invalid":
            return f"{where} = {context['tag']!r}: choose one of {context['expected_tags']}{others}"
        case "model_attributes_type" | "model_type":
            return f"{where} = {problem['input']!r}: must be a table{others}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    shown = f" = {problem['input']!r}" if key and not isinstance(problem["input"], dict) else ""
    return f"{where}{shown}: {message}{others}"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...], path: list[str]) -> str:
    fields = model.model_fields
    for part in location[:-1]:
        candidates = _sections(fields[str(part)].annotation) if part in fields else []
        if candidates:
            tagged = [c for c in candidates if len(candidates) == 1 or location[1] in _tags(c)]
            fields = tagged[0].model_fields if tagged else fields
    near = difflib.get_close_matches(path[-1], list(fields), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"


def _sections(annotation: Any) -> list[type[BaseModel]]:
    found = [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return found + [section for part in get_args(annotation) for section in _sections(part)]


def _tags(section: type[BaseModel]) -> tuple[Any, ...]:
    field = section.model_fields.get("name") or section.model_fields.get("kind")
    return get_args(field.annotation) if field else ()
