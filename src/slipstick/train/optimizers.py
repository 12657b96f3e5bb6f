"""The optimiser and the learning rate of every step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from slipstick.train.config import SGD, Constant, Cosine, Experiment


def build_optimizer(experiment: Experiment, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    given = experiment.optimizer
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


def learning_rate(experiment: Experiment, step: int, steps_per_epoch: int) -> float:
    """Of the training step with this index (from 0): a closed form in float64, so that nothing needs to be saved."""
    schedule, top = experiment.schedule, experiment.optimizer.lr
    epoch = step // steps_per_epoch
    if isinstance(schedule, Constant):
        return top
    if isinstance(schedule, Cosine):
        done = step / (experiment.epochs * steps_per_epoch) if schedule.per == "batch" else epoch / experiment.epochs
        return schedule.eta_min + (top - schedule.eta_min) * (1 + math.cos(math.pi * done)) / 2
    return float(top * schedule.factor ** sum(epoch + 1 >= start for start in schedule.epochs))
