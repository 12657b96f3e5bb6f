"""The recipes that come with Slipstick, and recipes of your own as TOML files."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from slipstick.errors import SpecificationError
from slipstick.quantize.specification import Recipe

_PACKAGE = "slipstick.quantize"
_KIND = {"format": "format", "range": "kind"}


def recipe_names() -> list[str]:
    """The names that ``recipe`` knows."""
    folder = files(_PACKAGE).joinpath("recipes")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def recipe(name: str | Path) -> Recipe:
    """The shipped recipe of that name, or the one in a TOML file (a path that ends in ``.toml``).

    Raises SpecificationError where there is none, or where the file is no recipe.
    """
    return Recipe.from_dict(_table(name))


def recipe_from(given: str | Mapping[str, Any]) -> Recipe:
    """A recipe by name, or by a table: complete, or a name under ``recipe`` and the keys in which it differs.

    Tables are merged key by key; a format or a range that says its kind replaces the other.
    """
    if isinstance(given, str):
        return recipe(given)
    changes = dict(given)
    if "recipe" not in changes:
        return Recipe.from_dict(changes)
    base = changes.pop("recipe")
    if not isinstance(base, str):
        raise SpecificationError(f"recipe = {base!r}: must be the name of a recipe")
    return Recipe.from_dict(_merged(_table(base), changes))


def _table(name: str | Path) -> dict[str, Any]:
    if str(name).endswith(".toml"):
        path = Path(name)
        try:
            return {"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8"))}
        except FileNotFoundError:
            raise SpecificationError(f"{path}: no such recipe file") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SpecificationError(f"{path}: cannot be read ({error})") from None
    if name not in recipe_names():
        raise SpecificationError(f"recipe = {name!r}: choose one of {', '.join(recipe_names())}, or a .toml file")
    return tomllib.loads(files(_PACKAGE).joinpath("recipes", f"{name}.toml").read_text(encoding="utf-8"))


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping) and _KIND.get(key) not in value:
            merged[key] = _merged(old, value)
        else:
            merged[key] = dict(value) if isinstance(value, Mapping) else value
    return merged
