"""One step of every rule: PyTorch's optimisers, Madam, and the three rules that the paper's bounds are about."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from slipstick.optim import Madam
from slipstick.optim import update_error as theory

_OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=1.0),  # the paper's GD
    "SGD, momentum .9": lambda parameters: torch.optim.SGD(parameters, lr=1.0, momentum=0.9),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1.0),
    "Madam": lambda parameters: Madam(parameters, round_gradient=False, p_scale=None),
    "Madam, released": lambda parameters: Madam(parameters, p_scale=None),
}
_FORMULAS = {"MUL": theory.multiplicative, "signMUL": theory.sign_multiplicative}

RULES = (*_OPTIMIZERS, *_FORMULAS)
MULTIPLICATIVE = ("Madam", "Madam, released", "MUL")
USUAL_LR = {
    "SGD": 2.0**-6,
    "SGD, momentum .9": 2.0**-6,
    "Adam": 2.0**-10,
    "Madam": 2.0**-7,
    "Madam, released": 2.0**-7,
    "MUL": 2.0**-6,  # of the plain gradient, as SGD; nobody trains with this rule
    "signMUL": 2.0**-7,
}


def step(rule: str, weight: torch.Tensor, gradients: Sequence[torch.Tensor], lr: float) -> torch.Tensor:
    """``weight`` (float64) after one step by the last gradient; the others were seen before, at a rate of 0."""
    if rule in _FORMULAS:
        return _FORMULAS[rule](weight, gradients[-1], lr)
    parameter = nn.Parameter(weight.clone())
    optimizer = _OPTIMIZERS[rule]([parameter])
    for i, gradient in enumerate(gradients):
        optimizer.param_groups[0]["lr"] = lr if i + 1 == len(gradients) else 0.0
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()
