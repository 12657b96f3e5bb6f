"""TOML files checked against what they may say: every mistake is one line that names file and key."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from slipstick.errors import SpecificationError

_M = TypeVar("_M", bound=BaseModel)


def parse_toml(text: str, source: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The data of a TOML text, changed by ``key=value`` overrides. Raises SpecificationError naming ``source``."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecificationError(f"{source}: not valid TOML: {error}") from None
    for override in overrides:
        _set(data, override)
    return data


def read_experiment_text(path: Path) -> str:
    """Raises SpecificationError where there is no such file, or no text in it."""
    try:
        return path.read_text()
    except FileNotFoundError:
        raise SpecificationError(f"{path}: no such experiment file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{path}: cannot be read ({error})") from None


def validate(model: type[_M], data: dict[str, Any], source: str, overrides: Sequence[str] = ()) -> _M:
    """``data`` as a ``model``. Raises SpecificationError in one line, that of the first mistake."""
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
