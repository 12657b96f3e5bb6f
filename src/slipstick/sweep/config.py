"""What a study is: plain data, validated. An unknown key or an objective that cannot be is one clear line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from slipstick.errors import SpecificationError
from slipstick.sweep.space import Space, a_possible_point, read_space
from slipstick.train.config import Experiment, Section
from slipstick.train.validated_toml import parse_toml, read_experiment_text, validate

Objective = Literal["accuracy", "loss", "energy", "area", "full_adders", "bits"]

MEASURED = ("accuracy", "loss")
"""Objectives that training tells; the others are costs, known before it."""

MAXIMISED = ("accuracy",)
"""Objectives of which more is better."""

SYNTHESISED = ("energy", "area")
"""Objectives that take the synthesis of a unit."""

DEFAULT_TRIALS = 20

_BELOW = "experiment."


def _named(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class SamplerChoice(Section):
    """How the next point is chosen. seed: of its random numbers; the same for every worker.

    startup: of "tpe", trials at random before it learns. population: of "nsga2".
    """

    name: Literal["tpe", "random", "grid", "nsga2"] = "tpe"
    seed: Annotated[int, Field(ge=0, lt=2**20)] = 0
    startup: Annotated[int, Field(ge=1)] = 10
    population: Annotated[int, Field(ge=2)] = 20

    @model_validator(mode="after")
    def _options_fit(self) -> "SamplerChoice":
        for option, sampler in (("startup", "tpe"), ("population", "nsga2")):
            if option in self.model_fields_set and self.name != sampler:
                raise ValueError(f"{option} is an option of {sampler!r}, not of {self.name!r}; drop it")
        return self


class PrunerChoice(Section):
    """Which trials are ended early, by their accuracy (or loss) after each epoch.

    "median": worse than the median of the trials before it at the same epoch. startup: trials that end before it
        begins. "hyperband": after successively more epochs only the best third of the trials goes on.
    warmup: epochs that every trial has.
    """

    name: Literal["none", "median", "hyperband"] = "none"
    startup: Annotated[int, Field(ge=0)] = 5
    warmup: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _options_fit(self) -> "PrunerChoice":
        if "startup" in self.model_fields_set and self.name != "median":
            raise ValueError(f"startup is an option of 'median', not of {self.name!r}; drop it")
        if "warmup" in self.model_fields_set and self.name == "none":
            raise ValueError("warmup is an option of pruners; name one, or drop it")
        return self


class HardwareChoice(Section):
    """How units are synthesised for the objectives energy and area; see ``slipstick hardware``.

    clock_ns: of every unit. thorough: all mappings that ``slipstick hardware`` tries by default, which takes longer.
    cycles: that energy is averaged over.
    """

    library: Annotated[str, Field(min_length=1)] = "nangate45"
    clock_ns: Annotated[float, Field(gt=0, le=1000)] = 2.5
    thorough: bool = False
    cycles: Annotated[int, Field(ge=64, le=100_000)] = 2000


class Study(Section):
    """A sweep over a space of experiments.

    out: the study's folder is ``name`` in it. objectives: what is sought; several give a front of best trade-offs.
    trials: in all, whoever runs them; by default 20, of a grid all its points.
    seeds: every trial is trained with each of them, and its accuracy and loss are means.
    storage: where trials are shared, a URL that Optuna takes; default: study.db in the study's folder.
    heartbeat: seconds between the signs of life of a running trial; after four without one it is given to another
        worker.
    experiment: its data, texts with braces still to be filled. space: see ``sweep.space``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    out: str = "runs"
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1), BeforeValidator(_listed)] = ("accuracy",)
    trials: Annotated[int, Field(ge=1, le=10**6)] | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)] | None = None
    sampler: Annotated[SamplerChoice, BeforeValidator(_named)] = SamplerChoice()
    pruner: Annotated[PrunerChoice, BeforeValidator(_named)] = PrunerChoice()
    storage: Annotated[str, Field(min_length=1)] | None = None
    heartbeat: Annotated[int, Field(ge=1, le=3600)] = 30
    hardware: HardwareChoice = HardwareChoice()
    experiment: dict[str, Any]
    space: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        objectives = list(self.objectives)
        twice = next((each for each in objectives if objectives.count(each) > 1), None)
        if twice is not None:
            raise ValueError(f"objectives lists {twice!r} twice; keep one")
        if self.seeds is not None and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds lists one twice; keep one")
        if self.seeds is not None and "seed" in self.space:
            raise ValueError("seeds and space.seed both choose the seed; keep one")
        if self.pruner.name != "none" and len(objectives) > 1:
            raise ValueError(
                f"pruner = {self.pruner.name!r}: Optuna prunes studies of one objective, here are {len(objectives)}; "
                "set pruner = 'none', or keep one objective"
            )
        if self.pruner.name != "none" and objectives[0] not in MEASURED:
            raise ValueError(
                f"pruner = {self.pruner.name!r}: {objectives[0]} does not change from epoch to epoch; drop the pruner"
            )
        return self

    @property
    def folder(self) -> Path:
        return Path(self.out) / self.name

    @property
    def definition(self) -> dict[str, Any]:
        """What may not change while a study goes on."""
        free = {"name", "out", "trials", "storage", "heartbeat"}
        return self.model_dump(mode="json", exclude=free)


def load_study(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> tuple[Study, Space]:
    """The study of a TOML file, and its space, of which some point is possible.

    Raises SpecificationError naming file and key.
    """
    data = _read(path, overrides)
    data.setdefault("name", path.stem)
    if out is not None:
        data["out"] = str(out)
    for key in ("runs", "arithmetics"):
        if key in data["experiment"]:
            raise SpecificationError(f"{path}: experiment: {key} lists several runs; a sweep varies one, by [space]")
    study = validate(Study, data, str(path), overrides)
    space = read_space(study.experiment, study.space, str(path))
    if study.sampler.name == "grid":
        _ = space.size  # refused where there is none
    a_possible_point(space, lambda given: experiment_of(study, given, str(path)))
    return study, space


def experiment_of(study: Study, data: dict[str, Any], source: str) -> Experiment:
    """One point's experiment, not yet a trial's. Raises SpecificationError where it is none."""
    return validate(Experiment, {**data, "name": study.name, "out": study.out}, source)


def _read(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The data of a study file, with that of the experiment file in it, where it names one."""
    text = read_experiment_text(path)
    named = parse_toml(text, str(path)).get("experiment", {})
    if isinstance(named, dict):
        data = parse_toml(text, str(path), overrides)
        data.setdefault("experiment", {})
        return data
    if not isinstance(named, str):
        raise SpecificationError(f"{path}: experiment = {named!r}: must be a table, or the path of an experiment file")
    file = Path(named) if Path(named).exists() else path.parent / named
    below = [each for each in overrides if each.strip().startswith(_BELOW)]
    data = parse_toml(text, str(path), [each for each in overrides if each not in below])
    inner = [each.strip().removeprefix(_BELOW) for each in below]
    data["experiment"] = parse_toml(read_experiment_text(file), str(file), inner)
    return data
