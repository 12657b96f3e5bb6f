"""What a sweep varies: keys of an experiment, and parameters that fill the braces of its texts.

    [space]
    optimizer.lr = {low = 1e-3, high = 0.3, log = true}     a range: of integers where low, high and step are
    batch = [32, 64]                                        choices: single values, lists or tables
    arithmetic = "LNS(5,{frac_bits}) {adder}"               a text, filled from other entries:
    frac_bits = {low = 3, high = 6}
    adder = ["exact", "designed"]

An entry whose name stands in braces fills them, and sets no key unless the experiment has one of that name.
"""

import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from slipstick.errors import SpecificationError
from slipstick.train.config import Experiment

Value = str | int | float | bool
"""What a storage keeps of a parameter; of a list or a table its JSON."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_HOW = "write a list of choices, {low = .., high = ..}, or a text with {parameters}"
_RANGE_KEYS = {"low", "high", "step", "log"}
_OURS = ("name", "out", "variant", "label")
_TRIED = 200
_LARGEST_GRID = 10**6

_T = TypeVar("_T")


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    given: tuple[Any, ...]

    @property
    def values(self) -> tuple[Value, ...]:
        return tuple(map(_stored, self.given))

    def meant(self, value: Value) -> Any:
        """The value that a stored one stands for."""
        return self.given[self.values.index(value)]

    def grid(self) -> tuple[Value, ...]:
        return self.values

    def draw(self, generator: random.Random) -> Value:
        return generator.choice(self.values)


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; integers where both and the step are. log: equal ratios, equal odds."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def is_integer(self) -> bool:
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def meant(self, value: Value) -> Any:
        return value

    def grid(self) -> tuple[Value, ...] | None:
        """All of them; None where they are too many to list."""
        step = self.step or (1 if self.is_integer and not self.log else None)
        if step is None:
            return None
        count = int((self.high - self.low) / step + 1e-9) + 1
        return tuple(self.low + i * step for i in range(count))

    def draw(self, generator: random.Random) -> Value:
        values = self.grid()
        return generator.choice(values) if values else self.low if generator.random() < 0.5 else self.high


Entry = Choices | Range


@dataclass(frozen=True)
class Space:
    """entries: what is sampled, by name. paths: of those and of the templates that are keys of the experiment.

    templates: texts by name, to be filled. base: the experiment as plain data, its texts to be filled too.
    """

    base: Mapping[str, Any]
    entries: Mapping[str, Entry]
    templates: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def experiment(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """The data of one experiment. Raises SpecificationError where a value would go below a single one."""
        data: dict[str, Any] = _copy(self.base)
        meant = {name: entry.meant(values[name]) for name, entry in self.entries.items()}
        setting = {name: meant.get(name, self.templates.get(name)) for name in self.paths}
        for name in sorted(setting, key=lambda name: len(self.paths[name])):
            _put(data, self.paths[name], setting[name], name)
        filled: dict[str, Any] = _filled(data, meant)
        return filled

    @property
    def size(self) -> int:
        """Points of the grid. Raises SpecificationError where there is no grid, or one of more than a million."""
        count = math.prod(map(len, self._axes().values()))
        if count > _LARGEST_GRID:
            raise SpecificationError(f"sampler = 'grid': {count} points; give fewer choices, or another sampler")
        return count

    def points(self) -> Iterator[dict[str, Value]]:
        """Every point of the grid, the last entry changing first. Raises SpecificationError where there is none."""
        axes = self._axes()
        return (dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values()))

    def _axes(self) -> dict[str, tuple[Value, ...]]:
        axes = {}
        for name, entry in self.entries.items():
            grid = entry.grid()
            if grid is None:
                raise SpecificationError(
                    f"space.{name}: a grid cannot list this range; give step, a list, or another sampler"
                )
            axes[name] = grid
        return axes

    def draws(self, count: int) -> Iterator[dict[str, Value]]:
        """Points at random, always the same ones."""
        generator = random.Random(0)
        return ({name: entry.draw(generator) for name, entry in self.entries.items()} for _ in range(count))


def read_space(base: Mapping[str, Any], table: Mapping[str, Any], source: str) -> Space:
    """The space of a [space] table over an experiment's data. Raises SpecificationError naming ``source`` and key."""
    entries: dict[str, Entry] = {}
    templates: dict[str, str] = {}
    paths: dict[str, tuple[str, ...]] = {}
    for path, given in _leaves(table, ()):
        name = ".".join(path)
        where = f"{source}: space.{name}"
        paths[name] = tuple(name.split(".")) if len(path) == 1 else path
        if paths[name][0] in _OURS:
            raise SpecificationError(f"{where}: the sweep sets this one; drop it")
        if isinstance(given, str):
            templates[name] = given
        elif isinstance(given, list):
            entries[name] = _choices(given, where)
        elif isinstance(given, dict):
            entries[name] = _range(given, where)
        else:
            raise SpecificationError(f"{where} = {given!r}: {_HOW}")
    if not entries:
        raise SpecificationError(f"{source}: space: has nothing to vary; {_HOW}")
    used = set(_braces([base, templates, [e.given for e in entries.values() if isinstance(e, Choices)]]))
    for name in sorted(used - set(entries)):
        raise SpecificationError(f"{source}: {{{name}}} stands in a text, and space has no {name!r}; add it there")
    for name in used:
        if paths[name][0] not in Experiment.model_fields:
            del paths[name]
    return Space(base, entries, templates, paths)


def a_possible_point(space: Space, check: Callable[[dict[str, Any]], _T]) -> _T:
    """What ``check`` makes of the first of 200 random points that it does not refuse.

    Raises SpecificationError where it refuses all of them: what it says most often.
    """
    failures: Counter[str] = Counter()
    for values in space.draws(_TRIED):
        try:
            return check(space.experiment(values))
        except SpecificationError as error:
            failures[str(error)] += 1
    message, times = failures.most_common(1)[0]
    raise SpecificationError(message if times == _TRIED else f"{message}; no other combination tried was possible")


def _leaves(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value and not value.keys() & _RANGE_KEYS:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _choices(given: list[Any], where: str) -> Choices:
    if not given:
        raise SpecificationError(f"{where} = []: give at least one choice")
    choices = Choices(tuple(given))
    if len(set(map(repr, choices.values))) < len(given):
        twice = next(value for value in given if given.count(value) > 1)
        raise SpecificationError(f"{where}: {twice!r} is listed twice; keep one")
    return choices


def _range(given: dict[str, Any], where: str) -> Range:
    unknown = sorted(given.keys() - _RANGE_KEYS)
    if unknown or not {"low", "high"} <= given.keys():
        what = f"unknown key {unknown[0]!r}" if unknown else "needs low and high"
        raise SpecificationError(f"{where}: {what}; {_HOW}")
    for key in ("low", "high", "step"):
        if key in given and (isinstance(given[key], bool) or not isinstance(given[key], int | float)):
            raise SpecificationError(f"{where}.{key} = {given[key]!r}: must be a number")
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise SpecificationError(f"{where}.log = {log!r}: must be true or false")
    found = Range(given["low"], given["high"], given.get("step"), log)
    if not found.low < found.high:
        raise SpecificationError(f"{where}: low = {found.low:g} is not below high = {found.high:g}")
    if found.step is not None and not 0 < found.step <= found.high - found.low:
        raise SpecificationError(f"{where}.step = {found.step:g}: must be above 0 and at most high - low")
    if log and found.low <= 0:
        raise SpecificationError(f"{where}: log = true needs low above 0, not {found.low:g}")
    if log and found.step is not None:
        raise SpecificationError(f"{where}: log and step do not go together; keep one")
    return found


def _put(data: dict[str, Any], path: tuple[str, ...], value: Any, name: str) -> None:
    for depth, part in enumerate(path[:-1]):
        if depth == 0 and part == "quantize" and isinstance(data.get(part), str):
            data[part] = {"recipe": data[part]}
        data = data.setdefault(part, _kind(part) if depth == 0 else {})
        if not isinstance(data, dict):
            raise SpecificationError(f"space.{name}: {part!r} is a single value, not a table")
    data[path[-1]] = _copy(value)


def _kind(part: str) -> dict[str, Any]:
    """Which optimiser, model or schedule an experiment has that does not say."""
    default = Experiment.model_fields[part].default if part in Experiment.model_fields else None
    return {key: getattr(default, key) for key in ("name", "kind") if hasattr(default, key)}


def _filled(data: Any, meant: Mapping[str, Any]) -> Any:
    if isinstance(data, dict):
        return {key: _filled(value, meant) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, meant) for value in data]
    if isinstance(data, str):
        # a choice may have braces of its own
        for _ in range(2):
            data = _BRACES.sub(lambda match: str(meant[match.group(1).strip()]), data)
    return data


def _braces(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        data = list(data.values())
    if isinstance(data, Sequence) and not isinstance(data, str):
        for value in data:
            yield from _braces(value)
    elif isinstance(data, str):
        yield from (match.strip() for match in _BRACES.findall(data))


def _stored(value: Any) -> Value:
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True)


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list | tuple) else data
