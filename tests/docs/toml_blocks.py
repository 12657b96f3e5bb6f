"""TOML blocks: of which kind of file each is, completed where a page shows a part of one, and read by its loader."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from slipstick.hardware_study import HardwareStudy
from slipstick.hardware_study import load_study as load_hardware_study
from slipstick.quantize import Recipe
from slipstick.quantize.shipped import recipe_from
from slipstick.sweep import Study
from slipstick.sweep import load_study as load_sweep
from slipstick.train import Experiment, load_comparison


@dataclass(frozen=True)
class Kind:
    """keys: those of the file's first level. needed: tables without which there is none, as TOML."""

    name: str
    keys: frozenset[str]
    needed: dict[str, str]
    load: Callable[[Path], object]


def _load_recipe(path: Path) -> object:
    return recipe_from({"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8"))})


KINDS = (
    Kind("experiment", frozenset(Experiment.model_fields) | {"runs", "arithmetics"}, {}, load_comparison),
    Kind(
        "hardware study",
        frozenset(HardwareStudy.model_fields),
        {"units": '[[units]]\nkind = "fixed"\nbits = 8\naccumulator_bits = 24'},
        load_hardware_study,
    ),
    Kind(
        "sweep",
        frozenset(Study.model_fields),
        {"experiment": '[experiment]\nmodel = {name = "mlp"}', "space": "[space]\nbatch = [16, 32]"},
        load_sweep,
    ),
    Kind("recipe", frozenset(field.name for field in fields(Recipe)) | {"recipe"}, {}, _load_recipe),
)


def kind_of(text: str) -> Kind:
    """The first whose keys these are. Raises AssertionError naming the keys that none has."""
    given = set(tomllib.loads(text))
    for kind in KINDS:
        if given <= kind.keys:
            return kind
    unknown = min((given - kind.keys for kind in KINDS), key=len)
    raise AssertionError(f"keys of no file that Slipstick reads: {sorted(unknown)}")


def check(text: str, folder: Path) -> None:
    """Raises SpecificationError, as the command does that reads such a file; other files are sought in the cwd."""
    kind = kind_of(text)
    missing = [table for key, table in kind.needed.items() if key not in tomllib.loads(text)]
    file = folder / "block.toml"
    file.write_text("\n".join([text, *missing]), encoding="utf-8")
    kind.load(file)
