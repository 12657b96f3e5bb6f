"""Recorded operands: their dot products are elements of what PyTorch computed, and roles are told apart."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.hardware.streams import Stream, record

SUM = torch.Tensor.sum


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.Tanh(), nn.Conv2d(3, 5, 3, stride=2, padding=(0, 1), bias=False),
        nn.Flatten(), nn.Linear(5 * 3 * 4, 4, bias=False),
    )  # fmt: skip


def streams(dots: int = 6, seed: int = 0) -> list[Stream]:
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    return record(network(), x, lambda y: y.square().sum(), dots=dots, seed=seed)


def everything() -> dict[str, list[torch.Tensor]]:
    """Of the same step, by role: outputs, input gradients and weight gradients of the layers."""
    model = network()
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    made: dict[str, list[torch.Tensor]] = {"forward": [], "input_gradient": []}
    for layer in model:
        if not isinstance(layer, (nn.Flatten, nn.Tanh)):
            x.requires_grad_() if x.is_leaf else x.retain_grad()
            made["input_gradient"].append(x)
            x = layer(x)
            made["forward"].append(x)
        else:
            x = layer(x)
    x.square().sum().backward()
    return {
        "forward": [each.detach() for each in made["forward"]],
        "input_gradient": [each.grad for each in made["input_gradient"]],
        "weight_gradient": [each.grad for each in model.parameters()],
    }


def test_every_sampled_dot_product_is_an_element_of_what_was_computed() -> None:
    true = everything()
    for stream in streams():
        sums = (stream.a.astype(np.float64) * stream.b).sum(axis=1)
        there = torch.cat([each.flatten() for each in true[stream.role]]).double().numpy()
        assert np.abs(sums[:, None] - there).min(axis=1).max() < 1e-4 * np.abs(there).max()
        assert np.abs(stream.a).max() <= stream.a_maximum
        assert np.abs(stream.b).max() <= stream.b_maximum


def test_roles_and_lengths() -> None:
    found = streams()
    assert Counter(each.role for each in found) == {"forward": 3, "input_gradient": 2, "weight_gradient": 3}
    lengths = {role: sorted(each.a.shape[1] for each in found if each.role == role) for role in ("forward",)}
    assert lengths["forward"] == [2 * 9, 3 * 9, 5 * 3 * 4]
    assert all(each.a.shape == each.b.shape and len(each.a) == 6 for each in found)


def test_the_choice_is_that_of_the_seed() -> None:
    once, again, other = streams(), streams(), streams(seed=1)
    assert all(np.array_equal(a.a, b.a) and np.array_equal(a.b, b.b) for a, b in zip(once, again, strict=True))
    assert any(not np.array_equal(a.a, b.a) for a, b in zip(once, other, strict=True))


def test_attention_is_recorded_by_its_products() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(*self.project(x)[:, None].chunk(3, -1))

    found = Counter(each.role for each in record(Attention(), torch.randn(2, 5, 8), SUM, dots=2))
    assert found == {"forward": 3, "input_gradient": 4, "weight_gradient": 1}


def test_nothing_to_record_is_one_clear_line() -> None:
    with pytest.raises(SpecificationError, match="BatchNorm1d: no product whose operands could be recorded"):
        record(nn.BatchNorm1d(3), torch.ones(4, 3), SUM)
