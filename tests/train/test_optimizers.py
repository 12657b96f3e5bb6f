import math

import pytest
import torch
from torch import nn

from slipstick.train.config import Experiment
from slipstick.train.optimizers import build_optimizer, learning_rate

SGD = {"name": "sgd", "lr": 0.1}


def rates(steps: int = 12, steps_per_epoch: int = 4, epochs: int = 3, **schedule: object) -> list[float]:
    experiment = Experiment(name="a", optimizer=SGD, schedule=schedule, epochs=epochs)
    return [learning_rate(experiment, step, steps_per_epoch) for step in range(steps)]


def test_cosine_per_batch_is_pytorchs_annealing() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=0.001)
    expected = []
    for _ in range(12):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(kind="cosine", eta_min=0.001) == pytest.approx(expected, rel=1e-9)


def test_cosine_per_epoch_changes_at_epochs_only() -> None:
    values = rates(kind="cosine", per="epoch")
    assert len(set(values)) == 3
    assert values[4] == pytest.approx(0.05 * (1 + math.cos(math.pi / 3)))


def test_step_multiplies_at_the_epochs_listed() -> None:
    experiment = Experiment(name="a", optimizer=SGD, schedule={"kind": "step", "epochs": [2, 3]}, epochs=3)
    assert [learning_rate(experiment, step, 2) for step in range(6)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3]
    )


def test_constant_stays() -> None:
    assert set(rates(kind="constant")) == {0.1}


KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize("name", KINDS)
def test_optimisers_are_pytorchs_own(name: str) -> None:
    experiment = Experiment(name="a", optimizer={"name": name, "lr": 0.02, "weight_decay": 0.3})
    optimizer = build_optimizer(experiment, [nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is KINDS[name]
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (0.02, 0.3)
