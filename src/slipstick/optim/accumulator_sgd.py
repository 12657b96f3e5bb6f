"""Stochastic gradient descent on integers: weights with few bits, and an accumulator for what lies below them.

    g <- Q(g, B_G(W), r),  acc' = acc - lr g,  w' = w + acc',  w <- Q(w', B_W),  acc <- Q(w' - w, B_Acc, r_Acc)

Source: Sakr & Shanbhag 2019 (arXiv 1812.11732). There is no copy of the weights in full precision. The integers and the
one place where lr g is rounded: ``slipstick.optim.integer_weights``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch

from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.optim.integer_weights import WeightFormats, integers_of, moved, numbers_of
from slipstick.optim.parameter_groups import parameter_name


class AccumulatorSGD(torch.optim.Optimizer):
    """SGD without momentum, bit-true for the parameters that have formats.

    params: as every PyTorch optimiser takes them. A group with ``formats`` (a WeightFormats) keeps its parameters
        (float32) as integers; they are rounded to their grid at once, the residue not kept. Groups without are moved
        by ordinary SGD.
    lr: at least 0; groups may have their own, schedulers may change it.
    momentum: 0; the method has none, because a velocity would be a tensor in full precision.
    bound: parameters without formats stay in [-bound, bound]; None for no bound. The paper has 1.

    The state of a parameter with formats is ``weight`` and ``accumulator``, int32 tensors in units of their steps. The
    parameter is the number of ``weight`` at every moment; nothing else may change it. Gradients are rounded here,
    once: rounding is idempotent, so that those that a recipe has rounded to the same format are only read as integers.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 0.01, *, momentum: float = 0.0, bound: float | None = None
    ) -> None:
        if not 0 <= lr < 2.0**127:
            raise SpecificationError(f"AccumulatorSGD(lr={lr!r}): must be a float32 number from 0")
        if momentum != 0:
            raise SpecificationError(
                f"AccumulatorSGD(momentum={momentum!r}): integer weights move without momentum; leave it out"
            )
        if bound is not None and not bound > 0:
            raise SpecificationError(f"AccumulatorSGD(bound={bound!r}): must be a positive number or None")
        super().__init__(params, {"lr": lr, "bound": bound, "formats": None})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As of every PyTorch optimiser. Puts the group's parameters on their grid."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["formats"] is None:
            return
        if not isinstance(group["formats"], WeightFormats):
            raise SpecificationError(f"AccumulatorSGD(formats={group['formats']!r}): must be a WeightFormats or None")
        for index, parameter in enumerate(group["params"]):
            if parameter.dtype != torch.float32:
                raise SpecificationError(f"{self._name(group, index)}: is {parameter.dtype}; use float32 with formats")
            weight = self._integers(parameter.detach(), group, index, "weight")
            self._hold(parameter, weight, torch.zeros_like(weight), group["formats"])

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient.

        Raises NonFiniteError for NaN in the gradient of a parameter with formats, SpecificationError where something
        else has changed the parameter.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for index, parameter in enumerate(group["params"]):
                if parameter.grad is None:
                    continue
                if group["formats"] is None:
                    self._descend(parameter, parameter.grad, group)
                else:
                    self._accumulate(parameter, parameter.grad, group, index)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As of every PyTorch optimiser; formats as plain data."""
        state = super().state_dict()
        for group in state["param_groups"]:
            group["formats"] = _plain(group["formats"])
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue with the integers of ``state_dict``, which the parameters become the numbers of.

        Raises SpecificationError where the state is of other formats, or has no integers for a parameter.
        """
        formats = [group["formats"] for group in self.param_groups]
        saved = [group.get("formats") for group in state_dict["param_groups"]]
        for index, (own, given) in enumerate(zip(formats, saved, strict=False)):
            if _plain(own) != given:
                raise SpecificationError(
                    f"AccumulatorSGD: group {index} of the state has formats {given}, not {_plain(own)}; "
                    "give the optimiser those"
                )
        super().load_state_dict(dict(state_dict))
        for group, own, given in zip(self.param_groups, formats, state_dict["param_groups"], strict=True):
            group["formats"] = own
            for index, key in enumerate(given["params"] if own is not None else ()):
                self._restore(state_dict["state"].get(key, {}), group, index)

    def _descend(self, parameter: torch.Tensor, gradient: torch.Tensor, group: Mapping[str, Any]) -> None:
        parameter.add_(gradient, alpha=-group["lr"])
        if group["bound"] is not None:
            parameter.clamp_(-group["bound"], group["bound"])

    def _accumulate(
        self, parameter: torch.Tensor, gradient: torch.Tensor, group: Mapping[str, Any], index: int
    ) -> None:
        formats, state = group["formats"], self.state[parameter]
        if not torch.equal(parameter, numbers_of(state["weight"], formats.weight)):
            raise SpecificationError(
                f"{self._name(group, index)}: was changed outside AccumulatorSGD, which holds it as integers; "
                "make the optimiser after changing weights"
            )
        steps = self._integers(gradient, group, index, "gradient")
        weight, accumulator = moved(state["weight"], state["accumulator"], steps, float(group["lr"]), formats)
        self._hold(parameter, weight, accumulator, formats)

    @torch.no_grad()
    def _hold(
        self, parameter: torch.Tensor, weight: torch.Tensor, accumulator: torch.Tensor, formats: WeightFormats
    ) -> None:
        """Make these integers the state, and their number the parameter."""
        self.state[parameter] = {"weight": weight, "accumulator": accumulator}
        parameter.copy_(numbers_of(weight, formats.weight))

    def _restore(self, saved: Mapping[str, Any], group: Mapping[str, Any], index: int) -> None:
        parameter = group["params"][index]
        codes = [code for key in ("weight", "accumulator") if isinstance(code := saved.get(key), torch.Tensor)]
        if len(codes) < 2 or any(code.shape != parameter.shape for code in codes):
            raise SpecificationError(
                f"{self._name(group, index)}: the state has no integers of its shape; give that of an AccumulatorSGD"
            )
        weight, accumulator = (code.to(parameter.device, torch.int32, copy=True) for code in codes)
        self._hold(parameter, weight, accumulator, group["formats"])

    def _integers(self, x: torch.Tensor, group: Mapping[str, Any], index: int, role: str) -> torch.Tensor:
        try:
            return integers_of(x, getattr(group["formats"], role))
        except (SpecificationError, NonFiniteError) as error:
            raise type(error)(f"{role} of {self._name(group, index)}: {error}") from None

    def _name(self, group: Mapping[str, Any], index: int) -> str:
        return parameter_name(group, index, next(i for i, each in enumerate(self.param_groups) if each is group))


def _plain(formats: WeightFormats | None) -> dict[str, Any] | None:
    return None if formats is None else formats.to_dict()
