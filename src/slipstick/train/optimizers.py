"""The optimiser and the learning rate of every step."""

import math
from collections.abc import Iterable
from typing import Any

import torch

from slipstick import optim
from slipstick.precision.recipe import parameter_groups
from slipstick.train.config import SGD, AccumulatorSGD, Constant, Cosine, Experiment, Madam

_RATIO = "lr_ratio"
"""In a parameter group: its learning rate in units of optimizer.lr."""


def build_optimizer(experiment: Experiment, parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """``parameters``: as PyTorch's optimisers take them; with names, messages can name them."""
    given = experiment.optimizer
    if isinstance(given, Madam):
        return _build_madam(given, parameters)
    if isinstance(given, AccumulatorSGD):
        assignment = experiment.assignment
        assert assignment is not None  # as Experiment checks
        return optim.AccumulatorSGD(parameter_groups(assignment, parameters), given.lr, bound=given.bound)
    if isinstance(given, SGD):
        return torch.optim.SGD(
            parameters,
            lr=given.lr,
            momentum=given.momentum,
            nesterov=given.nesterov,
            weight_decay=given.weight_decay,
        )
    make = torch.optim.Adam if given.name == "adam" else torch.optim.AdamW
    betas = (given.beta1, given.beta2)
    return make(parameters, lr=given.lr, betas=betas, eps=given.eps, weight_decay=given.weight_decay)


def _build_madam(given: Madam, parameters: Iterable[Any]) -> torch.optim.Optimizer:
    options = given.model_dump(exclude={"name", "p_scale"})
    optimizer = optim.Madam(parameters, p_scale=given.p_scale or None, **options)
    for group in optimizer.param_groups:
        group[_RATIO] = group["lr"] / given.lr
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(_RATIO, 1.0)


def learning_rate(experiment: Experiment, step: int, steps_per_epoch: int) -> float:
    """Of the training step with this index (from 0): a closed form in float64, so that nothing needs to be saved."""
    schedule, top, epochs = experiment.schedule, experiment.optimizer.lr, max(1, experiment.epochs)
    epoch = step // steps_per_epoch
    if isinstance(schedule, Constant):
        return top
    if isinstance(schedule, Cosine):
        done = step / (epochs * steps_per_epoch) if schedule.per == "batch" else epoch / epochs
        return schedule.eta_min + (top - schedule.eta_min) * (1 + math.cos(math.pi * done)) / 2
    return float(top * schedule.factor ** sum(epoch + 1 >= start for start in schedule.epochs))
