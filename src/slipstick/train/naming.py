"""How a run is called: in words, and as a folder."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipstick.arithmetic import Arithmetic, LogArithmetic
from slipstick.quantize import ROLES, Recipe, recipe_from, recipe_names
from slipstick.quantize.roles import FULL_PRECISION
from slipstick.train.config import FP32, Experiment, Optimizer, resolve_arithmetic

_SLUG_WORDS = 80
"""Characters of a folder's name that tell how a recipe was changed."""


def tables_hash(arithmetic: Arithmetic | None) -> str | None:
    """SHA-256 of the tables of the adders, and of exp if it has one: what "designed" meant when the run was made."""
    if not isinstance(arithmetic, LogArithmetic):
        return None
    digest = hashlib.sha256()
    exponential = arithmetic.exponential
    of_exp = () if exponential is None else (exponential.logs(arithmetic.format),)
    for table in (*arithmetic.tables, *arithmetic.accumulator_tables, *of_exp):
        digest.update(len(table).to_bytes(8, "little"))
        digest.update(table.astype("<i4").tobytes())
    return digest.hexdigest()


def run_label(experiment: Experiment) -> str:
    """The run in one line of text."""
    if experiment.label:
        return experiment.label
    names = _names(experiment, _recipe_label)
    variant = experiment.variant or _optimizer_name(experiment)
    return ", update ".join(names) + _override_words(experiment) + (f", {variant}" if variant else "")


def run_slug(experiment: Experiment) -> str:
    """The run as a folder name: letters, digits, hyphens."""
    names = _names(experiment, _recipe_slug)
    variant = experiment.variant or _optimizer_name(experiment)
    words = (_slug(each) for each in (_override_words(experiment), variant or "") if each)
    return "--".join(["--update-".join(map(_slug, names)), *words])


def run_folder(experiment: Experiment) -> Path:
    return Path(experiment.out) / experiment.name / run_slug(experiment)


def variant_of(experiment: Experiment, base: Experiment) -> str | None:
    """In words what a row of a comparison has besides its arithmetic that its file (``base``) has not, if anything."""
    if (experiment.optimizer, experiment.weights) == (base.optimizer, base.weights):
        return None
    words = [_optimizer_words(experiment.optimizer, base.optimizer) or _optimizer_name(experiment)]
    if experiment.weights != base.weights:
        words.append("weights=" + "/".join(Path(str(experiment.weights)).parts[-2:]))
    return " ".join(word for word in words if word)


def _optimizer_words(given: Optimizer, base: Optimizer) -> str:
    """What is different; of another kind its name, and what is not its default."""
    if given.name == base.name:
        return " ".join(_changes(given.model_dump(), base.model_dump()))
    return " ".join([given.name, *_changes(given.model_dump(exclude={"name"}, exclude_defaults=True), {})])


def _names(experiment: Experiment, recipe_name: Callable[[Recipe], str]) -> list[str]:
    """Of the assignment, the recipe, or else the arithmetic and that of the update."""
    if (assignment := experiment.assignment) is not None:
        kind = "assigned mixed" if assignment.is_mixed else "assigned"
        return [f"{kind} B_min {assignment.minimum_bits} {_hash(experiment.precision)}"]
    if (recipe := experiment.recipe) is not None:
        return [recipe_name(recipe)]
    given = [experiment.arithmetic] + ([experiment.update] if experiment.update is not None else [])
    return [_name(resolve_arithmetic(text)) for text in given]


def _override_words(experiment: Experiment) -> str:
    """Modules with an arithmetic of their own; nothing where there are none."""
    override = experiment.override or {}
    return "".join(f", {name} in {_name(resolve_arithmetic(text))}" for name, text in override.items())


def _recipe_label(recipe: Recipe) -> str:
    """Its name, and what is different from the shipped recipe of that name; a hash where there is none."""
    if recipe.name not in recipe_names():
        return f"{recipe.name} {_hash(recipe.to_dict())}"
    return " ".join([recipe.name, *_recipe_changes(recipe)])


def _recipe_slug(recipe: Recipe) -> str:
    """As the label; where it is changed, cut to a length and with a hash, so that no two are the same."""
    if recipe.name not in recipe_names() or recipe == recipe_from(recipe.name):
        return _recipe_label(recipe)
    words = " ".join(_recipe_changes(recipe))
    return f"{recipe.name} {words[:_SLUG_WORDS]} {_hash(recipe.to_dict())}"


def _recipe_changes(recipe: Recipe) -> list[str]:
    return _changes(recipe.to_dict(), recipe_from(recipe.name).to_dict())


def _changes(data: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """What is different in ``data``, as in ``weight.format.bits=4``; all of a format of another kind."""
    words = []
    for key in {**base, **data}:
        value, old = data.get(key), base.get(key)
        if value == old:
            continue
        if isinstance(value, Mapping):
            if not isinstance(old, Mapping) or (key == "format" and old["format"] != value["format"]):
                old = {}
            words += [f"{key}.{word}" for word in _changes(value, old)]
        elif value is None:
            words.append(f"{key}={FULL_PRECISION if key in ROLES else 'default'}")
        else:
            words.append(f"{key}={_value(value)}")
    return words


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return _hash(value) if isinstance(value, list) else json.dumps(value)


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-")


def _optimizer_name(experiment: Experiment) -> str | None:
    """Where it belongs to the run's name: runs by recipes are compared with an optimiser each."""
    name = experiment.optimizer.name
    return name if name == "madam" or (experiment.quantize is not None and name != "sgd") else None


def _name(arithmetic: Arithmetic | None) -> str:
    if arithmetic is None:
        return FP32
    # an adder or exp given as a table of numbers has no name of its own
    nameless = isinstance(arithmetic, LogArithmetic) and not (
        isinstance(arithmetic.add, str) and isinstance(arithmetic.exp, str)
    )
    return f"{arithmetic} {tables_hash(arithmetic)[:8]}" if nameless else str(arithmetic)  # type: ignore[index]
