"""Why a tensor has the bits that it has, in words and numbers: the same for every kind of number."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

from slipstick.errors import SpecificationError

Kind = Literal["weight", "activation", "weight_gradient", "activation_gradient", "accumulator"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The five tensors of a layer: B_W, B_A, B_G(W), B_G(A), B_Acc."""

NAMELESS = "(model)"
"""In messages and tables: the layer that is the whole model."""


@dataclass(frozen=True)
class Reason:
    """Why a tensor has its precision.

    criterion: what set its bits: EFQN, RQB, BQN, AS, or "limit". range, bits: a sentence on each, with the numbers.
    offset: bits that ``Assignment.with_offset`` added since.
    """

    criterion: str
    range: str
    bits: str
    offset: int = 0


class ExplainedLayer(Protocol):
    """What an explanation needs to know of a layer; mismatches are its tensors' parts of the prediction."""

    @property
    def name(self) -> str: ...
    @property
    def weight_mismatch(self) -> float: ...
    @property
    def activation_mismatch(self) -> float: ...
    @property
    def reasons(self) -> Mapping[str, Reason]: ...
    def describe(self, kind: Kind) -> str:
        """The precision of a tensor in a few words."""


class ExplainedAssignment(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def layers(self) -> Sequence[ExplainedLayer]: ...
    @property
    def predicted_mismatch(self) -> float: ...
    @property
    def target(self) -> float: ...


def tensor_name(layer: str, kind: str) -> str:
    """As messages have it, and as explanations are asked for."""
    return f"{layer or NAMELESS}.{kind}"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Layer = TypeVar("_Layer", bound=_Named)


def find_layer(model: str, layers: Sequence[_Layer], name: str) -> _Layer:
    """The layer of this name. Raises SpecificationError for one that does not exist."""
    for layer in layers:
        if name in (layer.name, layer.name or NAMELESS):
            return layer
    names = [layer.name or NAMELESS for layer in layers]
    near = difflib.get_close_matches(name, names, n=3) or names[:3]
    raise SpecificationError(
        f"{name}: no layer of {model}; there are {', '.join(near)}, ...; a tensor is a layer's name, a dot, and one of "
        f"{', '.join(KINDS)}"
    )


def explain(assignment: ExplainedAssignment, name: str) -> str:
    """What set the precision of a tensor, as "layer3.weight", or of the five of a layer, as "layer3".

    Raises SpecificationError for a name that does not exist.
    """
    layer_name, _, last = name.rpartition(".")
    names = [layer.name or NAMELESS for layer in assignment.layers]
    asked: tuple[Kind, ...] = KINDS
    if name not in names:
        asked = tuple(kind for kind in KINDS if kind == last) or KINDS
        if layer_name in names and asked is KINDS:
            near = difflib.get_close_matches(last, KINDS, n=1)
            way_out = f"did you mean {layer_name}.{near[0]}?" if near else f"there are {', '.join(KINDS)}"
            raise SpecificationError(f"{name}: layer {layer_name} has no tensor {last!r}; {way_out}")
    layer = find_layer(assignment.model, assignment.layers, name if asked is KINDS else layer_name)
    return "\n".join(line for kind in asked for line in _lines(assignment, layer, kind))


def _lines(assignment: ExplainedAssignment, layer: ExplainedLayer, kind: Kind) -> list[str]:
    lines = [f"{tensor_name(layer.name, kind)}: {layer.describe(kind)}"]
    if (reason := layer.reasons.get(kind)) is not None:
        lines += [f"  range: {reason.range}", f"  bits: {reason.criterion}: {reason.bits}"]
        if reason.offset:
            lines.append(f"  then {reason.offset:+d} bits by with_offset")
    mismatch = {"weight": layer.weight_mismatch, "activation": layer.activation_mismatch}.get(kind)
    if mismatch is not None and assignment.predicted_mismatch > 0:
        share = mismatch / assignment.predicted_mismatch
        lines.append(
            f"  mismatch: {mismatch:.2g} of the predicted {assignment.predicted_mismatch:.2g} ({share:.1%}); "
            f"the target is {assignment.target:g}"
        )
    return lines
