"""Madam: weights move by factors, so that in a logarithmic format a step is an integer number of codes.

    v <- beta2 v + (1 - beta2) g^2,   g* = g / sqrt(v / (1 - beta2^t)),   w <- w 2^(-lr g* sign(w))

Sources: Bernstein et al. 2020 (arXiv 2006.14560), the optimiser; Zhao et al. 2021 (arXiv 2106.13914), LNS-Madam, the
base 2, the rounding of g* and weights that are kept in a logarithmic format without a full-precision copy.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS
from slipstick.optim.held_weights import held, moved, power_of_two_scale
from slipstick.optim.parameter_groups import check_additive, parameter_name, split_groups


class Madam(torch.optim.Optimizer):
    """The defaults are the released LNS-Madam optimiser, to the bit.

    params: as every PyTorch optimiser takes them; with ``model.named_parameters()`` messages can name a parameter. A
        group may choose ``rule="sgd"`` with lr, momentum and weight_decay.
    lr: in octaves: the factor of one unit of the normalised gradient is 2^lr.
    beta2: decay of the second moment. bias_correction: divide it by 1 - beta2^t.
    g_bound: bound of the normalised gradient; math.inf for none.
    round_gradient: round the normalised gradient to an integer (ties to even), so that steps are multiples of lr.
    p_scale: weights stay within p_scale times the root mean square of their first values; None for no bound.
    weight_decay: None, or lambda in w <- w exp(-lr g* sign(w) - lr lambda): the released form has base e with weight
        decay and base 2 without. base: one of them for both.
    additive: options of rule "sgd" (lr, momentum, weight_decay) for parameters of fewer than two dimensions.
    update_format: a MultiBaseLNS that weights are kept in from now on; see ``slipstick.optim.held_weights``.

    | setting | released (default) | Zhao et al. 2021 | Bernstein et al. 2020 |
    |---|---|---|---|
    | lr | 2^-7 | 2^-7 | 0.01 |
    | round_gradient | True | False | False |
    | bias_correction | True | False | True |
    | base | None: 2 | 2 | e |
    | g_bound, p_scale | 10, 3 | not stated | 10, 3 |

    A NaN of the normalised gradient (0/0) counts as 0. Signs never change and a zero stays zero: parameters that are
    zero to begin with are named in a warning; give them to ``additive``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2**-7,
        *,
        beta2: float = 0.999,
        bias_correction: bool = True,
        g_bound: float = 10.0,
        round_gradient: bool = True,
        p_scale: float | None = 3.0,
        weight_decay: float | None = None,
        base: float | None = None,
        additive: Mapping[str, float] | None = None,
        update_format: MultiBaseLNS | None = None,
    ) -> None:
        _require("lr", lr, lr > 0)
        _require("beta2", beta2, 0 <= beta2 < 1)
        _require("g_bound", g_bound, g_bound > 0)
        _require("p_scale", p_scale, p_scale is None or p_scale > 0)
        _require("weight_decay", weight_decay, weight_decay is None or weight_decay >= 0)
        _require("base", base, base is None or base > 1)
        if update_format is not None and not isinstance(update_format, MultiBaseLNS):
            raise SpecificationError(f"Madam(update_format={update_format!r}): must be a MultiBaseLNS")
        if additive is not None:
            check_additive(additive)
        self.update_format = update_format
        self._warned_of_lattice: set[tuple[int, str]] = set()
        defaults = {
            "lr": lr,
            "beta2": beta2,
            "bias_correction": bias_correction,
            "g_bound": g_bound,
            "round_gradient": round_gradient,
            "p_scale": p_scale,
            "weight_decay": weight_decay,
            "base": base,
            "momentum": 0.0,
            "rule": "madam",
        }
        super().__init__(split_groups(params, additive), defaults)
        self._warn_of_zeros()
        if update_format is not None:
            self.check_lattice(update_format)
            self._hold()

    def check_lattice(self, format: MultiBaseLNS) -> None:
        """Warn, once for each group and format, where a unit step moves less than one code of ``format``."""
        for index, group in enumerate(self.param_groups):
            if group["rule"] != "madam" or (index, str(format)) in self._warned_of_lattice:
                continue
            octaves = group["lr"] * math.log2(_base(group))
            if 0 < octaves * format.base_factor < 1 - 1e-9:
                self._warned_of_lattice.add((index, str(format)))
                warnings.warn(
                    f"Madam(lr={group['lr']:.4g}): a unit step is {octaves * format.base_factor:.3g} codes of {format} "
                    f"and may be rounded away; use lr >= {group['lr'] / octaves / format.base_factor:.4g} or "
                    f"base_factor >= {2 ** math.ceil(math.log2(1 / octaves) - 1e-9)}",
                    stacklevel=3,
                )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.update_format is not None:
            self.check_lattice(self.update_format)
        for group in self.param_groups:
            rule = self._madam if group["rule"] == "madam" else self._sgd
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rule(parameter, parameter.grad, group)
        return loss

    def _madam(self, parameter: torch.Tensor, gradient: torch.Tensor, group: Mapping[str, Any]) -> None:
        state = self._state_of(parameter, group)
        state["step"] += 1
        normalised = _normalised(gradient, state, group)
        lr, decay = group["lr"], group["weight_decay"]
        limit = math.inf if state["max"] is None else state["max"]
        if self.update_format is not None:
            octaves = -lr * math.log2(_base(group)) * normalised.double() * parameter.sign()
            octaves -= lr * (decay or 0.0) * math.log2(math.e)
            parameter.copy_(moved(parameter, octaves, self.update_format, state["scale"], limit))
            return
        exponent = -lr * normalised * parameter.sign()
        if decay is None:
            parameter.mul_(_power(_base(group), exponent))
        elif _base(group) == math.e:
            parameter.mul_(torch.exp(exponent - lr * decay))
        else:
            parameter.mul_(_power(_base(group), exponent)).mul_(math.exp(-lr * decay))
        parameter.clamp_(-limit, limit)

    def _sgd(self, parameter: torch.Tensor, gradient: torch.Tensor, group: Mapping[str, Any]) -> None:
        """As ``torch.optim.SGD`` with momentum (no dampening) and weight decay."""
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if group["momentum"]:
            state = self.state[parameter]
            if "momentum_buffer" in state:
                state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            else:
                state["momentum_buffer"] = gradient.clone()
            gradient = state["momentum_buffer"]
        parameter.add_(gradient, alpha=-group["lr"])

    def _state_of(self, parameter: torch.Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """The state, made from the parameter's first values: the bound, and the scale where a format holds it."""
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            p_scale = group["p_scale"]
            state["step"] = 0
            state["max"] = None if p_scale is None else p_scale * parameter.square().mean().sqrt().item()
            state["exp_avg_sq"] = torch.zeros_like(parameter)
            if self.update_format is not None:
                state["scale"] = power_of_two_scale(parameter, self.update_format, state["max"] or 0.0)
        return state

    @torch.no_grad()
    def _hold(self) -> None:
        assert self.update_format is not None
        for group in self.param_groups:
            for parameter in group["params"] if group["rule"] == "madam" else ():
                scale = self._state_of(parameter, group)["scale"]
                parameter.copy_(held(parameter, self.update_format, scale))

    def _warn_of_zeros(self) -> None:
        stuck = [
            parameter_name(group, i, g)
            for g, group in enumerate(self.param_groups)
            for i, parameter in enumerate(group["params"])
            if group["rule"] == "madam" and parameter.numel() and not bool(parameter.detach().any())
        ]
        if stuck:
            warnings.warn(
                f"Madam: zero to begin with, so no factor moves them: {', '.join(stuck)}; "
                "give biases and normalisation a rule of their own, e.g. additive={'lr': 0.01, 'momentum': 0.9}",
                stacklevel=3,
            )


def _normalised(gradient: torch.Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> torch.Tensor:
    """g*, from the second moment that this gradient updates."""
    beta2 = group["beta2"]
    moment: torch.Tensor = state["exp_avg_sq"]
    moment.mul_(beta2).add_(gradient.square().mul_(1 - beta2))
    corrected = moment / (1 - beta2 ** state["step"]) if group["bias_correction"] else moment
    normalised = gradient / corrected.sqrt()
    normalised.masked_fill_(normalised.isnan(), 0.0).clamp_(-group["g_bound"], group["g_bound"])
    return normalised.round_() if group["round_gradient"] else normalised


def _base(group: Mapping[str, Any]) -> float:
    if group["base"] is not None:
        return float(group["base"])
    return 2.0 if group["weight_decay"] is None else math.e


def _power(base: float, exponent: torch.Tensor) -> torch.Tensor:
    power: torch.Tensor = torch.exp(exponent) if base == math.e else torch.pow(base, exponent)
    return power


def _require(name: str, value: Any, holds: bool) -> None:
    if not holds:
        raise SpecificationError(f"Madam({name}={value!r}): out of range")
