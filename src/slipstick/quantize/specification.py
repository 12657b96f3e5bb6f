"""A recipe: which format each role has, how it is rounded, which range its codes cover, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.formats.quantiser import Quantiser, Rounding
from slipstick.quantize.choices import require_choice, require_keys
from slipstick.quantize.format_data import format_data, format_from
from slipstick.quantize.product import Product, common_format
from slipstick.quantize.ranges import Range
from slipstick.quantize.roles import FULL_PRECISION, ROLES, WEIGHT_ROLES, Role

FIRST, LAST = "@first", "@last"
"""In place of a pattern: the first and the last quantisable layer, in the order of ``model.named_modules()``."""


@dataclass(frozen=True)
class QuantizerSpec:
    """How the tensors of one role are rounded.

    format: None rounds nothing, so that only the range acts: a tensor divided by its scale (WAGE's weight gradients).
    rounding: one of the format's; "stochastic" draws from the generator of the quantisation.
    """

    format: Quantiser | None
    rounding: Rounding = "nearest"
    range: Range = field(default_factory=Range)

    def __post_init__(self) -> None:
        require_choice("rounding", self.rounding, ("nearest",) if self.format is None else self.format.roundings)
        if self.format is None and self.range.rescale == "own":
            raise SpecificationError('format = "none" changes nothing; set range.rescale, or name a format')
        if self.range.per == "channel" and getattr(self.format, "scale", None) == "per_tensor":
            raise SpecificationError(f"range per = 'channel': give {self.format} scale = 'per_channel'")
        if self.range.scale == "real" and getattr(self.format, "power_of_two", False):
            raise SpecificationError(f"range scale = 'real': {self.format} needs scale = 'power_of_two'")

    def __str__(self) -> str:
        return f"{self.format or 'not rounded'} {self.rounding}, range {self.range}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": "none" if self.format is None else format_data(self.format),
            "rounding": self.rounding,
            "range": self.range.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Any, what: str = "quantiser") -> "QuantizerSpec":
        """Of a table with ``format`` and, optionally, ``rounding`` and ``range``."""
        given = require_keys(what, data, ("format", "rounding", "range"))
        if "format" not in given:
            raise SpecificationError(f"{what}: the key 'format' is missing")
        try:
            format = None if given["format"] == "none" else format_from(given["format"])
            range_ = Range(**require_keys("range", given.get("range", {}), Range.__dataclass_fields__))
            return cls(format, given.get("rounding", "nearest"), range_)
        except SpecificationError as error:
            raise SpecificationError(f"{what}: {error}") from None


RoleChoice = QuantizerSpec | Literal["full_precision"] | None


@dataclass(frozen=True)
class LayerRule:
    """What is different in the layers whose qualified name matches.

    match: a glob such as "features.*", or "@first", "@last". A pattern that matches no layer is an error.
    full_precision: leave the layer alone. Otherwise each role is replaced (a QuantizerSpec), left in
    "full_precision", or as the recipe has it (None).
    """

    match: str
    full_precision: bool = False
    weight: RoleChoice = None
    activation: RoleChoice = None
    activation_gradient: RoleChoice = None
    weight_gradient: RoleChoice = None
    update: RoleChoice = None

    def __post_init__(self) -> None:
        if not isinstance(self.match, str):
            raise SpecificationError(f"layers: match = {self.match!r}: must be a pattern")
        changed = [role for role in ROLES if getattr(self, role) is not None]
        if self.full_precision and changed:
            raise SpecificationError(f"layers: match = {self.match!r}: full_precision leaves no {changed[0]} to change")
        if not self.full_precision and not changed:
            raise SpecificationError(f"layers: match = {self.match!r}: changes nothing; name a role or full_precision")

    def matches(self, name: str, index: int, count: int) -> bool:
        """Whether the rule is for the ``index``-th of ``count`` layers, called ``name``."""
        if self.match in (FIRST, LAST):
            return index == (0 if self.match == FIRST else count - 1)
        return fnmatchcase(name, self.match)

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"match": self.match}
        if self.full_precision:
            data["full_precision"] = True
        return data | _roles_to_dict(self)

    @classmethod
    def from_dict(cls, data: Any, what: str) -> "LayerRule":
        given = require_keys(what, data, ("match", "full_precision", *ROLES))
        if "match" not in given:
            raise SpecificationError(f"{what}: the key 'match' is missing")
        return cls(given["match"], given.get("full_precision", False), **_roles_from_dict(given, f"{what}."))


@dataclass(frozen=True)
class Recipe:
    """A training in low precision, as plain data.

    weight .. update: how each role is rounded (see ``slipstick.quantize.roles``); None leaves it in full precision.
    keeps_master: the optimiser moves full-precision weights, and layers see them rounded. Otherwise the stored weights
        are on the grid of ``update`` (or of ``weight`` without one), and are rounded to it after each step.
    biases: "full_precision", or "as_weights": by the weight roles.
    layers: exceptions; where several match a layer, the later wins for each role.
    product: multiplies weights and activations (and gradients) as integers; None: in float32.
    seed: of the generator that stochastic rounding draws from.
    """

    name: str
    weight: QuantizerSpec | None = None
    activation: QuantizerSpec | None = None
    activation_gradient: QuantizerSpec | None = None
    weight_gradient: QuantizerSpec | None = None
    update: QuantizerSpec | None = None
    keeps_master: bool = True
    biases: Literal["full_precision", "as_weights"] = "full_precision"
    layers: tuple[LayerRule, ...] = ()
    product: Product | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SpecificationError(f"recipe: name = {self.name!r}: must be a text")
        try:
            self._check()
        except SpecificationError as error:
            raise SpecificationError(f"recipe {self.name!r}: {error}") from None

    def _check(self) -> None:
        require_choice("biases", self.biases, (FULL_PRECISION, "as_weights"))
        require_choice("keeps_master", self.keeps_master, (True, False))
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise SpecificationError(f"seed = {self.seed!r}: must be an integer from 0")
        named: list[Recipe | LayerRule] = [self, *self.layers]
        if not any(self.names(role) for role in ROLES):
            raise SpecificationError("names no role; give one of " + ", ".join(ROLES))
        if self.keeps_master and self.names("update"):
            raise SpecificationError("update: there is a master copy; set keeps_master = false, or drop update")
        if not self.keeps_master and not (self.names("weight") or self.names("update")):
            raise SpecificationError("keeps_master = false: stored weights need a format; give weight or update")
        for given in named:
            for role in ROLES:
                if (spec := self._spec(given, role)) is not None:
                    stored = role == "update" or (role == "weight" and not self.keeps_master and self.update is None)
                    _check_spec(role, spec, stored, self.keeps_master)

    @staticmethod
    def _spec(given: "Recipe | LayerRule", role: Role) -> QuantizerSpec | None:
        value = getattr(given, role)
        return value if isinstance(value, QuantizerSpec) else None

    def names(self, role: Role) -> bool:
        """Whether ``role`` is rounded in all layers or by some rule."""
        return self._spec(self, role) is not None or any(self._spec(rule, role) is not None for rule in self.layers)

    @property
    def calibrates_activations(self) -> bool:
        """Whether batches are needed before activations can be rounded."""
        specs = [self._spec(self, "activation"), *(self._spec(rule, "activation") for rule in self.layers)]
        return any(spec is not None and spec.range.kind == "calibrated" for spec in specs)

    def product_format(self, specs: Mapping[Role, QuantizerSpec]) -> MultiBaseLNS:
        """Of a layer with these roles, what its products multiply. Raises SpecificationError where they do not fit."""
        assert self.product is not None
        operands: list[Role] = ["weight", "activation", *(("activation_gradient",) if self.product.backward else ())]
        for role in operands:
            if role in specs and specs[role].range.rescale != "own":
                raise SpecificationError(f"product: {role} has rescale = {specs[role].range.rescale!r}; use 'own'")
        if self.product.backward and "weight" in specs and specs["weight"].range.per == "channel":
            raise SpecificationError(
                "product: weights have a scale per channel, over which input gradients sum; set backward = false, or "
                "per = 'tensor'"
            )
        return common_format({role: specs[role].format if role in specs else None for role in operands})

    def for_layer(self, name: str, index: int, count: int) -> dict[Role, QuantizerSpec]:
        """The roles of one layer that are rounded."""
        roles: dict[Role, QuantizerSpec] = {role: s for role in ROLES if (s := self._spec(self, role)) is not None}
        for rule in self.layers:
            if not rule.matches(name, index, count):
                continue
            if rule.full_precision:
                roles.clear()
            for role in ROLES:
                choice = getattr(rule, role)
                if choice == FULL_PRECISION:
                    roles.pop(role, None)
                elif choice is not None:
                    roles[role] = choice
        return roles

    def to_dict(self) -> dict[str, Any]:
        """Plain data that ``from_dict`` reads back."""
        data: dict[str, Any] = {"name": self.name, "keeps_master": self.keeps_master}
        data |= {"biases": self.biases, "seed": self.seed} | _roles_to_dict(self)
        if self.product is not None:
            data["product"] = self.product.to_dict()
        if self.layers:
            data["layers"] = [rule.to_dict() for rule in self.layers]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recipe":
        """Of a table as the shipped recipes are. Raises SpecificationError, one line, naming the key."""
        known = [name for name in cls.__dataclass_fields__ if name != "layers"]
        given = require_keys("recipe", data, [*known, "layers"])
        name = given.get("name", "unnamed")
        plain: dict[str, Any] = {k: given[k] for k in ("keeps_master", "biases", "seed") if k in given}
        rules = given.get("layers", [])
        try:
            if not isinstance(rules, list | tuple):
                raise SpecificationError(f"layers = {rules!r}: must be a list of tables")
            layers = tuple(LayerRule.from_dict(rule, f"layers[{i}]") for i, rule in enumerate(rules))
            if given.get("product") is not None:
                plain["product"] = Product.from_dict(given["product"])
            roles: dict[str, Any] = {
                r: None if c == FULL_PRECISION else c for r, c in _roles_from_dict(given, "").items()
            }
        except SpecificationError as error:
            raise SpecificationError(f"recipe {name!r}: {error}") from None
        return cls(name, layers=layers, **plain, **roles)


def _check_spec(role: Role, spec: QuantizerSpec, stored: bool, keeps_master: bool) -> None:
    if spec.range.per == "channel" and role not in WEIGHT_ROLES:
        raise SpecificationError(f"{role}: range per = 'channel' is for {', '.join(WEIGHT_ROLES)}")
    if spec.range.kind == "calibrated" and role in ("activation_gradient", "weight_gradient"):
        raise SpecificationError(f"{role}: a gradient's range cannot be calibrated beforehand; use kind = 'running'")
    if stored and (spec.format is None or spec.range.kind not in ("fixed", "calibrated")):
        raise SpecificationError(
            f"{role}: stored weights need a grid that stays; use range kind 'fixed' or 'calibrated'"
        )
    if stored and spec.range.rescale != "own":
        raise SpecificationError(
            f"{role}: rescale = {spec.range.rescale!r}: stored weights are multiplied by their own scale"
        )
    if spec.range.rescale == "update" and (role != "weight_gradient" or keeps_master):
        raise SpecificationError(f"{role}: rescale = 'update' is for weight_gradient where keeps_master = false")


def _roles_to_dict(given: Recipe | LayerRule) -> dict[str, Any]:
    choices = {role: getattr(given, role) for role in ROLES}
    return {
        role: choice.to_dict() if isinstance(choice, QuantizerSpec) else choice
        for role, choice in choices.items()
        if choice is not None
    }


def _roles_from_dict(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {
        role: FULL_PRECISION if given[role] == FULL_PRECISION else QuantizerSpec.from_dict(given[role], where + role)
        for role in ROLES
        if role in given
    }
