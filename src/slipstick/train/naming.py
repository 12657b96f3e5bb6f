"""How a run is called: in words, and as a folder."""

import hashlib
import json
import re
from pathlib import Path

from slipstick.arithmetic import Arithmetic, LogArithmetic
from slipstick.quantize import Recipe, recipe_from, recipe_names
from slipstick.train.config import FP32, Experiment, resolve_arithmetic


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
    optimizer = _optimizer_name(experiment)
    return ", update ".join(_arithmetic_names(experiment)) + (f", {optimizer}" if optimizer else "")


def run_slug(experiment: Experiment) -> str:
    """The run as a folder name: letters, digits, hyphens."""
    names = (re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") for name in _arithmetic_names(experiment))
    optimizer = _optimizer_name(experiment)
    return "--update-".join(names) + (f"--{optimizer}" if optimizer else "")


def run_folder(experiment: Experiment) -> Path:
    return Path(experiment.out) / experiment.name / run_slug(experiment)


def _arithmetic_names(experiment: Experiment) -> list[str]:
    if experiment.recipe is not None:
        return [_recipe_name(experiment.recipe)]
    given = [experiment.arithmetic] + ([experiment.update] if experiment.update is not None else [])
    return [_name(resolve_arithmetic(text)) for text in given]


def _recipe_name(recipe: Recipe) -> str:
    """Its name; with a hash where it is not the shipped recipe of that name."""
    if recipe.name in recipe_names() and recipe_from(recipe.name) == recipe:
        return recipe.name
    data = json.dumps(recipe.to_dict(), sort_keys=True)
    return f"{recipe.name} {hashlib.sha256(data.encode()).hexdigest()[:8]}"


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
